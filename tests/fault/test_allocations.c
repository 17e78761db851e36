/* After warm-up a step takes no memory: the library's own requests are counted, and the process
 * does not grow. What oneDNN takes inside an operation it gives back before the operation
 * returns. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "fault/trainer_fixtures.h"
#include "util/fault.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WATCHED 0 /* sanitizers keep freed memory */
#else
#define WATCHED 1
#endif

static long resident_pages(void)
{
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld %ld", &all, &resident), 2);
    fclose(file);
    return resident;
}

/* malloc's own stores of small pieces, one for each thread: 64 sizes of 7 pieces, half a KiB each
 * at the most. */
#define SLACK(threads) ((size_t)(threads)*64 * 7 * 512)

/* Two steps to warm up, then ten. A lane takes its scratchpad when it runs its first operation,
 * which on several lanes may be later; nothing else is allowed. */
static void steps_of(moco_trainer_options_t o, int32_t lanes, int pixels)
{
    const int32_t batch = o.batch_size;
    moco_device_t *device = tiny_device(lanes);
    moco_trainer_t *t = NULL;
    OK(moco_trainer_create(&o, device, &t));
    float *views = tiny_views(batch, 1);
    uint8_t *bytes = calloc((size_t)batch, 24 * 24 * 3);
    moco_image_t *images = calloc((size_t)batch, sizeof *images);
    for (int32_t i = 0; i < batch; i++) {
        for (int j = 0; j < 24 * 24 * 3; j++)
            bytes[i * 24 * 24 * 3 + j] = (uint8_t)(i * 37 + j * 11);
        images[i] = (moco_image_t){.struct_size = sizeof(moco_image_t),
                                   .planes = {bytes + i * 24 * 24 * 3},
                                   .width = 24,
                                   .height = 24,
                                   .format = MOCO_PIXELS_RGB};
    }
    size_t in_use = 0;
    long pages = 0, taken = 0;
    for (int step = 0; step < (batch > 1000 ? 4 : 12); step++) {
        if (step == 2) {
            in_use = mallinfo2().uordblks;
            pages = resident_pages();
        }
        OK(pixels ? moco_trainer_push_pixels(t, batch, images) : tiny_push(t, views));
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        OK(moco_trainer_step(t, NULL, NULL));
        long now = mo_fault_arm(MO_FAULT_ALLOC, -1);
        taken += step < 2 ? 0 : now;
    }
    ck_assert_msg(taken <= lanes - 1, "after warm-up, steps took memory %ld times", taken);
    if (WATCHED) {
        ck_assert_msg(mallinfo2().uordblks <= in_use + SLACK(lanes + 1), "ten steps kept %zu bytes",
                      mallinfo2().uordblks - in_use);
        /* packing buffers of oneDNN come and go in malloc's arenas: 256 KiB of space for each
         * thread */
        ck_assert_msg(resident_pages() - pages <= (lanes + 1) * 64, "ten steps grew by %ld pages",
                      resident_pages() - pages);
    }
    free(views);
    free(bytes);
    free(images);
    moco_trainer_free(t);
    moco_device_free(device);
}

static void steps_take_nothing(int32_t lanes, int32_t batch, int32_t groups, int32_t shard, int pixels)
{
    moco_trainer_options_t o = tiny_options(batch, groups);
    o.shard = shard;
    steps_of(o, lanes, pixels);
}

START_TEST(test_views)
{
    steps_take_nothing(1, 8, 2, 0, 0);
}
END_TEST

START_TEST(test_pixels)
{
    steps_take_nothing(1, 8, 2, 0, 1);
}
END_TEST

START_TEST(test_shards_that_meet)
{
    steps_take_nothing(2, 8, 1, 2, 0);
}
END_TEST

/* Losses over the whole batch, in one pass and in two. */
START_TEST(test_other_methods)
{
    steps_of(tiny_method_options((tiny_method_t)_i, 8), 1, 0);
    steps_of(tiny_method_options((tiny_method_t)_i, 8), 2, 1);
}
END_TEST

/* Beyond 1024 images the shuffle once took memory of its own. */
START_TEST(test_large_batch)
{
    steps_take_nothing(1, 1040, 65, 16, 0);
}
END_TEST

/* What is told of the memory for gradients is what is taken. */
START_TEST(test_told_gradients)
{
    moco_device_t *device = tiny_device(2);
    for (int method = 0; method <= TINY_METHODS; method++) {
        moco_trainer_options_t o = method < TINY_METHODS ? tiny_method_options((tiny_method_t)method, 8)
                                                         : tiny_options(8, 2);
        moco_trainer_t *t = NULL;
        size_t taken = 0;
        OK(moco_trainer_create(&o, device, &t));
        for (int i = 0; i < 2; i++)
            taken += (size_t)t->gradients[i].blocks * (size_t)t->gradients[i].floats * sizeof(float);
        ck_assert_uint_gt(taken, 0);
        ck_assert_uint_eq(mo_trainer_bytes(t, "gradients"), taken);
        moco_trainer_free(t);
    }
    moco_device_free(device);
}
END_TEST

/* A trainer that is freed leaves nothing. */
START_TEST(test_trainers_come_and_go)
{
    size_t in_use = 0;
    moco_device_t *device = tiny_device(2);
    for (int i = 0; i < 6; i++) {
        moco_trainer_options_t o = tiny_options(4, 2);
        moco_trainer_t *t = NULL;
        float *views = tiny_views(4, 1);
        OK(moco_trainer_create(&o, device, &t));
        for (int step = 0; step < 2; step++) {
            OK(tiny_push(t, views));
            OK(moco_trainer_step(t, NULL, NULL));
        }
        moco_trainer_free(t);
        free(views);
        if (i == 2)
            in_use = mallinfo2().uordblks;
    }
    if (WATCHED) /* a part of one trainer */
        ck_assert_uint_le(mallinfo2().uordblks, in_use + SLACK(3));
    moco_device_free(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("allocations");
    TCase *tc = tcase_create("allocations");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_views);
    tcase_add_test(tc, test_pixels);
    tcase_add_test(tc, test_shards_that_meet);
    tcase_add_loop_test(tc, test_other_methods, 0, TINY_METHODS);
    tcase_add_test(tc, test_large_batch);
    tcase_add_test(tc, test_told_gradients);
    tcase_add_test(tc, test_trainers_come_and_go);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
