/* Rows to unit length: y = x / max(|x|, 1e-12). Backward: d_x = (d_y - y <y, d_y>) / |x|. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

#define FLOOR 1e-24f /* of the squared norm */

int32_t mo_l2norm(mo_net_t *net, int32_t src)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_l2norm, src, NULL, 0);
    if (op == NULL)
        return -1;
    op->other = mo_net_tensor(net, 1, 1, 1); /* 1/|x| of each row, kept for backward */
    return mo_net_result(net, op, net->shapes[src].c, 1, 1);
}

/* Matrix views of the tensors of the operation. */
static moco_status_t views(mo_plan_t *plan, const mo_op_t *op, int32_t width, mo_slot_id_t *x, mo_slot_id_t *inverse,
                           mo_slot_id_t *y)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_value(plan, op->src, x));
    TRY(mo_value(plan, op->other, inverse));
    TRY(mo_value(plan, op->dst, y));
    TRY(mo_matrix(plan, *x, width, x));
    TRY(mo_matrix(plan, *inverse, 1, inverse));
    TRY(mo_matrix(plan, *y, width, y));
cleanup:
    return status;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t x, inverse, y, squares;
    int32_t width = mo_tensor_channels(plan, op->src);
    TRY(views(plan, op, width, &x, &inverse, &y));
    TRY(mo_temporary(plan, mo_plan_shard(plan), width, &squares));
    TRY(mo_emit_binary(plan, op, MO_MUL, x, x, squares, 0));
    TRY(mo_emit_row_sums(plan, op, squares, inverse));
    TRY(mo_emit_function(plan, op, MO_CLIP, FLOOR, 3e38f, inverse, inverse));
    TRY(mo_emit_function(plan, op, MO_POWER, 1.0f, -0.5f, inverse, inverse));
    TRY(mo_emit_binary(plan, op, MO_MUL, x, inverse, y, 0));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t x, inverse, y, d_y, d_x, products, sums, d_view;
    int32_t width = mo_tensor_channels(plan, op->src), rows = mo_plan_shard(plan);
    TRY(views(plan, op, width, &x, &inverse, &y));
    TRY(mo_gradient(plan, op->dst, &d_y));
    TRY(mo_matrix(plan, d_y, width, &d_y));
    TRY(mo_gradient_slot(plan, op->src, &d_x));
    TRY(mo_matrix(plan, d_x, width, &d_view));
    TRY(mo_temporary(plan, rows, width, &products));
    TRY(mo_temporary(plan, rows, 1, &sums));
    TRY(mo_emit_binary(plan, op, MO_MUL, y, d_y, products, 0));
    TRY(mo_emit_row_sums(plan, op, products, sums));
    TRY(mo_emit_binary(plan, op, MO_MUL, y, sums, products, 0));
    TRY(mo_emit_binary(plan, op, MO_SUB, d_y, products, d_view, 0));
    TRY(mo_emit_binary(plan, op, MO_MUL, d_view, inverse, d_view, 0));
    TRY(mo_gradient_add(plan, op, op->src, d_x));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_l2norm = {.name = "l2 norm", .forward = forward, .backward = backward};
