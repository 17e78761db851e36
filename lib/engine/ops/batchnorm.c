/* Batch norm over the images of a group, per channel: y = scale * (x - mean) / sqrt(variance +
 * 1e-5) + shift with the biased variance of the batch, then ReLU if asked. In infer plans the
 * convolution or linear layer before it, or the linear layer behind it, takes it over.
 *
 * By the loops of kernels/norm.c where channels come in multiples of 16, which is what encoders
 * have, for groups of one shard and of several: moments, [synchronisation,] normalisation;
 * backward: sums, [synchronisation,] gradient. Their x and y may be bf16. Else, and in plans made
 * with `primitives`, by oneDNN's primitives (batchnorm_primitives.c). */
#include <math.h>

#include "engine/kernels/epsilon.h"
#include "engine/kernels/norm.h"
#include "engine/ops.h"
#include "engine/ops/batchnorm.h"

static int32_t batchnorm(mo_net_t *net, int32_t src, const char *name, int relu, mo_init_t scale_init,
                         mo_affine_t affine)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_batchnorm, src, NULL, 0);
    if (op == NULL)
        return -1;
    const int64_t dims[1] = {net->shapes[src].c};
    op->activation = relu ? MO_ACTIVATION_RELU : MO_ACTIVATION_NONE;
    op->weights = mo_net_parameter(net, name, "weight", 1, dims, scale_init, 0);
    op->bias = mo_net_parameter(net, name, "bias", 1, dims, MO_INIT_ZERO, 0);
    if (net->failed)
        return -1;
    net->parameters[op->weights].hidden = net->parameters[op->weights].frozen = affine == MO_AFFINE_NONE;
    net->parameters[op->bias].hidden = net->parameters[op->bias].frozen = affine != MO_AFFINE_BOTH;
    op->bn = mo_net_bn(net, name, net->shapes[src].c);
    return mo_net_result_like_src(net, op);
}

int32_t mo_batchnorm(mo_net_t *net, int32_t src, const char *name, int relu, mo_init_t scale_init)
{
    return batchnorm(net, src, name, relu, scale_init, MO_AFFINE_BOTH);
}

int32_t mo_batchnorm_part(mo_net_t *net, int32_t src, const char *name, int relu, mo_affine_t affine)
{
    return batchnorm(net, src, name, relu, MO_INIT_ONE, affine);
}

/* Slots of the group's statistics row: what normalises, and what the commit folds into the running
 * values. */
moco_status_t mo_norm_stats_slots(mo_plan_t *plan, const mo_op_t *op, int32_t *mean, int32_t *variance)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    const mo_bn_t *bn = &plan->net->bns[op->bn];
    dnnl_dims_t dims = {bn->channels};
    int64_t at = bn->offset * (int64_t)sizeof(float);
    TRY(mo_engine_status(mo_md_tag(&md, 1, dims, dnnl_f32, dnnl_a), "describe statistics"));
    TRY(mo_plan_slot(plan, MO_IN_STATS, at, md, mean));
    TRY(mo_plan_slot(plan, MO_IN_STATS, at + bn->channels * (int64_t)sizeof(float), md, variance));
cleanup:
    mo_md_free(md);
    return status;
}

/* ---- synchronisation of the shards, forward: combine (count, mean, variance) pairwise in shard
 * order ---- */

typedef struct moments {
    double n, mean, m2;
} moments_t;

static moments_t merged(moments_t a, moments_t b)
{
    moments_t r;
    double delta = b.mean - a.mean;
    r.n = a.n + b.n;
    r.mean = a.mean + delta * b.n / r.n;
    r.m2 = a.m2 + b.m2 + delta * delta * a.n * b.n / r.n;
    return r;
}

/* Fixed pairwise tree over shards [from, to). */
static moments_t merge_tree(float *const *mean, float *const *variance, int32_t channel, double n, int32_t from,
                            int32_t to)
{
    if (to - from == 1)
        return (moments_t){n, mean[from][channel], (double)variance[from][channel] * n};
    int32_t half = from + (to - from + 1) / 2;
    return merged(merge_tree(mean, variance, channel, n, from, half), merge_tree(mean, variance, channel, n, half, to));
}

moco_status_t mo_norm_sync_statistics(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards,
                                      float *const *values)
{
    const mo_shape_t shape = net->shapes[op->src];
    double n = (double)rows * shape.h * shape.w;
    float *const *mean = values, *const *variance = values + shards;
    for (int32_t c = 0; c < shape.c; c++) {
        moments_t all = merge_tree(mean, variance, c, n, 0, shards);
        for (int32_t s = 0; s < shards; s++) {
            values[2 * shards + s][c] = (float)all.mean;
            values[3 * shards + s][c] = (float)(all.m2 / all.n);
        }
    }
    return MOCO_OK;
}

static double sum_tree(float *const *values, int32_t channel, int32_t from, int32_t to)
{
    if (to - from == 1)
        return values[from][channel];
    int32_t half = from + (to - from + 1) / 2;
    return sum_tree(values, channel, from, half) + sum_tree(values, channel, half, to);
}

/* Backward: every shard has d_src = (scale/sigma) g and its own sums of g and g·x̂; the mean terms
 * need the group's sums: d_src += (x - mean) * k + c with k = -scale * d_scale / (M sigma^2), c =
 * -scale * d_shift / (M sigma). */
moco_status_t mo_norm_sync_gradients(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards,
                                     float *const *values)
{
    const mo_shape_t shape = net->shapes[op->src];
    const double m = (double)rows * shape.h * shape.w * shards, epsilon = (float)MO_BATCHNORM_EPSILON; /* as oneDNN's */
    const float *variance = values[2 * shards], *scale = values[3 * shards];
    for (int32_t c = 0; c < shape.c; c++) {
        double square = (double)variance[c] + epsilon;
        double k = -scale[c] * sum_tree(values, c, 0, shards) / (m * square);
        double shift = -scale[c] * sum_tree(values + shards, c, 0, shards) / (m * sqrt(square));
        for (int32_t s = 0; s < shards; s++) {
            values[4 * shards + s][c] = (float)k;
            values[5 * shards + s][c] = (float)shift;
        }
    }
    return MOCO_OK;
}

/* ---- loops ---- */

static int64_t positions(const mo_op_t *op, const mo_net_t *net, int32_t rows)
{
    mo_shape_t s = net->shapes[op->src];
    return (int64_t)rows * s.h * s.w;
}

static int64_t channels(const mo_op_t *op, const mo_net_t *net)
{
    return net->shapes[op->src].c;
}

static int cuts(const mo_op_t *op)
{
    return op->activation == MO_ACTIVATION_RELU;
}

/* The loops that see x and y, for each of their types: the host functions of an operation in a
 * plan. */

/* values: x, scratch, mean, variance. */
static moco_status_t moments_of(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v, int low)
{
    mo_norm_moments((mo_norm_x_t){v[0], low}, positions(op, net, rows), channels(op, net), (double *)v[1], v[2], v[3]);
    return MOCO_OK;
}

/* values: x, y, mean, variance, scale, shift, factor. */
static moco_status_t normalise_of(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v, int low,
                                  int low_y)
{
    mo_norm_t norm = {.mean = v[2], .variance = v[3], .factor = v[6], .shift = v[5], .relu = cuts(op)};
    mo_norm_factor(v[4], v[3], channels(op, net), v[6]);
    mo_norm_apply((mo_norm_x_t){v[0], low}, positions(op, net, rows), channels(op, net), &norm,
                  (mo_norm_y_t){v[1], low_y});
    return MOCO_OK;
}

/* values: x, d_y, scratch, mean, variance, factor, shift, d_scale, d_shift. */
static moco_status_t sums_of(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v, int low)
{
    mo_norm_t norm = {.mean = v[3], .variance = v[4], .factor = v[5], .shift = v[6], .relu = cuts(op)};
    mo_norm_sums((mo_norm_x_t){v[0], low}, v[1], positions(op, net, rows), channels(op, net), &norm, (double *)v[2],
                 v[7], v[8]);
    return MOCO_OK;
}

/* values: d_scale, d_shift, variance, scale, k, c: the synchronisation of a group of one. */
static moco_status_t sums_of_one(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    return mo_norm_sync_gradients(op, net, rows, 1, v);
}

/* values: x, d_y, d_x, mean, variance, factor, shift, k, c. */
static moco_status_t gradient_of(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v, int low)
{
    mo_norm_t norm = {.mean = v[3], .variance = v[4], .factor = v[5], .shift = v[6], .relu = cuts(op)};
    mo_norm_backward((mo_norm_x_t){v[0], low}, v[1], positions(op, net, rows), channels(op, net), &norm, v[7], v[8],
                     v[2]);
    return MOCO_OK;
}

#define HOST(name, ...)                                                                              \
    static moco_status_t name(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v) \
    {                                                                                                \
        return __VA_ARGS__;                                                                          \
    }
HOST(moments, moments_of(op, net, rows, v, 0))
HOST(moments_low, moments_of(op, net, rows, v, 1))
HOST(normalise, normalise_of(op, net, rows, v, 0, 0))
HOST(normalise_to_low, normalise_of(op, net, rows, v, 0, 1))
HOST(normalise_from_low, normalise_of(op, net, rows, v, 1, 0))
HOST(normalise_low, normalise_of(op, net, rows, v, 1, 1))
HOST(sums, sums_of(op, net, rows, v, 0))
HOST(sums_low, sums_of(op, net, rows, v, 1))
HOST(gradient, gradient_of(op, net, rows, v, 0))
HOST(gradient_low, gradient_of(op, net, rows, v, 1))

enum { MEMO_FACTOR = 0 }; /* where the primitives keep their workspace */

static moco_status_t loops(mo_plan_t *plan, const mo_op_t *op)
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
    const int low = plan->is_low[op->src], low_y = plan->is_low[op->dst];
    const mo_host_fn take_moments = low ? moments_low : moments;
    const mo_host_fn normalises[2][2] = {{normalise, normalise_to_low}, {normalise_from_low, normalise_low}};
    if (mo_plan_syncs(plan)) {
        TRY(mo_temporary(plan, 1, width, &shard_mean));
        TRY(mo_temporary(plan, 1, width, &shard_variance));
        mo_slot_id_t own[] = {src, scratch, shard_mean, shard_variance};
        mo_slot_id_t all[] = {shard_mean, shard_variance, mean, variance};
        TRY(mo_emit_host(plan, op, take_moments, "rwww", own));
        TRY(mo_emit_sync(plan, op, mo_norm_sync_statistics, NULL, "rrww", all));
    } else {
        mo_slot_id_t own[] = {src, scratch, mean, variance};
        TRY(mo_emit_host(plan, op, take_moments, "rwww", own));
    }
    mo_slot_id_t slots[] = {src, dst, mean, variance, scale, shift, factor};
    TRY(mo_emit_host(plan, op, normalises[low][low_y], "rwrrrrw", slots));
    *mo_memo(plan, op, MEMO_FACTOR) = factor;
    *mo_memo(plan, op, MEMO_MEAN) = mean;
    *mo_memo(plan, op, MEMO_VARIANCE) = variance;
cleanup:
    return status;
}

static moco_status_t loops_backward(mo_plan_t *plan, const mo_op_t *op)
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
    const int low = plan->is_low[op->src];
    mo_slot_id_t own[] = {src, d_dst, scratch, mean, variance, factor, shift, d_scale, d_shift};
    mo_slot_id_t terms[] = {d_scale, d_shift, variance, scale, k, c};
    mo_slot_id_t slots[] = {src, d_dst, d_src, mean, variance, factor, shift, k, c};
    TRY(mo_emit_host(plan, op, low ? sums_low : sums, "rrwrrrrww", own));
    TRY(mo_plan_syncs(plan) ? mo_emit_sync(plan, op, mo_norm_sync_gradients, NULL, "rrrrww", terms)
                            : mo_emit_host(plan, op, sums_of_one, "rrrrww", terms));
    TRY(mo_emit_host(plan, op, low ? gradient_low : gradient, "rrwrrrrrr", slots));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

/* ---- either ---- */

static int takes_loops(const mo_plan_t *plan, const mo_op_t *op)
{
    return !plan->primitives && plan->net->bns[op->bn].channels % 16 == 0;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    if (plan->mode == MO_MODE_INFER)
        return mo_fail(MOCO_ERR_ENGINE, "a batch norm was not folded");
    return takes_loops(plan, op) ? loops(plan, op) : mo_batchnorm_primitives(plan, op);
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    return takes_loops(plan, op) ? loops_backward(plan, op) : mo_batchnorm_primitives_backward(plan, op);
}

const mo_op_kind_t mo_kind_batchnorm = {.name = "batch norm",
                                        .forward = forward,
                                        .backward = backward,
                                        .takes_either = takes_loops,
                                        .traits = MO_SYNCS | MO_FOLDS};
