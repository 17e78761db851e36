/* Each request of a run with a folder fails once, in turn: files, memory. What was learnt is in the
 * folder afterwards, or where the message says; nothing is left over; the run goes on to its end,
 * with the bits of one that nothing happened to. */
#include "api/draw.h"
#include "call_options.h"

#include <dirent.h>

#include "util/fault.h"

enum { IMAGES = 12, STEPS = 4, SPREAD = 48 };

static scratch_t scratch;
static moco_dataset_t *dataset;
static char run[256];

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 2, 20);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    snprintf(run, sizeof run, "%s", in_scratch(&scratch, "run"));
}

static void tear_down(void)
{
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}

static void quiet(void *user, int32_t level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static moco_trainer_t *fresh(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.batch_size = 6;
    options.epochs = 2;
    options.loader_threads = 1;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    return trainer;
}

static moco_status_t train(moco_trainer_t *trainer)
{
    return moco_trainer_run(trainer, dataset, NULL, run, RUN(.save_every = 1));
}

/* Empties a folder; returns how many unfinished files were in it. */
static int empty(const char *folder)
{
    DIR *open = opendir(folder);
    int unfinished = 0;
    char path[1024];
    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        unfinished += strstr(entry->d_name, "part") != NULL;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (open != NULL)
        closedir(open);
    rmdir(folder);
    return unfinished;
}

/* The folder that holds what was learnt: RUN, or the one that the message names. */
static const char *place_of(moco_status_t status)
{
    static char place[512];
    const char *at = status != MOCO_OK ? strstr(moco_last_message(), " is in '") : NULL;
    if (at == NULL)
        return run;
    snprintf(place, sizeof place, "%s", at + strlen(" is in '"));
    *strchr(place, '\'') = '\0';
    return place;
}

static int lines_of_log(void)
{
    char path[300];
    int lines = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    FILE *file = fopen(path, "rb");
    for (int c; file != NULL && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

static void check_end(moco_trainer_t *trainer, moco_status_t status, int kind, long n)
{
    char place[512], checkpoint[600];
    moco_trainer_t *saved = NULL;
    snprintf(place, sizeof place, "%s", place_of(status));
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", place);
    const int64_t steps = moco_trainer_step_number(trainer);
    if (steps > 0) {
        ck_assert_msg(moco_trainer_load(checkpoint, NULL, NULL, &saved) == MOCO_OK, "kind %d, %ld: %s", kind, n,
                      moco_last_message());
        ck_assert_int_eq((int)moco_trainer_step_number(saved), (int)steps);
        moco_trainer_free(saved);
    }
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.save_every = 1)));
    ck_assert_int_eq((int)moco_trainer_step_number(trainer), STEPS);
    if (strcmp(place, run) == 0)
        ck_assert_msg(lines_of_log() == STEPS, "kind %d, %ld: %d lines in the log", kind, n, lines_of_log());
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", run);
    ck_assert_msg(same_checkpoints(checkpoint, in_scratch(&scratch, "whole")), "kind %d, %ld", kind, n);
    ck_assert_int_eq(empty(run), 0);
    if (strcmp(place, run) != 0)
        ck_assert_int_eq(empty(place), 0);
}

static void each_fails(int kind)
{
    moco_trainer_t *trainer = fresh();
    expect_ok(train(trainer));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "whole")));
    moco_trainer_free(trainer);
    ck_assert_int_eq(empty(run), 0);
    trainer = fresh();
    mo_fault_arm(kind, -1);
    expect_ok(train(trainer));
    const long total = mo_fault_arm(kind, -1), stride = total / SPREAD + 1;
    moco_trainer_free(trainer);
    ck_assert_int_eq(empty(run), 0);
    ck_assert(total > 0);
    for (long n = 0; n < total; n += stride) {
        trainer = fresh();
        mo_fault_arm(kind, n);
        const moco_status_t status = train(trainer);
        mo_fault_arm(kind, -1);
        check_end(trainer, status, kind, n);
        moco_trainer_free(trainer);
    }
}

START_TEST(test_files)
{
    moco_set_log(quiet, NULL, MOCO_LOG_ERROR);
    each_fails(MO_FAULT_FILE);
}
END_TEST

START_TEST(test_memory)
{
    moco_set_log(quiet, NULL, MOCO_LOG_ERROR);
    each_fails(MO_FAULT_ALLOC);
}
END_TEST

static int32_t arm_at_first(void *user, const moco_step_report_t *report)
{
    if (report->step == 1)
        mo_fault_arm(MO_FAULT_ALLOC, *(const long *)user);
    return 0;
}

/* A step whose line found no memory is in the checkpoint of the run's end, and in its log. */
START_TEST(test_memory_of_a_line)
{
    int ended_early = 0;
    moco_set_log(quiet, NULL, MOCO_LOG_ERROR);
    for (long n = 0; n < 24; n++) {
        moco_trainer_t *trainer = fresh();
        const moco_status_t status =
            moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = arm_at_first, .user = &n));
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        ended_early += status == MOCO_ERR_MEMORY;
        ck_assert_int_eq(lines_of_log(), (int)moco_trainer_step_number(trainer));
        expect_ok(train(trainer));
        ck_assert_int_eq(lines_of_log(), STEPS);
        moco_trainer_free(trainer);
        empty(run);
    }
    ck_assert_int_gt(ended_early, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run_faults");
    TCase *tcase = tcase_create("run_faults");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, test_files);
    tcase_add_test(tcase, test_memory);
    tcase_add_test(tcase, test_memory_of_a_line);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
