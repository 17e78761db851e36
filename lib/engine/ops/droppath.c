/* Drop path, or stochastic depth (arXiv 1603.09382): a residual branch is multiplied by a factor
 * per image, 0 or 1/(share kept). The factors are data: rows [branches] of one tensor that the
 * caller fills. What is not finite stays so even under a factor of 0, so a step that has gone wrong
 * is seen. */
#include "engine/emit.h"
#include "engine/ops.h"
#include "util/clones.h"
#include "util/status.h"

int32_t mo_drop_path(mo_net_t *net, int32_t src, int32_t factors)
{
    mo_drop_path_form_t form = {0};
    if (factors >= 0 && !net->failed)
        form.channel = net->shapes[factors].c++;
    mo_op_t *op = factors >= 0 ? mo_net_op(net, &mo_kind_drop_path, src, &form, sizeof form) : NULL;
    if (op != NULL)
        op->other = factors;
    return mo_net_result_like_src(net, op);
}

static MO_CLONES(void, scale_row, (const float *from, float factor, int64_t count, float *to),
                 (from, factor, count, to))
{
    for (int64_t i = 0; i < count; i++)
        to[i] = factor * from[i];
}

/* values: from [rows, …], factors [rows, branches], to. */
static moco_status_t scale(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_drop_path_form_t *form = op->form;
    const mo_shape_t s = net->shapes[op->src];
    const int64_t count = (int64_t)s.c * s.h * s.w, branches = net->shapes[op->other].c;
    for (int64_t n = 0; n < rows; n++)
        scale_row(values[0] + n * count, values[1][n * branches + form->channel], count, values[2] + n * count);
    return MOCO_OK;
}

/* dst = src times the factors, as a primitive. */
static moco_status_t product(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst)
{
    moco_status_t status = MOCO_OK;
    const mo_drop_path_form_t *form = op->form;
    const int64_t branches = mo_tensor_channels(plan, op->other);
    const int64_t extents[] = {mo_plan_shard(plan), 1, 1, 1}, strides[] = {branches, 1, 1, 1};
    mo_slot_id_t factors;
    TRY(mo_value(plan, op->other, &factors));
    TRY(mo_view(plan, factors, form->channel, 4, extents, strides, &factors));
    TRY(mo_emit_binary(plan, op, MO_MUL, src, factors, dst, 0));
cleanup:
    return status;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t src, dst;
    if (!mo_takes_primitives(plan))
        return mo_emit_host_pair(plan, op, scale);
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(product(plan, op, src, dst));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t d_dst, d_src;
    TRY(mo_gradient(plan, op->dst, &d_dst));
    if (!mo_takes_primitives(plan))
        return mo_emit_host_pair_backward(plan, op, d_dst, scale);
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(product(plan, op, d_dst, d_src));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_drop_path = {.name = "drop path", .forward = forward, .backward = backward};
