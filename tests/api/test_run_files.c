/* The folder of a run: one writer, no file followed or waited for that is not the run's, nothing
 * lost where it is moved, deleted or full, and the last good files kept. */
#include "draw.h"
#include "call_options.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGES 28 /* 3 steps an epoch */

static scratch_t scratch;
static moco_dataset_t *dataset;
static char run[256], checkpoint[300], logged[300];

static char warning[8192]; /* all of them, one after the other */

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 4, 20);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    snprintf(run, sizeof run, "%s", in_scratch(&scratch, "run"));
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", run);
    snprintf(logged, sizeof logged, "%s/log.jsonl", run);
    warning[0] = '\0'; /* without a fork it has what the last case left */
}

static void tear_down(void)
{
    moco_set_log(NULL, NULL, MOCO_LOG_WARNING);
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}

static moco_trainer_t *fresh(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.epochs = 3;
    options.base_lr = 1;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    return trainer;
}

static int64_t steps_in(const char *path)
{
    moco_trainer_t *trainer = NULL;
    expect_ok(moco_trainer_load(path, NULL, NULL, &trainer));
    const int64_t steps = moco_trainer_step_number(trainer);
    moco_trainer_free(trainer);
    return steps;
}

static int files_in(const char *folder)
{
    DIR *open = opendir(folder);
    int count = 0;
    if (open == NULL)
        return -1;
    for (struct dirent *entry; (entry = readdir(open)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(open);
    return count;
}

static int log_lines(const char *path)
{
    size_t size;
    int lines = 0;
    uint8_t *text = read_file(path, &size);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    free(text);
    return lines;
}

static void keep_warning(void *unused, int32_t level, const char *line)
{
    (void)unused;
    if (level >= MOCO_LOG_WARNING)
        snprintf(warning + strlen(warning), sizeof warning - strlen(warning), "%s\n", line);
}

/* What happens in the run's callback at a step. */
typedef struct event {
    int64_t at;
    void (*happens)(void);
    int32_t stop;
} event_t;

static int32_t on_step(void *user, const moco_step_report_t *report)
{
    const event_t *event = user;
    if (report->step != event->at)
        return 0;
    if (event->happens != NULL)
        event->happens();
    return event->stop;
}

/* ---- one writer ---- */

static moco_trainer_t *second;

static void another_run(void)
{
    expect_status(MOCO_ERR_EXISTS, moco_trainer_run(second, dataset, NULL, run, RUN(.overwrite = 1)));
    expect_message("another run or save is at work");
    if (file_exists(checkpoint)) { /* nor does anything else write there */
        moco_model_t *model = NULL;
        expect_status(MOCO_ERR_EXISTS, moco_trainer_save(second, checkpoint));
        expect_ok(moco_trainer_snapshot(second, NULL, NULL, &model));
        expect_status(MOCO_ERR_EXISTS, moco_model_save(model, in_folder(run, "model.safetensors")));
        expect_message("another run is at work");
        expect_ok(moco_model_save(model, in_folder(run, "mine.safetensors")));
        moco_model_free(model);
        expect_status(MOCO_ERR_EXISTS,
                      moco_convert(checkpoint, in_folder(run, "model.safetensors"), NULL, NULL, 0, NULL));
        expect_ok(moco_trainer_save(second, in_folder(run, "mine.safetensors")));
        remove(in_folder(run, "mine.safetensors"));
    }
    ck_assert_int_eq((int)moco_trainer_step_number(second), 0);
}

START_TEST(one_writer)
{
    moco_trainer_t *first = fresh();
    event_t event = {.at = 4, .happens = another_run};
    second = fresh();
    expect_ok(moco_trainer_run(first, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    ck_assert_int_eq((int)steps_in(checkpoint), 9);
    ck_assert_int_eq(log_lines(logged), 9);
    expect_ok(moco_trainer_run(second, dataset, NULL, run, RUN(.overwrite = 1))); /* the first has let go */
    moco_trainer_free(first);
    moco_trainer_free(second);
}
END_TEST

/* A child that the host makes while a run is at work has a copy of the lock's descriptor, which
 * must not keep the next run out. */
static int pipe_ends[2];
static pid_t child;

static void fork_child(void)
{
    char byte;
    ck_assert_int_eq(pipe(pipe_ends), 0);
    child = fork();
    if (child == 0) {
        close(pipe_ends[1]);
        _exit(read(pipe_ends[0], &byte, 1) != 0);
    }
    close(pipe_ends[0]);
}

START_TEST(a_child_keeps_no_lock)
{
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 2, .happens = fork_child, .stop = 1};
    expect_status(MOCO_ERR_CANCELLED,
                  moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, NULL));
    close(pipe_ends[1]);
    waitpid(child, NULL, 0);
    moco_trainer_free(trainer);
}
END_TEST

/* Who loaded a checkpoint before another run went further must not take its place. */
START_TEST(a_trainer_that_is_behind)
{
    moco_trainer_t *trainer = fresh(), *behind = NULL;
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 2)));
    expect_ok(moco_trainer_load(checkpoint, NULL, NULL, &behind));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 5)));
    expect_status(MOCO_ERR_EXISTS, moco_trainer_run(behind, dataset, NULL, run, NULL));
    expect_message("step 5");
    expect_message("step 2");
    ck_assert_int_eq((int)steps_in(checkpoint), 5);
    ck_assert_int_eq(log_lines(logged), 5);
    expect_ok(moco_trainer_run(behind, dataset, NULL, run, RUN(.max_steps = 3, .overwrite = 1)));
    ck_assert_int_eq(log_lines(logged), 3);
    moco_trainer_free(trainer);
    moco_trainer_free(behind);
}
END_TEST

/* Step numbers of two digits, and what a run goes on from is its own to replace. */
START_TEST(going_on_after_ten_steps)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.epochs = 5;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 10)));
    moco_trainer_free(trainer);
    expect_ok(moco_trainer_load(checkpoint, NULL, NULL, &trainer));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 11)));
    ck_assert_int_eq((int)steps_in(checkpoint), 11);
    ck_assert_int_eq(log_lines(logged), 11);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- the folder ---- */

START_TEST(the_last_folder_is_made)
{
    moco_trainer_t *trainer = fresh();
    moco_cancel_t *cancel = NULL;
    expect_ok(moco_cancel_create(&cancel));
    moco_cancel_request(cancel);
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_run(trainer, dataset, NULL, run, RUN(.cancel = cancel)));
    ck_assert(!file_exists(run)); /* nothing was learnt: none is left */
    moco_cancel_free(cancel);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, in_scratch(&scratch, "run//"), RUN(.max_steps = 1)));
    ck_assert_int_eq(files_in(run), 3);
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, in_scratch(&scratch, "no/such"), NULL));
    expect_message("no/such");
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, checkpoint, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_run(trainer, dataset, NULL, "", NULL));
    ck_assert_int_eq((int)moco_trainer_step_number(trainer), 1);
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(leftovers_go)
{
    moco_trainer_t *trainer = fresh();
    mkdir(run, 0777);
    write_file(run, "checkpoint.safetensors.part-77-0", "x", 1);
    write_file(run, "checkpoint.safetensors.moco-part-0", "x", 1);
    write_file(run, "model.safetensors.part-77-12", "x", 1);
    write_file(run, "log.jsonl.part-9-0", "x", 1);
    write_file(run, "mine.part-77-0", "x", 1);
    write_file(run, "model.safetensors.part-of-mine", "x", 1);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 1)));
    ck_assert_int_eq(files_in(run), 5);
    ck_assert(file_exists(in_folder(run, "mine.part-77-0")));
    ck_assert(file_exists(in_folder(run, "model.safetensors.part-of-mine")));
    moco_trainer_free(trainer);
}
END_TEST

/* None of these is waited for, followed or replaced. */
START_TEST(what_is_no_file)
{
    static const char *const names[] = {"log.jsonl", "checkpoint.safetensors", "model.safetensors"};
    moco_trainer_t *trainer = fresh();
    mkdir(run, 0777);
    for (int i = 0; i < 3; i++) {
        const char *path = in_folder(run, names[i]), *elsewhere = in_scratch(&scratch, "elsewhere");
        mkfifo(path, 0666);
        expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.overwrite = 1)));
        expect_message("regular file");
        expect_message(names[i]);
        unlink(path);
        mkdir(path, 0777);
        expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.overwrite = 1)));
        expect_message(names[i]);
        rmdir(path);
        if (i > 0)
            continue;
        ck_assert_int_eq(symlink(elsewhere, path), 0);
        expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.overwrite = 1)));
        expect_message("link");
        ck_assert(!file_exists(elsewhere));
        unlink(path);
    }
    ck_assert_int_eq((int)moco_trainer_step_number(trainer), 0);
    moco_trainer_free(trainer);
}
END_TEST

static void change_directory(void)
{
    ck_assert_int_eq(chdir(in_scratch(&scratch, "elsewhere")), 0);
}

/* A relative path is of where the host was when the run began, whatever is there later. */
START_TEST(another_working_directory)
{
    char before[4096];
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 2, .happens = change_directory};
    mkdir(in_scratch(&scratch, "elsewhere"), 0777);
    mkdir(in_scratch(&scratch, "elsewhere/run"), 0777);
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(in_scratch(&scratch, ".")), 0);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, "run", RUN(.progress = on_step, .user = &event)));
    ck_assert_int_eq(chdir(before), 0);
    ck_assert_int_eq(files_in(run), 3);
    ck_assert_int_eq(files_in(in_scratch(&scratch, "elsewhere/run")), 0);
    ck_assert_int_eq((int)steps_in(checkpoint), 9);
    moco_trainer_free(trainer);
}
END_TEST

static void rename_run(void)
{
    ck_assert_int_eq(rename(run, in_scratch(&scratch, "renamed")), 0);
    mkdir(run, 0777);
}

START_TEST(renamed)
{
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 4, .happens = rename_run};
    moco_set_log(keep_warning, NULL, MOCO_LOG_WARNING);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    ck_assert_ptr_nonnull(strstr(warning, "/renamed'")); /* says where they are */
    ck_assert_int_eq(files_in(run), 0);
    ck_assert_int_eq((int)steps_in(in_scratch(&scratch, "renamed/checkpoint.safetensors")), 9);
    ck_assert_int_eq(log_lines(in_scratch(&scratch, "renamed/log.jsonl")), 9);
    moco_trainer_free(trainer);
}
END_TEST

static void delete_log(void)
{
    ck_assert_int_eq(unlink(logged), 0);
}

static void delete_run(void)
{
    static const char *const names[] = {"log.jsonl", "checkpoint.safetensors", "model.safetensors"};
    for (int i = 0; i < 3; i++)
        unlink(in_folder(run, names[i]));
    ck_assert_int_eq(rmdir(run), 0);
}

START_TEST(deleted_log)
{
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 4, .happens = delete_log};
    moco_set_log(keep_warning, NULL, MOCO_LOG_WARNING);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    ck_assert_ptr_nonnull(strstr(warning, "log.jsonl"));
    ck_assert_int_eq(log_lines(logged), 9);
    moco_trainer_free(trainer);
}
END_TEST

/* Where the last message says that the files are. */
static char *rescued(void)
{
    static char place[300];
    const char *at = strstr(moco_last_message(), " is in '");
    ck_assert_msg(at != NULL, "%s", moco_last_message());
    snprintf(place, sizeof place, "%s", at + strlen(" is in '"));
    ck_assert_ptr_nonnull(strchr(place, '\''));
    *strchr(place, '\'') = '\0';
    return place;
}

START_TEST(deleted)
{
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 5, .happens = delete_run};
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    const char *place = rescued();
    ck_assert_ptr_nonnull(strstr(place, "/run.rescue-"));
    ck_assert_int_eq(files_in(place), 3);
    const int64_t steps = moco_trainer_step_number(trainer);
    ck_assert(steps >= 5 && steps <= 6);
    ck_assert_int_eq((int)steps_in(in_folder(place, "checkpoint.safetensors")), (int)steps);
    ck_assert_int_eq(log_lines(in_folder(place, "log.jsonl")), (int)steps);
    ck_assert(!file_exists(run));
    moco_trainer_free(trainer);

    /* It goes on from there, to the bits of a run that nobody disturbed. */
    expect_ok(moco_trainer_load(in_folder(place, "checkpoint.safetensors"), NULL, NULL, &trainer));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, place, NULL));
    moco_trainer_free(trainer);
    trainer = fresh();
    expect_ok(moco_trainer_run(trainer, dataset, NULL, in_scratch(&scratch, "whole"), NULL));
    ck_assert(same_checkpoints(in_folder(place, "checkpoint.safetensors"),
                               in_scratch(&scratch, "whole/checkpoint.safetensors")));
    moco_trainer_free(trainer);

    /* Who begins in that place anew is told what lies beside it. */
    trainer = fresh();
    moco_set_log(keep_warning, NULL, MOCO_LOG_WARNING);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, NULL));
    ck_assert_msg(strstr(warning, "/run.rescue-") != NULL, "%s", warning);
    ck_assert_ptr_nonnull(strstr(warning, "until step 9: more than this one begins with"));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, NULL));
    ck_assert_ptr_nonnull(strstr(warning, "it may be removed"));
    moco_trainer_free(trainer);
}
END_TEST

/* A stopped run must not be told to be saved where it is not. */
START_TEST(deleted_and_stopped)
{
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 5, .happens = delete_run, .stop = 1};
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    ck_assert_int_eq((int)steps_in(in_folder(rescued(), "checkpoint.safetensors")), 5);
    moco_trainer_free(trainer);
}
END_TEST

static void block_checkpoint(void)
{
    unlink(checkpoint);
    mkdir(checkpoint, 0777);
}

static void free_checkpoint(void)
{
    ck_assert_int_eq(rmdir(checkpoint), 0);
}

static int32_t block_for_a_while(void *unused, const moco_step_report_t *report)
{
    (void)unused;
    if (report->step == 3) /* before the save of epoch 1 */
        block_checkpoint();
    if (report->step == 5) {
        ck_assert_ptr_nonnull(strstr(warning, "the run goes on"));
        free_checkpoint();
    }
    return 0;
}

/* What a folder does not take now, it may take later: the run goes on meanwhile. */
START_TEST(blocked_for_a_while)
{
    moco_trainer_t *trainer = fresh();
    moco_set_log(keep_warning, NULL, MOCO_LOG_WARNING);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = block_for_a_while)));
    ck_assert_ptr_nonnull(strstr(warning, "takes the files of the run again"));
    ck_assert_int_eq((int)steps_in(checkpoint), 9);
    ck_assert_int_eq(files_in(in_scratch(&scratch, ".")), 2); /* images, run; the place beside it is gone */
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(blocked_to_the_end)
{
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 2, .happens = block_checkpoint};
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = on_step, .user = &event)));
    ck_assert_int_eq((int)moco_trainer_step_number(trainer), 9);
    ck_assert_int_eq((int)steps_in(in_folder(rescued(), "checkpoint.safetensors")), 9);
    moco_trainer_free(trainer);
}
END_TEST

/* Where the last warning says that the files are. */
static void place_in_warning(char place[300])
{
    const char *at = strstr(warning, " is in '");
    ck_assert_msg(at != NULL, "%s", warning);
    snprintf(place, 300, "%s", at + strlen(" is in '"));
    *strchr(place, '\'') = '\0';
}

/* First the run's folder takes nothing more, then the place beside it. */
static int32_t block_both(void *unused, const moco_step_report_t *report)
{
    char place[300];
    (void)unused;
    if (report->step == 2)
        block_checkpoint();
    if (report->step == 5) {
        place_in_warning(place);
        ck_assert_int_eq(unlink(in_folder(place, "model.safetensors")), 0);
        ck_assert_int_eq(symlink("model.safetensors", in_folder(place, "model.safetensors")), 0); /* to itself */
    }
    return 0;
}

/* The first place's older state goes when another place has the newer one. */
START_TEST(blocked_twice)
{
    moco_trainer_t *trainer = fresh();
    moco_set_log(keep_warning, NULL, MOCO_LOG_WARNING);
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = block_both)));
    ck_assert_int_eq((int)steps_in(in_folder(rescued(), "checkpoint.safetensors")), 9);
    ck_assert_int_eq(files_in(in_scratch(&scratch, ".")), 3); /* images, run and one place beside it */
    moco_trainer_free(trainer);
}
END_TEST

/* The place beside a folder of a long name has a shorter one, and is told of all the same. */
START_TEST(long_name)
{
    char name[251], folder[330];
    memset(name, 'r', 250);
    name[250] = '\0';
    snprintf(folder, sizeof folder, "%s", in_scratch(&scratch, name));
    snprintf(checkpoint, sizeof checkpoint, "%s", in_folder(folder, "checkpoint.safetensors"));
    moco_trainer_t *trainer = fresh();
    event_t event = {.at = 2, .happens = block_checkpoint};
    expect_status(MOCO_ERR_IO,
                  moco_trainer_run(trainer, dataset, NULL, folder, RUN(.progress = on_step, .user = &event)));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "r.rescue-"));
    moco_trainer_free(trainer);
    free_checkpoint();
    trainer = fresh();
    moco_set_log(keep_warning, NULL, MOCO_LOG_WARNING);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, folder, RUN(.overwrite = 1)));
    ck_assert_msg(strstr(warning, "until step 9: more than this one begins with") != NULL, "%s", warning);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- numbers that are not finite ---- */

static moco_trainer_t *diverging(int batch)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.epochs = 40;
    options.batch_size = batch;
    options.bn_groups = 1;
    options.base_lr = 1000;
    options.weight_decay = 10;
    options.schedule = MOCO_SCHEDULE_CONSTANT;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    return trainer;
}

START_TEST(a_run_that_diverges)
{
    size_t sizes[2];
    moco_trainer_t *trainer = diverging(2);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 2)));
    uint8_t *good = read_file(checkpoint, &sizes[0]);
    expect_status(MOCO_ERR_NONFINITE, moco_trainer_run(trainer, dataset, NULL, run, NULL));
    expect_message("stay as they were");
    uint8_t *after = read_file(checkpoint, &sizes[1]);
    ck_assert(sizes[0] == sizes[1] && memcmp(good, after, sizes[0]) == 0);
    free(good);
    free(after);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- saving by time ---- */

static int64_t saved_at_3;

static int32_t look_at_3(void *unused, const moco_step_report_t *report)
{
    (void)unused;
    if (report->step == 2)
        saved_at_3 = file_exists(checkpoint) ? steps_in(checkpoint) : 0;
    return 0;
}

/* An epoch has 3 steps: only the time can have saved the first of them. */
START_TEST(by_time)
{
    moco_trainer_t *trainer = fresh();
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, RUN(.progress = look_at_3, .save_minutes = 1e-9)));
    ck_assert_int_eq((int)saved_at_3, 1);
    moco_trainer_free(trainer);
    trainer = fresh();
    expect_ok(moco_trainer_run(trainer, dataset, NULL, in_scratch(&scratch, "never"), RUN(.save_minutes = 0)));
    ck_assert(same_checkpoints(checkpoint, in_scratch(&scratch, "never/checkpoint.safetensors")));
    moco_trainer_free(trainer);
    trainer = fresh();
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_run(trainer, dataset, NULL, run, RUN(.save_minutes = -1)));
    expect_message("save_minutes is -1");
    moco_trainer_free(trainer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run_files");
    TCase *tcase = tcase_create("run_files");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, one_writer);
    tcase_add_test(tcase, a_child_keeps_no_lock);
    tcase_add_test(tcase, a_trainer_that_is_behind);
    tcase_add_test(tcase, going_on_after_ten_steps);
    tcase_add_test(tcase, the_last_folder_is_made);
    tcase_add_test(tcase, leftovers_go);
    tcase_add_test(tcase, what_is_no_file);
    tcase_add_test(tcase, another_working_directory);
    tcase_add_test(tcase, renamed);
    tcase_add_test(tcase, deleted_log);
    tcase_add_test(tcase, deleted);
    tcase_add_test(tcase, deleted_and_stopped);
    tcase_add_test(tcase, blocked_for_a_while);
    tcase_add_test(tcase, blocked_to_the_end);
    tcase_add_test(tcase, blocked_twice);
    tcase_add_test(tcase, long_name);
    tcase_add_test(tcase, a_run_that_diverges);
    tcase_add_test(tcase, by_time);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
