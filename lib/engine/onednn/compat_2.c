/* oneDNN 2.6: the calls of compat.h translated. */
#include "engine/onednn/compat_internal.h"

#if DNNL_VERSION_MAJOR >= 3
#error "compat_3.c is the file for this oneDNN"
#endif

#include <stdlib.h>

static dnnl_status_t md_alloc(mo_md_t *md)
{
    *md = calloc(1, sizeof **md);
    return *md != NULL ? dnnl_success : dnnl_out_of_memory;
}

static dnnl_status_t md_checked(mo_md_t *md, dnnl_status_t status)
{
    if (status != dnnl_success) {
        free(*md);
        *md = NULL;
    }
    return status;
}

dnnl_status_t mo_md_tag(mo_md_t *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    RETURN_IF(md_alloc(md));
    return md_checked(md, dnnl_memory_desc_init_by_tag(*md, rank, dims, type, tag));
}

dnnl_status_t mo_md_strides(mo_md_t *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                            const dnnl_dims_t strides)
{
    RETURN_IF(md_alloc(md));
    return md_checked(md, dnnl_memory_desc_init_by_strides(*md, rank, dims, type, strides));
}

dnnl_status_t mo_md_clone(mo_md_t *md, mo_cmd_t from)
{
    RETURN_IF(md_alloc(md));
    **md = *from;
    return dnnl_success;
}

void mo_md_free(mo_md_t md)
{
    free(md);
}

size_t mo_md_size(mo_cmd_t md)
{
    return md != NULL && md->ndims > 0 ? dnnl_memory_desc_get_size(md) : 0;
}

int mo_md_equal(mo_cmd_t a, mo_cmd_t b)
{
    return dnnl_memory_desc_equal(a, b);
}

dnnl_data_type_t mo_md_type(mo_cmd_t md)
{
    return md->data_type;
}

dnnl_status_t mo_attr_eltwise(mo_attr_t *attr, dnnl_alg_kind_t alg, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(attr->ops, 1.0f, alg, alpha, beta);
}

dnnl_status_t mo_attr_sum(mo_attr_t *attr, float scale)
{
    return dnnl_post_ops_append_sum(attr->ops, scale);
}

int mo_bn_bwd_takes_shift(void)
{
    return 1;
}

#define CREATE(desc, hint) dnnl_primitive_desc_create(pd, &(desc), attr, e, hint)

dnnl_status_t mo_pd_conv_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t src,
                             mo_cmd_t weights, mo_cmd_t bias, mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    dnnl_convolution_desc_t desc;
    RETURN_IF(dnnl_dilated_convolution_forward_desc_init(&desc, kind, dnnl_convolution_direct, src, weights, bias, dst,
                                                         d.strides, d.dilates, d.pads, d.ends));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_winograd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t weights, mo_cmd_t bias,
                             mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    dnnl_convolution_desc_t desc;
    RETURN_IF(dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_winograd, src,
                                                         weights, bias, dst, d.strides, d.dilates, d.pads, d.ends));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_conv_bwd_data(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t d_src, mo_cmd_t weights,
                                  mo_cmd_t d_dst, const mo_window_t *w, const_dnnl_primitive_desc_t hint,
                                  mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    dnnl_convolution_desc_t desc;
    RETURN_IF(dnnl_dilated_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, d_src, weights, d_dst,
                                                               d.strides, d.dilates, d.pads, d.pads));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_conv_bwd_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t d_weights,
                                     mo_cmd_t d_bias, mo_cmd_t d_dst, const mo_window_t *w,
                                     const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    dnnl_convolution_desc_t desc;
    RETURN_IF(dnnl_dilated_convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, src, d_weights,
                                                                  d_bias, d_dst, d.strides, d.dilates, d.pads, d.pads));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_linear_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t src,
                               mo_cmd_t weights, mo_cmd_t bias, mo_cmd_t dst, mo_cattr_t attr)
{
    dnnl_inner_product_desc_t desc;
    RETURN_IF(dnnl_inner_product_forward_desc_init(&desc, kind, src, weights, bias, dst));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_linear_bwd_data(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t d_src, mo_cmd_t weights,
                                    mo_cmd_t d_dst, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    dnnl_inner_product_desc_t desc;
    RETURN_IF(dnnl_inner_product_backward_data_desc_init(&desc, d_src, weights, d_dst));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_linear_bwd_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t d_weights,
                                       mo_cmd_t d_bias, mo_cmd_t d_dst, const_dnnl_primitive_desc_t hint,
                                       mo_cattr_t attr)
{
    dnnl_inner_product_desc_t desc;
    RETURN_IF(dnnl_inner_product_backward_weights_desc_init(&desc, src, d_weights, d_bias, d_dst));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_bn_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                           float epsilon, unsigned flags, mo_cattr_t attr)
{
    dnnl_batch_normalization_desc_t desc;
    RETURN_IF(dnnl_batch_normalization_forward_desc_init(&desc, kind, data, epsilon, flags));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_bn_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, float epsilon, unsigned flags,
                           const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    dnnl_batch_normalization_desc_t desc;
    RETURN_IF(dnnl_batch_normalization_backward_desc_init(&desc, dnnl_backward, data, data, epsilon, flags));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_ln_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                           mo_cmd_t stat, float epsilon, unsigned flags, mo_cattr_t attr)
{
    dnnl_layer_normalization_desc_t desc;
    RETURN_IF(dnnl_layer_normalization_forward_desc_init(&desc, kind, data, stat, epsilon, flags));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_ln_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, mo_cmd_t stat, float epsilon,
                           unsigned flags, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    dnnl_layer_normalization_desc_t desc;
    RETURN_IF(dnnl_layer_normalization_backward_desc_init(&desc, dnnl_backward, data, data, stat, epsilon, flags));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_pool_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, dnnl_alg_kind_t alg,
                             mo_cmd_t src, mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    dnnl_pooling_v2_desc_t desc;
    RETURN_IF(
        dnnl_pooling_v2_forward_desc_init(&desc, kind, alg, src, dst, d.strides, d.kernel, d.dilates, d.pads, d.pads));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_pool_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t d_src,
                             mo_cmd_t d_dst, const mo_window_t *w, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    mo_window_dims_t d = mo_window_dims(w);
    dnnl_pooling_v2_desc_t desc;
    RETURN_IF(
        dnnl_pooling_v2_backward_desc_init(&desc, alg, d_src, d_dst, d.strides, d.kernel, d.dilates, d.pads, d.pads));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_eltwise_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t data,
                                float alpha, float beta, mo_cattr_t attr)
{
    dnnl_eltwise_desc_t desc;
    RETURN_IF(dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_training, alg, data, alpha, beta));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_eltwise_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t data,
                                float alpha, float beta, const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    dnnl_eltwise_desc_t desc;
    RETURN_IF(dnnl_eltwise_backward_desc_init(&desc, alg, data, data, alpha, beta));
    return CREATE(desc, hint);
}

dnnl_status_t mo_pd_binary(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t src0,
                           mo_cmd_t src1, mo_cmd_t dst, mo_cattr_t attr)
{
    dnnl_binary_desc_t desc;
    RETURN_IF(dnnl_binary_desc_init(&desc, alg, src0, src1, dst));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_reduction(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t src,
                              mo_cmd_t dst, mo_cattr_t attr)
{
    dnnl_reduction_desc_t desc;
    RETURN_IF(dnnl_reduction_desc_init(&desc, alg, src, dst, 0.0f, 0.0f));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t weights, mo_cmd_t bias,
                           mo_cmd_t dst, mo_cattr_t attr)
{
    dnnl_matmul_desc_t desc;
    RETURN_IF(dnnl_matmul_desc_init(&desc, src, weights, bias, dst));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_softmax_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                                int axis, mo_cattr_t attr)
{
    dnnl_softmax_v2_desc_t desc;
    RETURN_IF(dnnl_softmax_v2_forward_desc_init(&desc, kind, dnnl_softmax_accurate, data, data, axis));
    return CREATE(desc, NULL);
}

dnnl_status_t mo_pd_softmax_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, int axis,
                                const_dnnl_primitive_desc_t hint, mo_cattr_t attr)
{
    dnnl_softmax_v2_desc_t desc;
    RETURN_IF(dnnl_softmax_v2_backward_desc_init(&desc, dnnl_softmax_accurate, data, data, data, axis));
    return CREATE(desc, hint);
}

const mo_isa_t mo_isas[] = {{dnnl_cpu_isa_sse41, "SSE41"},
                            {dnnl_cpu_isa_avx, "AVX"},
                            {dnnl_cpu_isa_avx2, "AVX2"},
                            {dnnl_cpu_isa_avx2_vnni, "AVX2_VNNI"},
                            {dnnl_cpu_isa_avx512_mic, "AVX512_MIC"},
                            {dnnl_cpu_isa_avx512_mic_4ops, "AVX512_MIC_4OPS"},
                            {dnnl_cpu_isa_avx512_core, "AVX512_CORE"},
                            {dnnl_cpu_isa_avx512_core_vnni, "AVX512_CORE_VNNI"},
                            {dnnl_cpu_isa_avx512_core_bf16, "AVX512_CORE_BF16"},
                            {dnnl_cpu_isa_avx512_core_amx, "AVX512_CORE_AMX"},
                            {0, NULL}};

/* ---- implementations ---- */

static dnnl_status_t begin_walk(mo_walk_t *walk, const_dnnl_primitive_desc_t pd, dnnl_engine_t e,
                                const_dnnl_primitive_desc_t hint)
{
    const_dnnl_op_desc_t desc = NULL;
    const_dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_iterator_t all = NULL;
    dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
    dnnl_primitive_desc_query(pd, dnnl_query_primitive_kind, 0, &kind);
    if (kind == dnnl_reorder)
        return MO_NO_MORE; /* it has no list */
    RETURN_IF(dnnl_primitive_desc_query(pd, dnnl_query_op_d, 0, (void *)&desc));
    RETURN_IF(dnnl_primitive_desc_get_attr(pd, &attr));
    const dnnl_status_t status = dnnl_primitive_desc_iterator_create(&all, desc, attr, e, hint);
    walk->iterator = all;
    return status == dnnl_unimplemented ? MO_NO_MORE : status;
}

/* One iterator for the whole walk: a new one for each step would find in the cache whatever has
 * been made of the steps before, and list that again, a thousand times until the cache is full. */
dnnl_status_t mo_walk_next(mo_walk_t *walk, dnnl_primitive_desc_t *pd, dnnl_engine_t e,
                           const_dnnl_primitive_desc_t hint)
{
    if (walk->iterator == NULL)
        RETURN_IF(begin_walk(walk, *pd, e, hint));
    RETURN_IF(dnnl_primitive_desc_iterator_next(walk->iterator));
    dnnl_primitive_desc_t next = dnnl_primitive_desc_iterator_fetch(walk->iterator);
    if (next == NULL)
        return dnnl_out_of_memory;
    if (walk->first == NULL)
        walk->first = *pd;
    else
        dnnl_primitive_desc_destroy(*pd);
    *pd = next;
    walk->number++;
    return dnnl_success;
}

void mo_walk_end(mo_walk_t *walk)
{
    if (walk->iterator != NULL)
        dnnl_primitive_desc_iterator_destroy(walk->iterator);
    if (walk->first != NULL)
        dnnl_primitive_desc_destroy(walk->first);
}

/* ---- what a descriptor computes ---- */

int mo_md_layout(mo_cmd_t md, mo_layout_t *layout)
{
    layout->rank = 0;
    if (md == NULL || md->ndims == 0)
        return 1;
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    if (md->format_kind != dnnl_blocked || !mo_type_is_known(md->data_type) || md->ndims > MO_RANK ||
        md->offset0 != 0 || b->inner_nblks > MO_BLOCKS)
        return 0;
    layout->type = md->data_type;
    layout->rank = md->ndims;
    for (int i = 0; i < md->ndims; i++) {
        layout->dims[i] = md->dims[i];
        layout->padded[i] = md->padded_dims[i];
        layout->strides[i] = b->strides[i];
    }
    layout->blocks = b->inner_nblks;
    for (int i = 0; i < b->inner_nblks; i++) {
        layout->block[i] = b->inner_blks[i];
        layout->block_dim[i] = b->inner_idxs[i];
    }
    return 1;
}

dnnl_status_t mo_post_eltwise(const_dnnl_post_ops_t ops, int number, mo_post_t *post)
{
    float scale;
    return dnnl_post_ops_get_params_eltwise(ops, number, &scale, &post->alg, &post->alpha, &post->beta);
}

dnnl_status_t mo_post_sum(const_dnnl_post_ops_t ops, int number, mo_post_t *post)
{
    return dnnl_post_ops_get_params_sum(ops, number, &post->alpha);
}

static mo_direction_t direction(dnnl_prop_kind_t kind)
{
    return kind == dnnl_backward_weights                         ? MO_BACK_WEIGHTS
           : kind == dnnl_backward || kind == dnnl_backward_data ? MO_BACK_SOURCE
                                                                 : MO_FORWARD;
}

void mo_pd_formula(const_dnnl_primitive_desc_t pd, mo_formula_t *formula)
{
    union {
        const void *any;
        const dnnl_convolution_desc_t *conv;
        const dnnl_inner_product_desc_t *inner;
        const dnnl_binary_desc_t *binary;
        const dnnl_reduction_desc_t *reduction;
        const dnnl_eltwise_desc_t *eltwise;
        const dnnl_softmax_v2_desc_t *softmax;
        const dnnl_pooling_v2_desc_t *pool;
    } d = {NULL};
    dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
    *formula = (mo_formula_t){.computes = MO_COMPUTES_OTHER};
    dnnl_primitive_desc_query(pd, dnnl_query_primitive_kind, 0, &kind);
    dnnl_primitive_desc_query(pd, dnnl_query_op_d, 0, (void *)&d.any);
    formula->post_count = mo_pd_posts(pd, formula->posts);
    if ((d.any == NULL && kind != dnnl_reorder) || formula->post_count < 0)
        return;
    switch ((int)kind) {
    case dnnl_convolution:
        *formula = (mo_formula_t){.computes = MO_COMPUTES_CONV, .direction = direction(d.conv->prop_kind)};
        for (int i = 0; i < 2; i++) {
            formula->strides[i] = d.conv->strides[i];
            formula->pads[i] = d.conv->padding[0][i];
        }
        break;
    case dnnl_inner_product:
        *formula = (mo_formula_t){.computes = MO_COMPUTES_INNER, .direction = direction(d.inner->prop_kind)};
        break;
    case dnnl_matmul: formula->computes = MO_COMPUTES_MATMUL; break;
    case dnnl_binary: *formula = (mo_formula_t){.computes = MO_COMPUTES_BINARY, .alg = d.binary->alg_kind}; break;
    case dnnl_reduction:
        *formula = (mo_formula_t){.computes = MO_COMPUTES_REDUCTION, .alg = d.reduction->alg_kind};
        break;
    case dnnl_eltwise:
        *formula = (mo_formula_t){.computes = MO_COMPUTES_ELTWISE,
                                  .direction = direction(d.eltwise->prop_kind),
                                  .alg = d.eltwise->alg_kind,
                                  .alpha = d.eltwise->alpha,
                                  .beta = d.eltwise->beta};
        break;
    case dnnl_softmax_v2:
        *formula = (mo_formula_t){.computes = MO_COMPUTES_SOFTMAX,
                                  .direction = direction(d.softmax->prop_kind),
                                  .axis = d.softmax->softmax_axis};
        break;
    case dnnl_pooling_v2:
        *formula = (mo_formula_t){.computes = MO_COMPUTES_POOL,
                                  .direction = direction(d.pool->prop_kind),
                                  .alg = d.pool->alg_kind};
        for (int i = 0; i < 2; i++) {
            formula->kernel[i] = d.pool->kernel[i];
            formula->strides[i] = d.pool->strides[i];
            formula->pads[i] = d.pool->padding[0][i];
        }
        break;
    case dnnl_reorder: formula->computes = MO_COMPUTES_COPY; break;
    default: break;
    }
    formula->post_count = mo_pd_posts(pd, formula->posts);
}
