/* What learns from a batch: the batch cut into groups and shards, one pass of the shards through a
 * plan, and the gradient block and statistics row of each. Pre-training has a learner for each of
 * its stages, fine-tuning has one; what goes into a shard and comes out of it is told by a feed. */
#ifndef MO_TRAIN_LEARNER_H
#define MO_TRAIN_LEARNER_H

#include <stdint.h>

#include "engine/plan.h"
#include "nets/encoder.h"
#include "train/gradients.h"
#include "train/running.h"

/* A batch in groups of shards, of `shard` images each. */
typedef struct mo_cut {
    int32_t shard, shards_per_group, groups;
} mo_cut_t;

/* `rows` in `groups` groups; where nothing syncs the shards of a group, each shard is a group of
 * its own, and no more of them are in flight than lanes. */
mo_cut_t mo_cut(int64_t rows, int32_t groups, int32_t shard, int syncs);
/* The largest s <= 32 that divides the images of a group, with at least two shards in a batch for
 * two lanes to share; `given` where that is not 0. */
int32_t mo_shard_size(int32_t batch, int32_t groups, int32_t given);

/* Hooks of a run, on lanes: `before` fills the inputs of a shard, `after` takes its results. */
typedef struct mo_feed {
    moco_status_t (*before)(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
    moco_status_t (*after)(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard);
    void *ctx;
    const moco_cancel_t *cancel; /* drops the pass between two instructions; NULL = none */
} mo_feed_t;

typedef struct mo_learner {
    mo_encoder_t *encoder; /* whose net the plan runs; NULL: no such learner             */
    mo_staged_t *staged;   /* its batch statistics                                       */
    mo_gradients_t *pool;  /* where its gradients go, NULL = none                        */
    int64_t pool_from;     /* float of the parameter block that the pool's blocks begin with */
    mo_cut_t cut;
    int32_t sets; /* groups in flight                                           */
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_instance_t **instances; /* [sets * shards_per_group]                              */
    mo_pass_t pass;
    mo_buffer_t *blocks; /* [groups * shards_per_group] gradient block of each shard at work */
} mo_learner_t;

int32_t mo_learner_shards(const mo_learner_t *learner);    /* of a batch                     */
int32_t mo_learner_in_flight(const mo_learner_t *learner); /* shards at work at once         */
/* As many groups in flight as have at most so many shards together, at least one, at most all. */
int32_t mo_learner_sets(const mo_learner_t *learner, int32_t shards);
/* Packed weights and instances. `arena` holds one arena of the plan for each shard in flight. */
moco_status_t mo_learner_take(mo_learner_t *learner, mo_buffer_t arena);
void mo_learner_free(mo_learner_t *learner); /* and the plan; safe on a zeroed struct */
/* Every group of a batch. */
moco_status_t mo_learner_run(mo_learner_t *learner, moco_device_t *device, const mo_feed_t *feed);

/* On a lane of a GPU: `count` images of 8-bit pixels fill a buffer there, queued; those that follow
 * each other in memory go in one copy. */
moco_status_t mo_upload_rows(mo_buffer_t to, const uint8_t *const *rows, int64_t count);

#endif
