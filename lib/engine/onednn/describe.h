/* What a primitive descriptor computes, as oneDNN tells it: for the check of implementations
 * (check.h). compat_2.c and compat_3.c ask the two interfaces. */
#ifndef MO_ENGINE_DNNL_DESCRIBE_H
#define MO_ENGINE_DNNL_DESCRIBE_H

#include <stdint.h>

#include "engine/onednn/compat.h"

enum { MO_RANK = 6, MO_BLOCKS = 4, MO_POSTS = 4 };

/* Where the numbers of a tensor lie, counted in numbers. Blocks lie innermost, the last one
 * closest. */
typedef struct mo_layout {
    dnnl_data_type_t type;
    int rank; /* 0: no tensor */
    int64_t dims[MO_RANK], padded[MO_RANK], strides[MO_RANK];
    int blocks;
    int64_t block[MO_BLOCKS], block_dim[MO_BLOCKS];
} mo_layout_t;
/* 1, or 0 where the layout is none of floating-point numbers in blocks. rank = 0 for NULL and empty
 * ones. */
int mo_md_layout(mo_cmd_t md, mo_layout_t *layout);

typedef enum mo_computes {
    MO_COMPUTES_OTHER, /* something that nothing is compared with */
    MO_COMPUTES_CONV,
    MO_COMPUTES_INNER,
    MO_COMPUTES_MATMUL,
    MO_COMPUTES_BINARY,
    MO_COMPUTES_REDUCTION,
    MO_COMPUTES_ELTWISE,
    MO_COMPUTES_SOFTMAX,
    MO_COMPUTES_POOL,
    MO_COMPUTES_COPY
} mo_computes_t;

typedef enum mo_direction { MO_FORWARD, MO_BACK_SOURCE, MO_BACK_WEIGHTS } mo_direction_t;

typedef struct mo_post { /* a sum with what the result held, or a function of the result */
    int is_sum;
    dnnl_alg_kind_t alg;
    float alpha, beta; /* of a sum: alpha is its scale */
} mo_post_t;

typedef struct mo_formula {
    mo_computes_t computes;
    mo_direction_t direction;
    dnnl_alg_kind_t alg;
    float alpha, beta;
    int axis;
    int64_t kernel[2], strides[2], pads[2]; /* kernel: of pooling */
    int post_count;
    mo_post_t posts[MO_POSTS];
} mo_formula_t;
void mo_pd_formula(const_dnnl_primitive_desc_t pd, mo_formula_t *formula);

#endif
