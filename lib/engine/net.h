/* A network as data: tensors by number, operations in order, parameters as named parameters of one block of floats. Made by
 * nets, walked by plans; nothing here allocates activations or knows oneDNN. */
#ifndef MO_ENGINE_NET_H
#define MO_ENGINE_NET_H

#include <stdint.h>
#include <moco/status.h>

typedef struct mo_plan mo_plan_t;
typedef struct mo_op mo_op_t;

/* One kind of operation: emits its instructions into a plan. Every file of lib/layers defines one. */
typedef struct mo_layer {
    const char *name;
    moco_status_t (*forward)(mo_plan_t *plan, const mo_op_t *op);  /* in any mode              */
    moco_status_t (*backward)(mo_plan_t *plan, const mo_op_t *op); /* train; d_dst -> d_src … */
    int syncs; /* 1: needs what the other shards of its group have */
} mo_layer_t;

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

/* A parameter tensor: plain torchvision layout (convolution [O,I,kh,kw], linear [O,I], vectors [C]). A frozen one keeps
 * its first value: its gradient is zero, and it has no part in decay, updates and norms. */
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

/* A batch norm's statistics: mean at offset, a multiple of 16, variance at offset + channels, in a block of `stats`
 * floats. */
typedef struct mo_bn {
    char *name;
    int32_t channels;
    int64_t offset;
} mo_bn_t;

/* Per-image shape of a tensor; a vector is [c,1,1], a row of tokens [c,tokens,1]. */
typedef struct mo_shape {
    int32_t c, h, w;
} mo_shape_t;

struct mo_op {
    const mo_layer_t *layer;
    int32_t src, other, dst;        /* tensor numbers; -1 = none                        */
    int32_t weights, bias;          /* parameter numbers; batch norm: scale and shift        */
    int32_t bn;                     /* number of the batch norm, or -1                  */
    int32_t kernel, stride, pad;    /* convolution, pooling                             */
    int32_t relu;                   /* batch norm: ReLU follows                         */
    int32_t heads;                  /* attention                                        */
    int32_t column;                 /* drop path: channel of the tensor of factors      */
    int64_t keys;                   /* contrast: K                                      */
    double temperature;             /* contrast                                         */
    double batch;                   /* losses: rows that the mean runs over             */
    double scale;                   /* contrast: factor on the loss                     */
    int32_t place;                  /* contrast in the batch: tensor [1], see contrast.h */
    /* Set by the plan in infer mode: what a product with weights has taken over, or that the operation is gone. */
    int32_t fused_bn, fused_sum, fused_relu, fused_gelu, skipped;
};

typedef struct mo_net {
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
    int failed;     /* a builder ran out of memory: checked once at the end */
} mo_net_t;

/* Builders: tensor, parameter, batch norm, operation; -1 after a failure, which mo_net_done reports. */
int32_t mo_net_tensor(mo_net_t *net, int32_t c, int32_t h, int32_t w);
int32_t mo_net_parameter(mo_net_t *net, const char *prefix, const char *name, int32_t rank, const int64_t *dims,
                    mo_init_t init, int64_t fan); /* "prefix.name"; "name" where prefix is NULL */
void mo_net_freeze(mo_net_t *net, int32_t parameter);
int32_t mo_net_bn(mo_net_t *net, const char *prefix, int32_t channels);
void mo_net_op(mo_net_t *net, const mo_op_t *op);
moco_status_t mo_net_done(const mo_net_t *net);
/* Whether any of the operations [from_op, to_op) syncs the shards of a group. */
int mo_net_syncs(const mo_net_t *net, int32_t from_op, int32_t to_op);
void mo_net_free(mo_net_t *net);
void mo_parameter_constant(const mo_parameter_t *parameter, float *params); /* the values of a hidden parameter, into the parameter block */
int64_t mo_net_numel(const mo_net_t *net); /* numbers in all parameters, padding and hidden ones left out */

#endif
