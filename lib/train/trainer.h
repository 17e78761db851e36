/* What a trainer holds, and the pieces its files give each other. Read step.c first. */
#ifndef MO_TRAIN_TRAINER_H
#define MO_TRAIN_TRAINER_H

#include <stdint.h>
#include <moco/trainer.h>

#include "contrast/contrast.h"
#include "data/data.h"
#include "engine/plan.h"
#include "nets/encoder.h"
#include "train/gradients.h"

/* An encoder's numbers: parameters, running statistics, and what a step staged for them. */
typedef struct mo_encoder {
    mo_net_t net;
    int32_t unit;       /* tensor: normalised projection                                     */
    float *params;      /* [net.params]                                                      */
    float *running;     /* [net.stats] running mean and variance                             */
    float *staged;      /* [groups][net.stats] of the step at work                           */
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_instance_t **instances; /* [sets * shards_per_group] */
    mo_pass_t pass;
} mo_encoder_t;

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
    uint64_t weights, packed, optimiser, gradients, activations, queue, batch_results, views, statistics, scratchpads;
    uint64_t total;
} mo_budget_t;

struct moco_trainer {
    moco_trainer_options_t options;
    moco_device_t *device;
    mo_encoder_spec_t spec;
    mo_view_spec_t view_spec;
    int32_t shard, groups, shards_per_group, shards, sets;
    int64_t feature;          /* floats of an image */
    mo_encoder_t query, key;
    int32_t keys_tensor, loss_tensor; /* of the query net */
    float *velocity;
    mo_gradients_t gradients;
    void **arenas;            /* [sets * shards_per_group] */
    size_t arena_bytes;
    mo_keys_t queue;
    float *keys;              /* [B, D] of this step, in the order of the images */
    float *results;           /* [B, MO_LOSS_WIDTH]                              */
    float **shard_gradients;  /* [shards] block of each shard at work            */
    double *partial;          /* norm, part by part                              */
    int32_t *permutation;     /* [B] of this step                                */
    void *draws;              /* what makes it                                   */
    float lut[3][256];        /* 8-bit value -> normalised float                 */
    const mo_views_t *views;  /* of the step at work                             */
    mo_pushed_t pushed;
    mo_budget_t budget;

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
moco_status_t mo_push_jpeg(moco_trainer_t *trainer, const uint8_t *data, uint64_t size);
moco_status_t mo_push_views(moco_trainer_t *trainer, int64_t count, const float *queries, const float *keys,
                            int32_t layout);
moco_status_t mo_step_pushed(moco_trainer_t *trainer, mo_outcome_t *outcome);
void mo_pushed_free(mo_pushed_t *pushed);

/* save.c: checkpoints. */
void mo_transpose(const float *from, int64_t rows, int64_t columns, float *to); /* [rows,columns] -> [columns,rows] */
moco_status_t mo_trainer_save_file(moco_trainer_t *trainer, const char *path);
moco_status_t mo_trainer_load_file(const char *path, const moco_trainer_options_t *overrides, moco_device_t *device,
                                   moco_trainer_t **out);

/* passes.c: hooks of the two passes. */
moco_status_t mo_key_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
moco_status_t mo_key_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
moco_status_t mo_query_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
moco_status_t mo_query_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);

/* commit.c: what a step reads before its commit, and the commit itself. */
moco_status_t mo_outcome(moco_trainer_t *trainer, mo_outcome_t *outcome);
moco_status_t mo_commit_weights(moco_trainer_t *trainer, mo_rates_t rates);
void mo_commit_statistics(moco_trainer_t *trainer);

/* step.c */
mo_rates_t mo_rates_now(const moco_trainer_t *trainer);
moco_status_t mo_trainer_step(moco_trainer_t *trainer, const mo_views_t *views, mo_outcome_t *outcome);

#endif
