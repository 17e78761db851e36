/* Batch norm as oneDNN primitives: one over a group of one shard; statistics, synchronisation and
 * normalisation over several. The form that runs on CPUs is in batchnorm.c. */
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
    mo_slot_id_t slots[] = {shard_mean, shard_variance, mean, variance};
    TRY(mo_emit_sync(plan, op, mo_norm_sync_statistics, "rrww", slots));
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
    mo_slot_id_t slots[] = {d_scale, d_shift, variance, scale, k, c};
    TRY(mo_emit_sync(plan, op, mo_norm_sync_gradients, "rrrrww", slots));
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
