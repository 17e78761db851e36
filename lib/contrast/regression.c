/* The regression loss of BYOL (arXiv 2006.07733, equation 2), by row, of rows q and k of unit
 * length:
 *   L = scale * |q - k|^2 = scale * (2 - 2 <q, k>),   d L / d q = 2 scale / batch * (q - k).
 * k comes from the target network and receives no gradient; there are no negatives. */
#include "contrast/contrast.h"
#include "engine/emit.h"
#include "engine/kernel.h"
#include "util/status.h"

int32_t mo_regression(mo_net_t *net, int32_t queries, int32_t keys, double batch, double scale)
{
    const mo_regression_form_t form = {.batch = batch, .scale = scale};
    mo_op_t *op = keys >= 0 ? mo_net_op(net, &mo_kind_regression, queries, &form, sizeof form) : NULL;
    if (op != NULL)
        op->other = keys;
    return mo_net_result(net, op, MO_LOSS_WIDTH, 1, 1);
}

/* values: q [rows,D], k [rows,D], results [rows,2]. The distance itself, since 2 - 2 <q, k> loses
 * digits where it is small. */
static moco_status_t distances(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_regression_form_t *form = op->form;
    const int32_t width = net->shapes[op->src].c;
    const float *q = values[0], *k = values[1];
    for (int64_t n = 0; n < rows; n++, q += width, k += width) {
        double sum = 0;
        for (int32_t i = 0; i < width; i++)
            sum += ((double)q[i] - k[i]) * ((double)q[i] - k[i]);
        values[2][n * MO_LOSS_WIDTH + MO_LOSS_VALUE] = (float)(form->scale * sum);
        values[2][n * MO_LOSS_WIDTH + MO_LOSS_RANK] = 0;
    }
    return MOCO_OK;
}

/* values: q [rows,D], k [rows,D], gradient of q [rows,D]. */
static moco_status_t pull(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_regression_form_t *form = op->form;
    const int64_t count = (int64_t)rows * net->shapes[op->src].c;
    const float factor = (float)(2 * form->scale / form->batch);
    for (int64_t i = 0; i < count; i++)
        values[2][i] = factor * (values[0][i] - values[1][i]);
    return MOCO_OK;
}

static moco_status_t queue_distances(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                     int32_t shards, const mo_buffer_t *slots)
{
    const mo_regression_form_t *form = op->form;
    (void)shards;
    return mo_kernel_run(device, MO_KERNEL_DISTANCES, rows, mo_arg_buffer(slots[0]), mo_arg_buffer(slots[1]),
                         mo_arg_buffer(slots[2]), mo_arg_whole(net->shapes[op->src].c), mo_arg_whole(MO_LOSS_WIDTH),
                         mo_arg_whole(MO_LOSS_VALUE), mo_arg_whole(MO_LOSS_RANK), mo_arg_float((float)form->scale));
}

static moco_status_t queue_pull(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                int32_t shards, const mo_buffer_t *slots)
{
    const mo_regression_form_t *form = op->form;
    (void)shards;
    return mo_kernel_run(device, MO_KERNEL_PULL, (int64_t)rows * net->shapes[op->src].c, mo_arg_buffer(slots[0]),
                         mo_arg_buffer(slots[1]), mo_arg_buffer(slots[2]),
                         mo_arg_float((float)(2 * form->scale / form->batch)));
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[3];
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->other, &slots[1]));
    TRY(mo_value(plan, op->dst, &slots[2]));
    TRY(mo_emit_either(plan, op, distances, queue_distances, "rrw", slots));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[3];
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->other, &slots[1]));
    TRY(mo_gradient_slot(plan, op->src, &slots[2]));
    TRY(mo_emit_either(plan, op, pull, queue_pull, "rrw", slots));
    TRY(mo_gradient_add(plan, op, op->src, slots[2]));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_regression = {.name = "regression", .forward = forward, .backward = backward};
