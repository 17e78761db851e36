/* ReLU: y = max(x, 0). Backward needs y only. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

int32_t mo_relu(mo_net_t *net, int32_t src)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    mo_op_t op = {.layer = &mo_layer_relu, .src = src, .other = -1, .weights = -1, .bias = -1, .bn = -1};
    op.dst = mo_net_tensor(net, s.c, s.h, s.w);
    mo_net_op(net, &op);
    return op.dst;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t src, dst;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_emit_relu(plan, op, src, dst));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t dst, d_dst, d_src;
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(mo_emit_relu_backward(plan, op, dst, d_dst, d_src));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

const mo_layer_t mo_layer_relu = {"relu", forward, backward, 0};
