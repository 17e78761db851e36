/* For the two bodies of compat.h. */
#ifndef MO_ENGINE_DNNL_COMPAT_INTERNAL_H
#define MO_ENGINE_DNNL_COMPAT_INTERNAL_H

#include "engine/onednn/compat.h"
#include "engine/onednn/describe.h"

#define RETURN_IF(call)                 \
    do {                                \
        dnnl_status_t status_ = (call); \
        if (status_ != dnnl_success)    \
            return status_;             \
    } while (0)

/* Square windows in oneDNN's arrays. */
typedef struct mo_window_dims {
    dnnl_dims_t strides, kernel, dilates, pads, ends;
} mo_window_dims_t;
mo_window_dims_t mo_window_dims(const mo_window_t *w);

/* The numbers of x86's instruction sets differ between the two interfaces: each has its table. */
typedef struct mo_isa {
    int number;
    const char *name;
} mo_isa_t;
extern const mo_isa_t mo_isas[]; /* ends with a NULL name */

/* float32, bf16 or f16. */
static inline int mo_type_is_known(dnnl_data_type_t type)
{
    return type == dnnl_f32 || type == dnnl_bf16 || type == dnnl_f16;
}

/* The post-ops of a descriptor: their number, -1 where one is neither a sum nor elementwise. */
int mo_pd_posts(const_dnnl_primitive_desc_t pd, mo_post_t posts[MO_POSTS]);
dnnl_status_t mo_post_eltwise(const_dnnl_post_ops_t ops, int number, mo_post_t *post);
dnnl_status_t mo_post_sum(const_dnnl_post_ops_t ops, int number, mo_post_t *post);

#endif
