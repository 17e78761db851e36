/* Whole runs: what is reported when, where they stop, what they leave, and how much memory they
 * take. */
#include "draw.h"
#include "call_options.h"

#include <pthread.h>

#define IMAGES 28 /* 3 steps an epoch */

static scratch_t scratch;
static moco_dataset_t *dataset, *test_set;

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 4, 20);
    draw_tree(in_scratch(&scratch, "test"), 9, 4, 20);
    mkdir(in_scratch(&scratch, "run"), 0777);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    test_set = dataset_of(in_scratch(&scratch, "test"));
}

static void tear_down(void)
{
    moco_dataset_free(dataset);
    moco_dataset_free(test_set);
    scratch_drop(&scratch);
}

static moco_trainer_t *fresh(moco_device_t *device)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.epochs = 3;
    options.base_lr = 1;
    expect_ok(moco_trainer_create(&options, device, &trainer));
    return trainer;
}

/* ---- reports ---- */

typedef struct seen {
    pthread_t thread;
    int reports, evaluations, foreign;
    int64_t evaluated[8]; /* steps at which kNN came   */
    int64_t last;         /* step of the last report   */
    int64_t stop_at;      /* ask to stop there; 0 = no */
    int stop_on_evaluation;
    double epoch_sum;
} seen_t;

static int32_t see(void *user, const moco_step_report_t *r)
{
    seen_t *s = user;
    s->foreign += !pthread_equal(s->thread, pthread_self());
    s->reports++;
    ck_assert_int_eq(r->struct_size, sizeof *r);
    ck_assert_int_eq(r->steps_per_epoch, 3);
    ck_assert_int_eq(r->steps_total, 9);
    ck_assert_double_eq_tol(r->chance_loss, log(33.0), 1e-12);
    if (r->knn_top1 >= 0) {
        ck_assert_int_eq(r->step, s->last); /* in a report of its own */
        s->evaluated[s->evaluations++] = r->step;
        return s->stop_on_evaluation;
    }
    ck_assert_int_eq(r->step, s->last + 1);
    ck_assert_int_eq(r->epoch, (r->step - 1) / 3);
    ck_assert_int_eq(r->step_in_epoch, (r->step - 1) % 3 + 1);
    ck_assert(isfinite(r->loss) && r->gradient_norm > 0 && r->images_per_second > 0);
    ck_assert(r->contrast_top1 >= 0 && r->contrast_top1 <= r->contrast_top5 && r->contrast_top5 <= 100);
    ck_assert_double_eq_tol(r->queue_fill, r->step < 4 ? (double)r->step / 4 : 1, 1e-12);
    /* cosine over 3 epochs that counts the first as 1, times batch/256 */
    ck_assert_double_eq_tol(r->lr, 8.0 / 256 * 0.5 * (1 + cos(acos(-1) * (double)(r->epoch + 1) / 3)), 1e-12);
    s->epoch_sum = r->step_in_epoch == 1 ? r->loss : s->epoch_sum + r->loss;
    ck_assert_double_eq_tol(r->epoch_loss, s->epoch_sum / (double)r->step_in_epoch, 1e-9);
    s->last = r->step;
    return s->stop_at > 0 && r->step >= s->stop_at;
}

static seen_t watch(void)
{
    return (seen_t){.thread = pthread_self()};
}

static int log_lines(const char *folder)
{
    size_t size;
    int lines = 0;
    uint8_t *text = read_file(in_folder(folder, "log.jsonl"), &size);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    free(text);
    return lines;
}

START_TEST(evaluation)
{
    const char *run = in_scratch(&scratch, "run");
    moco_trainer_t *trainer = fresh(NULL);
    moco_model_t *model = NULL;
    moco_knn_result_t knn = {.struct_size = sizeof knn};
    seen_t seen = watch();
    expect_ok(moco_trainer_run(trainer, dataset, test_set, run, RUN(.progress = see, .user = &seen)));
    const int64_t want[] = {0, 3, 6, 9};
    ck_assert_int_eq(seen.evaluations, 4);
    ck_assert_mem_eq(seen.evaluated, want, sizeof want);
    ck_assert_int_eq(seen.reports, 9 + 4);
    ck_assert_int_eq(seen.foreign, 0);
    ck_assert_int_eq(log_lines(run), 9 + 4);
    expect_ok(moco_model_load(in_folder(run, "model.safetensors"), NULL, NULL, &model));
    expect_ok(moco_knn_measure(model, dataset, test_set, KNN(.loader_threads = 1), &knn));
    ck_assert_int_eq(knn.bank, IMAGES);
    ck_assert_int_eq(knn.queries, 9);
    ck_assert_double_eq_tol(knn.chance, 25, 1e-12);
    moco_model_free(model);

    /* Done: nothing more to do, nothing more to tell. */
    seen = watch();
    expect_ok(moco_trainer_run(trainer, dataset, test_set, run, RUN(.progress = see, .user = &seen)));
    ck_assert_int_eq(seen.reports, 0);
    ck_assert_int_eq(log_lines(run), 9 + 4);
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(evaluation_every_two_epochs)
{
    moco_trainer_t *trainer = fresh(NULL);
    moco_run_options_t options;
    seen_t seen = watch();
    expect_ok(moco_run_options_init(&options, sizeof options));
    options.eval_every = 2;
    options.log_every = 2;
    options.progress = see;
    options.user = &seen;
    expect_ok(moco_trainer_run(trainer, dataset, test_set, in_scratch(&scratch, "run"), &options));
    const int64_t want[] = {0, 6, 9}; /* and at the end */
    ck_assert_int_eq(seen.evaluations, 3);
    ck_assert_mem_eq(seen.evaluated, want, sizeof want);
    ck_assert_int_eq(log_lines(in_scratch(&scratch, "run")), 4 + 3);
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(a_test_set_that_cannot_be_used)
{
    moco_trainer_t *trainer = fresh(NULL);
    draw_tree(in_scratch(&scratch, "flat"), 2, 1, 16);
    rename(in_scratch(&scratch, "flat/c0/0000.jpg"), in_scratch(&scratch, "flat/0.jpg"));
    rename(in_scratch(&scratch, "flat/c0"), in_scratch(&scratch, "flat/other"));
    moco_dataset_t *other = dataset_of(in_scratch(&scratch, "flat/other"));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_run(trainer, dataset, other, NULL, NULL));
    expect_message("class");
    moco_dataset_free(other);
    other = dataset_of(in_scratch(&scratch, "flat"));
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_run(trainer, dataset, other, NULL, NULL));
    expect_message("other");
    moco_dataset_free(other);
    ck_assert_int_eq((int)trainer_number(trainer, "step"), 0);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- stopping and going on ---- */

START_TEST(cancelling)
{
    const char *run = in_scratch(&scratch, "run"), *path = in_folder(run, "checkpoint.safetensors");
    moco_trainer_t *trainer = fresh(NULL);
    seen_t seen = watch();
    seen.stop_at = 4;
    expect_status(MOCO_ERR_CANCELLED,
                  moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = see, .user = &seen)));
    expect_message("4");
    ck_assert_int_eq(seen.last, 4);
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "own")));
    ck_assert(same_checkpoints(path, in_scratch(&scratch, "own"))); /* saved as it stands */
    ck_assert(file_exists(in_folder(run, "model.safetensors")));
    moco_trainer_free(trainer);

    /* A loaded trainer ends the run. */
    expect_ok(moco_trainer_load(path, NULL, NULL, &trainer));
    seen.stop_at = 0;
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = see, .user = &seen)));
    ck_assert_int_eq(seen.last, 9);
    ck_assert_int_eq(log_lines(run), 9);
    moco_trainer_free(trainer);

    moco_trainer_t *whole = fresh(NULL);
    expect_ok(moco_trainer_run(whole, dataset, NULL, NULL, NULL));
    expect_ok(moco_trainer_save(whole, in_scratch(&scratch, "own")));
    moco_trainer_free(whole);
    ck_assert(same_checkpoints(path, in_scratch(&scratch, "own")));
}
END_TEST

START_TEST(cancelling_before_the_first_step)
{
    moco_trainer_t *trainer = fresh(NULL);
    seen_t seen = watch();
    seen.stop_on_evaluation = 1;
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_run(trainer, dataset, test_set, in_scratch(&scratch, "run"),
                                                       RUN(.progress = see, .user = &seen)));
    ck_assert_int_eq(seen.reports, 1);
    moco_trainer_free(trainer);
    expect_ok(moco_trainer_load(in_scratch(&scratch, "run/checkpoint.safetensors"), NULL, NULL, &trainer));
    seen = watch();
    expect_ok(
        moco_trainer_run(trainer, dataset, test_set, in_scratch(&scratch, "run"), RUN(.progress = see, .user = &seen)));
    ck_assert_int_eq(seen.reports, 9 + 4);
    ck_assert_int_eq(log_lines(in_scratch(&scratch, "run")), 9 + 4); /* the first evaluation is told once */
    moco_trainer_free(trainer);
}
END_TEST

static moco_cancel_t *cancel;

static int32_t ask_at_the_end_of_an_epoch(void *user, const moco_step_report_t *report)
{
    *(int *)user += report->knn_top1 >= 0;
    if (report->step == 3 && report->knn_top1 < 0)
        moco_cancel_request(cancel);
    return 0;
}

/* An evaluation inside a run ends by the same request, and what was learnt before it is saved. */
START_TEST(cancelling_an_evaluation)
{
    moco_trainer_t *trainer = fresh(NULL);
    int evaluations = 0;
    expect_ok(moco_cancel_create(&cancel));
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_run(trainer, dataset, test_set, in_scratch(&scratch, "run"),
                                                       RUN(.cancel = cancel, .progress = ask_at_the_end_of_an_epoch,
                                                           .user = &evaluations)));
    ck_assert_int_eq(evaluations, 1); /* that before the first step */
    moco_trainer_free(trainer);
    expect_ok(moco_trainer_load(in_scratch(&scratch, "run/checkpoint.safetensors"), NULL, NULL, &trainer));
    ck_assert_int_eq((int)moco_trainer_step_number(trainer), 3);
    moco_trainer_free(trainer);
    moco_cancel_free(cancel);
}
END_TEST

START_TEST(max_steps)
{
    moco_trainer_t *trainer = fresh(NULL);
    moco_run_options_t options;
    seen_t seen = watch();
    expect_ok(moco_run_options_init(&options, sizeof options));
    options.progress = see;
    options.user = &seen;
    for (options.max_steps = 2; options.max_steps <= 8; options.max_steps += 3) { /* in all, schedule unchanged */
        expect_ok(moco_trainer_run(trainer, dataset, NULL, NULL, &options));
        ck_assert_int_eq(seen.last, options.max_steps);
    }
    expect_ok(moco_trainer_run(trainer, dataset, NULL, NULL, &options)); /* beyond the end: to the end */
    ck_assert_int_eq(seen.last, 9);
    moco_trainer_free(trainer);
    options.max_steps = -1;
    trainer = fresh(NULL);
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_run(trainer, dataset, NULL, NULL, &options));
    expect_message("-1");
    moco_trainer_free(trainer);
}
END_TEST

/* Pushed batches: steps_per_epoch makes epochs for the schedule. */
START_TEST(steps_per_epoch)
{
    static const double rates[2][6] = {{1, 1, 1, 1, 1, 1}, {0.75, 0.75, 0.25, 0.25, 0, 0}};
    for (int mode = 0; mode < 2; mode++) {
        moco_trainer_options_t options;
        moco_trainer_t *trainer = NULL;
        moco_step_report_t report = {.struct_size = sizeof report};
        static float views[8 * 3 * 16 * 16];
        for (size_t i = 0; i < sizeof views / sizeof *views; i++)
            views[i] = (float)(i * 37 % 101) / 50.f - 1.f;
        tiny_options(&options);
        options.epochs = 3;
        options.base_lr = 0.32; /* 0.01 at this batch */
        options.steps_per_epoch = 2 * mode;
        expect_ok(moco_trainer_create(&options, NULL, &trainer));
        for (int step = 0; step < 6; step++) {
            expect_ok(moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
            expect_ok(moco_trainer_step(trainer, NULL, &report));
            ck_assert_double_eq_tol(report.lr, 0.01 * rates[mode][step], 1e-12);
            ck_assert_int_eq(report.epoch, mode ? step / 2 : 0);
            ck_assert_int_eq(report.step_in_epoch, mode ? step % 2 + 1 : step + 1);
            ck_assert_int_eq(report.steps_total, mode ? 6 : 0);
            ck_assert(mode && step < 5 ? report.eta_seconds > 0 : report.eta_seconds == 0);
        }
        moco_trainer_free(trainer);
    }
}
END_TEST

/* ---- memory ---- */

static double planned(const moco_trainer_options_t *options, moco_device_t *device, const char *key)
{
    char text[4096];
    expect_ok(moco_trainer_plan(options, device, text, sizeof text, NULL));
    return json_number(text, key);
}

/* A plain ViT's images never meet outside the heads: its shards in flight follow the lanes, not the
 * batch. */
START_TEST(big_batches)
{
    moco_device_t *device = device_of(2);
    moco_trainer_options_t options;
    expect_ok(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_V3_VIT, MOCO_ARCH_RECIPE));
    ck_assert_int_eq(options.batch_size, 4096);
    ck_assert_int_eq((int)planned(&options, device, "shards"), 256);
    ck_assert_int_eq((int)planned(&options, device, "shards_in_flight"), 2);
    ck_assert_int_eq((int)planned(&options, device, "bn_groups"), 2);
    ck_assert_double_eq_tol(planned(&options, device, "effective_lr"), 1.5e-4 * 4096 / 256, 1e-12);
    ck_assert(planned(&options, device, "total") < 16e9); /* ViT-S/16 at 224 pixels */
    expect_ok(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_V3, MOCO_ARCH_RECIPE));
    options.bn_groups = 128; /* ResNet-50: a device of 32 is a shard */
    ck_assert_int_eq((int)planned(&options, device, "shards_in_flight"), 2);
    ck_assert_int_eq((int)planned(&options, device, "bn_groups"), 256);
    ck_assert(planned(&options, device, "total") < 16e9);
    moco_device_free(device);
}
END_TEST

START_TEST(memory_cap)
{
    moco_device_t *device = device_of(4);
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.bn_groups = 4;
    options.loader_threads = 1;
    const double whole = planned(&options, device, "total");
    ck_assert_int_eq((int)planned(&options, device, "bn_groups_in_flight"), 4);
    ck_assert_int_eq((int)planned(&options, device, "bn_groups"), 4);
    ck_assert_int_eq((int)planned(&options, device, "shards"), 4);

    /* Ever smaller caps: fewer groups in flight, the same bits, until not even one fits. */
    int in_flight = 4, refused = 0;
    int64_t fits = 0;
    for (int round = 0; round < 6; round++) {
        if (round > 0)
            options.memory_cap = (int64_t)planned(&options, device, "total") - 1;
        char text[4096];
        moco_status_t status = moco_trainer_plan(&options, device, text, sizeof text, NULL);
        if (status == MOCO_ERR_MEMORY_CAP) {
            expect_message("would fit");
            const char *at = strstr(moco_last_message(), "a cap of ");
            ck_assert_ptr_nonnull(at);
            fits = strtoll(at + 9, NULL, 10);
            expect_status(MOCO_ERR_MEMORY_CAP, moco_trainer_create(&options, device, &trainer));
            ck_assert_ptr_null(trainer);
            refused = 1;
            break;
        }
        expect_ok(status);
        int now = (int)json_number(text, "bn_groups_in_flight");
        ck_assert(round == 0 ? now == 4 : now < in_flight);
        in_flight = now;
        ck_assert(json_number(text, "total") <= whole);
        expect_ok(moco_trainer_create(&options, device, &trainer));
        ck_assert(trainer_number(trainer, "total") == json_number(text, "total"));
        ck_assert_int_eq((int)trainer_number(trainer, "bn_groups_in_flight"), now);
        expect_ok(moco_trainer_steps(trainer, dataset, 4, NULL, NULL));
        expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, round == 0 ? "first" : "next")));
        moco_trainer_free(trainer);
        trainer = NULL;
        if (round > 0) {
            mask_file(in_scratch(&scratch, "next"), "memory_cap");
            expect_ok(moco_trainer_load(in_scratch(&scratch, "first"), &options, device, &trainer));
            expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "again"))); /* "first", capped */
            moco_trainer_free(trainer);
            trainer = NULL;
            mask_file(in_scratch(&scratch, "again"), "memory_cap");
            ck_assert_msg(same_checkpoints(in_scratch(&scratch, "next"), in_scratch(&scratch, "again")),
                          "%d groups in flight give other bits", now);
        }
    }
    ck_assert(refused && in_flight == 1);
    options.memory_cap = fits; /* the promised cap holds, a byte less does not */
    ck_assert(planned(&options, device, "total") == (double)fits);
    options.memory_cap = fits - 1;
    expect_status(MOCO_ERR_MEMORY_CAP, moco_trainer_create(&options, device, &trainer));
    options.memory_cap = 1;
    expect_status(MOCO_ERR_MEMORY_CAP, moco_trainer_create(&options, device, &trainer));
    moco_device_free(device);
}
END_TEST

/* The parts of a plan add up. */
START_TEST(plan_adds_up)
{
    static const char *const parts[] = {"weights", "packed",        "optimizer", "gradients",  "activations",
                                        "queue",   "batch_results", "views",     "statistics", "scratchpads"};
    moco_trainer_options_t options;
    double sum = 0;
    tiny_options(&options);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        double bytes = planned(&options, NULL, parts[i]);
        ck_assert_msg(bytes >= 0, "%s", parts[i]);
        sum += bytes;
    }
    ck_assert(sum == planned(&options, NULL, "total"));
    ck_assert(planned(&options, NULL, "queue") == 32.0 * 16 * 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run");
    TCase *tcase = tcase_create("run");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, evaluation);
    tcase_add_test(tcase, evaluation_every_two_epochs);
    tcase_add_test(tcase, a_test_set_that_cannot_be_used);
    tcase_add_test(tcase, cancelling);
    tcase_add_test(tcase, cancelling_before_the_first_step);
    tcase_add_test(tcase, cancelling_an_evaluation);
    tcase_add_test(tcase, max_steps);
    tcase_add_test(tcase, steps_per_epoch);
    tcase_add_test(tcase, memory_cap);
    tcase_add_test(tcase, big_batches);
    tcase_add_test(tcase, plan_adds_up);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
