/* Saving and going on: the same bits as if nothing had happened, wherever the run was cut. */
#include "draw.h"
#include "call_options.h"

#define IMAGES 30 /* 3 of them broken: 3 steps an epoch */
#define CLASSES 2

static scratch_t scratch;

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, CLASSES, 20);
    for (int i = 3; i < IMAGES; i += 10)
        break_picture(in_scratch(&scratch, "images"), i, CLASSES);
}

static void tear_down(void)
{
    scratch_drop(&scratch);
}

static void options_here(moco_trainer_options_t *options)
{
    tiny_options(options);
    options->base_lr = 1;
    options->epochs = 3;
    options->shard = 2;
}

static moco_trainer_t *fresh(moco_device_t *device)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    options_here(&options);
    expect_ok(moco_trainer_create(&options, device, &trainer));
    return trainer;
}

static moco_trainer_t *loaded(const char *path, moco_device_t *device)
{
    moco_trainer_t *trainer = NULL;
    expect_ok(moco_trainer_load(path, NULL, device, &trainer));
    return trainer;
}

/* Cut after any step of two epochs; the second half runs on other lanes and loader threads, under a
 * memory cap. */
START_TEST(steps_after_a_load)
{
    const char *whole = in_scratch(&scratch, "whole"), *half = in_scratch(&scratch, "half");
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    moco_device_t *one = device_of(1), *three = device_of(3);
    moco_trainer_t *trainer = fresh(one);
    moco_trainer_options_t overrides;
    expect_ok(moco_trainer_steps(trainer, dataset, 8, NULL, NULL));
    expect_ok(moco_trainer_save(trainer, whole));
    moco_trainer_free(trainer);

    for (int cut = 1; cut <= 6; cut++) {
        trainer = fresh(one);
        expect_ok(moco_trainer_steps(trainer, dataset, cut, NULL, NULL));
        expect_ok(moco_trainer_save(trainer, half));
        moco_trainer_free(trainer);
        options_here(&overrides);
        overrides.loader_threads = 1 + cut % 4;
        overrides.memory_cap = 0;
        expect_ok(moco_trainer_load(half, &overrides, three, &trainer));
        ck_assert_int_eq((int)trainer_number(trainer, "step"), cut);
        expect_ok(moco_trainer_steps(trainer, dataset, 8 - cut, NULL, NULL));
        expect_ok(moco_trainer_save(trainer, half));
        moco_trainer_free(trainer);
        ck_assert_msg(same_checkpoints(whole, half), "cut after step %d: other bits", cut);
    }
    moco_device_free(one);
    moco_device_free(three);
    moco_dataset_free(dataset);
}
END_TEST

/* A load and a save give the file back. */
START_TEST(load_and_save)
{
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    moco_trainer_t *trainer = fresh(NULL);
    size_t size[2];
    expect_ok(moco_trainer_steps(trainer, dataset, 4, NULL, NULL));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "a")));
    moco_trainer_free(trainer);
    trainer = loaded(in_scratch(&scratch, "a"), NULL);
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "b")));
    moco_trainer_free(trainer);
    uint8_t *a = read_file(in_scratch(&scratch, "a"), &size[0]), *b = read_file(in_scratch(&scratch, "b"), &size[1]);
    ck_assert_uint_eq(size[0], size[1]);
    ck_assert_mem_eq(a, b, size[0]);
    free(a);
    free(b);
    moco_dataset_free(dataset);
}
END_TEST

/* The smallest shards. */
START_TEST(shards_of_one_image)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    options_here(&options);
    options.shard = 1;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "a")));
    moco_trainer_free(trainer);
    trainer = loaded(in_scratch(&scratch, "a"), NULL);
    ck_assert_int_eq((int)trainer_number(trainer, "shard"), 1);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- whole runs ---- */

/* Keeps the files of RUN as they are when step `at` is reported, as a process killed there would
 * leave them. */
typedef struct witness {
    const char *run, *copy;
    int64_t at;
} witness_t;

static int32_t keep(void *user, const moco_step_report_t *report)
{
    witness_t *w = user;
    if (report->step != w->at || report->knn_top1 >= 0)
        return 0;
    copy_file(in_folder(w->run, "checkpoint.safetensors"), w->copy, "checkpoint.safetensors");
    copy_file(in_folder(w->run, "log.jsonl"), w->copy, "log.jsonl");
    return 0;
}

/* Steps in log order as text, "0:nank 1:0.5 2:0.4 2:0.4k ": losses, which an evaluation before the
 * first step has none of, and k for kNN. */
static void logged(const char *folder, char steps[512])
{
    size_t size, at = 0;
    char *text = (char *)read_file(in_folder(folder, "log.jsonl"), &size);
    steps[0] = '\0';
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        at += (size_t)snprintf(steps + at, 512 - at, "%d:%.6f%s ", (int)json_number(line, "step"),
                               json_number(line, "loss"), strstr(line, "knn") != NULL ? "k" : "");
    free(text);
}

static void expect_same_runs(const char *a, const char *b)
{
    char steps_a[512], steps_b[512];
    ck_assert(same_checkpoints(in_folder(a, "checkpoint.safetensors"), in_folder(b, "checkpoint.safetensors")));
    ck_assert(same_checkpoints(in_folder(a, "model.safetensors"), in_folder(b, "model.safetensors")));
    logged(a, steps_a);
    logged(b, steps_b);
    ck_assert_str_eq(steps_a, steps_b);
}

/* A run with saves inside epochs, and one that goes on from what a kill after step `at` would have
 * left. */
static void cut_run(moco_dataset_t *dataset, moco_dataset_t *test, int64_t save_every, int64_t at)
{
    const char *whole = in_scratch(&scratch, "whole-run"), *cut = in_scratch(&scratch, "cut-run");
    witness_t witness = {whole, cut, at};
    moco_run_options_t options;
    moco_trainer_t *trainer = fresh(NULL);
    expect_ok(moco_run_options_init(&options, sizeof options));
    options.save_every = save_every;
    options.progress = keep;
    options.user = &witness;
    options.overwrite = 1;
    mkdir(whole, 0777);
    remove(in_folder(whole, "log.jsonl"));
    expect_ok(moco_trainer_run(trainer, dataset, test, whole, &options));
    moco_trainer_free(trainer);

    const int64_t saved = (at - 1) / save_every * save_every; /* the last save before the report of step `at`, */
    trainer = loaded(in_folder(cut, "checkpoint.safetensors"), NULL); /* or a later epoch's end                */
    int64_t step = (int64_t)trainer_number(trainer, "step");
    ck_assert_msg(step >= saved && step < at, "the checkpoint is of step %d", (int)step);
    write_file(cut, "model.safetensors", "", 0);
    options.progress = NULL;
    expect_ok(moco_trainer_run(trainer, dataset, test, cut, &options));
    ck_assert_int_eq((int)trainer_number(trainer, "epoch"), 3);
    moco_trainer_free(trainer);
    expect_same_runs(whole, cut);
    trainer = loaded(in_folder(whole, "checkpoint.safetensors"), NULL); /* the last save is of the end, not of the */
    ck_assert_int_eq((int)trainer_number(trainer, "epoch"), 3);         /* step before it                          */
    moco_trainer_free(trainer);
}

START_TEST(runs_cut_anywhere)
{
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    cut_run(dataset, NULL, 1, 2); /* mid-epoch         */
    cut_run(dataset, NULL, 2, 6); /* over an epoch's end */
    cut_run(dataset, dataset, 2, 8);
    moco_dataset_free(dataset);
}
END_TEST

/* So many broken images that an epoch ends before its planned last step: the loader finds out. */
START_TEST(epochs_cut_short_by_broken_images)
{
    for (int i = 0; i < IMAGES; i += 4)
        break_picture(in_scratch(&scratch, "images"), i, CLASSES); /* 20 good ones are left: 2 steps of 3 */
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    cut_run(dataset, NULL, 1, 3); /* the checkpoint is of the last batch of epoch 0 */
    cut_run(dataset, dataset, 2, 5);
    char steps[512];
    logged(in_scratch(&scratch, "cut-run"), steps);
    ck_assert_msg(strstr(steps, "6:") != NULL && strstr(steps, "7:") == NULL &&
                      strstr(steps + strlen("0:nank "), "nan") == NULL,
                  "%s", steps);
    moco_dataset_free(dataset);
}
END_TEST

/* A checkpoint saved by the host at an epoch's last step, before the run has turned the page. */
static int32_t save_at_three(void *user, const moco_step_report_t *report)
{
    if (report->step == 3)
        expect_ok(moco_trainer_save(*(moco_trainer_t **)user, in_scratch(&scratch, "own")));
    return report->step == 5;
}

static int32_t count_reports(void *user, const moco_step_report_t *report)
{
    int *seen = user;
    if (report->knn_top1 >= 0) {
        seen[1]++;
        ck_assert_int_eq(report->step % 3, 0);
        ck_assert_int_eq(report->struct_size, sizeof *report);
        ck_assert_double_eq_tol(report->chance_loss, log(33.0), 1e-9);
        ck_assert(report->queue_fill >= 0 && report->queue_fill <= 1);
    }
    seen[0]++;
    return 0;
}

START_TEST(saved_on_the_last_step_of_an_epoch)
{
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    moco_trainer_t *trainer = fresh(NULL);
    int seen[2] = {0, 0};
    const char *whole = in_scratch(&scratch, "w"), *late = in_scratch(&scratch, "l");
    mkdir(whole, 0777);
    mkdir(late, 0777);
    expect_status(MOCO_ERR_CANCELLED,
                  moco_trainer_run(trainer, dataset, NULL, NULL, RUN(.progress = save_at_three, .user = &trainer)));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, whole, NULL));
    moco_trainer_free(trainer);
    trainer = loaded(in_scratch(&scratch, "own"), NULL);
    expect_ok(moco_trainer_run(trainer, dataset, dataset, late, RUN(.progress = count_reports, .user = seen)));
    moco_trainer_free(trainer);
    ck_assert(same_checkpoints(in_folder(whole, "checkpoint.safetensors"), in_folder(late, "checkpoint.safetensors")));
    ck_assert_int_eq(seen[1], 3); /* at the ends of epochs 1 (owed), 2 and 3 */
    ck_assert_int_eq(seen[0], 6 + 3);
    moco_dataset_free(dataset);
}
END_TEST

/* ---- refusals ---- */

START_TEST(changed_options)
{
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    const char *path = in_scratch(&scratch, "saved");
    moco_trainer_t *trainer = fresh(NULL);
    moco_trainer_options_t options;
    expect_ok(moco_trainer_steps(trainer, dataset, 1, NULL, NULL));
    expect_ok(moco_trainer_save(trainer, path));
    moco_trainer_free(trainer);
    trainer = NULL;

    options_here(&options);
    options.temperature = 0.25;
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_load(path, &options, NULL, &trainer));
    expect_message("temperature");
    expect_message("0.1");
    expect_message("0.25");
    options_here(&options);
    options.membership = MOCO_MEMBERSHIP_CONTIGUOUS;
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_load(path, &options, NULL, &trainer));
    expect_message("membership");
    expect_message("strided");
    expect_message("contiguous");
    options_here(&options);
    options.seed = 99;
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_load(path, &options, NULL, &trainer));
    expect_message("seed");
    expect_message("99");
    ck_assert_ptr_null(trainer);

    options_here(&options);
    options.loader_threads = 3;
    options.memory_cap = 1 << 30;
    options.max_broken = 10;
    expect_ok(moco_trainer_load(path, &options, NULL, &trainer));
    memset(&options, 0, sizeof options);
    expect_ok(moco_trainer_options_get(trainer, &options, sizeof options));
    ck_assert_int_eq(options.loader_threads, 3);
    ck_assert_int_eq(options.memory_cap, 1 << 30);
    ck_assert_int_eq(options.max_broken, 10);
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
}
END_TEST

START_TEST(changed_data)
{
    const char *path = in_scratch(&scratch, "saved");
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images")), *other;
    moco_trainer_t *trainer = fresh(NULL);
    expect_ok(moco_trainer_steps(trainer, dataset, 4, NULL, NULL));
    expect_ok(moco_trainer_save(trainer, path));
    moco_dataset_free(dataset);

    rename(in_scratch(&scratch, "images/c0/0004.jpg"), in_scratch(&scratch, "images/c0/0104.jpg"));
    other = dataset_of(in_scratch(&scratch, "images"));
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_steps(trainer, other, 1, NULL, NULL));
    expect_message("names");
    moco_trainer_free(trainer);
    trainer = loaded(path, NULL);
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_run(trainer, other, NULL, NULL, NULL));
    expect_message("names");
    char info[8192], hash[20];
    expect_ok(moco_dataset_info(other, info, sizeof info, NULL));
    ck_assert_ptr_nonnull(strstr(info, "\"name_hash\":\""));
    snprintf(hash, sizeof hash, "%.16s", strstr(info, "\"name_hash\":\"") + 13);
    expect_message(hash); /* of the one found; the one wanted is beside it */
    moco_dataset_free(other);

    rename(in_scratch(&scratch, "images/c0/0104.jpg"), in_scratch(&scratch, "images/c0/0004.jpg"));
    remove(in_scratch(&scratch, "images/c1/0029.jpg"));
    other = dataset_of(in_scratch(&scratch, "images"));
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_steps(trainer, other, 1, NULL, NULL));
    expect_message("30");
    expect_message("29");
    ck_assert_int_eq((int)trainer_number(trainer, "step"), 4);
    moco_dataset_free(other);
    moco_trainer_free(trainer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resume");
    TCase *tcase = tcase_create("resume");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 250);
    tcase_add_test(tcase, steps_after_a_load);
    tcase_add_test(tcase, load_and_save);
    tcase_add_test(tcase, shards_of_one_image);
    tcase_add_test(tcase, runs_cut_anywhere);
    tcase_add_test(tcase, epochs_cut_short_by_broken_images);
    tcase_add_test(tcase, saved_on_the_last_step_of_an_epoch);
    tcase_add_test(tcase, changed_options);
    tcase_add_test(tcase, changed_data);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
