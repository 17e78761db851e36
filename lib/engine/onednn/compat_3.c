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
                                                          d.strides, d.dilates, d.pads, d.pads, attr);
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
                           mo_cmd_t dst, const char *prefer, mo_cattr_t attr)
{
    RETURN_IF(dnnl_matmul_primitive_desc_create(pd, e, src, weights, bias, dst, attr));
    while (prefer != NULL && !mo_pd_is_named(*pd, prefer))
        if (dnnl_primitive_desc_next_impl(*pd) != dnnl_success) { /* none: back to the first */
            dnnl_primitive_desc_destroy(*pd);
            return dnnl_matmul_primitive_desc_create(pd, e, src, weights, bias, dst, attr);
        }
    return dnnl_success;
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
