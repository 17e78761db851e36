/* NT-Xent (SimCLR, arXiv 2002.05709): every one of the 2B views of a batch is an anchor, its
 * partner the positive, the other 2B-2 views the negatives, with s_na = <z_n, z_a>/T:
 *   L = scale * mean_n ( log sum_{a != n} e^{s_na} - s_np ),
 *   d L / d z_n = scale / (2B T) * ( sum_a (p_na + p_an) z_a - 2 z_p ),
 *   p_na = e^{s_na} / sum_{c != n} e^{s_nc}.
 * Gradients flow through both views, so a shard needs the rows of all others, then their
 * denominators: two synchronisations. Rows and the logarithms of the denominators lie in the block
 * bound as MO_IN_DICTIONARY: [2B, D], then [2B]. */
#include <math.h>
#include <string.h>

#include "contrast/contrast.h"
#include "engine/emit.h"
#include "engine/kernel.h"
#include "util/status.h"

int32_t mo_nt_xent(mo_net_t *net, int32_t embedding, int32_t place, int64_t rows, double temperature, double scale)
{
    const mo_nt_xent_form_t form = {.place = place, .rows = rows, .temperature = temperature, .scale = scale};
    mo_op_t *op = place >= 0 ? mo_net_op(net, &mo_kind_nt_xent, embedding, &form, sizeof form) : NULL;
    return mo_net_result(net, op, MO_LOSS_WIDTH, 1, 1);
}

static int64_t partner(int64_t row, int64_t rows)
{
    return row < rows / 2 ? row + rows / 2 : row - rows / 2;
}

/* Whether shard `to` has a place of its own for what every shard gets, rather than the first
 * one's. */
static int own_place(float *const *places, int32_t to)
{
    return to == 0 || places[to] != places[0];
}

/* values: z [rows,D], place [rows,1], all rows [2B,D], which every shard gets. */
static moco_status_t gather(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards, float *const *v)
{
    const int64_t width = net->shapes[op->src].c;
    float *const *all = v + 2 * shards;
    for (int32_t to = 0; to < shards; to++)
        for (int32_t s = 0; s < shards && own_place(all, to); s++)
            for (int32_t n = 0; n < rows; n++)
                memcpy(all[to] + (int64_t)v[shards + s][n] * width, v[s] + n * width, (size_t)width * sizeof(float));
    return MOCO_OK;
}

/* values: s [rows,2B], place [rows,1], results [rows,2], log of the denominators [rows,1]. */
static moco_status_t denominators(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    const mo_nt_xent_form_t *form = op->form;
    (void)net;
    for (int32_t n = 0; n < rows; n++) {
        const float *s = v[0] + n * form->rows;
        int64_t self = (int64_t)v[1][n], own = partner(self, form->rows), rank = 0;
        double top = s[own], sum = 0;
        for (int64_t a = 0; a < form->rows; a++) {
            top = a != self && s[a] > top ? s[a] : top;
            rank += a != self && s[a] > s[own];
        }
        for (int64_t a = 0; a < form->rows; a++)
            sum += a != self ? exp(s[a] - top) : 0.0;
        double denominator = top + log(sum);
        v[2][n * MO_LOSS_WIDTH + MO_LOSS_VALUE] = (float)(form->scale * (denominator - s[own]));
        v[2][n * MO_LOSS_WIDTH + MO_LOSS_RANK] = (float)rank;
        v[3][n] = (float)denominator;
    }
    return MOCO_OK;
}

/* values: own logarithms [rows,1], place [rows,1], all of them [2B], which every shard gets. */
static moco_status_t share(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards, float *const *v)
{
    float *const *all = v + 2 * shards;
    (void)op;
    (void)net;
    for (int32_t to = 0; to < shards; to++)
        for (int32_t s = 0; s < shards && own_place(all, to); s++)
            for (int32_t n = 0; n < rows; n++)
                all[to][(int64_t)v[shards + s][n]] = v[s][n];
    return MOCO_OK;
}

/* values: s [rows,2B] becomes the weights of all rows in the gradient, place, own logarithms, all
 * logarithms. */
static moco_status_t weights(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    const mo_nt_xent_form_t *form = op->form;
    const float factor = (float)(form->scale / ((double)form->rows * form->temperature));
    (void)net;
    for (int32_t n = 0; n < rows; n++) {
        float *s = v[0] + n * form->rows, own = v[2][n];
        int64_t self = (int64_t)v[1][n], positive = partner(self, form->rows);
        for (int64_t a = 0; a < form->rows; a++)
            s[a] = (expf(s[a] - own) + expf(s[a] - v[3][a])) * factor;
        s[positive] -= 2.0f * factor;
        s[self] = 0.0f;
    }
    return MOCO_OK;
}

/* ---- the same on a GPU ---- */

static moco_status_t put_places(moco_device_t *device, int32_t rows, int32_t shards, int64_t width,
                                const mo_buffer_t *slots)
{
    const mo_buffer_t *place = slots + shards, *all = slots + 2 * shards;
    moco_status_t status = MOCO_OK;
    for (int32_t to = 0; to < shards; to++)
        for (int32_t s = 0; s < shards && (to == 0 || !mo_buffer_same_place(all[to], all[0])); s++)
            TRY(mo_kernel_run(device, MO_KERNEL_PUT_PLACES, rows * width, mo_arg_buffer(slots[s]),
                              mo_arg_buffer(all[to]), mo_arg_buffer(place[s]), mo_arg_whole(width)));
cleanup:
    return status;
}

static moco_status_t queue_gather(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                  int32_t shards, const mo_buffer_t *slots)
{
    return put_places(device, rows, shards, net->shapes[op->src].c, slots);
}

static moco_status_t queue_share(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                 int32_t shards, const mo_buffer_t *slots)
{
    (void)op;
    (void)net;
    return put_places(device, rows, shards, 1, slots);
}

static moco_status_t queue_denominators(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                        int32_t shards, const mo_buffer_t *slots)
{
    const mo_nt_xent_form_t *form = op->form;
    (void)net;
    (void)shards;
    return mo_kernel_run(device, MO_KERNEL_DENOMINATORS, rows, mo_arg_buffer(slots[0]), mo_arg_buffer(slots[1]),
                         mo_arg_buffer(slots[2]), mo_arg_buffer(slots[3]), mo_arg_whole(form->rows),
                         mo_arg_whole(MO_LOSS_WIDTH), mo_arg_whole(MO_LOSS_VALUE), mo_arg_whole(MO_LOSS_RANK),
                         mo_arg_float((float)form->scale));
}

static moco_status_t queue_weights(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                   int32_t shards, const mo_buffer_t *slots)
{
    const mo_nt_xent_form_t *form = op->form;
    (void)net;
    (void)shards;
    return mo_kernel_run(device, MO_KERNEL_WEIGHTS, rows * form->rows, mo_arg_buffer(slots[0]), mo_arg_buffer(slots[1]),
                         mo_arg_buffer(slots[2]), mo_arg_buffer(slots[3]), mo_arg_whole(form->rows),
                         mo_arg_float((float)(form->scale / ((double)form->rows * form->temperature))));
}

/* ---- the operation ---- */

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const mo_nt_xent_form_t *form = op->form;
    mo_slot_id_t z, place, all, logs, products, results, own;
    int32_t rows = mo_plan_shard(plan), width = mo_tensor_channels(plan, op->src);
    if ((int64_t)rows * mo_plan_shards(plan) != form->rows)
        return mo_fail(MOCO_ERR_ENGINE, "NT-Xent over %lld rows in a group of %d shards of %d, wanted one group",
                       (long long)form->rows, mo_plan_shards(plan), rows);
    TRY(mo_value(plan, op->src, &z));
    TRY(mo_matrix(plan, z, width, &z));
    TRY(mo_value(plan, form->place, &place));
    TRY(mo_value(plan, op->dst, &results));
    TRY(mo_dictionary_slot(plan, 0, form->rows, width, &all));
    TRY(mo_dictionary_slot(plan, form->rows * width, form->rows, 1, &logs));
    TRY(mo_temporary(plan, rows, (int32_t)form->rows, &products));
    TRY(mo_temporary(plan, rows, 1, &own));
    mo_slot_id_t rows_in[] = {z, place, all}, sums[] = {products, place, results, own}, logs_in[] = {own, place, logs};
    TRY(mo_emit_sync(plan, op, gather, queue_gather, "rrw", rows_in));
    TRY(mo_emit_matmul(plan, op, z, all, form->rows, width, 1, (float)(1.0 / form->temperature), products));
    TRY(mo_emit_either(plan, op, denominators, queue_denominators, "rrww", sums));
    TRY(mo_emit_sync(plan, op, share, queue_share, "rrw", logs_in));
    mo_remember(plan, op, 0, products);
    mo_remember(plan, op, 1, own);
    mo_remember(plan, op, 2, all);
    mo_remember(plan, op, 3, logs);
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const mo_nt_xent_form_t *form = op->form;
    mo_slot_id_t d_z, view, place, products = mo_recall(plan, op, 0);
    int32_t width = mo_tensor_channels(plan, op->src);
    TRY(mo_value(plan, form->place, &place));
    TRY(mo_gradient_slot(plan, op->src, &d_z));
    TRY(mo_matrix(plan, d_z, width, &view));
    mo_slot_id_t slots[] = {products, place, mo_recall(plan, op, 1), mo_recall(plan, op, 3)};
    TRY(mo_emit_either(plan, op, weights, queue_weights, "urrr", slots));
    TRY(mo_emit_matmul(plan, op, products, mo_recall(plan, op, 2), form->rows, width, 0, 1.0f, view));
    TRY(mo_gradient_add(plan, op, op->src, d_z));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_nt_xent = {.name = "nt-xent", .forward = forward, .backward = backward, .traits = MO_SYNCS};
