/* What the tests of the linear probe and of fine-tuning share: a tiny model and two folders of
 * labelled pictures. */
#ifndef TESTS_LABELLED_H
#define TESTS_LABELLED_H

#include "draw.h"

enum { CLASSES = 3, FEATURES = 128, NUMBERS = CLASSES * FEATURES + CLASSES };

typedef struct world {
    scratch_t scratch;
    moco_device_t *device;
    moco_model_t *model;
    moco_dataset_t *train, *test;
} world_t;

static inline moco_model_t *model_of(moco_device_t *device, uint64_t seed)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    tiny_options(&options);
    options.seed = seed;
    expect_ok(moco_trainer_create(&options, device, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    moco_trainer_free(trainer);
    return model;
}

/* Images of one class resemble each other: stripes of one direction. */
static inline world_t world_of(int32_t lanes, int train, int test, int side)
{
    world_t w = {.scratch = scratch_make(), .device = device_of(lanes)};
    w.model = model_of(w.device, 3);
    draw_tree(in_scratch(&w.scratch, "train"), train, CLASSES, side);
    draw_tree(in_scratch(&w.scratch, "test"), test, CLASSES, side + 3);
    w.train = dataset_of(in_scratch(&w.scratch, "train"));
    w.test = dataset_of(in_scratch(&w.scratch, "test"));
    return w;
}

static inline void world_close(world_t *w)
{
    moco_dataset_free(w->train);
    moco_dataset_free(w->test);
    moco_model_free(w->model);
    moco_device_free(w->device);
    scratch_drop(&w->scratch);
}

static inline moco_classifier_result_t result_of(const moco_classifier_t *classifier)
{
    moco_classifier_result_t result = {.struct_size = sizeof result};
    expect_ok(moco_classifier_result(classifier, &result));
    return result;
}

static inline moco_probe_options_t probe_options(int32_t protocol)
{
    moco_probe_options_t o;
    expect_ok(moco_probe_options_init(&o, sizeof o, protocol));
    o.epochs = 3;
    o.batch_size = 16;
    o.loader_threads = 1;
    return o;
}

static inline moco_finetune_options_t finetune_options(int32_t optimizer)
{
    moco_finetune_options_t o;
    expect_ok(moco_finetune_options_init(&o, sizeof o, optimizer));
    o.epochs = 2;
    o.warmup_epochs = 1;
    o.batch_size = 8;
    o.loader_threads = 1;
    o.base_lr = optimizer == MOCO_OPTIMIZER_SGD ? 0.3 : 0.03;
    return o;
}

#endif
