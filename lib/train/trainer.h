/* What a trainer holds, and the pieces its files give each other. Read step.c first. */
#ifndef MO_TRAIN_TRAINER_H
#define MO_TRAIN_TRAINER_H

#include <stdint.h>
#include <moco/trainer.h>

#include "contrast/contrast.h"
#include "data/data.h"
#include "engine/plan.h"
#include "nets/encoder.h"
#include "optim/optim.h"
#include "train/gradients.h"
#include "train/method.h"
#include "train/warnings.h"

/* An encoder's numbers: parameters, running statistics, and what a step staged for them. */
typedef struct mo_encoder {
    mo_net_t net;       /* backbone, projection, [predictor,] normalisation, [loss]          */
    int32_t embedding;       /* tensor: what is compared, rows of unit length                     */
    float *params;      /* [net.params]                                                      */
    float *running;     /* [net.stats] running mean and variance                             */
    float *staged;      /* [staged_rows][net.stats] of the step at work                      */
    int32_t staged_rows;
    int32_t body_groups, head_groups; /* how many of them the backbone and the head fill     */
} mo_encoder_t;

/* One run of a batch through operations of an encoder (stage.c makes, passes.c feeds it). A step is a few of these. */
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
    mo_encoder_t *encoder; /* NULL: this trainer has no such stage */
    mo_stage_kind_t kind;
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_instance_t **instances; /* [sets * shards_per_group]                                             */
    mo_pass_t pass;
    int32_t shard, shards_per_group, groups, sets;
    int32_t first_view, views; /* whose images run through it                                           */
    int32_t mixed;             /* groups divide the images of both views together, else of each view    */
    mo_gradients_t *pool;      /* where its gradients go, NULL = none                                   */
    float **blocks;            /* [groups * shards_per_group] gradient block of each shard at work      */
} mo_stage_t;

/* The images of one step. Rows are 8-bit [S,S,3], or float images already normalised. */
typedef struct mo_views {
    const uint8_t *const *bytes[2]; /* query view, key view: [B] pointers */
    const float *floats[2];         /* or [B] images, one after the other */
    int32_t layout;                 /* of the floats                      */
} mo_views_t;

/* What was pushed and waits for its step. */
typedef struct mo_pushed {
    int64_t count;
    int is_float;
    int32_t layout;
    uint8_t *bytes;          /* [2][B][S,S,3]   */
    const uint8_t **rows;    /* [2][B]          */
    float *floats;           /* [2][B][3*S*S]   */
    int64_t number;          /* images pushed so far: keys their draws */
    mo_view_work_t work;
    mo_pixels_t pixels;
} mo_pushed_t;

/* Bytes by use; what moco_trainer_plan tells. */
typedef struct mo_budget {
    uint64_t weights, packed, optimizer, gradients, activations, queue, batch_results, views, statistics, scratchpads;
    uint64_t total;
} mo_budget_t;

struct moco_trainer {
    moco_trainer_options_t options;
    moco_device_t *device;
    mo_encoder_spec_t spec;
    mo_view_spec_t view_spec;
    mo_method_t method;
    int32_t shard, shards, shards_in_flight; /* of the stage that holds the gradients of the backbone */
    int64_t feature;          /* floats of an image */
    mo_encoder_t query, key;  /* key: not with NT-Xent */
    int32_t keys_tensor, place_tensor, loss_tensor; /* of the query net; -1 = none */
    mo_stage_t stages[MO_STAGES];
    mo_optim_t optim;
    mo_gradients_t gradients[2]; /* of everything, or in two passes of the backbone and of the heads */
    void *arena;              /* serves every stage in turn */
    size_t arena_bytes;
    mo_keys_t queue;          /* with the queue's loss */
    float *keys; /* [key_views * B, D] of this step, in the order of the images; NT-Xent: [2B, D] and [2B] */
    float *features[2];       /* two passes: [rows, F] of the query and of the key encoder     */
    float *feature_gradients; /* [rows, F] */
    float *results;           /* [rows, MO_LOSS_WIDTH]                           */
    int32_t *permutation;     /* [B] of this step                                */
    void *draws;              /* what makes it                                   */
    float lut[3][256];        /* 8-bit value -> normalised float                 */
    const mo_views_t *views;  /* of the step at work                             */
    mo_pushed_t pushed;
    mo_budget_t budget;
    mo_warnings_t warnings;

    int64_t step, epoch, step_in_epoch, position; /* committed; position in listing entries */
    int64_t queue_seen;       /* keys ever enqueued */
    double epoch_loss_sum;    /* of the epoch at work */
    int64_t listing_count;    /* of the data set trained on; 0 = none yet */
    uint64_t listing_hash;
    char *origin;             /* what a converted checkpoint came from; NULL = trained here from the start */
};

typedef struct mo_rates {
    double lr, key_momentum;
} mo_rates_t;

typedef struct mo_outcome {
    double loss, top1, top5, gradient_norm;
} mo_outcome_t;

/* build.c: nets, plans, budget. */
moco_status_t mo_trainer_new(const moco_trainer_options_t *options, moco_device_t *device, int allocate,
                             moco_trainer_t **out);
void mo_trainer_delete(moco_trainer_t *trainer);
mo_loader_spec_t mo_trainer_loader_spec(const moco_trainer_t *trainer);

/* push.c: the host's images. */
moco_status_t mo_push_pixels(moco_trainer_t *trainer, int64_t count, const moco_image_t *images);
moco_status_t mo_push_encoded(moco_trainer_t *trainer, const uint8_t *data, uint64_t size);
moco_status_t mo_push_views(moco_trainer_t *trainer, int64_t count, const float *queries, const float *keys,
                            int32_t layout);
moco_status_t mo_step_pushed(moco_trainer_t *trainer, mo_outcome_t *outcome);
void mo_pushed_free(mo_pushed_t *pushed); /* the memory; the numbering of images goes on */

double mo_queue_fill(const moco_trainer_t *trainer); /* share of real keys; 0 without a queue */

/* save.c: checkpoints. */
void mo_transpose(const float *from, int64_t rows, int64_t columns, float *to); /* [rows,columns] -> [columns,rows] */
moco_status_t mo_trainer_save_file(moco_trainer_t *trainer, const char *path);
moco_status_t mo_trainer_load_file(const char *path, const moco_trainer_options_t *overrides, moco_device_t *device,
                                   moco_trainer_t **out);

/* stage.c: plans, then memory, of the stages. `key` and `query` are built. */
moco_status_t mo_stages_plan(moco_trainer_t *trainer);
moco_status_t mo_stages_take(moco_trainer_t *trainer);
void mo_stages_free(moco_trainer_t *trainer);
int32_t mo_stage_in_flight(const mo_stage_t *stage); /* shards */
/* As many groups in flight as have at most so many shards together, at least one, at most all. */
void mo_stage_set(mo_stage_t *stage, int32_t shards);
size_t mo_stage_arena_bytes(const mo_stage_t *stage);

/* passes.c: what goes into and comes out of the shards of a stage, and running one. */
moco_status_t mo_stage_begin(void *stage, mo_instance_t *instance, int32_t group, int32_t shard);
moco_status_t mo_stage_end(void *stage, mo_instance_t *instance, int32_t group, int32_t shard);
moco_status_t mo_stage_run(moco_trainer_t *trainer, mo_stage_kind_t kind); /* nothing where there is none */

/* commit.c: what a step reads before its commit, and the commit itself. */
moco_status_t mo_outcome(moco_trainer_t *trainer, mo_outcome_t *outcome);
moco_status_t mo_commit_weights(moco_trainer_t *trainer, mo_rates_t rates);
void mo_commit_statistics(moco_trainer_t *trainer);

/* step.c */
mo_rates_t mo_rates_now(const moco_trainer_t *trainer);
moco_status_t mo_trainer_step(moco_trainer_t *trainer, const mo_views_t *views, mo_outcome_t *outcome);

#endif
