/* oneDNN 3.x: the calls of compat.h pass through. */
#include "engine/onednn/compat_internal.h"

#if DNNL_VERSION_MAJOR < 3
#error "compat_2.c is the file for this oneDNN"
#endif

dnnl_status_t mo_md_tag(mo_md_t *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(md, rank, dims, type, tag);
}

dnnl_status_t mo_md_strides(mo_md_t *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                            const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(md, rank, dims, type, strides);
}

dnnl_status_t mo_md_clone(mo_md_t *md, mo_cmd_t from)
{
    return dnnl_memory_desc_clone(md, from);
}

void mo_md_free(mo_md_t md)
{
    if (md != NULL)
        dnnl_memory_desc_destroy(md);
}

size_t mo_md_size(mo_cmd_t md)
{
    return md != NULL ? dnnl_memory_desc_get_size(md) : 0;
}

int mo_md_equal(mo_cmd_t a, mo_cmd_t b)
{
    return dnnl_memory_desc_equal(a, b);
}

dnnl_data_type_t mo_md_type(mo_cmd_t md)
{
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_memory_desc_query(md, dnnl_query_data_type, &type);
    return type;
}

dnnl_status_t mo_attr_eltwise(mo_attr_t *attr, dnnl_alg_kind_t alg, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(attr->ops, alg, alpha, beta);
}

dnnl_status_t mo_attr_sum(mo_attr_t *attr, float scale)
{
    return dnnl_post_ops_append_sum(attr->ops, scale, 0, dnnl_data_type_undef);
}

int mo_bn_bwd_takes_shift(void)
{
    return 0;
}

dnnl_status_t mo_pd_conv_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t src,
                             mo_cmd_t weights, mo_cmd_t bias, mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    return dnnl_convolution_forward_primitive_desc_create(pd, e, kind, dnnl_convolution_direct, src, weights, bias, dst,
                                                          d.strides, d.dilates, d.pads, d.ends, attr);
}

dnnl_status_t mo_pd_winograd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t weights, mo_cmd_t bias,
                             mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    return dnnl_convolution_forward_primitive_desc_create(pd, e, dnnl_forward_inference, dnnl_convolution_winograd, src,
                                                          weights, bias, dst, d.strides, d.dilates, d.pads, d.ends,
                                                          attr);
}

dnnl_status_t mo_pd_conv_bwd_data(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t d_src, mo_cmd_t weights,
                                  mo_cmd_t d_dst, const mo_window_t *w, const_dnnl_primitive_desc_t hint,
                                  mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    return dnnl_convolution_backward_data_primitive_desc_create(pd, e, dnnl_convolution_direct, d_src, weights, d_dst,
                                                                d.strides, d.dilates, d.pads, d.pads, hint, attr);
}

dnnl_status_t mo_pd_conv_bwd_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t d_weights,
                                     mo_cmd_t d_bias, mo_cmd_t d_dst, const mo_window_t *w,
                                     const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, e, dnnl_convolution_direct, src, d_weights,
                                                                   d_bias, d_dst, d.strides, d.dilates, d.pads, d.pads,
                                                                   hint, attr);
}

dnnl_status_t mo_pd_linear_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t src,
                               mo_cmd_t weights, mo_cmd_t bias, mo_cmd_t dst, mo_cattr_t attr)
{
    return dnnl_inner_product_forward_primitive_desc_create(pd, e, kind, src, weights, bias, dst, attr);
}

dnnl_status_t mo_pd_linear_bwd_data(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t d_src, mo_cmd_t weights,
                                    mo_cmd_t d_dst, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    return dnnl_inner_product_backward_data_primitive_desc_create(pd, e, d_src, weights, d_dst, hint, attr);
}

dnnl_status_t mo_pd_linear_bwd_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t d_weights,
                                       mo_cmd_t d_bias, mo_cmd_t d_dst, const_dnnl_primitive_desc_t hint,
                                       mo_cattr_t attr)
{
    return dnnl_inner_product_backward_weights_primitive_desc_create(pd, e, src, d_weights, d_bias, d_dst, hint, attr);
}

dnnl_status_t mo_pd_bn_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                           float epsilon, unsigned flags, mo_cattr_t attr)
{
    return dnnl_batch_normalization_forward_primitive_desc_create(pd, e, kind, data, data, epsilon, flags, attr);
}

dnnl_status_t mo_pd_bn_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, float epsilon, unsigned flags,
                           const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    return dnnl_batch_normalization_backward_primitive_desc_create(pd, e, dnnl_backward, data, data, data, epsilon,
                                                                   flags, hint, attr);
}

dnnl_status_t mo_pd_ln_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                           mo_cmd_t stat, float epsilon, unsigned flags, mo_cattr_t attr)
{
    return dnnl_layer_normalization_forward_primitive_desc_create(pd, e, kind, data, data, stat, epsilon, flags, attr);
}

dnnl_status_t mo_pd_ln_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, mo_cmd_t stat, float epsilon,
                           unsigned flags, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    return dnnl_layer_normalization_backward_primitive_desc_create(pd, e, dnnl_backward, data, data, data, stat,
                                                                   epsilon, flags, hint, attr);
}

dnnl_status_t mo_pd_pool_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, dnnl_alg_kind_t alg,
                             mo_cmd_t src, mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    return dnnl_pooling_forward_primitive_desc_create(pd, e, kind, alg, src, dst, d.strides, d.kernel, d.dilates,
                                                      d.pads, d.pads, attr);
}

dnnl_status_t mo_pd_pool_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t d_src,
                             mo_cmd_t d_dst, const mo_window_t *w, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    return dnnl_pooling_backward_primitive_desc_create(pd, e, alg, d_src, d_dst, d.strides, d.kernel, d.dilates, d.pads,
                                                       d.pads, hint, attr);
}

dnnl_status_t mo_pd_eltwise_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t data,
                                float alpha, float beta, mo_cattr_t attr)
{
    return dnnl_eltwise_forward_primitive_desc_create(pd, e, dnnl_forward_training, alg, data, data, alpha, beta, attr);
}

dnnl_status_t mo_pd_eltwise_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t data,
                                float alpha, float beta, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    return dnnl_eltwise_backward_primitive_desc_create(pd, e, alg, data, data, data, alpha, beta, hint, attr);
}

dnnl_status_t mo_pd_binary(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t src0,
                           mo_cmd_t src1, mo_cmd_t dst, mo_cattr_t attr)
{
    return dnnl_binary_primitive_desc_create(pd, e, alg, src0, src1, dst, attr);
}

dnnl_status_t mo_pd_reduction(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t src,
                              mo_cmd_t dst, mo_cattr_t attr)
{
    return dnnl_reduction_primitive_desc_create(pd, e, alg, src, dst, 0.0f, 0.0f, attr);
}

dnnl_status_t mo_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t weights, mo_cmd_t bias,
                           mo_cmd_t dst, mo_cattr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, e, src, weights, bias, dst, attr);
}

dnnl_status_t mo_pd_softmax_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                                int axis, mo_cattr_t attr)
{
    return dnnl_softmax_forward_primitive_desc_create(pd, e, kind, dnnl_softmax_accurate, data, data, axis, attr);
}

dnnl_status_t mo_pd_softmax_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, int axis,
                                const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    return dnnl_softmax_backward_primitive_desc_create(pd, e, dnnl_softmax_accurate, data, data, data, axis, hint,
                                                       attr);
}

/* By number: a library may be newer than the headers. The AVX10_1 sets are oneDNN's other names of
 * AVX512_CORE_FP16, AVX512_CORE_AMX and AVX512_CORE_AMX_FP16. */
const mo_isa_t mo_isas[] = {{0x1, "SSE41"},
                            {0x3, "AVX"},
                            {0x7, "AVX2"},
                            {0xf, "AVX2_VNNI"},
                            {0x1f, "AVX2_VNNI_2"},
                            {0x27, "AVX512_CORE"},
                            {0x67, "AVX512_CORE_VNNI"},
                            {0xe7, "AVX512_CORE_BF16"},
                            {0x1ef, "AVX512_CORE_FP16"},
                            {0xfef, "AVX512_CORE_AMX"},
                            {0x1fef, "AVX512_CORE_AMX_FP16"},
                            {0x201ff, "AVX10_2"},
                            {0x22fff, "AVX10_2_AMX_2"},
                            {0, NULL}};

/* ---- implementations ---- */

dnnl_status_t mo_walk_next(mo_walk_t *walk, dnnl_primitive_desc_t *pd, dnnl_engine_t e,
                           const_dnnl_primitive_desc_t hint)
{
    (void)e;
    (void)hint;
    const dnnl_status_t status = dnnl_primitive_desc_next_impl(*pd);
    walk->number += status == dnnl_success;
    return status;
}

void mo_walk_end(mo_walk_t *walk)
{
    (void)walk;
}

/* ---- what a descriptor computes ---- */

static void copy(int64_t *to, const dnnl_dims_t from, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = from[i];
}

/* One of the arrays that a memory descriptor has. */
static int md_dims(mo_cmd_t md, dnnl_query_t what, int count, int64_t *to)
{
    const dnnl_dims_t *found = NULL;
    if (dnnl_memory_desc_query(md, what, (void *)&found) != dnnl_success || (found == NULL && count > 0))
        return 0;
    if (count > 0)
        copy(to, *found, count);
    return 1;
}

int mo_md_layout(mo_cmd_t md, mo_layout_t *layout)
{
    int rank = 0, blocks = 0;
    dnnl_dim_t from = 0;
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    layout->rank = 0;
    if (md == NULL || dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank) != dnnl_success || rank == 0)
        return 1;
    if (dnnl_memory_desc_query(md, dnnl_query_data_type, &type) != dnnl_success ||
        dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind) != dnnl_success || kind != dnnl_blocked ||
        !mo_type_is_known(type) || rank > MO_RANK ||
        dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &from) != dnnl_success || from != 0 ||
        dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &blocks) != dnnl_success || blocks > MO_BLOCKS)
        return 0;
    layout->rank = rank;
    layout->type = type;
    layout->blocks = blocks;
    return md_dims(md, dnnl_query_dims, rank, layout->dims) &&
           md_dims(md, dnnl_query_padded_dims, rank, layout->padded) &&
           md_dims(md, dnnl_query_strides, rank, layout->strides) &&
           md_dims(md, dnnl_query_inner_blks, blocks, layout->block) &&
           md_dims(md, dnnl_query_inner_idxs, blocks, layout->block_dim);
}

dnnl_status_t mo_post_eltwise(const_dnnl_post_ops_t ops, int number, mo_post_t *post)
{
    return dnnl_post_ops_get_params_eltwise(ops, number, &post->alg, &post->alpha, &post->beta);
}

dnnl_status_t mo_post_sum(const_dnnl_post_ops_t ops, int number, mo_post_t *post)
{
    return dnnl_post_ops_get_params_sum(ops, number, &post->alpha, NULL, NULL);
}

static mo_computes_t computes(dnnl_primitive_kind_t kind)
{
    switch ((int)kind) {
    case dnnl_convolution: return MO_COMPUTES_CONV;
    case dnnl_inner_product: return MO_COMPUTES_INNER;
    case dnnl_matmul: return MO_COMPUTES_MATMUL;
    case dnnl_binary: return MO_COMPUTES_BINARY;
    case dnnl_reduction: return MO_COMPUTES_REDUCTION;
    case dnnl_eltwise: return MO_COMPUTES_ELTWISE;
    case dnnl_softmax: return MO_COMPUTES_SOFTMAX;
    case dnnl_pooling: return MO_COMPUTES_POOL;
    case dnnl_reorder: return MO_COMPUTES_COPY;
    default: return MO_COMPUTES_OTHER;
    }
}

/* What is asked and does not belong to the kind of primitive stays as it was. */
void mo_pd_formula(const_dnnl_primitive_desc_t pd, mo_formula_t *formula)
{
    dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
    dnnl_prop_kind_t prop = dnnl_prop_kind_undef;
    const dnnl_dims_t *dims = NULL;
    *formula = (mo_formula_t){.computes = MO_COMPUTES_OTHER};
    dnnl_primitive_desc_query(pd, dnnl_query_primitive_kind, 0, &kind);
    formula->post_count = mo_pd_posts(pd, formula->posts);
    if (formula->post_count < 0)
        return;
    formula->computes = computes(kind);
    dnnl_primitive_desc_query(pd, dnnl_query_prop_kind, 0, &prop);
    formula->direction = prop == dnnl_backward_weights                         ? MO_BACK_WEIGHTS
                         : prop == dnnl_backward || prop == dnnl_backward_data ? MO_BACK_SOURCE
                                                                               : MO_FORWARD;
    dnnl_primitive_desc_query(pd, dnnl_query_alg_kind, 0, &formula->alg);
    dnnl_primitive_desc_query(pd, dnnl_query_alpha_f32, 0, &formula->alpha);
    dnnl_primitive_desc_query(pd, dnnl_query_beta_f32, 0, &formula->beta);
    dnnl_primitive_desc_query(pd, dnnl_query_axis_s32, 0, &formula->axis);
    if (formula->computes != MO_COMPUTES_CONV && formula->computes != MO_COMPUTES_POOL)
        return;
    if (dnnl_primitive_desc_query(pd, dnnl_query_strides, 0, (void *)&dims) == dnnl_success)
        copy(formula->strides, *dims, 2);
    if (dnnl_primitive_desc_query(pd, dnnl_query_padding_l, 0, (void *)&dims) == dnnl_success)
        copy(formula->pads, *dims, 2);
    if (formula->computes == MO_COMPUTES_POOL &&
        dnnl_primitive_desc_query(pd, dnnl_query_kernel, 0, (void *)&dims) == dnnl_success)
        copy(formula->kernel, *dims, 2);
}
