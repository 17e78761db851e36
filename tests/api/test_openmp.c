/* A host that uses OpenMP itself: it calls from inside parallel regions, has several devices,
 * models and trainers at once, and keeps its own number of threads. */
#include "draw.h"
#include "call_options.h"

#ifdef _OPENMP
#include <omp.h>

enum { THREADS = 4, DEVICES = 2, IMAGES = 6, SIDE = 16, D = 16 };

static moco_device_t *devices[DEVICES];
static moco_trainer_t *trainers[THREADS];
static moco_model_t *models[THREADS];
static float pixels[IMAGES * 3 * SIDE * SIDE];

static void set_up(void)
{
    moco_trainer_options_t options;
    for (size_t i = 0; i < sizeof pixels / sizeof pixels[0]; i++)
        pixels[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
    for (int i = 0; i < DEVICES; i++)
        devices[i] = device_of(1 + i);
    for (int i = 0; i < THREADS; i++) {
        tiny_options(&options);
        options.seed = 1 + (uint64_t)i;
        expect_ok(moco_trainer_create(&options, devices[i % DEVICES], &trainers[i]));
        expect_ok(moco_trainer_snapshot(trainers[i], NULL, NULL, &models[i]));
    }
}

static void tear_down(void)
{
    for (int i = 0; i < THREADS; i++) {
        moco_model_free(models[i]);
        moco_trainer_free(trainers[i]);
    }
    for (int i = 0; i < DEVICES; i++)
        moco_device_free(devices[i]);
}

static int team(void)
{
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads++;
    return threads;
}

static void embed(int number, float *rows)
{
    expect_ok(moco_model_embed_tensor(models[number], IMAGES, pixels, EMBED(.tap = 1), rows));
}

/* Every thread of a region embeds by its own model, and by one that all share. */
START_TEST(calls_from_a_region)
{
    static float alone[THREADS][IMAGES * D], own[THREADS][IMAGES * D], shared[THREADS][IMAGES * D];
    omp_set_dynamic(0);
    omp_set_num_threads(THREADS);
    ck_assert_int_eq(team(), THREADS);
    for (int i = 0; i < THREADS; i++)
        embed(i, alone[i]);
#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < THREADS; i++) {
        embed(i, own[i]);
        embed(0, shared[i]);
    }
    ck_assert_mem_eq(own, alone, sizeof alone);
    for (int i = 0; i < THREADS; i++)
        ck_assert_mem_eq(shared[i], alone[0], sizeof alone[0]);
    ck_assert_int_eq(omp_get_max_threads(), THREADS);
    ck_assert_int_eq(team(), THREADS);
}
END_TEST

static void push_and_step(moco_trainer_t *trainer, double *loss)
{
    moco_step_report_t report = {.struct_size = sizeof report};
    float views[2][8 * 3 * SIDE * SIDE];
    for (int v = 0; v < 2; v++)
        for (size_t i = 0; i < sizeof views[v] / sizeof views[v][0]; i++)
            views[v][i] = pixels[(i + 7 * (size_t)v) % (sizeof pixels / sizeof pixels[0])] + 0.01f * (float)(i % 13);
    expect_ok(moco_trainer_push_views(trainer, 8, views[0], views[1], MOCO_LAYOUT_NCHW));
    expect_ok(moco_trainer_step(trainer, NULL, &report));
    *loss = report.loss;
}

/* Trainers of one seed that step in a region and outside of one, on devices of one and of two
 * lanes. */
START_TEST(trainers_in_a_region)
{
    double losses[THREADS], again;
    moco_trainer_options_t options;
    omp_set_num_threads(THREADS);
#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < THREADS; i++)
        push_and_step(trainers[i], &losses[i]);
    for (int i = 0; i < THREADS; i++) {
        moco_trainer_t *trainer;
        tiny_options(&options);
        options.seed = 1 + (uint64_t)i;
        expect_ok(moco_trainer_create(&options, devices[(i + 1) % DEVICES], &trainer));
        push_and_step(trainer, &again);
        ck_assert(again == losses[i]);
        moco_trainer_free(trainer);
    }
    ck_assert_int_eq(team(), THREADS);
}
END_TEST

/* Devices made and freed inside a region, where the runtime would give each thread a team of its
 * own: as many lanes as were asked for. */
START_TEST(devices_in_a_region)
{
    int lanes[THREADS];
    omp_set_num_threads(THREADS);
#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < THREADS; i++) {
        char text[4096];
        moco_device_t *device = device_of(2);
        expect_ok(moco_device_info(device, text, sizeof text, NULL));
        lanes[i] = (int)json_number(text, "lanes");
        moco_device_free(device);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(lanes[i], 2);
    ck_assert_int_eq(team(), THREADS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("openmp");
    TCase *tests = tcase_create("host");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, calls_from_a_region);
    tcase_add_test(tests, trainers_in_a_region);
    tcase_add_test(tests, devices_in_a_region);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
#else
int main(void)
{
    puts("skipped: this compiler has no OpenMP");
    return 77;
}
#endif
