/* Failures of the system that pass: a read that a signal interrupted is tried again; a disk, a
 * network or a process that is out of something ends the call, nothing is held against an image,
 * and going on gives the bits of a run that was never disturbed. This program's own openat, pread,
 * fstat and readdir stand in front of the system's and fail at a chosen call. */
#include "draw.h"
#include "../log_lines.h"
#include "call_options.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>

enum { IMAGES = 24, CLASSES = 2, SIDE = 20, STEPS = 7 };

/* ---- calls that fail ---- */

enum { CALL_OPENAT, CALL_PREAD, CALL_FSTAT, CALL_READDIR, CALL_OPEN };

static struct {
    atomic_int call, error;
    atomic_long at, repeats; /* calls number at, at+1, … at+repeats-1 fail */
    const char *only;        /* openat: of paths that hold this; NULL = all */
} plan = {.call = -1};
static atomic_long seen, failed;

static void arm(int call, int error, long at, long repeats, const char *only)
{
    seen = failed = 0;
    plan.error = error;
    plan.at = at;
    plan.repeats = repeats;
    plan.only = only;
    plan.call = call;
}

static void disarm(void)
{
    plan.call = -1;
}

static int fails(int call, const char *path)
{
    if (plan.call != call || (plan.only != NULL && (path == NULL || strstr(path, plan.only) == NULL)))
        return 0;
    const long number = atomic_fetch_add(&seen, 1);
    if (number < plan.at || number >= plan.at + plan.repeats)
        return 0;
    failed++;
    errno = plan.error;
    return 1;
}

#define REAL(name)                 \
    static __typeof__(name) *real; \
    if (real == NULL)              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

int openat(int folder, const char *path, int flags, ...)
{
    REAL(openat);
    return fails(CALL_OPENAT, path) ? -1 : real(folder, path, flags, 0);
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list more;
    va_start(more, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(CALL_OPEN, path) ? -1 : real(path, flags, mode);
}

ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
    REAL(pread);
    return fails(CALL_PREAD, NULL) ? -1 : real(fd, to, size, offset);
}

int fstat(int fd, struct stat *info)
{
    REAL(fstat);
    return fails(CALL_FSTAT, NULL) ? -1 : real(fd, info);
}

struct dirent *readdir(DIR *folder)
{
    REAL(readdir);
    return fails(CALL_READDIR, NULL) ? NULL : real(folder);
}

/* ---- a run, disturbed or not ---- */

static scratch_t scratch;
static moco_device_t *device;

static void setup(void)
{
    scratch = scratch_make();
    device = device_of(1);
    draw_tree(in_scratch(&scratch, "images"), IMAGES, CLASSES, SIDE);
    log_line_count = 0;
    moco_set_log(keep_line, NULL, MOCO_LOG_WARNING);
}

static void teardown(void)
{
    disarm();
    moco_set_log(NULL, NULL, 0);
    moco_device_free(device);
    scratch_drop(&scratch);
}

static moco_trainer_t *new_trainer(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, device, &trainer));
    return trainer;
}

static moco_status_t go_on(moco_trainer_t *trainer, moco_dataset_t *dataset)
{
    return moco_trainer_run(trainer, dataset, NULL, NULL, RUN(.max_steps = STEPS));
}

/* The run that nothing disturbs, as a file. */
static void run_undisturbed(const char *path)
{
    moco_trainer_t *trainer = new_trainer();
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    expect_ok(go_on(trainer, dataset));
    expect_ok(moco_trainer_save(trainer, path));
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
}

static void save_and_compare(moco_trainer_t *trainer, const char *base)
{
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "disturbed")));
    ck_assert_msg(same_checkpoints(base, in_scratch(&scratch, "disturbed")), "other bits");
}

START_TEST(a_failure_that_passes_changes_no_bit)
{
    static const int calls[] = {CALL_OPENAT, CALL_PREAD, CALL_FSTAT};
    static const int errors[] = {EIO, ESTALE, ETIMEDOUT, ENOTCONN, EAGAIN, ENOMEM, ENFILE, EMFILE};
    const char *base = in_scratch(&scratch, "base");
    run_undisturbed(base);
    for (int i = 0; i < 8; i++) {
        const int call = calls[(_i + i) % 3];
        moco_trainer_t *trainer = new_trainer();
        moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
        arm(call, errors[i], 3 * i, 1, call == CALL_OPENAT ? ".jpg" : NULL);
        expect_status(MOCO_ERR_IO, go_on(trainer, dataset));
        ck_assert_int_eq(failed, 1);
        expect_message(".jpg'");
        expect_message(strerror(errors[i]));
        ck_assert_int_eq(moco_dataset_broken_count(dataset), 0);
        expect_ok(go_on(trainer, dataset)); /* the same trainer, on the same data set */
        save_and_compare(trainer, base);
        moco_trainer_free(trainer);
        moco_dataset_free(dataset);
    }
    ck_assert_int_eq(logged("left out"), 0);
}
END_TEST

START_TEST(an_interrupted_call_is_tried_again)
{
    static const int calls[] = {CALL_OPENAT, CALL_PREAD, CALL_FSTAT, CALL_READDIR, CALL_OPEN};
    const char *base = in_scratch(&scratch, "base");
    run_undisturbed(base);
    moco_trainer_t *trainer = new_trainer();
    moco_dataset_t *dataset = NULL;
    arm(calls[_i], EINTR, 1 - (calls[_i] == CALL_OPEN), 5, NULL);
    expect_ok(moco_dataset_open(in_scratch(&scratch, "images"), NULL, &dataset));
    expect_ok(go_on(trainer, dataset));
    ck_assert_int_eq(failed, 5);
    save_and_compare(trainer, base);
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
}
END_TEST

/* What is the image's own stays with it; the log names it, once. */
START_TEST(an_image_that_is_not_there_is_broken)
{
    static const int errors[] = {ENOENT, EACCES, ELOOP, ENAMETOOLONG};
    moco_trainer_t *trainer = new_trainer();
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    arm(CALL_OPENAT, errors[_i], 0, 1, "0007.jpg");
    expect_ok(go_on(trainer, dataset));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, NULL, RUN(.max_steps = STEPS + 6)));
    ck_assert_int_eq(failed, 1);
    ck_assert_int_eq(moco_dataset_broken_count(dataset), 1);
    ck_assert_int_eq(logged("c1/0007.jpg"), 1);
    ck_assert_int_eq(logged(strerror(errors[_i])), 1);
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
}
END_TEST

START_TEST(listing_a_folder)
{
    moco_dataset_t *dataset = NULL;
    const char *path = in_scratch(&scratch, "images");
    static const int errors[] = {EIO, ESTALE, EMFILE, ENOMEM};
    for (int i = 0; i < 4; i++) { /* nothing is listed in part */
        arm(CALL_OPENAT, errors[i], 0, 1, "c1");
        expect_status(MOCO_ERR_IO, moco_dataset_open(path, NULL, &dataset));
        expect_message("c1");
        arm(CALL_READDIR, errors[i], 7, 1, NULL);
        expect_status(MOCO_ERR_IO, moco_dataset_open(path, NULL, &dataset));
        arm(CALL_FSTAT, errors[i], 1, 1, NULL);
        expect_status(MOCO_ERR_IO, moco_dataset_open(path, NULL, &dataset));
    }
    ck_assert_int_eq(log_line_count, 0);
    arm(CALL_OPENAT, EACCES, 0, 1, "c1"); /* a folder that may not be read is told of */
    expect_ok(moco_dataset_open(path, NULL, &dataset));
    ck_assert_int_eq(moco_dataset_count(dataset), IMAGES / CLASSES);
    ck_assert_int_eq(logged("'c1'"), 1);
    ck_assert_int_eq(logged(strerror(EACCES)), 1);
    moco_dataset_free(dataset);
    arm(CALL_OPEN, EACCES, 0, 1, "images"); /* but its own must be readable */
    expect_status(MOCO_ERR_IO, moco_dataset_open(path, NULL, &dataset));
}
END_TEST

static int32_t deliver(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    picture_t *pictures = user;
    if (index == 5 && pictures[IMAGES].size-- == 1)
        return MOCO_ERR_CANCELLED;
    *data = pictures[index].bytes;
    *size = pictures[index].size;
    return 0;
}

START_TEST(a_callback_may_say_so)
{
    picture_t pictures[IMAGES + 1] = {[IMAGES] = {NULL, 1}};
    uint8_t pixels[8 * 8 * 3];
    moco_dataset_t *dataset = NULL;
    for (int i = 0; i < IMAGES; i++)
        pictures[i] = draw_jpeg(SIDE, SIDE, 3, i);
    expect_ok(moco_dataset_create(IMAGES, deliver, pictures, NULL, NULL, &dataset));
    expect_status(MOCO_ERR_CANCELLED, moco_dataset_pixels(dataset, 5, 8, 8, pixels));
    ck_assert_int_eq(moco_dataset_broken_count(dataset), 0);
    expect_ok(moco_dataset_pixels(dataset, 5, 8, 8, pixels));
    moco_dataset_free(dataset);
    for (int i = 0; i < IMAGES; i++)
        free(pictures[i].bytes);
}
END_TEST

static int32_t count_calls(void *user, int64_t done, int64_t total)
{
    (void)done, (void)total;
    ++*(int *)user;
    return 0;
}

static int same_files(const char *a, const char *b)
{
    size_t size_a, size_b;
    uint8_t *bytes_a = read_file(a, &size_a), *bytes_b = read_file(b, &size_b);
    const int same = size_a == size_b && memcmp(bytes_a, bytes_b, size_a) == 0;
    free(bytes_a);
    free(bytes_b);
    return same;
}

/* A disk or a network that fails late in an embedding costs nothing of what was done. */
START_TEST(an_embedding_goes_on)
{
    enum { MANY = 300 }; /* more than a batch of the loader */
    static const int calls[] = {CALL_OPENAT, CALL_PREAD, CALL_FSTAT};
    static const int errors[] = {EMFILE, EIO, ESTALE};
    const char *images = in_scratch(&scratch, "many");
    draw_tree(images, MANY, CLASSES, SIDE);
    moco_dataset_t *dataset = dataset_of(images);
    moco_trainer_t *trainer = new_trainer();
    moco_model_t *model = NULL;
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    for (int i = 0; i < 3; i++) {
        int told = 0;
        /* Only openat is told an image by its name; of the others it is the number. */
        arm(calls[i], errors[i], calls[i] == CALL_OPENAT ? 0 : MANY - 1, 1,
            calls[i] == CALL_OPENAT ? "0299.jpg" : NULL);
        expect_status(MOCO_ERR_IO, moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "x.npy"), NULL, NULL));
        ck_assert_int_eq(failed, 1);
        expect_message("go on from there");
        disarm();
        expect_ok(moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "x.npy"),
                                          EMBED(.progress = count_calls, .user = &told), NULL));
        ck_assert_int_eq(told, 1);
        expect_ok(moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "y.npy"), NULL, NULL));
        ck_assert(same_files(in_scratch(&scratch, "x.npy"), in_scratch(&scratch, "y.npy")));
        ck_assert(same_files(in_scratch(&scratch, "x.names.txt"), in_scratch(&scratch, "y.names.txt")));
    }
    ck_assert_int_eq(moco_dataset_broken_count(dataset), 0);
    moco_model_free(model);
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("transient");
    TCase *tcase = tcase_create("transient");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_failure_that_passes_changes_no_bit, 0, 3);
    tcase_add_loop_test(tcase, an_interrupted_call_is_tried_again, 0, 5);
    tcase_add_loop_test(tcase, an_image_that_is_not_there_is_broken, 0, 4);
    tcase_add_test(tcase, listing_a_folder);
    tcase_add_test(tcase, a_callback_may_say_so);
    tcase_add_test(tcase, an_embedding_goes_on);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
