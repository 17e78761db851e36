/* The linear probe as a host sees it: the same bits on any number of lanes and loader threads, what
 * takes part and what is left out, progress, refusals. Its numbers are held against PyTorch in
 * tests/parity/test_probe.py. */
#include "labelled.h"

#include <stddef.h>

enum { SIDE = 20, TRAIN = 46, TEST = 21 };

static world_t world_open(int32_t lanes)
{
    return world_of(lanes, TRAIN, TEST, SIDE);
}

static moco_classifier_t *probe_of(const world_t *w, const moco_probe_options_t *o)
{
    moco_classifier_t *probe = NULL;
    expect_ok(moco_probe_train(w->model, w->train, w->test, o, &probe));
    return probe;
}

START_TEST(defaults)
{
    moco_probe_options_t o;
    expect_ok(moco_probe_options_init(&o, sizeof o, MOCO_PROBE_V1));
    ck_assert(o.epochs == 100 && o.batch_size == 256 && o.schedule == MOCO_SCHEDULE_STEP && !o.cached &&
              o.lr_scaling == MOCO_LR_SCALING_NONE);
    ck_assert(o.sgd_momentum == 0.9 && o.weight_decay == 0 && o.lr_factor == 0.1 && o.init_std == 0.01);
    ck_assert(o.crop_min_area == 0.08 && o.crop_max_area == 1 && o.flip_probability == 0.5);
    expect_ok(moco_probe_options_init(&o, sizeof o, MOCO_PROBE_V3));
    ck_assert(o.epochs == 90 && o.batch_size == 1024 && o.schedule == MOCO_SCHEDULE_COSINE &&
              o.lr_scaling == MOCO_LR_SCALING_LINEAR);
    expect_ok(moco_probe_options_init(&o, sizeof o, MOCO_PROBE_CACHED));
    ck_assert(o.epochs == 100 && o.batch_size == 256 && o.cached);
    expect_status(MOCO_ERR_ARGUMENT, moco_probe_options_init(&o, sizeof o, 3));
    expect_message("3");
}
END_TEST

/* The rates that the protocols choose. */
START_TEST(chosen_rates)
{
    world_t w = world_open(1);
    const double wanted[][2] = {{30, 30}, {0.1, 0.1 * 16 / 256}, {0.01, 0.01}};
    for (int32_t protocol = MOCO_PROBE_V1; protocol <= MOCO_PROBE_CACHED; protocol++) {
        moco_probe_options_t o = probe_options(protocol);
        moco_classifier_rate_t rate = {.struct_size = sizeof rate};
        o.epochs = 1;
        moco_classifier_t *probe = probe_of(&w, &o);
        expect_ok(moco_classifier_rate(probe, 0, &rate));
        ck_assert_int_eq(result_of(probe).rates, protocol == MOCO_PROBE_CACHED ? 9 : 1);
        ck_assert_double_eq(rate.base_lr, wanted[protocol][0]);
        ck_assert_double_eq_tol(rate.effective_lr, wanted[protocol][1], 1e-12);
        moco_classifier_free(probe);
    }
    world_close(&w);
}
END_TEST

/* ---- the same bits ---- */

START_TEST(bits)
{
    moco_probe_options_t o = probe_options(_i);
    float wanted[CLASSES * FEATURES + CLASSES], got[CLASSES * FEATURES + CLASSES];
    moco_classifier_result_t first = {0};
    o.rates = 2;
    o.base_lr[0] = 0.5;
    o.base_lr[1] = 12;
    for (int32_t lanes = 1; lanes <= 3; lanes++) {
        world_t w = world_open(lanes);
        o.loader_threads = 4 - lanes;
        moco_classifier_t *probe = probe_of(&w, &o);
        moco_classifier_result_t result = result_of(probe);
        ck_assert_int_eq(result.features, FEATURES);
        expect_ok(moco_classifier_weights(probe, got, got + CLASSES * FEATURES));
        if (lanes == 1) {
            first = result;
            memcpy(wanted, got, sizeof got);
        }
        ck_assert_mem_eq(&first, &result, sizeof result);
        ck_assert_mem_eq(wanted, got, sizeof got);
        moco_classifier_free(probe);
        world_close(&w);
    }
    /* Not because nothing depends on anything: another seed is another classifier. */
    world_t w = world_open(1);
    o.seed = 1;
    moco_classifier_t *probe = probe_of(&w, &o);
    expect_ok(moco_classifier_weights(probe, got, got + CLASSES * FEATURES));
    ck_assert_mem_ne(wanted, got, sizeof got);
    moco_classifier_free(probe);
    world_close(&w);
}
END_TEST

/* ---- what takes part ---- */

/* A list with a class missing here and there, and a broken image. */
static void write_list(const scratch_t *s, int images, int holes)
{
    FILE *list = fopen(in_scratch(s, "list.txt"), "w");
    ck_assert_ptr_nonnull(list);
    for (int i = 0; i < images; i++) {
        fprintf(list, "train/c%d/%04d.jpg", i % CLASSES, i);
        if (i % 9 != 4 || !holes)
            fprintf(list, "\tc%d", i % CLASSES);
        fputc('\n', list);
    }
    fclose(list);
}

START_TEST(left_out)
{
    world_t w = world_open(2);
    moco_probe_options_t o = probe_options(_i);
    write_list(&w.scratch, TRAIN, 1); /* 4, 13, 22, 31 and 40 without a class */
    break_picture(in_scratch(&w.scratch, "train"), 7, CLASSES);
    break_picture(in_scratch(&w.scratch, "test"), 2, CLASSES);
    moco_dataset_free(w.train);
    w.train = dataset_of(in_scratch(&w.scratch, "list.txt"));
    moco_classifier_t *probe = probe_of(&w, &o);
    moco_classifier_result_t result = result_of(probe);
    int64_t table[CLASSES * CLASSES], sum = 0, right = 0;
    ck_assert_int_eq(result.train_images, TRAIN - 6);
    ck_assert_int_eq(result.test_images, TEST - 1);
    ck_assert_int_eq(result.classes, CLASSES);
    ck_assert_double_eq_tol(result.chance, 100.0 / CLASSES, 1e-12);
    ck_assert_double_eq(result.top5, 100);
    expect_ok(moco_classifier_confusion(probe, table));
    for (int i = 0; i < CLASSES * CLASSES; i++) {
        ck_assert_int_ge(table[i], 0);
        sum += table[i];
        right += i % (CLASSES + 1) == 0 ? table[i] : 0;
    }
    ck_assert_int_eq(sum, TEST - 1);
    ck_assert_double_eq_tol(result.top1, 100.0 * (double)right / (double)sum, 1e-9);
    ck_assert_str_eq(moco_classifier_class_name(probe, 1), "c1");
    ck_assert_ptr_null(moco_classifier_class_name(probe, CLASSES));
    ck_assert_ptr_null(moco_classifier_class_name(probe, -1));
    moco_classifier_free(probe);
    world_close(&w);
}
END_TEST

/* A test set with some of the classes, in another numbering, is measured by names: here training
 * images themselves. */
START_TEST(classes_by_name)
{
    world_t w = world_open(1);
    moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
    int64_t table[CLASSES * CLASSES];
    FILE *list = fopen(in_scratch(&w.scratch, "list.txt"), "w");
    for (int i = 2; i < 30; i += CLASSES)
        fprintf(list, "train/c2/%04d.jpg\tc2\n", i);
    fclose(list);
    moco_dataset_free(w.test);
    w.test = dataset_of(in_scratch(&w.scratch, "list.txt"));
    ck_assert_int_eq(moco_dataset_classes(w.test), 1);
    o.epochs = 60;
    moco_classifier_t *probe = probe_of(&w, &o);
    expect_ok(moco_classifier_confusion(probe, table));
    for (int i = 0; i < 2 * CLASSES; i++)
        ck_assert_int_eq(table[i], 0);
    ck_assert_int_eq(table[6] + table[7] + table[8], 10);
    ck_assert_double_ge(result_of(probe).top1, 90); /* learnt by heart: with classes mixed up it would be near 0 */
    moco_classifier_free(probe);
    world_close(&w);
}
END_TEST

/* ---- progress ---- */

typedef struct seen {
    int32_t phases[3], ends, measured, stop_at_phase;
    int64_t last_done, last_step;
    int32_t phase;
} seen_t;

static int32_t watch(void *user, const moco_classifier_report_t *r)
{
    seen_t *s = user;
    ck_assert_uint_eq(r->struct_size, sizeof *r);
    ck_assert_int_ge(r->phase, s->phase);
    if (r->phase != s->phase)
        s->last_done = 0;
    ck_assert_int_ge(r->done, s->last_done);
    ck_assert_int_le(r->done, r->total);
    ck_assert_int_eq(r->step, s->last_step + (r->phase == MOCO_CLASSIFIER_TRAINING && !r->epoch_end));
    s->phase = r->phase;
    s->last_done = r->done;
    s->last_step = r->step;
    s->phases[r->phase]++;
    s->ends += r->epoch_end;
    ck_assert(r->top1 < 0 || (r->epoch_end && r->top1 <= r->top5 && r->top5 <= 100));
    s->measured += r->top1 >= 0;
    ck_assert(r->phase < MOCO_CLASSIFIER_TRAINING || (r->loss > 0 && r->epoch < r->epochs));
    return r->phase == s->stop_at_phase;
}

START_TEST(progress)
{
    world_t w = world_open(2);
    for (int32_t protocol = MOCO_PROBE_V1; protocol <= MOCO_PROBE_CACHED; protocol += 2) {
        moco_probe_options_t o = probe_options(protocol);
        seen_t seen = {.stop_at_phase = -1};
        moco_classifier_t *probe = NULL;
        o.epochs = 5;
        o.eval_every = 2;
        o.progress = watch;
        o.user = &seen;
        expect_ok(moco_probe_train(w.model, w.train, w.test, &o, &probe));
        moco_classifier_free(probe);
        ck_assert_int_eq(seen.ends, 5);
        ck_assert_int_eq(seen.measured, 3); /* after 2, 4 and the last */
        ck_assert_int_eq(seen.phases[MOCO_CLASSIFIER_TRAINING], 5 * 3 + 5);
        ck_assert_int_eq(seen.phases[MOCO_CLASSIFIER_TRAIN_FEATURES] > 0, protocol == MOCO_PROBE_CACHED);
        for (int32_t phase = 0; phase < 3; phase++) {
            seen = (seen_t){.stop_at_phase = phase};
            probe = NULL;
            if (phase == MOCO_CLASSIFIER_TRAIN_FEATURES && protocol == MOCO_PROBE_V1)
                continue;
            expect_status(MOCO_ERR_CANCELLED, moco_probe_train(w.model, w.train, w.test, &o, &probe));
            ck_assert_ptr_null(probe);
        }
    }
    world_close(&w);
}
END_TEST

/* ---- refusals ---- */

static void refuse(const world_t *w, const moco_probe_options_t *o, moco_status_t status, const char *names)
{
    moco_classifier_t *probe = (moco_classifier_t *)w;
    expect_status(status, moco_probe_train(w->model, w->train, w->test, o, &probe));
    ck_assert_ptr_null(probe);
    expect_message(names);
}

START_TEST(options_out_of_range)
{
    world_t w = world_open(1);
    static const struct {
        size_t offset;
        int real;
        double bad[3];
        const char *name;
    } fields[] = {
/* clang-format off */
#define REAL(field, ...) {offsetof(moco_probe_options_t, field), 1, {__VA_ARGS__}, #field}
/* clang-format on */
/* clang-format off */
#define WHOLE(field, ...) {offsetof(moco_probe_options_t, field), 0, {__VA_ARGS__}, #field}
        /* clang-format on */
        REAL(base_lr[1], 0, -1, NAN),     REAL(base_lr[0], 2e6, INFINITY, 0),  REAL(lr_factor, 0, 1.5, NAN),
        REAL(sgd_momentum, 1, -0.1, NAN), REAL(weight_decay, -1, 11, NAN),     REAL(init_std, -1, 11, NAN),
        REAL(crop_min_area, 0, 1.1, NAN), REAL(crop_max_area, 0.01, 1.1, NAN), REAL(flip_probability, -0.1, 1.1, NAN),
        WHOLE(protocol, -1, 3, 99),       WHOLE(rates, -1, 17, 1000),          WHOLE(lr_scaling, -1, 3, 4),
        WHOLE(epochs, 0, -1, 1000001),    WHOLE(batch_size, 0, -1, 65537),     WHOLE(schedule, -1, 3, 4),
        WHOLE(milestone_1, -2, -3, -9),   WHOLE(milestone_2, -2, -3, -9),      WHOLE(cached, -1, 2, 3),
        WHOLE(normalize, -1, 2, 3),       WHOLE(eval_every, -1, -2, 1000001),  WHOLE(loader_threads, -1, 257, 1000)};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        for (int b = 0; b < 3; b++) {
            moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
            o.rates = 2;
            o.base_lr[0] = o.base_lr[1] = 1;
            if (fields[i].real)
                memcpy((uint8_t *)&o + fields[i].offset, &fields[i].bad[b], sizeof(double));
            else
                *(int32_t *)((uint8_t *)&o + fields[i].offset) = (int32_t)fields[i].bad[b];
            refuse(&w, &o, MOCO_ERR_ARGUMENT, fields[i].name);
        }
    moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
    o.struct_size = 3;
    refuse(&w, &o, MOCO_ERR_ARGUMENT, "struct_size");
    world_close(&w);
}
END_TEST

static void write_flat(const scratch_t *s, const char *folder, int count)
{
    for (int i = 0; i < count; i++) {
        char name[64];
        picture_t jpeg = draw_jpeg(SIDE, SIDE, 3, i);
        snprintf(name, sizeof name, "%s/%04d.jpg", folder, i);
        write_file(s->path, name, jpeg.bytes, jpeg.size);
        free(jpeg.bytes);
    }
}

static void swap_set(moco_dataset_t **set, moco_dataset_t *now)
{
    moco_dataset_free(*set);
    *set = now;
}

START_TEST(sets_that_do_not_fit)
{
    world_t w = world_open(1);
    const int32_t protocol = _i;
    moco_probe_options_t o = probe_options(protocol);
    moco_dataset_options_t tiny;

    o.batch_size = TRAIN + 1; /* fewer images than a batch */
    refuse(&w, &o, MOCO_ERR_NO_DATA, "46 images with a class, a batch takes 47");
    o.batch_size = TRAIN;
    moco_classifier_free(probe_of(&w, &o));
    break_picture(in_scratch(&w.scratch, "train"), 5, CLASSES); /* or fewer good ones */
    swap_set(&w.train, dataset_of(in_scratch(&w.scratch, "train")));
    refuse(&w, &o, MOCO_ERR_NO_DATA, "45 good images with a class, a batch takes 46");
    o.batch_size = 16;

    write_flat(&w.scratch, "flat", 20); /* no classes */
    moco_dataset_t *train = w.train, *test = w.test, *flat = dataset_of(in_scratch(&w.scratch, "flat"));
    w.train = flat;
    refuse(&w, &o, MOCO_ERR_ARGUMENT, "training set has 0 classes");
    w.train = train;
    w.test = flat;
    refuse(&w, &o, MOCO_ERR_ARGUMENT, "test set has 0 classes");
    w.test = test;
    moco_dataset_free(flat);

    write_flat(&w.scratch, "one/only", 20); /* one class */
    w.train = dataset_of(in_scratch(&w.scratch, "one"));
    refuse(&w, &o, MOCO_ERR_ARGUMENT, "training set has 1 classes");
    swap_set(&w.train, train);

    write_flat(&w.scratch, "test/stranger", 2); /* a class that training has not */
    swap_set(&w.test, dataset_of(in_scratch(&w.scratch, "test")));
    refuse(&w, &o, MOCO_ERR_MISMATCH, "'stranger'");

    write_file(in_scratch(&w.scratch, "bad"), "c1/a.jpg", "no JPEG", 7); /* nothing to measure on */
    swap_set(&w.test, dataset_of(in_scratch(&w.scratch, "bad")));
    refuse(&w, &o, MOCO_ERR_NO_DATA, "none of the 1 images is good");

    draw_tree(in_scratch(&w.scratch, "test2"), TEST, CLASSES, SIDE);
    swap_set(&w.test, dataset_of(in_scratch(&w.scratch, "test2")));
    expect_ok(moco_dataset_options_init(&tiny, sizeof tiny));
    tiny.max_bytes = 20; /* every training image is too large */
    moco_dataset_t *none = NULL;
    expect_ok(moco_dataset_open(in_scratch(&w.scratch, "train"), &tiny, &none));
    swap_set(&w.train, none);
    refuse(&w, &o, MOCO_ERR_NO_DATA, protocol == MOCO_PROBE_CACHED ? "none of the 46 images is good" : "0 good images");
    world_close(&w);
}
END_TEST

/* Decay of 10 at a rate of 1e6 makes weights explode; such a rate is out of the race, and alone an
 * error. */
START_TEST(diverged)
{
    world_t w = world_open(1);
    moco_probe_options_t o = probe_options(_i);
    o.epochs = 12;
    o.weight_decay = 10;
    o.schedule = MOCO_SCHEDULE_CONSTANT;
    o.lr_scaling = MOCO_LR_SCALING_NONE;
    o.rates = 2;
    o.base_lr[0] = 1e6;
    o.base_lr[1] = 0.01;
    moco_classifier_t *probe = probe_of(&w, &o);
    moco_classifier_rate_t rate = {.struct_size = sizeof rate};
    expect_ok(moco_classifier_rate(probe, 0, &rate));
    ck_assert(isnan(rate.train_loss) && isnan(rate.test_loss) && rate.top1 == 0 && rate.top5 == 0);
    ck_assert_int_eq(result_of(probe).best, 1);
    ck_assert(isfinite(result_of(probe).test_loss) && isfinite(result_of(probe).train_loss));
    moco_classifier_free(probe);
    o.rates = 1;
    refuse(&w, &o, MOCO_ERR_NONFINITE, "not finite");
    world_close(&w);
}
END_TEST

/* Weights after ten epochs of the step schedule, which halves the rate. */
static void stepped(const world_t *w, int32_t first, int32_t second, float *weights)
{
    moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
    o.schedule = MOCO_SCHEDULE_STEP;
    o.lr_factor = 0.5;
    o.epochs = 10;
    o.rates = 1;
    o.base_lr[0] = 0.01;
    o.milestone_1 = first;
    o.milestone_2 = second;
    moco_classifier_t *probe = probe_of(w, &o);
    expect_ok(moco_classifier_weights(probe, weights, NULL));
    moco_classifier_free(probe);
}

/* A milestone of 0 is the first epoch, and -1 the published share of the epochs. */
START_TEST(milestones)
{
    world_t w = world_open(1);
    moco_probe_options_t half = probe_options(MOCO_PROBE_CACHED);
    static float published[CLASSES * FEATURES], own[CLASSES * FEATURES];
    stepped(&w, -1, -1, published);
    stepped(&w, 6, 8, own);
    ck_assert_mem_eq(published, own, sizeof own);
    stepped(&w, 0, 99, own);
    half.schedule = MOCO_SCHEDULE_CONSTANT;
    half.epochs = 10;
    half.rates = 1;
    half.base_lr[0] = 0.005;
    moco_classifier_t *probe = probe_of(&w, &half);
    expect_ok(moco_classifier_weights(probe, published, NULL));
    ck_assert_mem_eq(published, own, sizeof own);
    moco_classifier_free(probe);
    world_close(&w);
}
END_TEST

START_TEST(scaling)
{
    world_t w = world_open(1);
    const double wanted[] = {0.5, 0.5 * 16 / 256, 0.5 * 4};
    for (int32_t kind = MOCO_LR_SCALING_NONE; kind <= MOCO_LR_SCALING_SQRT; kind++) {
        moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
        o.lr_scaling = kind;
        o.rates = 1;
        o.base_lr[0] = 0.5;
        moco_classifier_t *probe = probe_of(&w, &o);
        ck_assert_double_eq(result_of(probe).base_lr, 0.5);
        ck_assert_double_eq(result_of(probe).effective_lr, wanted[kind]);
        moco_classifier_free(probe);
    }
    world_close(&w);
}
END_TEST

START_TEST(wrong_use)
{
    world_t w = world_open(1);
    moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
    moco_classifier_t *probe = NULL;
    const moco_status_t bad = MOCO_ERR_ARGUMENT;
    expect_status(bad, moco_probe_train(NULL, w.train, w.test, &o, &probe));
    expect_status(bad, moco_probe_train(w.model, NULL, w.test, &o, &probe));
    expect_status(bad, moco_probe_train(w.model, w.train, NULL, &o, &probe));
    expect_status(bad, moco_probe_train(w.model, w.train, w.test, &o, NULL));
    expect_status(bad, moco_probe_options_init(NULL, sizeof o, 0));
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("probe");
    TCase *tc = tcase_create("probe");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, defaults);
    tcase_add_test(tc, chosen_rates);
    tcase_add_loop_test(tc, bits, MOCO_PROBE_V1, MOCO_PROBE_CACHED + 1);
    tcase_add_loop_test(tc, left_out, MOCO_PROBE_V1, MOCO_PROBE_CACHED + 1);
    tcase_add_test(tc, classes_by_name);
    tcase_add_test(tc, progress);
    tcase_add_test(tc, options_out_of_range);
    tcase_add_loop_test(tc, sets_that_do_not_fit, MOCO_PROBE_V1, MOCO_PROBE_CACHED + 1);
    tcase_add_loop_test(tc, diverged, MOCO_PROBE_V1, MOCO_PROBE_CACHED + 1);
    tcase_add_test(tc, milestones);
    tcase_add_test(tc, scaling);
    tcase_add_test(tc, wrong_use);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
