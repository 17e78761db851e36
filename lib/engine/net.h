/* A network as data: tensors by number, operations in order, parameters as named pieces of one
 * block of floats. Listed by nets, walked by plans; nothing here allocates activations or knows
 * oneDNN. */
#ifndef MO_ENGINE_NET_H
#define MO_ENGINE_NET_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

typedef struct mo_plan mo_plan_t;
typedef struct mo_net mo_net_t;
typedef struct mo_op mo_op_t;

/* What a plan may know of a kind of operation. Everything else is between the operation and its own
 * file. */
enum mo_trait {
    MO_SYNCS = 1,         /* needs what the other shards of its group have                                      */
    MO_MULTIPLIES = 2,    /* a product with `weights` [outputs, …] plus `bias`; in infer plans it takes over
                               what stands behind it: a batch norm, then what is MO_FUSABLE                       */
    MO_EACH_POSITION = 4, /* such a product, of each position alone: it takes over a batch norm in front as well */
    MO_FOLDS = 8,         /* in infer plans y = factor * x + offset per channel, which a product beside it takes
                               over; there is no other way to run it there                                        */
    MO_FUSABLE = 16,      /* y = activation(src [+ other]), number by number: the product that makes src takes it
                               over                                                                               */
    MO_SELECTS = 32,      /* hands on some positions of src as they are                                         */
    MO_SLIDES = 64,       /* a window over the image, which takes channels in blocks as well                    */
    MO_LOW = 128          /* reads bf16 or f16 and makes them, where a plan has them (plan/types.c)             */
};

/* A kind of operation: how it puts its instructions into a plan, and its traits. Each file of
 * engine/ops defines one or two; a loss may be defined elsewhere. */
typedef struct mo_op_kind {
    const char *name;
    moco_status_t (*forward)(mo_plan_t *plan, const mo_op_t *op);     /* in any mode              */
    moco_status_t (*backward)(mo_plan_t *plan, const mo_op_t *op);    /* train; d_dst -> d_src … */
    int64_t (*multiply_adds)(const mo_net_t *net, const mo_op_t *op); /* forward, per image; NULL: too few to count */
    int (*takes_either)(const mo_plan_t *plan, const mo_op_t *op); /* float32 and bf16, where plans train; NULL: no */
    unsigned traits;                                               /* of enum mo_trait                           */
} mo_op_kind_t;

typedef enum mo_init {
    MO_INIT_ZERO,
    MO_INIT_ONE,
    MO_INIT_KAIMING, /* normal, std sqrt(2 / fan), fan = out_channels * kernel area             */
    MO_INIT_UNIFORM, /* uniform +-1/sqrt(fan), fan = inputs: PyTorch's default of Linear and Conv */
    MO_INIT_NORMAL,  /* normal, std 0.01                                                        */
    MO_INIT_XAVIER,  /* uniform +-sqrt(6 / fan), fan = inputs + outputs                         */
    MO_INIT_TINY,    /* normal, std 1e-6                                                        */
    MO_INIT_SINCOS   /* sines and cosines of places on a square grid, behind a zero row         */
} mo_init_t;

/* A parameter tensor: plain torchvision layout (convolution [O,I,kh,kw], linear [O,I], vectors
 * [C]). A frozen one keeps its first value: its gradient is zero, and it has no part in decay,
 * updates and norms. */
typedef struct mo_parameter {
    char *name;
    int32_t rank;
    int64_t dims[4];
    int64_t offset, count; /* floats; offsets are multiples of 16 */
    mo_init_t init;
    int64_t fan;
    int32_t frozen; /* keeps its first values: no gradient, no decay, no update            */
    int32_t hidden; /* a constant of the arithmetic that the method does not have: frozen, in no file and no count */
} mo_parameter_t;

/* A batch norm's statistics: mean at offset, a multiple of 16, variance at offset + channels, in a
 * block of `stats` floats. */
typedef struct mo_bn {
    char *name;
    int32_t channels;
    int64_t offset;
} mo_bn_t;

/* Per-image shape of a tensor; a vector is [c,1,1], a row of tokens [c,tokens,1]. */
typedef struct mo_shape {
    int32_t c, h, w;
} mo_shape_t;

typedef enum mo_activation { MO_ACTIVATION_NONE, MO_ACTIVATION_RELU, MO_ACTIVATION_GELU } mo_activation_t;

/* References are numbers in the lists of the network; -1 = none. */
struct mo_op {
    const mo_op_kind_t *kind;
    int32_t src, other, dst;    /* tensors. `other`: a second source; of a product: what is added to its result       */
    int32_t weights, bias;      /* parameters; of a norm: scale and shift                                             */
    int32_t bn;                 /* batch norm                                                                         */
    mo_activation_t activation; /* of the result, last                                                             */
    int32_t skipped;            /* in a plan: outside its operations, or taken over by another one                    */
    void *form;                 /* what the kind alone knows of it, NULL = nothing; belongs to the network            */
};

struct mo_net {
    mo_shape_t *shapes;
    int32_t tensors;
    mo_op_t *ops;
    int32_t op_count;
    mo_parameter_t *parameters;
    int32_t parameter_count;
    mo_bn_t *bns;
    int32_t bn_count;
    int64_t params; /* floats of the parameter block, padding included */
    int64_t stats;  /* floats of a statistics block                    */
    int32_t input, backbone, projection;
    int32_t paths;       /* tensor: factors of drop path, a channel per branch; -1 = none          */
    int32_t body_ops;    /* operations of the backbone: the first ones                          */
    int64_t body_params; /* floats of the backbone in the parameter block: the first ones too   */
    int failed;          /* a builder ran out of memory: checked once at the end */
};

/* ---- listing; after a failure each returns -1 or NULL, and mo_net_done tells ---- */
int32_t mo_net_tensor(mo_net_t *net, int32_t c, int32_t h, int32_t w);
/* "prefix.name"; "name" where prefix is NULL */
int32_t mo_net_parameter(mo_net_t *net, const char *prefix, const char *name, int32_t rank, const int64_t *dims,
                         mo_init_t init, int64_t fan);
void mo_net_freeze(mo_net_t *net, int32_t parameter);
int32_t mo_net_bn(mo_net_t *net, const char *prefix, int32_t channels);
/* The next operation, reading `src` (-1, where a builder has failed: NULL comes back) and with no
 * other reference yet. `form`: `bytes` that are copied for it; NULL = none. Valid until the next
 * call. */
mo_op_t *mo_net_op(mo_net_t *net, const mo_op_kind_t *kind, int32_t src, const void *form, size_t bytes);
/* Gives `op`, if it is one, its result [c,h,w], and returns it. */
int32_t mo_net_result(mo_net_t *net, mo_op_t *op, int32_t c, int32_t h, int32_t w);
int32_t mo_net_result_like_src(mo_net_t *net, mo_op_t *op);
moco_status_t mo_net_done(const mo_net_t *net);
void mo_net_free(mo_net_t *net);

/* ---- asking ---- */
/* Whether any of the operations [from_op, to_op) syncs the shards of a group. */
int mo_net_syncs(const mo_net_t *net, int32_t from_op, int32_t to_op);
/* Multiply-adds per image in operations [from_op, to_op), padding included: forward, or of the
 * gradients of sources and weights (the network's input and frozen weights have none). */
int64_t mo_net_multiply_adds(const mo_net_t *net, int32_t from_op, int32_t to_op, int backward);
int64_t mo_net_numel(const mo_net_t *net); /* numbers in all parameters, padding and hidden ones left out */
/* The values of a hidden parameter, into the parameter block. */
void mo_parameter_constant(const mo_parameter_t *parameter, float *params);

#endif
