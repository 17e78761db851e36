/* Devices: parts and their failures, oneDNN on one thread a lane, fork, and embedding beside a
 * training step.
 *
 * The program defines the OpenMP functions that oneDNN asks, counts the calls and passes them on:
 * on a lane the runtime must have been told to use one thread, and no parallel region may ever
 * start. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/device.h"
#include "engine/onednn/compat.h"
#include "engine/run/process.h"
#include "fault/trainer_fixtures.h"
#include "util/fault.h"
#include "util/status.h"
#include "call_options.h"

#ifdef __SANITIZE_THREAD__
enum { FORKS = 0 };
#else
enum { FORKS = 1 };
#endif

/* ---- the OpenMP runtime, watched ---- */

static atomic_long asked, more_than_one, inside, regions;

int omp_get_max_threads(void);
int omp_in_parallel(void);
void GOMP_parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags);

static void *next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL)
        abort(); /* no OpenMP runtime behind oneDNN: this test has nothing to watch */
    return function;
}

int omp_get_max_threads(void)
{
    int (*function)(void);
    *(void **)&function = next("omp_get_max_threads");
    int threads = function();
    atomic_fetch_add(&asked, 1);
    if (threads != 1)
        atomic_fetch_add(&more_than_one, 1);
    return threads;
}

int omp_in_parallel(void)
{
    int (*function)(void);
    *(void **)&function = next("omp_in_parallel");
    int answer = function();
    if (answer != 0)
        atomic_fetch_add(&inside, 1);
    return answer;
}

void GOMP_parallel(void (*fn)(void *), void *data, unsigned threads, unsigned flags)
{
    void (*function)(void (*)(void *), void *, unsigned, unsigned);
    *(void **)&function = next("GOMP_parallel");
    atomic_fetch_add(&regions, 1);
    function(fn, data, threads, flags);
}

static int own_threads(void)
{
    int (*function)(void);
    *(void **)&function = next("omp_get_max_threads");
    return function();
}

static void set_own_threads(int count)
{
    void (*function)(int);
    *(void **)&function = next("omp_set_num_threads");
    function(count);
}

static moco_trainer_t *tiny_trainer(moco_device_t *device)
{
    moco_trainer_options_t o = tiny_options(4, 2);
    moco_trainer_t *t = NULL;
    OK(moco_trainer_create(&o, device, &t));
    return t;
}

static void step(moco_trainer_t *t, uint32_t number)
{
    float *views = tiny_views(4, number);
    OK(tiny_push(t, views));
    OK(moco_trainer_step(t, NULL, NULL));
    free(views);
}

START_TEST(test_openmp)
{
    float row[16], *views = tiny_views(4, 1);
    moco_model_t *model = NULL;
    set_own_threads(5); /* the host's own wish */
    atomic_store(&asked, 0);
    atomic_store(&more_than_one, 0);
    moco_device_t *device = tiny_device(2);
    moco_trainer_t *t = tiny_trainer(device);
    step(t, 1);
    step(t, 2);
    OK(moco_trainer_snapshot(t, NULL, device, &model));
    OK(moco_model_embed_tensor(model, 1, views, EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), row));
    moco_model_free(model);
    moco_trainer_free(t);
    moco_device_free(device);
    ck_assert_int_gt(atomic_load(&asked), 50);
    ck_assert_int_eq(atomic_load(&more_than_one), 0);
    ck_assert_int_eq(atomic_load(&inside), 0);
    ck_assert_int_eq(atomic_load(&regions), 0);
    ck_assert_int_eq(own_threads(), 5); /* and it still stands */
    free(views);
}
END_TEST

/* ---- parts ---- */

enum { PARTS = 1000 };

typedef struct tally {
    atomic_int done[PARTS];
    int64_t fail_at;
    pthread_t caller;
    atomic_int on_caller;
} tally_t;

static void count_part(void *ctx, int64_t part)
{
    tally_t *t = ctx;
    atomic_fetch_add(&t->done[part], 1);
    atomic_fetch_add(&t->on_caller, pthread_equal(pthread_self(), t->caller) != 0);
}

START_TEST(test_parts)
{
    for (int32_t lanes = 1; lanes <= 5; lanes++) {
        static const int64_t counts[] = {0, 1, 2, 7, PARTS};
        moco_device_t *device = tiny_device(lanes);
        ck_assert_int_eq(mo_device_lanes(device), lanes);
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            tally_t t = {.caller = pthread_self()};
            OK(mo_device_parallel(device, counts[c], count_part, &t));
            for (int64_t i = 0; i < PARTS; i++)
                ck_assert_int_eq(atomic_load(&t.done[i]), i < counts[c]);
            ck_assert_int_eq(atomic_load(&t.on_caller), 0);
        }
        moco_device_free(device);
    }
}
END_TEST

/* ---- works that grow ---- */

/* Of which work each part was that ran on one lane: 'g' of the one that grows, 'o' of the other. */
typedef struct order {
    moco_device_t *device;
    mo_work_t growing, other, gate;
    atomic_int open, count;
    char parts[64];
} order_t;

static moco_status_t gate_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    order_t *o = ctx;
    (void)lane;
    (void)part;
    while (!atomic_load(&o->open))
        usleep(100);
    return MOCO_OK;
}

static moco_status_t growing_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    order_t *o = ctx;
    (void)lane;
    o->parts[atomic_fetch_add(&o->count, 1)] = 'g';
    if (part % 4 == 0 && part < 12)
        mo_work_more(o->device, &o->growing, 4);
    return MOCO_OK;
}

static moco_status_t other_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    order_t *o = ctx;
    (void)lane;
    (void)part;
    o->parts[atomic_fetch_add(&o->count, 1)] = 'o';
    return MOCO_OK;
}

typedef struct queued {
    moco_device_t *device;
    mo_work_t *work;
} queued_t;

static void *run_work(void *argument)
{
    const queued_t *q = argument;
    return mo_work_run(q->device, q->work) == MOCO_OK ? NULL : argument;
}

/* Callers take turns part by part, but what one image is cut into goes first: the lanes of its next
 * product would otherwise wait for a whole part of another call, fifty times an image. */
START_TEST(test_growing_work)
{
    order_t o = {.device = tiny_device(1)};
    pthread_t threads[3];
    o.gate = (mo_work_t){.fn = gate_part, .ctx = &o, .parts = 1, .class = MO_EMBEDDING};
    o.growing = (mo_work_t){.fn = growing_part, .ctx = &o, .parts = 1, .class = MO_EMBEDDING};
    o.other = (mo_work_t){.fn = other_part, .ctx = &o, .parts = 20, .class = MO_EMBEDDING};
    queued_t queued[] = {{o.device, &o.gate}, {o.device, &o.other}, {o.device, &o.growing}};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_work, &queued[i]), 0);
        usleep(20000); /* so that they are queued in this order, most likely */
    }
    atomic_store(&o.open, 1);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    const char *first = strchr(o.parts, 'g');
    ck_assert_ptr_nonnull(first);
    ck_assert_int_eq(strspn(first, "g"), 13);
    ck_assert_int_eq(strlen(o.parts), 33);
    moco_device_free(o.device);
}
END_TEST

static moco_status_t failing_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    tally_t *t = ctx;
    ck_assert_int_lt(mo_lane_number(lane), 3);
    atomic_fetch_add(&t->done[part], 1);
    return part == t->fail_at ? mo_fail(MOCO_ERR_SHAPE, "part %d is odd-shaped", (int)part) : MOCO_OK;
}

static moco_status_t failing_call(mo_lane_t *lane, void *ctx)
{
    return failing_part(lane, ctx, 0);
}

START_TEST(test_messages)
{
    moco_device_t *device = tiny_device(3);
    for (int urgent = 0; urgent < 2; urgent++)
        for (int64_t at = -1; at < 40; at += 13) {
            tally_t t = {.fail_at = at};
            moco_status_t status = mo_device_run(device, 40, failing_part, &t, urgent);
            ck_assert_int_eq(status, at < 0 ? MOCO_OK : MOCO_ERR_SHAPE);
            if (at >= 0) {
                char text[64];
                snprintf(text, sizeof text, "part %d is odd-shaped", (int)at);
                ck_assert_str_eq(moco_last_message(), text);
            }
            for (int i = 0; i < 40; i++)
                ck_assert_int_le(atomic_load(&t.done[i]), 1);
        }
    tally_t t = {.fail_at = 0};
    ck_assert_int_eq(mo_device_call(device, failing_call, &t), MOCO_ERR_SHAPE);
    ck_assert_str_eq(moco_last_message(), "part 0 is odd-shaped");
    moco_device_free(device);
}
END_TEST

typedef struct caller {
    moco_device_t *device;
    tally_t tally;
} caller_t;

static void *call_often(void *argument)
{
    caller_t *c = argument;
    for (int i = 0; i < 20; i++)
        if (mo_device_parallel(c->device, 50, count_part, &c->tally) != MOCO_OK)
            return c;
    return NULL;
}

START_TEST(test_many_callers)
{
    enum { CALLERS = 6 };
    static caller_t callers[CALLERS];
    pthread_t threads[CALLERS];
    moco_device_t *device = tiny_device(2);
    for (int i = 0; i < CALLERS; i++) {
        callers[i].device = device;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
        for (int p = 0; p < 50; p++)
            ck_assert_int_eq(atomic_load(&callers[i].tally.done[p]), 20);
    }
    moco_device_free(device);
}
END_TEST

/* Signals go to the host's threads, never to lanes. */
static void signals_part(void *ctx, int64_t part)
{
    sigset_t set;
    (void)part;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    atomic_fetch_add((atomic_int *)ctx, sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGUSR1) == 1);
}

START_TEST(test_signals)
{
    atomic_int masked = 0;
    sigset_t set;
    moco_device_t *device = tiny_device(2);
    OK(mo_device_parallel(device, 4, signals_part, &masked));
    ck_assert_int_eq(atomic_load(&masked), 4);
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    ck_assert_int_eq(sigismember(&set, SIGTERM), 0);
    moco_device_free(device);
}
END_TEST

/* ---- fork ---- */

/* Runs `child` in a fork; its exit code is what it returns. */
static int in_child(int (*child)(void *), void *ctx)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(child(ctx));
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "the child ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

typedef struct family {
    moco_device_t *device;
    moco_trainer_t *trainer;
    moco_model_t *model;
    float *views, wanted[4 * 16];
    state_t after; /* the parent's next step, foreseen by a twin */
    atomic_int hold, holding;
} family_t;

static int child_steps(void *ctx)
{
    family_t *f = ctx;
    float rows[4 * 16];
    moco_model_t *fresh = NULL;
    alarm(60);
    if (moco_model_embed_tensor(f->model, 4, f->views, EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC),
                                rows) != MOCO_OK)
        return 2;
    if (memcmp(rows, f->wanted, sizeof rows) != 0)
        return 3;
    if (tiny_push(f->trainer, f->views) != MOCO_OK || moco_trainer_step(f->trainer, NULL, NULL) != MOCO_OK)
        return 4;
    state_t now = state_of(f->trainer);
    if (!state_equal(&now, &f->after))
        return 5;
    if (moco_trainer_snapshot(f->trainer, NULL, f->device, &fresh) != MOCO_OK) /* new primitives, too */
        return 6;
    moco_model_free(fresh);
    moco_model_free(f->model);
    moco_trainer_free(f->trainer);
    moco_device_free(f->device);
    return 0;
}

static void family_open(family_t *f)
{
    *f = (family_t){.device = tiny_device(2), .views = tiny_views(4, 9)};
    f->trainer = tiny_trainer(f->device);
    step(f->trainer, 1);
    OK(moco_trainer_snapshot(f->trainer, NULL, f->device, &f->model));
    OK(moco_model_embed_tensor(f->model, 4, f->views, EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC),
                               f->wanted));
    moco_trainer_t *twin = tiny_trainer(f->device);
    step(twin, 1);
    step(twin, 9);
    f->after = state_of(twin);
    moco_trainer_free(twin);
}

static void family_close(family_t *f)
{
    moco_model_free(f->model);
    moco_trainer_free(f->trainer);
    moco_device_free(f->device);
    state_free(&f->after);
    free(f->views);
}

START_TEST(test_fork_idle)
{
    family_t f;
    family_open(&f);
    ck_assert_int_eq(in_child(child_steps, &f), 0);
    step(f.trainer, 9); /* and the parent goes on as if nothing had been */
    state_t now = state_of(f.trainer);
    ck_assert(state_equal(&now, &f.after));
    state_free(&now);
    family_close(&f);
}
END_TEST

/* ---- a sweep is never refused ---- */

enum { SWEPT = 1000 };

static void sweep_part(void *ctx, int64_t part)
{
    atomic_fetch_add(&((atomic_int *)ctx)[part], 1);
}

static int child_sweeps(void *ctx)
{
    static atomic_int visits[SWEPT];
    alarm(60);
    mo_fault_arm(MO_FAULT_ENGINE, 0); /* the lanes, which the fork did not copy, cannot be started */
    mo_device_sweep(ctx, SWEPT, sweep_part, visits);
    if (mo_fault_arm(MO_FAULT_ENGINE, -1) != 1)
        return 2;
    for (int i = 0; i < SWEPT; i++)
        if (visits[i] != 1)
            return 3;
    return 0;
}

START_TEST(test_sweep)
{
    static atomic_int visits[SWEPT];
    moco_device_t *device = tiny_device(3);
    mo_device_sweep(device, SWEPT, sweep_part, visits);
    for (int i = 0; i < SWEPT; i++)
        ck_assert_int_eq(visits[i], 1);
    ck_assert_int_eq(in_child(child_sweeps, device), 0);
    moco_device_free(device);
}
END_TEST

/* ---- questions to oneDNN and drivers ---- */

/* A set of this architecture: oneDNN gives those of two architectures the same numbers. */
START_TEST(test_isa)
{
    const char *name = mo_isa_name();
    ck_assert_str_eq(name, mo_isa_name());
#if defined(__aarch64__)
    ck_assert_msg(strstr(name, "ASIMD") != NULL || strstr(name, "SVE_") != NULL, "%s", name);
#elif defined(__x86_64__)
    ck_assert_msg(strstr(name, "SSE41") != NULL || strncmp(name, "AVX", 3) == 0, "%s", name);
#else
    ck_assert_str_ne(name, "");
#endif
}
END_TEST

static int child_asks(void *ctx)
{
    (void)ctx;
    alarm(60);
    mo_process_hold();
    mo_process_release();
    moco_device_free(tiny_device(1));
    return 0;
}

static void *fork_elsewhere(void *ctx)
{
    atomic_int *forked = ctx;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(child_asks(NULL));
    int status = 1;
    waitpid(pid, &status, 0);
    atomic_store(forked, status == 0 ? 1 : 2);
    return NULL;
}

/* While a driver is loaded, which may take seconds and may start programs, devices come and go and
 * this thread forks; the fork of another one waits. */
START_TEST(test_questions)
{
    atomic_int forked = 0;
    pthread_t thread;
    mo_process_hold();
    moco_device_free(tiny_device(2));
    ck_assert_int_eq(in_child(child_asks, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, fork_elsewhere, &forked), 0);
    usleep(50000);
    ck_assert_int_eq(atomic_load(&forked), 0);
    mo_process_release();
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&forked), 1);
}
END_TEST

static int child_is_told(void *ctx)
{
    family_t *f = ctx;
    float rows[4 * 16];
    alarm(60);
    if (tiny_push(f->trainer, f->views) != MOCO_OK || moco_trainer_step(f->trainer, NULL, NULL) != MOCO_ERR_FORKED)
        return 2;
    if (strstr(moco_last_message(), "forked") == NULL)
        return 3;
    if (moco_model_embed_tensor(f->model, 4, f->views, EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC),
                                rows) != MOCO_ERR_FORKED)
        return 4;
    moco_model_free(f->model);
    moco_trainer_free(f->trainer);
    moco_device_free(f->device);
    moco_device_t *fresh = tiny_device(2); /* a new device works */
    f->trainer = tiny_trainer(fresh);
    step(f->trainer, 1);
    moco_trainer_free(f->trainer);
    moco_device_free(fresh);
    return 0;
}

static void hold_part(void *ctx, int64_t part)
{
    family_t *f = ctx;
    (void)part;
    atomic_fetch_add(&f->holding, 1);
    while (atomic_load(&f->hold))
        usleep(1000);
}

static void *hold_lane(void *ctx)
{
    return mo_device_parallel(((family_t *)ctx)->device, 1, hold_part, ctx) == MOCO_OK ? NULL : ctx;
}

START_TEST(test_fork_at_work)
{
    family_t f;
    pthread_t thread;
    void *failed;
    family_open(&f);
    atomic_store(&f.hold, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_lane, &f), 0);
    while (atomic_load(&f.holding) == 0)
        usleep(1000);
    int code = in_child(child_is_told, &f);
    atomic_store(&f.hold, 0);
    pthread_join(thread, &failed);
    ck_assert_int_eq(code, 0);
    ck_assert_ptr_null(failed);
    step(f.trainer, 9);
    state_t now = state_of(f.trainer);
    ck_assert(state_equal(&now, &f.after));
    state_free(&now);
    family_close(&f);
}
END_TEST

/* ---- embedding beside training ---- */

typedef struct embedder {
    const family_t *family;
    atomic_int *stop;
    int rounds;
    const char *failure;
} embedder_t;

static void *embed_often(void *argument)
{
    embedder_t *e = argument;
    float rows[4 * 16];
    for (; e->rounds < 3 || !atomic_load(e->stop); e->rounds++) {
        if (moco_model_embed_tensor(e->family->model, 4, e->family->views,
                                    EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), rows) != MOCO_OK)
            e->failure = "an embedding failed";
        else if (memcmp(rows, e->family->wanted, sizeof rows) != 0)
            e->failure = "an embedding has other bits";
    }
    return NULL;
}

START_TEST(test_embed_while_training)
{
    enum { THREADS = 3, STEPS = 8 };
    family_t f;
    atomic_int stop = 0;
    embedder_t embedders[THREADS];
    pthread_t threads[THREADS];
    family_open(&f);
    moco_trainer_t *alone = tiny_trainer(f.device);
    step(alone, 1);
    for (uint32_t i = 0; i < STEPS; i++)
        step(alone, 20 + i);
    for (int i = 0; i < THREADS; i++) {
        embedders[i] = (embedder_t){.family = &f, .stop = &stop};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, embed_often, &embedders[i]), 0);
    }
    for (uint32_t i = 0; i < STEPS; i++)
        step(f.trainer, 20 + i);
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(embedders[i].failure == NULL, "%s", embedders[i].failure);
    }
    state_t wanted = state_of(alone), got = state_of(f.trainer);
    ck_assert_msg(state_equal(&wanted, &got), "training beside embeddings has other bits");
    state_free(&wanted);
    state_free(&got);
    moco_trainer_free(alone);
    family_close(&f);
}
END_TEST

/* More embedders than lanes, each with full shards: training must go on all the same. */
enum { CROWD = 32 };

typedef struct crowd {
    const family_t *family;
    const float *images;
    atomic_int *stop;
    atomic_long *calls;
} crowd_t;

static void *embed_crowd(void *argument)
{
    crowd_t *c = argument;
    float rows[CROWD * 16];
    while (!atomic_load(c->stop)) {
        if (moco_model_embed_tensor(c->family->model, CROWD, c->images,
                                    EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), rows) != MOCO_OK)
            return c;
        atomic_fetch_add(c->calls, 1);
    }
    return NULL;
}

static double lane_seconds(const moco_device_t *device, const char *class)
{
    char text[2048], key[32];
    OK(moco_device_info(device, text, sizeof text, NULL));
    snprintf(key, sizeof key, "\"%s\":", class);
    const char *at = strstr(text, key);
    ck_assert_ptr_nonnull(at);
    return strtod(at + strlen(key), NULL);
}

START_TEST(test_fair_share)
{
    enum { THREADS = 8, STEPS = 30 };
    family_t f;
    atomic_int stop = 0;
    atomic_long calls = 0;
    pthread_t threads[THREADS];
    float *images = tiny_views(CROWD, 5);
    family_open(&f);
    crowd_t crowd = {&f, images, &stop, &calls};
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, embed_crowd, &crowd), 0);
    while (atomic_load(&calls) < THREADS)
        usleep(1000);
    const double training = lane_seconds(f.device, "training"), embedding = lane_seconds(f.device, "embedding");
    const long before = atomic_load(&calls);
    for (uint32_t i = 0; i < STEPS; i++)
        step(f.trainer, 20 + i);
    const long during = atomic_load(&calls) - before;
    const double trained = lane_seconds(f.device, "training") - training;
    const double embedded = lane_seconds(f.device, "embedding") - embedding;
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    /* Half is the rule while both have work; training also pauses between its steps. */
    ck_assert_msg(trained > 0.2 * (trained + embedded), "training had %.3f s of lane time, embeddings %.3f s", trained,
                  embedded);
    ck_assert_msg(during > 0, "no embedding ended during %d steps", STEPS);
    family_close(&f);
    free(images);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device");
    TCase *tc = tcase_create("device");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_openmp);
    tcase_add_test(tc, test_parts);
    tcase_add_test(tc, test_growing_work);
    tcase_add_test(tc, test_messages);
    tcase_add_test(tc, test_many_callers);
    tcase_add_test(tc, test_signals);
    tcase_add_test(tc, test_isa);
    if (FORKS) {
        tcase_add_test(tc, test_fork_idle);
        tcase_add_test(tc, test_fork_at_work);
        tcase_add_test(tc, test_questions);
    } else {
        puts("children of fork skipped: the thread sanitizer loses count of their threads");
    }
    tcase_add_test(tc, test_sweep);
    tcase_add_test(tc, test_embed_while_training);
    tcase_add_test(tc, test_fair_share);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
