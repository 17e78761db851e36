/* For the two bodies of compat.h. */
#ifndef MO_ENGINE_DNNL_COMPAT_INTERNAL_H
#define MO_ENGINE_DNNL_COMPAT_INTERNAL_H

#include "engine/onednn/compat.h"

#define RETURN_IF(call)                 \
    do {                                \
        dnnl_status_t status_ = (call); \
        if (status_ != dnnl_success)    \
            return status_;             \
    } while (0)

/* Square windows in oneDNN's arrays. */
typedef struct mo_window_dims {
    dnnl_dims_t strides, kernel, dilates, pads;
} mo_window_dims_t;
mo_window_dims_t mo_window_dims(const mo_window_t *w);

/* Is `part` in the name of the implementation? */
int mo_pd_is_named(const_dnnl_primitive_desc_t pd, const char *part);

#endif
