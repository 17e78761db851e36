/* ReLU: y = max(x, 0). Backward needs y only. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

int32_t mo_relu(mo_net_t *net, int32_t src)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_relu, src, NULL, 0);
    if (op != NULL)
        op->activation = MO_ACTIVATION_RELU;
    return mo_net_result_like_src(net, op);
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t src, dst;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_emit_activation(plan, op, src, dst));
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
    TRY(mo_emit_activation_backward(plan, op, dst, d_dst, d_src));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_relu = {.name = "relu", .forward = forward, .backward = backward};
