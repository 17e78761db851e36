/* Drop path, or stochastic depth (arXiv 1603.09382): a residual branch is multiplied by a factor per image, 0 or
 * 1/(share kept). The factors are data: rows [branches] of one tensor that the caller fills. What is not finite stays
 * so even under a factor of 0, so a step that has gone wrong is seen. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/clones.h"
#include "util/status.h"

int32_t mo_drop_path(mo_net_t *net, int32_t src, int32_t factors)
{
    if (net->failed || src < 0 || factors < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    mo_op_t op = {.layer = &mo_layer_drop_path, .src = src, .other = factors, .weights = -1, .bias = -1, .bn = -1,
                  .column = net->shapes[factors].c++};
    op.dst = mo_net_tensor(net, s.c, s.h, s.w);
    mo_net_op(net, &op);
    return op.dst;
}

MO_CLONES static void scale_row(const float *from, float factor, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = factor * from[i];
}

/* values: from [rows, …], factors [rows, branches], to. */
static moco_status_t scale(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_shape_t s = net->shapes[op->src];
    const int64_t count = (int64_t)s.c * s.h * s.w, branches = net->shapes[op->other].c;
    for (int64_t n = 0; n < rows; n++)
        scale_row(values[0] + n * count, values[1][n * branches + op->column], count, values[2] + n * count);
    return MOCO_OK;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[3];
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->other, &slots[1]));
    TRY(mo_value(plan, op->dst, &slots[2]));
    TRY(mo_emit_host(plan, op, scale, 3, slots));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[3];
    TRY(mo_gradient(plan, op->dst, &slots[0]));
    TRY(mo_value(plan, op->other, &slots[1]));
    TRY(mo_gradient_slot(plan, op->src, &slots[2]));
    TRY(mo_emit_host(plan, op, scale, 3, slots));
    TRY(mo_gradient_add(plan, op, op->src, slots[2]));
cleanup:
    return status;
}

const mo_layer_t mo_layer_drop_path = {"drop path", forward, backward, 0};
