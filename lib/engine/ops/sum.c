/* Residual sum without an activation: y = main + shortcut. Both inputs take the same gradient. In infer plans the
 * linear layer before it takes it over and the result grows in the shortcut's memory. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

int32_t mo_sum(mo_net_t *net, int32_t main, int32_t shortcut)
{
    if (net->failed || main < 0 || shortcut < 0)
        return -1;
    mo_shape_t s = net->shapes[main];
    mo_op_t op = {.layer = &mo_layer_sum, .src = main, .other = shortcut, .weights = -1, .bias = -1, .bn = -1};
    op.dst = mo_net_tensor(net, s.c, s.h, s.w);
    mo_net_op(net, &op);
    return op.dst;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t main, shortcut, dst;
    TRY(mo_value(plan, op->src, &main));
    TRY(mo_value(plan, op->other, &shortcut));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_emit_binary(plan, op, MO_ADD, main, shortcut, dst, 0));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t d_dst;
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_gradient_share(plan, op, op->src, d_dst));
    TRY(mo_gradient_share(plan, op, op->other, d_dst));
cleanup:
    return status;
}

const mo_layer_t mo_layer_sum = {"sum", forward, backward, 0};
