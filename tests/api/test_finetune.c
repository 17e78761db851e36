/* Fine-tuning as a host sees it: the same bits on any number of lanes and loader threads, what
 * takes part and what is left out, progress, what a failed or stopped run leaves, refusals. Its
 * numbers are held against PyTorch in tests/parity/test_finetune.py. */
#include "labelled.h"

#include <limits.h>

enum { SIDE = 20, TRAIN = 30, TEST = 13 };

static world_t world_open(int32_t lanes)
{
    return world_of(lanes, TRAIN, TEST, SIDE);
}

static moco_status_t run(const world_t *w, const moco_finetune_options_t *o, moco_classifier_t **out)
{
    return moco_finetune_train(w->model, w->train, w->test, o, out);
}

START_TEST(defaults)
{
    moco_finetune_options_t o;
    expect_ok(moco_finetune_options_init(&o, sizeof o, MOCO_OPTIMIZER_ADAMW));
    ck_assert(o.optimizer == MOCO_OPTIMIZER_ADAMW && o.base_lr == 2.5e-4 && o.weight_decay == 0.05 && !o.decay_vectors);
    ck_assert(o.warmup_epochs == 5 && o.mixup == 0.8 && o.drop_path == 0.1 && o.label_smoothing == 0.1);
    ck_assert(o.adam_beta1 == 0.9 && o.adam_beta2 == 0.999 && o.adam_epsilon == 1e-8 && o.epochs == 100);
    expect_ok(moco_finetune_options_init(&o, sizeof o, MOCO_OPTIMIZER_SGD));
    ck_assert(o.optimizer == MOCO_OPTIMIZER_SGD && o.base_lr == 0.01 && o.weight_decay == 1e-4 && o.decay_vectors);
    ck_assert(o.warmup_epochs == 0 && o.mixup == 0 && o.drop_path == 0 && o.sgd_momentum == 0.9);
    ck_assert(o.batch_size == 128 && o.bn_groups == 1 && o.schedule == MOCO_SCHEDULE_COSINE &&
              o.lr_scaling == MOCO_LR_SCALING_LINEAR);
    ck_assert(o.crop_min_area == 0.08 && o.crop_max_area == 1 && o.flip_probability == 0.5);
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_options_init(&o, sizeof o, MOCO_OPTIMIZER_LARS));
    expect_message("1");
}
END_TEST

/* ---- the same bits ---- */

/* One group of several shards that meet, several groups of one shard, several of several. */
static const int32_t divisions[][2] = {{1, 2}, {4, 0}, {2, 2}};

START_TEST(bits)
{
    moco_finetune_options_t o = finetune_options(_i == 0 ? MOCO_OPTIMIZER_SGD : MOCO_OPTIMIZER_ADAMW);
    float wanted[NUMBERS], got[NUMBERS];
    uint8_t *file = NULL;
    size_t size = 0;
    o.bn_groups = divisions[_i][0];
    o.shard = divisions[_i][1];
    o.mixup = 0.8;
    o.drop_path = 0.5;
    for (int32_t lanes = 1; lanes <= 3; lanes++) {
        world_t w = world_open(lanes);
        moco_classifier_t *finetune = NULL;
        size_t length;
        o.loader_threads = 4 - lanes;
        expect_ok(run(&w, &o, &finetune));
        expect_ok(moco_classifier_weights(finetune, got, got + CLASSES * FEATURES));
        expect_ok(moco_classifier_save(finetune, in_scratch(&w.scratch, "tuned.safetensors")));
        uint8_t *bytes = read_file(in_scratch(&w.scratch, "tuned.safetensors"), &length);
        if (lanes == 1) {
            memcpy(wanted, got, sizeof got);
            file = bytes;
            size = length;
        } else {
            ck_assert_mem_eq(got, wanted, sizeof got);
            ck_assert_uint_eq(length, size);
            ck_assert_mem_eq(bytes, file, size); /* every weight of the backbone, too */
            free(bytes);
        }
        moco_classifier_free(finetune);
        world_close(&w);
    }
    free(file);
}
END_TEST

/* ---- what it does ---- */

typedef struct seen {
    int64_t steps, measured, ends, last_step;
    double first_lr, last_lr, top1;
    int64_t stop_at;
} seen_t;

static int32_t watch(void *user, const moco_classifier_report_t *r)
{
    seen_t *s = user;
    ck_assert_uint_eq(r->struct_size, sizeof *r);
    ck_assert(r->epoch >= 0 && r->epoch < r->epochs && r->done <= r->total && r->step >= s->last_step);
    if (r->phase == MOCO_CLASSIFIER_TRAINING && !r->epoch_end) {
        ck_assert_int_eq(r->step, s->steps + 1);
        ck_assert_int_eq(r->done, 8 * r->step);
        ck_assert(isfinite(r->loss) && r->top1 == -1);
        s->first_lr = s->steps == 0 ? r->lr : s->first_lr;
        s->last_lr = r->lr;
        s->steps++;
    }
    s->measured += r->phase == MOCO_CLASSIFIER_TEST_FEATURES;
    s->ends += r->epoch_end;
    s->top1 = r->epoch_end ? r->top1 : s->top1;
    s->last_step = r->step;
    return s->stop_at > 0 && s->steps == s->stop_at;
}

/* It learns what it sees: stripes of three directions. The model given stays as it is. */
START_TEST(learns)
{
    world_t w = world_open(2);
    moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_SGD);
    moco_classifier_t *finetune = NULL;
    moco_model_t *loaded = NULL;
    int64_t table[CLASSES * CLASSES], sum = 0, right = 0;
    size_t before_size, after_size;
    seen_t seen = {0};
    expect_ok(moco_model_save(w.model, in_scratch(&w.scratch, "before")));
    o.epochs = 25;
    o.crop_min_area = 0.7;
    o.eval_every = 10;
    o.base_lr = 1;
    o.progress = watch;
    o.user = &seen;
    expect_ok(moco_finetune_train(w.model, w.train, w.train, &o, &finetune));
    moco_classifier_result_t r = result_of(finetune);
    ck_assert_int_eq(r.steps, 75);
    ck_assert_int_eq(seen.steps, 75);
    ck_assert_int_eq(seen.ends, 25);
    ck_assert_int_eq(seen.measured, 3); /* epochs 10, 20, 25: one batch of the loader each */
    ck_assert(seen.first_lr == 0 && seen.last_lr < 1e-3 && r.base_lr == 1 && r.effective_lr == 8 / 256.0);
    ck_assert(r.train_images == 24 && r.test_images == TRAIN && r.classes == CLASSES && r.features == FEATURES);
    ck_assert_msg(r.top1 > 80, "top-1 is %g %%", r.top1);
    ck_assert(r.top5 == 100 && seen.top1 == r.top1 && r.train_loss < 1 && r.test_loss < 1);
    expect_ok(moco_classifier_confusion(finetune, table));
    for (int i = 0; i < CLASSES * CLASSES; i++) {
        sum += table[i];
        right += i % (CLASSES + 1) == 0 ? table[i] : 0;
    }
    ck_assert_int_eq(sum, TRAIN);
    ck_assert_double_eq_tol(100.0 * (double)right / (double)sum, r.top1, 1e-9);
    ck_assert_str_eq(moco_classifier_class_name(finetune, 1), moco_dataset_class_name(w.train, 1));
    ck_assert_ptr_null(moco_classifier_class_name(finetune, CLASSES));
    expect_ok(moco_classifier_save(finetune, in_scratch(&w.scratch, "tuned")));
    expect_ok(moco_model_load(in_scratch(&w.scratch, "tuned"), NULL, w.device, &loaded));
    ck_assert_int_eq(moco_model_dimension(loaded, MOCO_TAP_PROJECTION), 0);
    expect_ok(moco_model_save(w.model, in_scratch(&w.scratch, "after")));
    uint8_t *before = read_file(in_scratch(&w.scratch, "before"), &before_size);
    uint8_t *after = read_file(in_scratch(&w.scratch, "after"), &after_size);
    ck_assert_uint_eq(before_size, after_size);
    ck_assert_mem_eq(before, after, after_size);
    free(before);
    free(after);
    moco_model_free(loaded);
    moco_classifier_free(finetune);
    world_close(&w);
}
END_TEST

/* The first block is never dropped: where it is the only one, dropping paths changes no bit. */
START_TEST(one_block)
{
    world_t w = world_open(1);
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    float weights[2][CLASSES * 48], biases[2][CLASSES];
    tiny_options(&options);
    options.arch = MOCO_ARCH_VIT_SMALL;
    options.width = 0.125;
    options.patch_size = 8;
    options.vit_depth = 1;
    options.vit_heads = 4;
    expect_ok(moco_trainer_create(&options, w.device, &trainer));
    moco_model_free(w.model);
    w.model = NULL;
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &w.model));
    moco_trainer_free(trainer);
    ck_assert_int_eq(moco_model_dimension(w.model, MOCO_TAP_BACKBONE), 48);
    for (int i = 0; i < 2; i++) {
        moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_ADAMW);
        moco_classifier_t *finetune = NULL;
        o.epochs = 1;
        o.warmup_epochs = 0;
        o.drop_path = i * 0.5;
        expect_ok(run(&w, &o, &finetune));
        expect_ok(moco_classifier_weights(finetune, weights[i], biases[i]));
        moco_classifier_free(finetune);
    }
    ck_assert_mem_eq(weights[0], weights[1], sizeof *weights);
    ck_assert_mem_eq(biases[0], biases[1], sizeof *biases);
    world_close(&w);
}
END_TEST

/* Broken images and the rest that fills no batch are left out; a file of a fine-tuned encoder can
 * be tuned again. */
START_TEST(left_out)
{
    world_t w = world_open(1);
    moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_ADAMW);
    moco_classifier_t *finetune = NULL;
    moco_dataset_t *train = NULL;
    for (int i = 0; i < 7; i++)
        break_picture(in_scratch(&w.scratch, "train"), 4 * i, CLASSES);
    train = dataset_of(in_scratch(&w.scratch, "train"));
    expect_ok(moco_finetune_train(w.model, train, w.test, &o, &finetune));
    ck_assert_int_eq(result_of(finetune).steps, 4); /* 23 good ones: two batches of 8 an epoch, three planned */
    ck_assert_int_eq(result_of(finetune).train_images, 16);
    expect_ok(moco_classifier_save(finetune, in_scratch(&w.scratch, "tuned")));
    moco_classifier_free(finetune);
    moco_model_free(w.model);
    w.model = NULL;
    expect_ok(moco_model_load(in_scratch(&w.scratch, "tuned"), NULL, w.device, &w.model));
    o.epochs = 1;
    expect_ok(run(&w, &o, &finetune));
    moco_classifier_free(finetune);
    moco_dataset_free(train);
    world_close(&w);
}
END_TEST

START_TEST(stops)
{
    world_t w = world_open(1);
    moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_SGD);
    moco_classifier_t *finetune = (moco_classifier_t *)&w;
    seen_t seen = {.stop_at = 2};
    o.progress = watch;
    o.user = &seen;
    expect_status(MOCO_ERR_CANCELLED, moco_finetune_train(w.model, w.train, w.test, &o, &finetune));
    expect_message("step 2");
    ck_assert_ptr_null(finetune);
    world_close(&w);
}
END_TEST

/* A rate that blows up is an error that names its step. */
START_TEST(not_finite)
{
    world_t w = world_open(1);
    moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_SGD);
    moco_classifier_t *finetune = NULL;
    o.warmup_epochs = 0;
    o.schedule = MOCO_SCHEDULE_CONSTANT;
    o.lr_scaling = MOCO_LR_SCALING_NONE;
    o.base_lr = 1000;
    o.weight_decay = 10;
    o.epochs = 40;
    expect_status(MOCO_ERR_NONFINITE, run(&w, &o, &finetune));
    expect_message("step ");
    ck_assert_ptr_null(finetune);
    world_close(&w);
}
END_TEST

/* ---- refusals ---- */

typedef struct refusal {
    const char *name;
    size_t offset;
    double real;
    int32_t whole; /* INT_MIN: a real field */
} refusal_t;

/* clang-format off */
#define REAL(field, value) {#field, offsetof(moco_finetune_options_t, field), value, INT_MIN}
/* clang-format on */
/* clang-format off */
#define WHOLE(field, value) {#field, offsetof(moco_finetune_options_t, field), 0, value}
/* clang-format on */

/* clang-format off */
static const refusal_t refusals[] = {
    REAL(base_lr, -1), REAL(base_lr, NAN), REAL(base_lr, 1001), REAL(weight_decay, -0.1), REAL(sgd_momentum, 1), REAL(adam_beta1, 1),
    REAL(adam_beta2, -1), REAL(adam_epsilon, 0), REAL(label_smoothing, 1), REAL(label_smoothing, -0.1),
    REAL(mixup, -1), REAL(mixup, INFINITY), REAL(drop_path, 1), REAL(init_std, -1), REAL(crop_min_area, 0),
    REAL(crop_max_area, 0.01), REAL(flip_probability, 2), WHOLE(optimizer, MOCO_OPTIMIZER_LARS),
    WHOLE(lr_scaling, 3), WHOLE(epochs, 0), WHOLE(warmup_epochs, 3), WHOLE(batch_size, 1), WHOLE(bn_groups, 0),
    WHOLE(bn_groups, 3), WHOLE(bn_groups, 8), WHOLE(shard, 3), WHOLE(schedule, MOCO_SCHEDULE_STEP),
    WHOLE(decay_vectors, 2), WHOLE(resize_filter, 2), WHOLE(eval_every, -1), WHOLE(loader_threads, 257),
};
/* clang-format on */

START_TEST(bad_options)
{
    world_t w = world_open(1);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_ADAMW);
        moco_classifier_t *finetune = NULL;
        const refusal_t *bad = &refusals[i];
        if (bad->whole == INT_MIN)
            memcpy((char *)&o + bad->offset, &bad->real, sizeof bad->real);
        else
            memcpy((char *)&o + bad->offset, &bad->whole, sizeof bad->whole);
        expect_status(MOCO_ERR_ARGUMENT, run(&w, &o, &finetune));
        expect_message(bad->name);
    }
    world_close(&w);
}
END_TEST

START_TEST(bad_data)
{
    world_t w = world_open(1);
    moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_SGD);
    moco_classifier_t *finetune = NULL;
    moco_dataset_t *other = NULL, *flat = NULL;
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_train(NULL, w.train, w.test, &o, &finetune));
    expect_message("model");
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_train(w.model, NULL, w.test, &o, &finetune));
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_train(w.model, w.train, NULL, &o, &finetune));
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_train(w.model, w.train, w.test, &o, NULL));
    o.batch_size = 32;
    expect_status(MOCO_ERR_NO_DATA, run(&w, &o, &finetune));
    expect_message("30 images");
    o.batch_size = 8;
    copy_file(in_scratch(&w.scratch, "test/c0/0000.jpg"), in_scratch(&w.scratch, "flat"), "a.jpg");
    flat = dataset_of(in_scratch(&w.scratch, "flat"));
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_train(w.model, flat, w.test, &o, &finetune));
    expect_message("training set has 0 classes");
    expect_status(MOCO_ERR_ARGUMENT, moco_finetune_train(w.model, w.train, flat, &o, &finetune));
    copy_file(in_scratch(&w.scratch, "flat/a.jpg"), in_scratch(&w.scratch, "other/stranger"), "a.jpg");
    other = dataset_of(in_scratch(&w.scratch, "other"));
    expect_status(MOCO_ERR_MISMATCH, moco_finetune_train(w.model, w.train, other, &o, &finetune));
    expect_message("stranger");
    ck_assert_ptr_null(finetune);
    moco_dataset_free(flat);
    moco_dataset_free(other);
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("finetune");
    TCase *c = tcase_create("finetune");
    tcase_set_timeout(c, 240);
    tcase_add_test(c, defaults);
    tcase_add_loop_test(c, bits, 0, (int)(sizeof divisions / sizeof *divisions));
    tcase_add_test(c, learns);
    tcase_add_test(c, one_block);
    tcase_add_test(c, left_out);
    tcase_add_test(c, stops);
    tcase_add_test(c, not_finite);
    tcase_add_test(c, bad_options);
    tcase_add_test(c, bad_data);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
