/* A trainer as small as they come, views for its steps, and all that a step may change in one block
 * of bytes. */
#ifndef TESTS_FAULT_TRAINER_FIXTURES_H
#define TESTS_FAULT_TRAINER_FIXTURES_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <moco/status.h>
#include <moco/trainer.h>

#include "buffer_fixtures.h"
#include "train/trainer.h"
#include "util/rng.h"

enum { TINY_SIZE = 16, TINY_FLOATS = 3 * TINY_SIZE * TINY_SIZE };

#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

static inline moco_trainer_options_t tiny_options(int32_t batch, int32_t groups)
{
    moco_trainer_options_t o;
    OK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE));
    o.arch = MOCO_ARCH_RESNET18;
    o.width = 0.0625;
    o.image_size = TINY_SIZE;
    o.batch_size = batch;
    o.bn_groups = groups;
    o.queue_length = 16;
    o.dimension = 16;
    o.base_lr = 1.0;
    return o;
}

/* Ways to train beside MoCo with a queue. */
typedef enum tiny_method {
    TINY_V3,          /* ResNet, LARS, one pass over one group of shards that meet         */
    TINY_V3_TWO_PASS, /* ResNet, LARS, two passes over groups                              */
    TINY_V3_VIT,      /* AdamW, two passes over shards                                     */
    TINY_SIMCLR,      /* NT-Xent of both views, one pass over one group of shards that meet */
    TINY_SIMCLR_VIT,  /* the same in two passes over shards                                */
    TINY_BYOL,        /* ResNet, LARS, one pass over one group of shards that meet         */
    TINY_METHODS
} tiny_method_t;

static inline moco_trainer_options_t tiny_method_options(tiny_method_t method, int32_t batch)
{
    moco_trainer_options_t o = tiny_options(batch, method == TINY_V3_TWO_PASS ? 2 : 1);
    int v3 = method <= TINY_V3_VIT, byol = method == TINY_BYOL,
        vit = method == TINY_V3_VIT || method == TINY_SIMCLR_VIT;
    o.shuffle = 0;
    o.shard = batch / 2;
    o.loss = v3 ? MOCO_LOSS_BATCH : byol ? MOCO_LOSS_REGRESSION : MOCO_LOSS_NT_XENT;
    o.head = v3 ? MOCO_HEAD_MLP_V3 : byol ? MOCO_HEAD_MLP_BYOL : MOCO_HEAD_MLP_SIMCLR;
    o.head_width = 32;
    o.symmetric = o.predictor = v3 || byol;
    o.loss_scale = v3 ? MOCO_LOSS_SCALE_2T : MOCO_LOSS_SCALE_ONE;
    o.optimizer = v3 || byol ? MOCO_OPTIMIZER_LARS : MOCO_OPTIMIZER_LARS_SIMCLR;
    if (vit) {
        o.arch = MOCO_ARCH_VIT_SMALL;
        o.width = 0.125;
        o.patch_size = 8;
        o.vit_depth = 1;
        o.vit_heads = 4;
        o.execution = MOCO_EXECUTION_TWO_PASS;
        o.optimizer = v3 ? MOCO_OPTIMIZER_ADAMW : o.optimizer;
    }
    return o;
}

static inline moco_device_t *tiny_device(int32_t lanes)
{
    moco_device_options_t o;
    moco_device_t *device = NULL;
    OK(moco_device_options_init(&o, sizeof o));
    o.lanes = lanes;
    OK(moco_device_create(&o, &device));
    return device;
}

/* Views of one batch: queries, then keys that are the queries with some noise. */
static inline float *tiny_views(int32_t batch, uint32_t number)
{
    int64_t count = (int64_t)batch * TINY_FLOATS;
    float *views = malloc((size_t)(2 * count) * sizeof *views);
    mo_rng_t rng;
    mo_rng_start(&rng, 3, 100, number, 0);
    for (int64_t i = 0; i < count; i++) {
        views[i] = (float)mo_rng_normal(&rng);
        views[count + i] = views[i] + 0.3f * (float)mo_rng_normal(&rng);
    }
    return views;
}

static inline moco_status_t tiny_push(moco_trainer_t *t, const float *views)
{
    return moco_trainer_push_views(t, t->state.options.batch_size, views,
                                   views + t->state.options.batch_size * TINY_FLOATS, MOCO_LAYOUT_NHWC);
}

/* ---- state ---- */

typedef struct state {
    uint8_t *bytes;
    size_t size;
} state_t;

static inline void state_put(state_t *s, const void *from, size_t size)
{
    if (size == 0)
        return;
    s->bytes = realloc(s->bytes, s->size + size);
    memcpy(s->bytes + s->size, from, size);
    s->size += size;
}

static inline void state_put_buffer(state_t *s, mo_buffer_t buffer)
{
    if (buffer.memory == NULL)
        return;
    float *values = floats_of(buffer);
    state_put(s, values, buffer.bytes);
    free(values);
}

/* Parameters without padding, running statistics, optimizer state, queue, counters. */
static inline state_t state_of(const moco_trainer_t *t)
{
    state_t s = {0};
    const mo_encoder_t *encoders[] = {&t->state.query, &t->state.key};
    for (int e = 0; e < 2; e++) {
        state_put_buffer(&s, encoders[e]->params);
        state_put(&s, encoders[e]->running, (size_t)encoders[e]->net.stats * sizeof(float));
    }
    for (int b = 0; b < MO_OPTIM_BLOCKS; b++)
        state_put_buffer(&s, t->state.optimizer[b]);
    state_put_buffer(&s, t->state.queue.rows);
    int64_t counters[] = {t->state.queue.pointer, t->state.step,       t->state.epoch,  t->state.step_in_epoch,
                          t->state.position,      t->state.queue_seen, t->pushed.count, t->state.pushed};
    state_put(&s, counters, sizeof counters);
    state_put(&s, &t->state.epoch_loss_sum, sizeof t->state.epoch_loss_sum);
    return s;
}

static inline int state_equal(const state_t *a, const state_t *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static inline void state_free(state_t *s)
{
    free(s->bytes);
    *s = (state_t){0};
}

#endif
