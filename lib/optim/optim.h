/* Optimizers: how a tensor moves along its gradient. Plain loops over parts of flat blocks, without
 * contraction, so every instruction set and any number of lanes gives the same bits. Called by
 * trainers and by fine-tuning. */
#ifndef MO_OPTIM_OPTIM_H
#define MO_OPTIM_OPTIM_H

#include <stdint.h>

#include "engine/buffer.h"
#include "engine/device.h"
#include "engine/net.h"

/* Numbers as MOCO_OPTIMIZER_… in <moco/types.h>. */
typedef enum mo_optimizer {
    MO_OPTIMIZER_SGD,
    MO_OPTIMIZER_LARS,        /* rate after the momentum  (MoCo v3, arXiv 2104.02057)       */
    MO_OPTIMIZER_LARS_SIMCLR, /* rate inside the momentum (SimCLR, arXiv 2002.05709)        */
    MO_OPTIMIZER_ADAMW        /* decoupled decay times the rate (arXiv 1711.05101)          */
} mo_optimizer_t;

typedef struct mo_optim_rates {
    mo_optimizer_t kind;
    double lr, momentum, weight_decay;
    double trust;                 /* LARS            */
    double beta1, beta2, epsilon; /* AdamW          */
    int64_t step;                 /* from 1          */
} mo_optim_rates_t;

/* Blocks of floats that an optimizer keeps beside the parameters: 1, or 2 for AdamW. */
#define MO_OPTIM_BLOCKS 2
int32_t mo_optim_blocks(mo_optimizer_t kind);
/* What a file calls them, in PyTorch's words: "momentum_buffer"; "exp_avg" and "exp_avg_sq". */
const char *mo_optim_block_name(mo_optimizer_t kind, int32_t block);
/* Whether a block holds means of squares, which are never below 0. */
int mo_optim_block_is_squares(mo_optimizer_t kind, int32_t block);

/* Where gradients lie: the block of a range of the parameters starts at float `from` of the
 * whole. */
typedef struct mo_gradient_piece {
    const float *values; /* mapped; on a GPU not */
    int64_t from, count;
    mo_buffer_t at; /* where they lie: a GPU's kernels ask for it */
} mo_gradient_piece_t;

typedef struct mo_optim_gpu mo_optim_gpu_t; /* optim_gpu.c */

/* Everything an update works on. Pieces cover all parameters; no parameter lies across two. */
typedef struct mo_optim {
    const mo_net_t *net;
    float *params;                                    /* mapped, and so the state: on a GPU neither */
    float *state[MO_OPTIM_BLOCKS];                    /* NULL where the kind has none */
    mo_buffer_t params_at, state_at[MO_OPTIM_BLOCKS]; /* where they lie: a GPU's kernels ask for it */
    mo_gradient_piece_t pieces[2];
    struct mo_optim_part *parts; /* parameters cut into pieces of fixed size: mo_optim_prepare */
    int64_t part_count;
    double *sums;        /* [part_count][2] of the call at work          */
    mo_optim_gpu_t *gpu; /* NULL: plain loops on mapped numbers          */
    float *ratio;        /* [parameters] trust ratio of the step at work */
} mo_optim_t;

/* A part: some numbers of one parameter. Those of frozen parameters are not updated; a key encoder
 * follows them all the same. */
typedef struct mo_optim_part {
    int64_t offset, count; /* floats of the parameter block */
    int32_t parameter;
    int frozen;
} mo_optim_part_t;

/* Parts and space for sums; params and state are set by the caller. */
moco_status_t mo_optim_prepare(mo_optim_t *optim, const mo_net_t *net);
/* And what a GPU needs; nothing on a CPU. */
moco_status_t mo_optim_prepare_on(mo_optim_t *optim, moco_device_t *device);
size_t mo_optim_gpu_bytes(const mo_net_t *net); /* that it takes there and on the host */
int64_t mo_optim_parts(const mo_net_t *net);    /* how many there will be */
void mo_optim_free(mo_optim_t *optim);

/* On a GPU the sums that the next two need: queued, and there after mo_device_wait. */
moco_status_t mo_optim_measure(mo_optim_t *optim, const mo_optim_rates_t *rates);
/* L2 norm of the gradient over all trained parameters, in double, in a fixed order. */
moco_status_t mo_optim_gradient_norm(mo_optim_t *optim, moco_device_t *device, double *norm);
/* The trust ratios of the step; nothing for optimizers without. To be called before the updates,
 * which cannot fail. */
moco_status_t mo_optim_begin(mo_optim_t *optim, moco_device_t *device, const mo_optim_rates_t *rates);
/* Update one part. Any thread, any order. */
void mo_optim_update(mo_optim_t *optim, const mo_optim_part_t *part, const mo_optim_rates_t *rates);

/* Whether a parameter is not decayed. */
typedef int (*mo_spared_fn)(const mo_parameter_t *parameter);

/* ---- the same on a GPU (optim_gpu.c), queued: it fails where the device is lost ---- */
moco_status_t mo_optim_gpu_update(mo_optim_t *optim, const mo_optim_rates_t *rates, mo_spared_fn spared);
/* The momentum update of a key encoder that has the first `count` numbers of the parameters. */
moco_status_t mo_optim_gpu_follow(mo_optim_t *optim, mo_buffer_t key, int64_t count, double momentum);
/* Sums of squares of a part: gradient, parameters, LARS's step; NULL = not wanted. */
void mo_optim_gpu_sums(const mo_optim_t *optim, int64_t part, double *gradient, double *params, double *step);
void mo_optim_gpu_free(mo_optim_t *optim);

int mo_optim_takes_trust(const mo_net_t *net, int32_t parameter);

/* What a learning rate is multiplied by: MOCO_LR_SCALING_… in <moco/types.h>. */
double mo_lr_scale(int32_t scaling, int32_t batch);

/* ---- the loops ---- */

/* d = g + weight_decay p; v = d at first, then momentum v + d; p -= lr v. No dampening, no
 * Nesterov. */
void mo_sgd_loop(float *params, float *velocity, const float *gradient, int64_t count, const mo_optim_rates_t *rates);
/* d = ratio (g + weight_decay p); v = momentum v + d, p -= lr v; or, by rates->kind, v = momentum v
 * + lr d, p -= v. */
void mo_lars_loop(float *params, float *velocity, const float *gradient, int64_t count, float ratio, float weight_decay,
                  const mo_optim_rates_t *rates);
/* p *= 1 - lr decay; m = b1 m + (1-b1) g; s = b2 s + (1-b2) g²; p -= lr/(1-b1^t) m /
 * (sqrt(s)/sqrt(1-b2^t) + eps). */
void mo_adamw_loop(float *params, float *mean, float *square, const float *gradient, int64_t count,
                   const mo_optim_rates_t *rates);
/* c[0] p and so on, in the order of the formula: 1 - lr decay, b1, 1 - b1, b2, 1 - b2, and what the
 * root and epsilon are multiplied by. Returns whether the parameters stay. */
enum { MO_ADAMW_CONSTANTS = 7 };
int mo_adamw_constants(const mo_optim_rates_t *rates, float c[MO_ADAMW_CONSTANTS]);
/* Sum of squares in double, in a fixed order; the second of a + factor b. */
double mo_square_sum(const float *values, int64_t count);
double mo_square_sum_of(const float *a, const float *b, float factor, int64_t count);

#endif
