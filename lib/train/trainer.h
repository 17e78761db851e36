/* What a trainer holds, and the pieces its files give each other. Read step.c first. A trainer is a
 * state (state.h), which is what it has learnt, and the machine around it: device, plans,
 * gradients, memory for a step. */
#ifndef MO_TRAIN_TRAINER_H
#define MO_TRAIN_TRAINER_H

#include <stdint.h>
#include <moco/trainer.h>

#include "contrast/contrast.h"
#include "data/data.h"
#include "engine/plan.h"
#include "nets/encoder.h"
#include "optim/optim.h"
#include "train/learner.h"
#include "train/update.h"
#include "train/state.h"
#include "train/warnings.h"

/* One run of a batch through operations of an encoder (stage.c makes, stage_io.c feeds it). A step
 * is a few of these. */
typedef enum mo_stage_kind {
    MO_STAGE_KEY,       /* images -> keys                                     */
    MO_STAGE_QUERY,     /* images -> loss and gradients                       */
    MO_STAGE_KEY_BODY,  /* the same in two passes: images -> key features     */
    MO_STAGE_KEY_HEAD,  /* key features -> keys, statistics of the whole batch */
    MO_STAGE_BODY,      /* images -> features                                 */
    MO_STAGE_HEAD,      /* features -> loss, gradients, gradients of features */
    MO_STAGE_BODY_BACK, /* images and gradients of features -> gradients      */
    MO_STAGES
} mo_stage_kind_t;

typedef struct mo_stage {
    struct moco_trainer *trainer;
    mo_learner_t learner; /* whose encoder is NULL where this trainer has no such stage            */
    mo_stage_kind_t kind;
    int32_t first_view, views; /* whose images run through it                                           */
    int32_t mixed;             /* groups divide the images of both views together, else of each view    */
} mo_stage_t;

/* The images of one step. Rows are 8-bit [S,S,3], or float images already normalised. */
typedef struct mo_views {
    const uint8_t *const *bytes[2]; /* query view, key view: [B] pointers */
    const float *floats[2];         /* or [B] images, one after the other */
    int32_t layout;                 /* of the floats                      */
    int32_t pushed;                 /* 1: by the host; 0: from a data set */
    int64_t position;               /* in the data set's listing, behind these images */
} mo_views_t;

/* The view and image that a row of a shard is. */
typedef struct mo_place {
    int32_t view;
    int64_t image;
} mo_place_t;

/* One run of a stage: what its hooks are given. */
typedef struct mo_stage_run {
    mo_stage_t *stage;
    const mo_views_t *views;
} mo_stage_run_t;

/* On a GPU: what host arrays of the trainer are elsewhere, and what goes up and comes down. */
typedef struct mo_gpu_step {
    mo_buffer_t images;    /* [2][B] of a step, 8-bit                                     */
    mo_buffer_t floats;    /* the same of pushed floats; made for the first of them       */
    mo_buffer_t table;     /* `lut`                                                       */
    mo_buffer_t numbers;   /* [MO_STAGES][2B] int32: what the rows of a stage are         */
    int32_t *host_numbers; /* where those are uploaded from                               */
    mo_buffer_t features[2], feature_gradients, results; /* as the trainer's                 */
    float *host_keys; /* `keys`                                                      */
    float *staged[2]; /* batch statistics of the query and of the key encoder        */
} mo_gpu_step_t;

/* What was pushed and waits for its step. */
typedef struct mo_pushed {
    int64_t count;
    int is_float;
    int32_t layout;
    uint8_t *bytes;       /* [2][B][S,S,3]   */
    const uint8_t **rows; /* [2][B]          */
    float *floats;        /* [2][B][3*S*S]   */
    mo_view_work_t work;
    mo_pixels_t pixels;
} mo_pushed_t;

/* Since when a trainer has stepped on pushed batches: what an ETA is told by. */
typedef struct mo_pushing {
    double since; /* mo_seconds, 0 = not yet */
    int64_t steps_before;
} mo_pushing_t;

/* What outcome and commit read and write, mapped on the host for them. */
typedef struct mo_mapped {
    float *query, *key, *gradients[2], *query_staged, *key_staged, *queue, *keys;
} mo_mapped_t;

struct moco_trainer {
    mo_state_t state;
    const moco_cancel_t *cancel; /* of the call at work; NULL = none */
    moco_device_t *device;
    mo_view_spec_t view_spec;
    int32_t shards, shards_in_flight; /* of the stage that holds the gradients of the backbone */
    int64_t feature;                  /* floats of an image */
    mo_loss_tensors_t loss;           /* in the query encoder's net */
    mo_staged_t query_staged, key_staged;
    mo_stage_t stages[MO_STAGES];
    mo_optim_t optim;
    mo_gradients_t gradients[2]; /* of everything, or in two passes of the backbone and of the heads */
    mo_buffer_t arena;           /* serves every stage in turn */
    mo_buffer_t keys;   /* of this step: mo_trainer_keys, in the order of the images; NT-Xent: [2B, D] and [2B] */
    mo_mapped_t mapped; /* at the end of a step                            */
    mo_gpu_step_t gpu;
    float *features[2];       /* two passes: [rows, F] of the query and of the key encoder     */
    float *feature_gradients; /* [rows, F] */
    float *results;           /* [rows, MO_LOSS_WIDTH]                           */
    int32_t *permutation;     /* [B] of this step                                */
    void *draws;              /* what makes it                                   */
    float lut[3][256];        /* 8-bit value -> normalised float                 */
    mo_pushed_t pushed;
    mo_pushing_t pushing;
    mo_blocks_t blocks; /* of the machine; the state has its own           */
    mo_warnings_t warnings;
};

typedef struct mo_rates {
    double lr, key_momentum;
} mo_rates_t;

typedef struct mo_outcome {
    double loss, top1, top5, gradient_norm; /* top1, top5: percent; -1 = not measured, of a method without negatives */
    mo_rates_t rates;
} mo_outcome_t;

/* What a step is about to change, and by what. */
typedef struct mo_commit {
    const mo_views_t *views;
    mo_rates_t rates;
    mo_outcome_t outcome;
    mo_update_t update;
} mo_commit_t;

/* build.c: plans, sizes, memory. */
/* The machine around `trainer->state`, which is built: plans and sizes, no memory yet. */
moco_status_t mo_trainer_build(moco_trainer_t *trainer, moco_device_t *device);
/* The memory of state and machine; MOCO_ERR_MEMORY_CAP before any is taken. */
moco_status_t mo_trainer_take(moco_trainer_t *trainer);
/* Around what takes memory that the plan counts: under a cap of the options it is not asked about
 * again. */
void mo_trainer_planned_begin(const moco_trainer_t *trainer);
void mo_trainer_planned_end(const moco_trainer_t *trainer);
/* State and machine by the caller's options, without memory: what can be told of a trainer before
 * it is made. */
moco_status_t mo_trainer_plan(const moco_trainer_options_t *options, moco_device_t *device, moco_trainer_t **out);
moco_status_t mo_trainer_create(const moco_trainer_options_t *options, moco_device_t *device, moco_trainer_t **out);
void mo_trainer_delete(moco_trainer_t *trainer); /* in any of these conditions; NULL is fine */
/* Bytes of the plan that count as `name` (the keys of `bytes` in moco_trainer_plan); all, where it
 * is NULL. */
uint64_t mo_trainer_bytes(const moco_trainer_t *trainer, const char *name);
/* [B, D] of the first or second view that has keys. Views begin where an instance can be bound. */
mo_buffer_t mo_trainer_keys(const moco_trainer_t *trainer, int32_t view);
size_t mo_trainer_keys_bytes(const moco_trainer_t *trainer); /* of `keys` */
mo_loader_spec_t mo_trainer_loader_spec(const moco_trainer_t *trainer);

/* push.c: the host's images. */
moco_status_t mo_push_pixels(moco_trainer_t *trainer, int64_t count, const moco_image_t *images);
moco_status_t mo_push_encoded(moco_trainer_t *trainer, int64_t count, const uint8_t *const *data,
                              const uint64_t *sizes);
moco_status_t mo_push_views(moco_trainer_t *trainer, int64_t count, const float *queries, const float *keys,
                            int32_t layout);
/* Before a data set is read: an empty store makes room for the loader's; images that wait in one
 * stay there, if the memory cap allows both. */
moco_status_t mo_push_yield(moco_trainer_t *trainer);
int64_t mo_push_done(moco_trainer_t *trainer); /* the batch is used or discarded; how many images it held */
moco_status_t mo_step_pushed(moco_trainer_t *trainer, mo_outcome_t *outcome);
void mo_pushed_free(mo_pushed_t *pushed);

/* save.c */
moco_status_t mo_trainer_load_file(const char *path, const moco_trainer_options_t *overrides, moco_device_t *device,
                                   moco_trainer_t **out);

/* stage.c: plans, then memory, of the stages. `key` and `query` are built. */
moco_status_t mo_stages_plan(moco_trainer_t *trainer);
moco_status_t mo_stages_take(moco_trainer_t *trainer);
void mo_stages_free(moco_trainer_t *trainer);

/* stage_io.c: what goes into and comes out of the shards of a stage, and running one that the
 * trainer has. */
moco_status_t mo_stage_run(moco_trainer_t *trainer, mo_stage_kind_t kind, const mo_views_t *views);
mo_buffer_t mo_keys_for(const moco_trainer_t *trainer,
                        int32_t view); /* keys of the other view, with which its queries are compared */

mo_place_t mo_stage_place(const mo_stage_t *stage, int32_t group, int32_t shard, int64_t row);

/* gpu_step.c; all but the hooks do nothing on a CPU. Blocks; what is in some of them; the images of
 * a step, before its stages; losses, sums and statistics, behind them: the one wait. */
void mo_gpu_step_list(moco_trainer_t *trainer, mo_blocks_t *blocks);
moco_status_t mo_gpu_step_take(moco_trainer_t *trainer);
void mo_gpu_step_free(moco_trainer_t *trainer);
moco_status_t mo_gpu_step_begin(moco_trainer_t *trainer, const mo_views_t *views);
moco_status_t mo_gpu_step_end(moco_trainer_t *trainer);
moco_status_t mo_gpu_stage_begin(mo_stage_t *stage);
moco_status_t mo_gpu_before(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
moco_status_t mo_gpu_after(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);

/* commit.c: all that can be refused, then the change, which cannot. The numbers of both are mapped
 * from _prepare on until _done, which follows a failure, too. */
moco_status_t mo_commit_prepare(moco_trainer_t *trainer, mo_commit_t *commit);
void mo_commit(moco_trainer_t *trainer, mo_commit_t *commit);
void mo_commit_done(moco_trainer_t *trainer);

/* step.c */
/* Of the step to come, or at work. */
mo_rates_t mo_rates_now(const moco_trainer_t *trainer);
moco_status_t mo_trainer_step(moco_trainer_t *trainer, const mo_views_t *views, mo_outcome_t *outcome);

#endif
