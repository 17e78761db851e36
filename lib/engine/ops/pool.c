/* Max pooling (padding counts as minus infinity) and global mean pooling. */
#include "engine/emit.h"
#include "engine/ops.h"

static int32_t add(mo_net_t *net, const mo_layer_t *layer, int32_t src, int32_t kernel, int32_t stride, int32_t pad)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    mo_op_t op = {.layer = layer, .src = src, .other = -1, .weights = -1, .bias = -1, .bn = -1, .kernel = kernel,
                  .stride = stride, .pad = pad};
    if (kernel == 0) /* global */
        op.dst = mo_net_tensor(net, s.c, 1, 1);
    else
        op.dst = mo_net_tensor(net, s.c, (s.h + 2 * pad - kernel) / stride + 1, (s.w + 2 * pad - kernel) / stride + 1);
    mo_net_op(net, &op);
    return op.dst;
}

int32_t mo_max_pool(mo_net_t *net, int32_t src, int32_t kernel, int32_t stride, int32_t pad)
{
    return add(net, &mo_layer_max_pool, src, kernel, stride, pad);
}

int32_t mo_mean_pool(mo_net_t *net, int32_t src)
{
    return add(net, &mo_layer_mean_pool, src, 0, 1, 0);
}

static moco_status_t max_forward(mo_plan_t *plan, const mo_op_t *op)
{
    return mo_emit_pool(plan, op, MO_POOL_MAX);
}

static moco_status_t max_backward(mo_plan_t *plan, const mo_op_t *op)
{
    return mo_emit_pool_backward(plan, op, MO_POOL_MAX);
}

static moco_status_t mean_forward(mo_plan_t *plan, const mo_op_t *op)
{
    return mo_emit_pool(plan, op, MO_POOL_AVERAGE);
}

static moco_status_t mean_backward(mo_plan_t *plan, const mo_op_t *op)
{
    return mo_emit_pool_backward(plan, op, MO_POOL_AVERAGE);
}

const mo_layer_t mo_layer_max_pool = {"max pool", max_forward, max_backward, 0};
const mo_layer_t mo_layer_mean_pool = {"mean pool", mean_forward, mean_backward, 0};
