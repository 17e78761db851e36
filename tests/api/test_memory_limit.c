/* What needs more memory than this process may take is refused before any is taken: with a status,
 * both numbers and what sets the limit. */
#include "draw.h"

#define LIMIT "MOCO_MEMORY_LIMIT"

static scratch_t scratch;

static void setup(void)
{
    scratch = scratch_make();
}

static void teardown(void)
{
    unsetenv(LIMIT);
    scratch_drop(&scratch);
}

/* Some 200 MB: nothing here may ever touch them. */
static void large_options(moco_trainer_options_t *options)
{
    tiny_options(options);
    options->queue_length = 1 << 20;
    options->dimension = 64;
}

static void refused(moco_status_t status, moco_status_t wanted)
{
    expect_status(wanted, status);
    expect_message("this process may still take");
    expect_message("MiB (");
    expect_message(LIMIT " of the environment");
}

START_TEST(left)
{
    char source[8] = "xxxxxxx";
    setenv(LIMIT, "none", 1);
    ck_assert(moco_memory_left(source, sizeof source) == UINT64_MAX);
    ck_assert_str_eq(source, "");
    setenv(LIMIT, "1000T", 1);
    ck_assert(moco_memory_left(source, sizeof source) < UINT64_C(1000) << 40);
    ck_assert_str_eq(source, "MOCO_ME"); /* cut, and ended */
    ck_assert(moco_memory_left(NULL, 0) > 0);
}
END_TEST

START_TEST(trainers)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    char text[8192];
    const char *path = in_scratch(&scratch, "checkpoint");
    large_options(&options);
    setenv(LIMIT, "40M", 1);
    expect_ok(moco_trainer_plan(&options, NULL, text, sizeof text, NULL)); /* can be looked at */
    refused(moco_trainer_create(&options, NULL, &trainer), MOCO_ERR_MEMORY_CAP);
    expect_message("memory_cap = ");
    ck_assert_ptr_null(trainer);
    /* A cap of the options is not compared with the machine, and its plan is not refused in
     * parts. */
    options.memory_cap = INT64_C(1) << 40;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_save(trainer, path));
    moco_trainer_free(trainer);
    options.memory_cap = 0;
    refused(moco_trainer_load(path, &options, NULL, &trainer), MOCO_ERR_MEMORY_CAP);
    ck_assert_ptr_null(trainer);
    unsetenv(LIMIT);
}
END_TEST

/* Fewer groups in flight where not all fit, as under a cap; the bits stay the same. */
START_TEST(fewer_in_flight)
{
    moco_device_t *device = device_of(4);
    moco_trainer_options_t options;
    char text[8192], limit[32];
    tiny_options(&options);
    options.image_size = 128;
    options.batch_size = 32;
    options.bn_groups = 4;
    options.width = 0.25;
    options.queue_length = 32;
    setenv(LIMIT, "none", 1);
    expect_ok(moco_trainer_plan(&options, device, text, sizeof text, NULL));
    ck_assert_int_eq((int)json_number(text, "bn_groups_in_flight"), 4);
    const double whole = json_number(text, "total");
    for (int megabytes = 100; megabytes > 0; megabytes--) { /* the process itself takes an unknown part */
        snprintf(limit, sizeof limit, "%.0f", whole * 0.9 + (double)megabytes * (1 << 20));
        setenv(LIMIT, limit, 1);
        expect_ok(moco_trainer_plan(&options, device, text, sizeof text, NULL));
        if ((int)json_number(text, "bn_groups_in_flight") < 4)
            break;
    }
    ck_assert_int_lt((int)json_number(text, "bn_groups_in_flight"), 4);
    ck_assert(json_number(text, "total") < whole);
    moco_device_free(device);
}
END_TEST

START_TEST(models)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    moco_model_options_t how;
    const char *path = in_scratch(&scratch, "model");
    tiny_options(&options);
    options.width = 1;
    options.image_size = 64;
    setenv(LIMIT, "none", 1);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_ok(moco_model_save(model, path));
    moco_model_free(model);
    model = NULL;
    expect_ok(moco_model_options_init(&how, sizeof how));
    how.memory_cap = 1 << 20;
    expect_status(MOCO_ERR_MEMORY_CAP, moco_model_load(path, &how, NULL, &model));
    expect_message("the memory cap is 1 MiB (1048576 bytes)");
    setenv(LIMIT, "10M", 1);
    how.memory_cap = INT64_C(1) << 40;
    refused(moco_trainer_snapshot(trainer, NULL, NULL, &model), MOCO_ERR_MEMORY_CAP);
    ck_assert_ptr_null(model);
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(others)
{
    moco_index_t *index = NULL;
    moco_queue_t *queue = NULL;
    moco_index_options_t store;
    moco_queue_options_t long_queue;
    setenv(LIMIT, "20M", 1);
    expect_ok(moco_index_options_init(&store, sizeof store));
    store.capacity = 1 << 20;
    expect_ok(moco_queue_options_init(&long_queue, sizeof long_queue));
    long_queue.length = 1 << 20;
    long_queue.dimension = 64;
    refused(moco_index_create(64, &store, NULL, &index), MOCO_ERR_MEMORY);
    refused(moco_queue_create(&long_queue, NULL, &queue), MOCO_ERR_MEMORY);
    ck_assert_ptr_null(index);
    ck_assert_ptr_null(queue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_limit");
    TCase *tcase = tcase_create("memory_limit");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, left);
    tcase_add_test(tcase, trainers);
    tcase_add_test(tcase, fewer_in_flight);
    tcase_add_test(tcase, models);
    tcase_add_test(tcase, others);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
