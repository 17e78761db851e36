/* Batch norm by the loops of norm_loops.c, for groups of one shard and of several: moments, [synchronisation,] normalisation;
 * backward: sums, [synchronisation,] gradient. The primitives' form is emit_norm.c; plans made with `primitives` use that. */
#include <math.h>

#include "engine/ops/emit_internal.h"
#include "engine/ops/batchnorm.h"
#include "engine/kernels/norm.h"

static int64_t positions(const mo_op_t *op, const mo_net_t *net, int32_t rows)
{
    mo_shape_t s = net->shapes[op->src];
    return (int64_t)rows * s.h * s.w;
}

static int64_t channels(const mo_op_t *op, const mo_net_t *net)
{
    return net->shapes[op->src].c;
}

/* values: x, scratch, mean, variance. */
static moco_status_t moments(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_norm_moments(v[0], positions(op, net, rows), channels(op, net), (double *)v[1], v[2], v[3]);
    return MOCO_OK;
}

/* values: x, y, mean, variance, scale, shift, factor. */
static moco_status_t normalise(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_norm_t norm = {.mean = v[2], .variance = v[3], .factor = v[6], .shift = v[5], .relu = op->relu};
    mo_norm_factor(v[4], v[3], channels(op, net), v[6]);
    mo_norm_apply(v[0], positions(op, net, rows), channels(op, net), &norm, v[1]);
    return MOCO_OK;
}

/* values: x, d_y, scratch, mean, variance, factor, shift, d_scale, d_shift. */
static moco_status_t sums(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_norm_t norm = {.mean = v[3], .variance = v[4], .factor = v[5], .shift = v[6], .relu = op->relu};
    mo_norm_sums(v[0], v[1], positions(op, net, rows), channels(op, net), &norm, (double *)v[2], v[7], v[8]);
    return MOCO_OK;
}

/* values: d_scale, d_shift, variance, scale, k, c: the synchronisation of a group of one. */
static moco_status_t sums_of_one(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    return mo_norm_sync_gradients(op, net, rows, 1, v);
}

/* values: x, d_y, d_x, mean, variance, factor, shift, k, c. */
static moco_status_t gradient(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_norm_t norm = {.mean = v[3], .variance = v[4], .factor = v[5], .shift = v[6], .relu = op->relu};
    mo_norm_backward(v[0], v[1], positions(op, net, rows), channels(op, net), &norm, v[7], v[8], v[2]);
    return MOCO_OK;
}

int mo_norm_takes_loops(const mo_plan_t *plan, const mo_op_t *op)
{
    return !plan->primitives && plan->net->bns[op->bn].channels % 16 == 0;
}

enum { MEMO_FACTOR = 0 }; /* where the primitives keep their workspace */

moco_status_t mo_emit_norm_loops(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    int32_t src, dst, mean, variance, scale, shift, scratch, factor, width = plan->net->bns[op->bn].channels;
    int32_t shard_mean, shard_variance;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_norm_stats_slots(plan, op, &mean, &variance));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->weights, &scale));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->bias, &shift));
    TRY(mo_temporary(plan, 4, width, &scratch));
    TRY(mo_temporary(plan, 1, width, &factor));
    if (mo_plan_syncs(plan)) {
        TRY(mo_temporary(plan, 1, width, &shard_mean));
        TRY(mo_temporary(plan, 1, width, &shard_variance));
        mo_slot_id_t own[] = {src, scratch, shard_mean, shard_variance};
        mo_slot_id_t all[] = {shard_mean, shard_variance, mean, variance};
        TRY(mo_emit_host(plan, op, moments, 4, own));
        TRY(mo_emit_sync(plan, op, mo_norm_sync_statistics, 4, all));
    } else {
        mo_slot_id_t own[] = {src, scratch, mean, variance};
        TRY(mo_emit_host(plan, op, moments, 4, own));
    }
    mo_slot_id_t slots[] = {src, dst, mean, variance, scale, shift, factor};
    TRY(mo_emit_host(plan, op, normalise, 7, slots));
    *mo_memo(plan, op, MEMO_FACTOR) = factor;
    *mo_memo(plan, op, MEMO_MEAN) = mean;
    *mo_memo(plan, op, MEMO_VARIANCE) = variance;
cleanup:
    return status;
}

moco_status_t mo_emit_norm_loops_backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    int32_t src, d_dst, d_src, scale, shift, d_scale, d_shift, scratch, k, c;
    int32_t width = plan->net->bns[op->bn].channels, mean = *mo_memo(plan, op, MEMO_MEAN);
    int32_t variance = *mo_memo(plan, op, MEMO_VARIANCE), factor = *mo_memo(plan, op, MEMO_FACTOR);
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->weights, &scale));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->bias, &shift));
    TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->weights, &d_scale));
    TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->bias, &d_shift));
    TRY(mo_temporary(plan, 4, width, &scratch));
    TRY(mo_temporary(plan, 1, width, &k));
    TRY(mo_temporary(plan, 1, width, &c));
    if (mo_gradient_owned(plan, op->dst))
        d_src = d_dst; /* over the incoming gradient: nobody reads it again */
    else
        TRY(mo_gradient_slot(plan, op->src, &d_src));
    mo_slot_id_t own[] = {src, d_dst, scratch, mean, variance, factor, shift, d_scale, d_shift};
    mo_slot_id_t terms[] = {d_scale, d_shift, variance, scale, k, c};
    mo_slot_id_t slots[] = {src, d_dst, d_src, mean, variance, factor, shift, k, c};
    TRY(mo_emit_host(plan, op, sums, 9, own));
    TRY(mo_plan_syncs(plan) ? mo_emit_sync(plan, op, mo_norm_sync_gradients, 6, terms)
                            : mo_emit_host(plan, op, sums_of_one, 6, terms));
    TRY(mo_emit_host(plan, op, gradient, 9, slots));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}
