/* GELU in its exact form: y = x · Φ(x), Φ the normal distribution. Backward needs x. In infer plans
 * the linear layer before it takes it over. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

int32_t mo_gelu(mo_net_t *net, int32_t src)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_gelu, src, NULL, 0);
    if (op != NULL)
        op->activation = MO_ACTIVATION_GELU;
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
    mo_slot_id_t src, d_dst, d_src;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    if (mo_gradient_owned(plan, op->dst))
        d_src = d_dst; /* over the incoming gradient: nobody reads it again */
    else
        TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(mo_emit_activation_backward(plan, op, src, d_dst, d_src));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_gelu = {.name = "gelu", .forward = forward, .backward = backward, .traits = MO_FUSABLE};
