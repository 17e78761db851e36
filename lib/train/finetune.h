/* Fine-tuning inside the library. tune_step.c is the step; finetune.c goes from data sets to the
 * classifier. */
#ifndef MO_TRAIN_FINETUNE_H
#define MO_TRAIN_FINETUNE_H

#include <moco/finetune.h>
#include <moco/trainer.h>

#include "data/data.h"
#include "engine/blocks.h"
#include "engine/plan.h"
#include "eval/model.h"
#include "optim/optim.h"
#include "train/learner.h"
#include "train/schedule.h"
#include "train/update.h"
#include "util/options.h"

/* finetune_options.c */
extern const mo_option_table_t mo_finetune_options; /* of moco_finetune_options_t */

/* Options are full and checked. */
moco_status_t mo_finetune_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                const moco_finetune_options_t *options, moco_classifier_t **out);

/* ---- the network in training ---- */

/* One step's images and what was drawn for them. Borrowed. */
typedef struct mo_tune_batch {
    const uint8_t *const *rows; /* [B] pointers to [S,S,3]                                                    */
    const int32_t *labels;      /* [B], 0..C-1                                                                */
    double share;               /* of each image; the rest is image B-1-i's, and so for the targets; 1 = unmixed */
    const float *factors;       /* [B, branches] of the residual branches; NULL without drop path             */
} mo_tune_batch_t;

/* What of a batch lies on a GPU, and where the host fetches it; see tune_gpu.c. */
typedef struct mo_tune_gpu {
    mo_buffer_t images, table, targets, factors, losses;
    float *host_targets, *staged;
} mo_tune_gpu_t;

typedef struct mo_tuner {
    moco_finetune_options_t options;
    mo_lr_schedule_t schedule;
    moco_device_t *device;
    mo_encoder_t encoder;                   /* its net: backbone, classifier, loss         */
    int32_t classes, logits, targets, loss; /* number; tensors                 */
    int32_t branches;                       /* residual branches with drop path            */
    mo_learner_t learner;                   /* forward, loss and backward in one plan      */
    mo_staged_t staged;                     /* batch statistics of the step at work        */
    mo_buffer_t arena;
    mo_gradients_t gradients;
    mo_optim_t optim;
    mo_tune_gpu_t gpu;  /* empty on a CPU */
    mo_blocks_t blocks; /* weights, optimizer, activations, what a step leaves  */
    float *losses;      /* [B]                                         */
    float lut[3][256];
    int64_t feature; /* floats of an image                          */
    int64_t step;    /* committed                                   */
} mo_tuner_t;

/* tune_build.c. The model's backbone, a classifier of `classes`, and what training them takes. Free
 * with _free, also after a failure. */
moco_status_t mo_tuner_create(mo_tuner_t *tuner, const moco_model_t *model, const moco_finetune_options_t *options,
                              int32_t classes);
void mo_tuner_free(mo_tuner_t *tuner); /* safe on a zeroed struct */
/* The classifier's numbers among the parameters: [C,F] and [C]. */
moco_status_t mo_tuner_read(const mo_tuner_t *tuner, float *weights, float *bias);

/* tune_step.c. One step; MOCO_ERR_NONFINITE names it and has changed nothing. *loss is the mean
 * before it. */
moco_status_t mo_tuner_step(mo_tuner_t *tuner, const mo_tune_batch_t *batch, double lr, double *loss);

/* tune_gpu.c. Its parts on a GPU: what the list of memory has for it, and what is there from the
 * start; a batch goes up; the hooks of a shard whose first image is number `first` of the batch;
 * what comes down, with the one wait. On a CPU only the hooks are not for calling. */
void mo_tune_gpu_list(mo_tuner_t *tuner, mo_blocks_t *blocks);
moco_status_t mo_tune_gpu_take(mo_tuner_t *tuner);
moco_status_t mo_tune_gpu_begin(mo_tuner_t *tuner, const mo_tune_batch_t *batch);
moco_status_t mo_tune_gpu_before(mo_tuner_t *tuner, mo_instance_t *instance, int64_t first, double share);
moco_status_t mo_tune_gpu_after(mo_tuner_t *tuner, mo_instance_t *instance, int64_t first);
moco_status_t mo_tune_gpu_end(mo_tuner_t *tuner);

/* tune_draws.c. What step number `step` draws: the share of mixup; the factors [B, branches] of
 * drop path. */
double mo_tune_share(const moco_finetune_options_t *options, int64_t step);
void mo_tune_factors(const mo_tuner_t *tuner, int64_t step, float *factors);
/* Target [C] of an image of class `label`, smoothed, mixed with class `other` by 1 - share. */
void mo_tune_target(int32_t classes, double smoothing, int32_t label, int32_t other, double share, float *target);

#endif
