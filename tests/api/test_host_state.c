/* Calls on threads that their host has changed: rounding mode, traps, flushed subnormal numbers,
 * cancellation, little stack. */
#define _GNU_SOURCE
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "api.h"
#include "call_options.h"
#include "draw.h"

enum { SIDE = 16, IMAGES = 8, VALUES = IMAGES * SIDE * SIDE * 3 };

static float images[VALUES];

static void fill_images(void)
{
    for (int i = 0; i < VALUES; i++)
        images[i] = (float)(i * 7919 % 200) / 100.0f - 1.0f;
}

/* ---- floating point ---- */

typedef struct outcome {
    double loss;
    float rows[IMAGES * 64], neighbour;
} outcome_t;

static void learn(outcome_t *out)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    moco_index_t *index = NULL;
    int64_t id = -1;
    moco_device_t *device = device_of(2);
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, device, &trainer));
    for (int step = 0; step < 3; step++) {
        moco_step_report_t report = {.struct_size = sizeof report};
        expect_ok(moco_trainer_push_views(trainer, IMAGES, images, images, MOCO_LAYOUT_NHWC));
        expect_ok(moco_trainer_step(trainer, NULL, &report));
        out->loss = report.loss;
    }
    expect_ok(moco_trainer_snapshot(trainer, NULL, device, &model));
    const int32_t width = moco_model_dimension(model, MOCO_TAP_PROJECTION);
    ck_assert_int_le(width, 64);
    expect_ok(moco_model_embed_tensor(model, IMAGES, images,
                                      EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), out->rows));
    expect_ok(moco_index_create(width, NULL, device, &index));
    expect_ok(moco_index_add(index, IMAGES, out->rows, NULL));
    expect_ok(moco_index_search(index, 1, out->rows + width, SEARCH(1), &id, &out->neighbour));
    moco_index_free(index);
    moco_model_free(model);
    moco_trainer_free(trainer);
    moco_device_free(device);
}

static void flush_subnormals(void)
{
#ifdef __SSE__
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
}

START_TEST(test_floating_point)
{
    static outcome_t plain, changed;
    fill_images();
    learn(&plain);
    for (int mode = 0; mode < 4; mode++) {
        fenv_t before, after;
        memset(&changed, 0, sizeof changed);
        if (mode == 0)
            fesetround(FE_UPWARD);
        else if (mode == 1)
            fesetround(FE_TOWARDZERO);
        else if (mode == 2)
            feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW);
        else
            flush_subnormals();
        fegetenv(&before);
        learn(&changed);
        fegetenv(&after);
        const int rounding = fegetround(), traps = fegetexcept();
        fesetenv(FE_DFL_ENV);
        ck_assert_msg(memcmp(&plain, &changed, sizeof plain) == 0, "mode %d of the host changes bits", mode);
        ck_assert_int_eq(rounding, mode == 0 ? FE_UPWARD : mode == 1 ? FE_TOWARDZERO : FE_TONEAREST);
        ck_assert_int_eq(traps, mode == 2 ? FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW : 0);
    }
}
END_TEST

/* ---- cancellation ---- */

static moco_model_t *make_model(moco_device_t *device)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, device, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, device, &model));
    moco_trainer_free(trainer);
    return model;
}

static void *embed_for_ever(void *model)
{
    static float rows[IMAGES * 512];
    for (;;)
        if (moco_model_embed_tensor(model, IMAGES, images, EMBED(.layout = MOCO_LAYOUT_NHWC), rows) != MOCO_OK)
            return model;
}

START_TEST(test_cancel)
{
    float rows[IMAGES * 512];
    moco_device_t *device = device_of(2);
    moco_model_t *model = make_model(device);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result = NULL;
        ck_assert_int_eq(pthread_create(&thread, NULL, embed_for_ever, model), 0);
        usleep((useconds_t)(1000 + i * 711 % 4000));
        pthread_cancel(thread);
        pthread_join(thread, &result);
        ck_assert_ptr_eq(result, PTHREAD_CANCELED);
        expect_ok(moco_model_embed_tensor(model, IMAGES, images, EMBED(.layout = MOCO_LAYOUT_NHWC), rows));
    }
    moco_model_free(model);
    moco_device_free(device);
}
END_TEST

/* ---- stack ---- */

typedef struct small {
    scratch_t scratch;
    const char *failed;
    char message[600];
} small_t;

#define STEP(call)                                                                      \
    do {                                                                                \
        if ((call) != MOCO_OK) {                                                        \
            snprintf(small->message, sizeof small->message, "%s", moco_last_message()); \
            small->failed = #call;                                                      \
            return NULL;                                                                \
        }                                                                               \
    } while (0)

static int32_t take_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    (void)user;
    return count > 0 && indices != NULL && rows != NULL ? 0 : 1;
}

static void *use_everything(void *argument)
{
    static float rows[64 * 512];
    static uint8_t pixels[2 * 64 * 64 * 3];
    static char text[1 << 16];
    small_t *small = argument;
    moco_trainer_options_t options;
    moco_dataset_t *dataset = NULL;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    moco_index_t *index = NULL;
    moco_device_t *device = NULL;
    moco_classifier_t *classifier = NULL;
    moco_probe_options_t probe;
    moco_cancel_t *cancel = NULL;
    int64_t ids[3];
    float similarities[3];
    char set[400], run[400], file[440], npy[400], out[440];
    snprintf(set, sizeof set, "%s", in_scratch(&small->scratch, "set"));
    snprintf(run, sizeof run, "%s", in_scratch(&small->scratch, "run"));
    snprintf(file, sizeof file, "%s/model.safetensors", run);
    snprintf(npy, sizeof npy, "%s", in_scratch(&small->scratch, "rows.npy"));
    snprintf(out, sizeof out, "%s/torchvision.safetensors", run);
    STEP(moco_device_create(NULL, &device));
    STEP(moco_dataset_open(set, NULL, &dataset));
    STEP(moco_dataset_info(dataset, text, sizeof text, NULL));
    STEP(moco_dataset_pixels(dataset, 0, 32, 32, pixels));
    STEP(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_CIFAR, MOCO_ARCH_RESNET18));
    STEP(moco_trainer_options_set(&options, "width", "0.0625"));
    STEP(moco_trainer_options_set(&options, "image_size", "16"));
    STEP(moco_trainer_options_set(&options, "batch_size", "8"));
    STEP(moco_trainer_options_set(&options, "bn_groups", "2"));
    STEP(moco_trainer_options_set(&options, "queue_length", "32"));
    STEP(moco_trainer_options_json(&options, text, sizeof text, NULL));
    STEP(moco_dataset_views(dataset, &options, 0, 0, pixels));
    STEP(moco_trainer_plan(&options, device, text, sizeof text, NULL));
    STEP(moco_trainer_create(&options, device, &trainer));
    STEP(moco_trainer_run(trainer, dataset, NULL, run, RUN(.max_steps = 2)));
    STEP(moco_trainer_state(trainer, text, sizeof text, NULL));
    moco_trainer_free(trainer);
    STEP(moco_model_load(file, NULL, device, &model));
    STEP(moco_model_info(model, text, sizeof text, NULL));
    STEP(moco_file_info(file, text, sizeof text, NULL));
    STEP(moco_model_file_info(file, NULL, text, sizeof text, NULL));
    STEP(moco_model_embed_dataset(model, dataset, NULL, take_rows, NULL));
    STEP(moco_model_embed_to_npy(model, dataset, npy, NULL, NULL));
    STEP(moco_index_load_npy(npy, NULL, device, &index));
    STEP(moco_model_embed_tensor(model, 1, images, EMBED(.layout = MOCO_LAYOUT_NHWC), rows));
    STEP(moco_index_search(index, 1, rows, SEARCH(3), ids, similarities));
    moco_index_free(index);
    STEP(moco_probe_options_init(&probe, sizeof probe, MOCO_PROBE_CACHED));
    STEP(moco_probe_options_set(&probe, "epochs", "1"));
    STEP(moco_probe_options_set(&probe, "batch_size", "4"));
    STEP(moco_probe_train(model, dataset, dataset, &probe, &classifier));
    STEP(moco_classifier_save(classifier, file));
    moco_classifier_free(classifier);
    STEP(moco_classifier_load(file, NULL, device, &classifier));
    moco_classifier_free(classifier);
    STEP(moco_convert(file, out, NULL, text, sizeof text, NULL));
    STEP(moco_cancel_create(&cancel));
    moco_cancel_free(cancel);
    moco_model_free(model);
    moco_dataset_free(dataset);
    moco_device_free(device);
    return NULL;
}

START_TEST(test_small_stack)
{
    pthread_attr_t attr;
    pthread_t thread;
    small_t small = {.scratch = scratch_make()};
    draw_tree(in_scratch(&small.scratch, "set"), 12, 2, 40);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstacksize(&attr, 64 << 10), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, use_everything, &small), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    ck_assert_msg(small.failed == NULL, "%s: %s", small.failed, small.message);
    scratch_drop(&small.scratch);
}
END_TEST

/* ---- signals ---- */

static atomic_int ticks; /* free of locks, so a handler may count it; any thread may be interrupted */

static void tick(int number)
{
    (void)number;
    atomic_fetch_add(&ticks, 1);
}

/* Each millisecond, and no system call is begun again by itself. */
static void storm(int timer, int number, long microseconds)
{
    const struct sigaction action = {.sa_handler = tick};
    const struct itimerval every = {{0, microseconds}, {0, microseconds}};
    ck_assert_int_eq(sigaction(number, &action, NULL), 0);
    ck_assert_int_eq(setitimer(timer, &every, NULL), 0);
}

START_TEST(test_signals)
{
    static const struct {
        int timer, number;
    } storms[] = {{ITIMER_REAL, SIGALRM}, {ITIMER_PROF, SIGPROF}, {ITIMER_VIRTUAL, SIGVTALRM}};
    small_t session = {.scratch = scratch_make()};
    draw_tree(in_scratch(&session.scratch, "set"), 24, 2, 24);
    ticks = 0;
    storm(storms[_i].timer, storms[_i].number, 1000);
    use_everything(&session);
    setitimer(storms[_i].timer, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    ck_assert_msg(session.failed == NULL, "%s: %s", session.failed, session.message);
    ck_assert_int_gt(ticks, 0);
    scratch_drop(&session.scratch);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("host state");
    TCase *tc = tcase_create("host state");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_floating_point);
    tcase_add_test(tc, test_cancel);
#ifdef __SANITIZE_ADDRESS__ /* its redzones make frames several times larger */
    puts("skipped: threads of 64 KiB of stack, under the address sanitizer");
    (void)test_small_stack;
#else
    tcase_add_test(tc, test_small_stack);
#endif
    tcase_add_loop_test(tc, test_signals, 0, 3);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
