/* A process may exit while another thread is inside a call: it ends with its own exit code, without
 * a crash and without waiting long. The test runs itself; each child leaves main at another moment
 * of the other thread's work. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api.h"
#include "call_options.h"
#include "draw.h"

enum { SIDE = 16, IMAGES = 8, CODE = 7 };

static float images[IMAGES * SIDE * SIDE * 3];
static atomic_int stop;
static pthread_t worker;

/* Not in a test's own process: no check of its framework may be used. */
static int options_of(int32_t arch, moco_trainer_options_t *options)
{
    if (moco_trainer_options_init(options, sizeof *options, MOCO_RECIPE_CIFAR, arch) != MOCO_OK)
        return 0;
    options->width = 0.0625;
    options->image_size = SIDE;
    options->batch_size = 8;
    options->bn_groups = 2;
    options->queue_length = 32;
    options->dimension = 16;
    if (arch == MOCO_ARCH_VIT_SMALL) {
        options->patch_size = 4;
        options->vit_depth = 2;
    }
    return 1;
}

static int make_and_embed(int32_t arch)
{
    float rows[IMAGES * 512];
    moco_trainer_options_t options;
    moco_device_t *device = NULL;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    const int ok = options_of(arch, &options) && moco_device_create(NULL, &device) == MOCO_OK &&
                   moco_trainer_create(&options, device, &trainer) == MOCO_OK &&
                   moco_trainer_snapshot(trainer, NULL, device, &model) == MOCO_OK &&
                   moco_model_embed_tensor(model, IMAGES, images, EMBED(.layout = MOCO_LAYOUT_NHWC), rows) == MOCO_OK;
    moco_model_free(model);
    moco_trainer_free(trainer);
    moco_device_free(device);
    return ok;
}

static void *work(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&stop))
        if (!make_and_embed(MOCO_ARCH_RESNET18) || !make_and_embed(MOCO_ARCH_VIT_SMALL))
            return NULL;
    return NULL;
}

/* As the destructor of a global object of a C++ host may do. It was registered before the library
 * was used, so it runs last. */
static void join_worker(void)
{
    atomic_store(&stop, 1);
    pthread_join(worker, NULL);
}

/* The first thread ends, and the process goes on with this one. Newer C libraries then run the
 * destructors of the first thread's own objects, as exit does. */
static void *outlive(void *first)
{
    void *result = NULL;
    if (pthread_join(*(pthread_t *)first, &result) != 0)
        _exit(2);
    for (int i = 0; i < 2; i++)
        if (!make_and_embed(MOCO_ARCH_RESNET18) || !make_and_embed(MOCO_ARCH_VIT_SMALL)) {
            fprintf(stderr, "after the first thread's end: %s\n", moco_last_message());
            _exit(3);
        }
    if (pthread_create(&worker, NULL, work, NULL) != 0)
        _exit(4);
    usleep(30000);
    exit(CODE);
}

/* The library calls this instead of the system's. To open a library that is there while another
 * thread exits would run its constructors, and then its destructors, for the second time. */
static atomic_int opening; /* 1 while a thread opens one, -1 after that */

void *dlopen(const char *name, int flags)
{
    void *(*system)(const char *, int) = NULL;
    *(void **)&system = dlsym(RTLD_NEXT, "dlopen");
    if ((flags & RTLD_NOLOAD) == 0)
        return system(name, flags);
    atomic_store(&opening, 1);
    usleep(50000);
    void *library = system(name, flags);
    atomic_store(&opening, -1);
    return library;
}

/* Registered first, so it runs last of the handlers, and before all destructors of libraries. */
static void see_opening(void)
{
    if (atomic_load(&opening) == 1)
        _exit(5);
}

static int exit_while_opening(void)
{
    atexit(see_opening);
    if (pthread_create(&worker, NULL, work, NULL) != 0)
        return 1;
    while (atomic_load(&opening) == 0)
        usleep(100);
    return CODE;
}

static int end_first_thread(int destructors)
{
    static pthread_t first;
    first = pthread_self();
    void (*destroy)(void) = NULL;
    *(void **)&destroy = dlvsym(RTLD_DEFAULT, "__call_tls_dtors", "GLIBC_PRIVATE");
    if (pthread_create(&worker, NULL, outlive, &first) != 0)
        return 1;
    if (destructors && destroy != NULL)
        destroy();
    pthread_exit(NULL);
}

static int child(int microseconds, const char *mode)
{
    const int joins = strcmp(mode, "joins") == 0;
    alarm(60);
    if (strncmp(mode, "ends", 4) == 0)
        return end_first_thread(mode[4] != '\0');
    if (strcmp(mode, "opens") == 0)
        return exit_while_opening();
    if (joins)
        atexit(join_worker);
    if (pthread_create(&worker, NULL, work, NULL) != 0)
        return 1;
    usleep((useconds_t)microseconds);
    return CODE;
}

static void run_child(int microseconds, const char *mode)
{
    int state = 0;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char delay[16];
        snprintf(delay, sizeof delay, "%d", microseconds);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* a thread in the middle of a call frees nothing */
        execl("/proc/self/exe", "test_exit", delay, mode, (char *)NULL);
        _exit(99);
    }
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
    ck_assert_msg(WIFEXITED(state), "after %d us: killed by signal %d", microseconds, WTERMSIG(state));
    ck_assert_msg(WEXITSTATUS(state) == CODE, "after %d us: exit code %d", microseconds, WEXITSTATUS(state));
}

START_TEST(test_main_returns)
{
    for (int i = 1; i <= 30; i++)
        run_child(i * 3900, "returns");
}
END_TEST

START_TEST(test_exit_while_opening)
{
    run_child(0, "opens");
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(test_first_thread_ends)
{
    run_child(0, "ends");
    run_child(0, "ends, destructors run");
}
END_TEST
#endif

START_TEST(test_handler_joins)
{
    run_child(20000, "joins");
}
END_TEST

/* Handlers that run after the library's: calls on lanes are refused at once, frees work. */
static moco_device_t *late_device;
static moco_model_t *late_model;

static void use_late(void)
{
    float rows[512];
    const moco_status_t status =
        moco_model_embed_tensor(late_model, 1, images, EMBED(.layout = MOCO_LAYOUT_NHWC), rows);
    moco_model_free(late_model);
    moco_device_free(late_device);
    _exit(status == MOCO_ERR_STATE ? CODE : 1);
}

START_TEST(test_late_calls)
{
    int state = 0;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        moco_trainer_options_t options;
        moco_trainer_t *trainer = NULL;
        signal(SIGALRM, SIG_DFL);
        alarm(60);
        atexit(use_late);
        if (!options_of(MOCO_ARCH_RESNET18, &options) || moco_device_create(NULL, &late_device) != MOCO_OK ||
            moco_trainer_create(&options, late_device, &trainer) != MOCO_OK ||
            moco_trainer_snapshot(trainer, NULL, late_device, &late_model) != MOCO_OK)
            _exit(2);
        moco_trainer_free(trainer);
        exit(3);
    }
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
    ck_assert_msg(WIFEXITED(state), "killed by signal %d", WTERMSIG(state));
    ck_assert_int_eq(WEXITSTATUS(state), CODE);
}
END_TEST

/* exit inside a callback, while a run's threads load images. */
static int32_t leave(void *user, const moco_step_report_t *report)
{
    (void)user;
    if (report->step == 2)
        exit(CODE);
    return 0;
}

START_TEST(test_exit_in_a_callback)
{
    int state = 0;
    scratch_t scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "set"), 40, 2, 24);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        moco_trainer_options_t options;
        moco_trainer_t *trainer = NULL;
        moco_dataset_t *dataset = NULL;
        signal(SIGALRM, SIG_DFL);
        alarm(60);
        tiny_options(&options);
        if (moco_trainer_create(&options, NULL, &trainer) != MOCO_OK ||
            moco_dataset_open(in_scratch(&scratch, "set"), NULL, &dataset) != MOCO_OK)
            _exit(2);
        moco_trainer_run(trainer, dataset, NULL, in_scratch(&scratch, "run"), RUN(.progress = leave));
        _exit(3);
    }
    ck_assert_int_eq(waitpid(pid, &state, 0), pid);
    ck_assert_msg(WIFEXITED(state), "killed by signal %d", WTERMSIG(state));
    ck_assert_int_eq(WEXITSTATUS(state), CODE);
    scratch_drop(&scratch);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3)
        return child(atoi(argv[1]), argv[2]);
    Suite *suite = suite_create("exit");
    TCase *tc = tcase_create("exit");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_main_returns);
    tcase_add_test(tc, test_exit_while_opening);
#ifdef __SANITIZE_THREAD__
    puts("skipped: the end of the first thread, which the thread sanitizer does not survive");
#else
    tcase_add_test(tc, test_first_thread_ends);
#endif
    tcase_add_test(tc, test_handler_joins);
    tcase_add_test(tc, test_late_calls);
    tcase_add_test(tc, test_exit_in_a_callback);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
