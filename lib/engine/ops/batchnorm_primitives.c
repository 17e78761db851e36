/* Batch norm as oneDNN primitives: one over a group of one shard; statistics, synchronisation and
 * normalisation over several. The form that runs on CPUs is in batchnorm.c. */
#include "engine/kernel.h"
#include "engine/kernels/epsilon.h"
#include "engine/ops/batchnorm.h"

/* A vector of the arena, one float per channel, described as [1,C,1,1] (usable as [C] through the
 * view). */
static moco_status_t channel_vector(mo_plan_t *plan, int32_t channels, int32_t *as_plane, int32_t *as_vector)
{
    moco_status_t status = MOCO_OK;
    mo_md_t plane = NULL, vector = NULL;
    dnnl_dims_t four = {1, channels, 1, 1}, one = {channels};
    TRY(mo_engine_status(mo_md_tag(&plane, 4, four, dnnl_f32, dnnl_nhwc), "describe a channel vector"));
    TRY(mo_engine_status(mo_md_tag(&vector, 1, one, dnnl_f32, dnnl_a), "describe a channel vector"));
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, vector, as_vector));
    TRY(mo_plan_view(plan, *as_vector, plane, as_plane));
cleanup:
    mo_md_free(plane);
    mo_md_free(vector);
    return status;
}

static unsigned flags_of(const mo_plan_t *plan, const mo_op_t *op)
{
    return dnnl_use_scale | dnnl_use_shift |
           (op->activation == MO_ACTIVATION_RELU ? (unsigned)dnnl_fuse_norm_relu : 0u) |
           (mo_plan_syncs(plan) ? (unsigned)dnnl_use_global_stats : 0u);
}

/* ---- meetings of a group's shards on a GPU ---- */

/* The shards' vectors slots[0..shards) and then slots[shards..2*shards), row by row. */
static moco_status_t collect(const mo_buffer_t *slots, int32_t shards, int64_t channels, mo_buffer_t rows)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < 2 * shards && status == MOCO_OK; i++)
        status = mo_buffer_move(mo_buffer_floats(rows, i * channels, channels), slots[i]);
    return status;
}

/* What the first shard has, for those that have a place of their own. */
static moco_status_t hand_out(const mo_buffer_t *slots, int32_t shards)
{
    moco_status_t status = MOCO_OK;
    for (int32_t s = 1; s < shards && status == MOCO_OK; s++)
        if (!mo_buffer_same_place(slots[s], slots[0]))
            status = mo_buffer_move(slots[s], slots[0]);
    return status;
}

/* slots: means and variances of the shards, those of the group, and a place for all of the
 * former. */
static moco_status_t queue_statistics(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                      int32_t shards, const mo_buffer_t *slots)
{
    const mo_shape_t shape = net->shapes[op->src];
    const float n = (float)rows * (float)(shape.h * shape.w);
    const mo_buffer_t *mean = slots + 2 * shards, *variance = slots + 3 * shards, all = slots[4 * shards];
    moco_status_t status = MOCO_OK;
    TRY(collect(slots, shards, shape.c, all));
    TRY(mo_kernel_run(device, MO_KERNEL_STATISTICS, shape.c, mo_arg_buffer(all), mo_arg_whole(shards), mo_arg_float(n),
                      mo_arg_buffer(mean[0]), mo_arg_buffer(variance[0])));
    TRY(hand_out(mean, shards));
    TRY(hand_out(variance, shards));
cleanup:
    return status;
}

/* slots: gradients of scale and shift of the shards, variance, scale, k, c, and a place for all of
 * the first. */
static moco_status_t queue_gradients(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                     int32_t shards, const mo_buffer_t *slots)
{
    const mo_shape_t shape = net->shapes[op->src];
    const float m = (float)rows * (float)(shape.h * shape.w) * (float)shards;
    const mo_buffer_t variance = slots[2 * shards], scale = slots[3 * shards], all = slots[6 * shards];
    const mo_buffer_t *k = slots + 4 * shards, *c = slots + 5 * shards;
    moco_status_t status = MOCO_OK;
    TRY(collect(slots, shards, shape.c, all));
    TRY(mo_kernel_run(device, MO_KERNEL_MEAN_TERMS, shape.c, mo_arg_buffer(all), mo_arg_whole(shards), mo_arg_float(m),
                      mo_arg_float((float)MO_BATCHNORM_EPSILON), mo_arg_buffer(variance), mo_arg_buffer(scale),
                      mo_arg_buffer(k[0]), mo_arg_buffer(c[0])));
    TRY(hand_out(k, shards));
    TRY(hand_out(c, shards));
cleanup:
    return status;
}

/* A place for two vectors of each shard; the host's form of the meeting does not touch it. */
static moco_status_t meeting_place(mo_plan_t *plan, int32_t channels, int32_t *slot)
{
    return mo_temporary(plan, 2 * mo_plan_shards(plan), channels, slot);
}

/* ---- forward ---- */

static moco_status_t shard_statistics(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t dst, int32_t mean,
                                      int32_t variance, mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    int32_t plane, shard_mean, shard_variance, channels = plan->net->bns[op->bn].channels;
    TRY(channel_vector(plan, channels, &plane, &shard_mean));
    TRY(channel_vector(plan, channels, &plane, &shard_variance));
    ENGINE(mo_pd_bn_fwd(&pd, mo_device_engine(plan->device), dnnl_forward_training, MD(plan, src),
                        (float)MO_BATCHNORM_EPSILON, 0, attr),
           "plan batch statistics");
    mo_arg_t args[] = {{DNNL_ARG_SRC, src},
                       {DNNL_ARG_DST, dst}, /* overwritten by the normalisation below */
                       {DNNL_ARG_MEAN, shard_mean},
                       {DNNL_ARG_VARIANCE, shard_variance}};
    TRY(mo_plan_primitive(plan, op, pd, 4, args, "make batch statistics"));
    mo_slot_id_t slots[] = {shard_mean, shard_variance, mean, variance, -1};
    TRY(meeting_place(plan, channels, &slots[4]));
    TRY(mo_emit_sync(plan, op, mo_norm_sync_statistics, queue_statistics, "rrwww", slots));
cleanup:
    return status;
}

moco_status_t mo_batchnorm_primitives(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    int32_t src, dst, mean, variance, scale, shift, workspace = -1;
    int syncs = mo_plan_syncs(plan), train = plan->mode == MO_MODE_TRAIN;
    const unsigned flags = flags_of(plan, op);
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_norm_stats_slots(plan, op, &mean, &variance));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->weights, &scale));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->bias, &shift));
    TRY(mo_attr_plain(&attr));
    if (syncs)
        TRY(shard_statistics(plan, op, src, dst, mean, variance, attr.attr));
    /* Without a backward the normalisation may be an inference primitive, except that only training
     * computes statistics. */
    dnnl_prop_kind_t kind = train || !syncs ? dnnl_forward_training : dnnl_forward_inference;
    ENGINE(mo_pd_bn_fwd(&pd, mo_device_engine(plan->device), kind, MD(plan, src), (float)MO_BATCHNORM_EPSILON, flags,
                        attr.attr),
           "plan a batch norm");
    TRY(mo_plan_choose(plan, &pd, NULL, NULL, "make a batch norm"));
    mo_cmd_t ws = dnnl_primitive_desc_query_md(pd, dnnl_query_workspace_md, 0);
    if (mo_md_size(ws) > 0)
        TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, ws, &workspace));
    if (train)
        TRY(mo_keep_hint(plan, op, 0, pd));
    *mo_memo(plan, op, MEMO_WORKSPACE) = workspace;
    *mo_memo(plan, op, MEMO_MEAN) = mean;
    *mo_memo(plan, op, MEMO_VARIANCE) = variance;
    mo_arg_t args[] = {
        {DNNL_ARG_SRC, src},   {DNNL_ARG_DST, dst},           {DNNL_ARG_SCALE, scale},        {DNNL_ARG_SHIFT, shift},
        {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance}, {DNNL_ARG_WORKSPACE, workspace}};
    dnnl_primitive_desc_t given = pd;
    pd = NULL;
    TRY(mo_plan_chosen(plan, op, given, 7, args, "make a batch norm"));
cleanup:
    if (pd != NULL)
        dnnl_primitive_desc_destroy(pd);
    mo_attr_free(&attr);
    return status;
}

/* ---- backward ---- */

/* d_src += (x - mean) * k + c, one binary primitive with post-ops. */
static moco_status_t mean_terms(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t mean, int32_t k, int32_t c,
                                int32_t d_src)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    ENGINE(mo_attr_begin(&attr), "make attributes");
    ENGINE(mo_attr_binary(&attr, dnnl_binary_mul, MD(plan, k)), "fuse a product");
    ENGINE(mo_attr_binary(&attr, dnnl_binary_add, MD(plan, c)), "fuse a sum");
    ENGINE(mo_attr_sum(&attr, 1.0f), "fuse a sum");
    ENGINE(mo_attr_end(&attr), "make attributes");
    ENGINE(mo_pd_binary(&pd, mo_device_engine(plan->device), dnnl_binary_sub, MD(plan, src), MD(plan, mean),
                        MD(plan, d_src), attr.attr),
           "plan the mean terms of a batch norm's gradient");
    mo_arg_t args[] = {{DNNL_ARG_SRC_0, src},
                       {DNNL_ARG_SRC_1, mean},
                       {DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, k},
                       {DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1, c},
                       {DNNL_ARG_DST, d_src}};
    TRY(mo_plan_primitive(plan, op, pd, 5, args, "make the mean terms of a batch norm's gradient"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

static moco_status_t sync_backward(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t d_src, int32_t mean,
                                   int32_t variance, int32_t scale, int32_t d_scale, int32_t d_shift)
{
    moco_status_t status = MOCO_OK;
    mo_md_t plane = NULL;
    int32_t channels = plan->net->bns[op->bn].channels, k, k_plane, c, c_plane, mean_plane;
    dnnl_dims_t four = {1, channels, 1, 1};
    TRY(channel_vector(plan, channels, &k_plane, &k));
    TRY(channel_vector(plan, channels, &c_plane, &c));
    mo_slot_id_t slots[] = {d_scale, d_shift, variance, scale, k, c, -1};
    TRY(meeting_place(plan, channels, &slots[6]));
    TRY(mo_emit_sync(plan, op, mo_norm_sync_gradients, queue_gradients, "rrrrwww", slots));
    ENGINE(mo_md_tag(&plane, 4, four, dnnl_f32, dnnl_nhwc), "describe a channel vector");
    TRY(mo_plan_view(plan, mean, plane, &mean_plane));
    TRY(mean_terms(plan, op, src, mean_plane, k_plane, c_plane, d_src));
cleanup:
    mo_md_free(plane);
    return status;
}

moco_status_t mo_batchnorm_primitives_backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    int32_t src, d_dst, d_src, scale, shift, d_scale, d_shift;
    int32_t mean = *mo_memo(plan, op, MEMO_MEAN), variance = *mo_memo(plan, op, MEMO_VARIANCE);
    int syncs = mo_plan_syncs(plan);
    const unsigned flags = flags_of(plan, op);
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->weights, &scale));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->bias, &shift));
    TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->weights, &d_scale));
    TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->bias, &d_shift));
    TRY(mo_attr_plain(&attr));
    if (mo_gradient_owned(plan, op->dst))
        d_src = d_dst; /* over the incoming gradient: nobody reads it again */
    else
        TRY(mo_gradient_slot(plan, op->src, &d_src));
    ENGINE(mo_pd_bn_bwd(&pd, mo_device_engine(plan->device), MD(plan, src), (float)MO_BATCHNORM_EPSILON, flags,
                        *mo_hint(plan, op, 0), attr.attr),
           "plan a batch norm's gradient");
    TRY(mo_plan_choose(plan, &pd, *mo_hint(plan, op, 0), NULL, "make a batch norm's gradient"));
    mo_arg_t args[] = {{DNNL_ARG_SRC, src},
                       {DNNL_ARG_DIFF_DST, d_dst},
                       {DNNL_ARG_MEAN, mean},
                       {DNNL_ARG_VARIANCE, variance},
                       {DNNL_ARG_SCALE, scale},
                       {DNNL_ARG_SHIFT, mo_bn_bwd_takes_shift() ? shift : -1},
                       {DNNL_ARG_WORKSPACE, *mo_memo(plan, op, MEMO_WORKSPACE)},
                       {DNNL_ARG_DIFF_SRC, d_src},
                       {DNNL_ARG_DIFF_SCALE, d_scale},
                       {DNNL_ARG_DIFF_SHIFT, d_shift}};
    TRY(mo_plan_chosen(plan, op, pd, 10, args, "make a batch norm's gradient"));
    if (syncs)
        TRY(sync_backward(plan, op, src, d_src, mean, variance, scale, d_scale, d_shift));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    mo_attr_free(&attr);
    return status;
}
