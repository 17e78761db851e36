/* oneDNN in the shape of its v3 C API. compat_2.c and compat_3.c know 2.6 and 3.x, and the build
 * takes one of them; every other file of the engine calls these. Descriptors are opaque handles:
 * create, query, free. All calls return a oneDNN status. */
#ifndef MO_ENGINE_DNNL_COMPAT_H
#define MO_ENGINE_DNNL_COMPAT_H

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "oneDNN 2.6 or newer is needed"
#endif

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t mo_md_t;
typedef const_dnnl_memory_desc_t mo_cmd_t;
#else
typedef dnnl_memory_desc_t *mo_md_t;
typedef const dnnl_memory_desc_t *mo_cmd_t;
#endif

/* ---- memory descriptors ---- */
dnnl_status_t mo_md_tag(mo_md_t *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag);
dnnl_status_t mo_md_strides(mo_md_t *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                            const dnnl_dims_t strides);
dnnl_status_t mo_md_clone(mo_md_t *md, mo_cmd_t from);
void mo_md_free(mo_md_t md);
size_t mo_md_size(mo_cmd_t md); /* 0 for NULL and for empty descriptors */
int mo_md_equal(mo_cmd_t a, mo_cmd_t b);
dnnl_data_type_t mo_md_type(mo_cmd_t md);

/* ---- attributes: always user scratchpad; post-ops in the order of the calls ---- */
typedef struct mo_attr {
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
} mo_attr_t;
dnnl_status_t mo_attr_begin(mo_attr_t *attr);
dnnl_status_t mo_attr_eltwise(mo_attr_t *attr, dnnl_alg_kind_t alg, float alpha, float beta);
dnnl_status_t mo_attr_sum(mo_attr_t *attr, float scale);
dnnl_status_t mo_attr_binary(mo_attr_t *attr, dnnl_alg_kind_t alg, mo_cmd_t src1);
dnnl_status_t mo_attr_end(mo_attr_t *attr); /* no more post-ops: attr.attr is ready */
void mo_attr_free(mo_attr_t *attr);

/* ---- primitive descriptors ---- */
typedef struct mo_window { /* convolution and pooling over two spatial axes; square */
    int64_t kernel_h, kernel_w, stride, pad;
    int64_t inside_above, inside_below; /* convolution forward: rows of the padding that are not there, since the
                                           source goes on: of a part of the rows                                  */
} mo_window_t;
typedef const_dnnl_primitive_attr_t mo_cattr_t;

dnnl_status_t mo_pd_conv_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t src,
                             mo_cmd_t weights, mo_cmd_t bias, mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr);
/* The same forward, for inference, with Winograd's fewer multiply-adds: 3x3, stride 1, and source
 * and destination in blocks of 16 channels (dnnl_nChw16c). */
dnnl_status_t mo_pd_winograd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t weights, mo_cmd_t bias,
                             mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr);
dnnl_status_t mo_has_winograd(dnnl_engine_t e, int *has); /* that this version has it for this processor */
dnnl_status_t mo_pd_conv_bwd_data(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t d_src, mo_cmd_t weights,
                                  mo_cmd_t d_dst, const mo_window_t *w, const_dnnl_primitive_desc_t hint,
                                  mo_cattr_t attr);
dnnl_status_t mo_pd_conv_bwd_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t d_weights,
                                     mo_cmd_t d_bias, mo_cmd_t d_dst, const mo_window_t *w,
                                     const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
dnnl_status_t mo_pd_linear_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t src,
                               mo_cmd_t weights, mo_cmd_t bias, mo_cmd_t dst, mo_cattr_t attr);
dnnl_status_t mo_pd_linear_bwd_data(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t d_src, mo_cmd_t weights,
                                    mo_cmd_t d_dst, const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
dnnl_status_t mo_pd_linear_bwd_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t d_weights,
                                       mo_cmd_t d_bias, mo_cmd_t d_dst, const_dnnl_primitive_desc_t hint,
                                       mo_cattr_t attr);
dnnl_status_t mo_pd_bn_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                           float epsilon, unsigned flags, mo_cattr_t attr);
dnnl_status_t mo_pd_bn_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, float epsilon, unsigned flags,
                           const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
/* Over the last axis; `stat` describes mean and variance. */
dnnl_status_t mo_pd_ln_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                           mo_cmd_t stat, float epsilon, unsigned flags, mo_cattr_t attr);
dnnl_status_t mo_pd_ln_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, mo_cmd_t stat, float epsilon,
                           unsigned flags, const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
dnnl_status_t mo_pd_pool_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, dnnl_alg_kind_t alg,
                             mo_cmd_t src, mo_cmd_t dst, const mo_window_t *w, mo_cattr_t attr);
dnnl_status_t mo_pd_pool_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t d_src,
                             mo_cmd_t d_dst, const mo_window_t *w, const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
dnnl_status_t mo_pd_eltwise_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t data,
                                float alpha, float beta, mo_cattr_t attr);
dnnl_status_t mo_pd_eltwise_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t data,
                                float alpha, float beta, const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
dnnl_status_t mo_pd_binary(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t src0,
                           mo_cmd_t src1, mo_cmd_t dst, mo_cattr_t attr);
dnnl_status_t mo_pd_reduction(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_alg_kind_t alg, mo_cmd_t src,
                              mo_cmd_t dst, mo_cattr_t attr);
/* bias: NULL, or of dst's rank. */
dnnl_status_t mo_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t weights, mo_cmd_t bias,
                           mo_cmd_t dst, mo_cattr_t attr);
dnnl_status_t mo_pd_softmax_fwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, dnnl_prop_kind_t kind, mo_cmd_t data,
                                int axis, mo_cattr_t attr);
dnnl_status_t mo_pd_softmax_bwd(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t data, int axis,
                                const_dnnl_primitive_desc_t hint, mo_cattr_t attr);
dnnl_status_t mo_pd_reorder(dnnl_primitive_desc_t *pd, dnnl_engine_t e, mo_cmd_t src, mo_cmd_t dst, mo_cattr_t attr);

/* ---- implementations ---- */
/* All of the above give the first implementation of oneDNN's list. A walk, which is zeroed, begins
 * with it. */
typedef struct mo_walk {
    int number;                  /* of *pd in the list, from 0 on              */
    void *iterator;              /* 2.x, which lists the first one's operation */
    dnnl_primitive_desc_t first; /* … and borrows that from here               */
} mo_walk_t;
/* *pd becomes the next one; `hint` is what it was made with, or NULL. MO_NO_MORE: it was the last,
 * and stays. An implementation may come twice: both versions look in their cache first, by number,
 * and begin the list where that knows no more. */
dnnl_status_t mo_walk_next(mo_walk_t *walk, dnnl_primitive_desc_t *pd, dnnl_engine_t e,
                           const_dnnl_primitive_desc_t hint);
void mo_walk_end(mo_walk_t *walk);
#define MO_NO_MORE ((dnnl_status_t)4)                   /* the two interfaces have different names for it */
const char *mo_pd_name(const_dnnl_primitive_desc_t pd); /* of its implementation; "" where it has none */

/* BN backward wants SHIFT as an argument on 2.x and counts it wrongly on 3.0-3.12.0. */
int mo_bn_bwd_takes_shift(void);

/* The instruction set that oneDNN uses, as ONEDNN_MAX_CPU_ISA has its name (of AArch64: ASIMD,
 * SVE_128 …); its number where it is one that this library does not know; and where oneDNN tells
 * nothing, what the processor has. Static storage. */
const char *mo_isa_name(void);

/* Name of a oneDNN status. */
const char *mo_dnnl_status_name(dnnl_status_t status);

#endif
