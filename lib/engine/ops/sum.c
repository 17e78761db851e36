/* Sum of two tensors: y = main + shortcut, at the end of a ResNet's block with ReLU on top. Both
 * sources take the same gradient. In infer plans the product that makes `main` takes it over and
 * the result grows in the shortcut's memory. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

static int32_t sum(mo_net_t *net, int32_t main, int32_t shortcut, mo_activation_t activation)
{
    mo_op_t *op = shortcut >= 0 ? mo_net_op(net, &mo_kind_sum, main, NULL, 0) : NULL;
    if (op != NULL) {
        op->other = shortcut;
        op->activation = activation;
    }
    return mo_net_result_like_src(net, op);
}

int32_t mo_sum(mo_net_t *net, int32_t main, int32_t shortcut)
{
    return sum(net, main, shortcut, MO_ACTIVATION_NONE);
}

int32_t mo_residual(mo_net_t *net, int32_t main, int32_t shortcut)
{
    return sum(net, main, shortcut, MO_ACTIVATION_RELU);
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t main, shortcut, dst;
    TRY(mo_value(plan, op->src, &main));
    TRY(mo_value(plan, op->other, &shortcut));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_emit_binary(plan, op, MO_ADD, main, shortcut, dst, op->activation == MO_ACTIVATION_RELU));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t dst, d_dst;
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    if (op->activation == MO_ACTIVATION_RELU)
        TRY(mo_emit_activation_backward(plan, op, dst, d_dst, d_dst)); /* in place: this was the last reader */
    TRY(mo_gradient_share(plan, op, op->src, d_dst));
    TRY(mo_gradient_share(plan, op, op->other, d_dst));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_sum = {.name = "sum", .forward = forward, .backward = backward, .traits = MO_FUSABLE};
