/* Everything a host can get wrong in a call: each gives its status and one line, and nothing dies
 * or changes. */
#include "api.h"
#include "call_options.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

START_TEST(names_of_status)
{
    for (int32_t i = 0; i < MOCO_STATUS_COUNT; i++) {
        ck_assert_int_eq(strncmp(moco_status_name(i), "MOCO_", 5), 0);
        for (int32_t j = 0; j < i; j++)
            ck_assert_str_ne(moco_status_name(i), moco_status_name(j));
    }
    ck_assert_str_eq(moco_status_name(MOCO_ERR_BROKEN_DATA), "MOCO_ERR_BROKEN_DATA");
    ck_assert_str_eq(moco_status_name(-1), "unknown status");
    ck_assert_str_eq(moco_status_name(MOCO_STATUS_COUNT), "unknown status");
    ck_assert_str_eq(moco_status_name(INT32_MAX), "unknown status");
}
END_TEST

START_TEST(version)
{
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", MOCO_VERSION_MAJOR, MOCO_VERSION_MINOR, MOCO_VERSION_PATCH);
    ck_assert_str_eq(moco_version_string(), text);
    ck_assert_int_eq(moco_version_number(), MOCO_VERSION_MAJOR * 10000 + MOCO_VERSION_MINOR * 100 + MOCO_VERSION_PATCH);
}
END_TEST

/* The rule of every function that returns text. */
START_TEST(text_rule)
{
    uint64_t needed = 0, again = 0;
    char text[65536];
    expect_ok(moco_build_info(NULL, 0, &needed));
    ck_assert(needed > 2 && needed <= sizeof text);
    expect_ok(moco_build_info(text, needed, &again));
    ck_assert_uint_eq(again, needed);
    ck_assert_uint_eq(strlen(text) + 1, needed);
    ck_assert(text[0] == '{' && text[needed - 2] == '}');
    text[needed - 1] = 'x';
    expect_status(MOCO_ERR_ARGUMENT, moco_build_info(text, needed - 1, &again));
    ck_assert_uint_eq(again, needed);
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(text[needed - 1], 'x');
    expect_status(MOCO_ERR_ARGUMENT, moco_build_info(NULL, 0, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_build_info(NULL, 10, &needed));
}
END_TEST

START_TEST(free_takes_null)
{
    moco_device_free(NULL);
    moco_dataset_free(NULL);
    moco_model_free(NULL);
    moco_queue_free(NULL);
    moco_index_free(NULL);
    moco_trainer_free(NULL);
    moco_classifier_free(NULL);
}
END_TEST

START_TEST(questions_about_null)
{
    ck_assert_int_eq(moco_dataset_count(NULL), 0);
    ck_assert_int_eq(moco_dataset_classes(NULL), 0);
    ck_assert_ptr_null(moco_dataset_name(NULL, 0));
    ck_assert_int_eq(moco_dataset_label(NULL, 0), -1);
    ck_assert_ptr_null(moco_dataset_class_name(NULL, 0));
    ck_assert_int_eq(moco_model_dimension(NULL, MOCO_TAP_BACKBONE), 0);
    ck_assert_int_eq(moco_model_image_size(NULL), 0);
    ck_assert_int_eq(moco_queue_length(NULL), 0);
    ck_assert_int_eq(moco_queue_dimension(NULL), 0);
    (void)moco_queue_pointer(NULL);
    ck_assert_int_eq(moco_index_count(NULL), 0);
    ck_assert_int_eq(moco_index_dimension(NULL), 0);
    ck_assert_int_eq(moco_trainer_discard(NULL), -1);
    ck_assert_int_eq(moco_recipe_number(NULL), -1);
    ck_assert_int_eq(moco_recipe_number("moco-v9"), -1);
    ck_assert_int_eq(moco_recipe_number("moco-v2"), MOCO_RECIPE_V2);
}
END_TEST

/* Every call that takes a handle or an output, without it. */
START_TEST(null_arguments)
{
    float row[4] = {1, 0, 0, 0}, back[4];
    moco_contrast_result_t result = {.struct_size = sizeof result};
    int32_t numbers[4];
    int64_t ids[4];
    uint64_t needed, sizes[1] = {1};
    const uint8_t byte = 0, *bytes[1] = {&byte};
    uint8_t pixels[4096];
    moco_dataset_t *dataset = NULL;
    moco_model_t *model = NULL;
    moco_queue_t *queue = NULL;
    moco_trainer_t *trainer = NULL;
    moco_trainer_options_t options;
    tiny_options(&options);

    const moco_status_t bad = MOCO_ERR_ARGUMENT;
    expect_status(bad, moco_device_create(NULL, NULL));
    expect_status(bad, moco_device_info(NULL, NULL, 0, &needed));
    expect_status(bad, moco_dataset_open(NULL, NULL, &dataset));
    expect_status(bad, moco_dataset_open("x", NULL, NULL));
    expect_status(bad, moco_dataset_create(1, NULL, NULL, NULL, NULL, &dataset));
    expect_status(bad, moco_dataset_pixels(NULL, 0, 8, 8, pixels));
    expect_status(bad, moco_dataset_info(NULL, NULL, 0, &needed));
    expect_status(bad, moco_dataset_views(NULL, &options, 0, 0, pixels));
    expect_status(bad, moco_model_load(NULL, NULL, NULL, &model));
    expect_status(bad, moco_model_load("x", NULL, NULL, NULL));
    expect_status(bad, moco_model_save(NULL, "x"));
    expect_status(bad, moco_model_info(NULL, NULL, 0, &needed));
    expect_status(bad, moco_model_embed_encoded(NULL, 1, bytes, sizes, EMBED(.tap = 0), row));
    expect_status(bad, moco_model_embed_pixels(NULL, 1, NULL, EMBED(.tap = 0), row));
    expect_status(bad, moco_model_embed_tensor(NULL, 1, row, EMBED(.tap = 0, .layout = 0), row));
    expect_status(bad, moco_model_embed_dataset(NULL, NULL, NULL, NULL, NULL));
    expect_status(bad, moco_model_embed_to_npy(NULL, NULL, "x.npy", NULL, NULL));
    expect_status(bad, moco_queue_create(QUEUE(4, 4, 0), NULL, NULL));
    expect_status(bad, moco_queue_enqueue(NULL, 1, row));
    expect_status(bad, moco_queue_keys(NULL, back, NULL));
    expect_status(bad, moco_queue_restore(NULL, row, 0));
    expect_status(bad, moco_queue_contrast(NULL, 1, row, row, NULL, &result));
    expect_status(bad, moco_index_create(4, NULL, NULL, NULL));
    expect_status(bad, moco_index_add(NULL, 1, row, NULL));
    expect_status(bad, moco_index_search(NULL, 1, row, SEARCH(1), ids, NULL));
    expect_status(bad, moco_index_classify(NULL, 1, row, CLASSIFY(1, 0.1, 2), numbers));
    expect_status(bad, moco_index_load_npy(NULL, NULL, NULL, NULL));
    expect_status(bad, moco_index_save_npy(NULL, "x"));
    expect_status(bad, moco_knn_measure(NULL, NULL, NULL, NULL, NULL));
    expect_status(bad, moco_trainer_options_set(NULL, "seed", "1"));
    expect_status(bad, moco_trainer_options_set(&options, NULL, "1"));
    expect_status(bad, moco_trainer_options_set(&options, "seed", NULL));
    expect_status(bad, moco_trainer_options_json(NULL, NULL, 0, &needed));
    expect_status(bad, moco_trainer_plan(NULL, NULL, NULL, 0, &needed));
    expect_status(bad, moco_trainer_create(NULL, NULL, &trainer));
    expect_status(bad, moco_trainer_create(&options, NULL, NULL));
    expect_status(bad, moco_trainer_push_views(NULL, 1, row, row, 0));
    expect_status(bad, moco_trainer_push_pixels(NULL, 1, NULL));
    expect_status(bad, moco_trainer_push_encoded(NULL, ONE_FILE(&byte, 1)));
    expect_status(bad, moco_trainer_step(NULL, NULL, NULL));
    expect_status(bad, moco_trainer_run(NULL, NULL, NULL, NULL, NULL));
    expect_status(bad, moco_trainer_steps(NULL, NULL, 1, NULL, NULL));
    expect_status(bad, moco_trainer_snapshot(NULL, NULL, NULL, &model));
    expect_status(bad, moco_trainer_save(NULL, "x"));
    expect_status(bad, moco_trainer_load(NULL, NULL, NULL, &trainer));
    expect_status(bad, moco_trainer_load("x", NULL, NULL, NULL));
    expect_status(bad, moco_trainer_options_get(NULL, &options, sizeof options));
    expect_status(bad, moco_trainer_state(NULL, NULL, 0, &needed));
    expect_status(bad, moco_shuffle_permutation(0, 0, 4, NULL));
    ck_assert_ptr_null(dataset);
    ck_assert_ptr_null(model);
    ck_assert_ptr_null(queue);
    ck_assert_ptr_null(trainer);
}
END_TEST

START_TEST(devices)
{
    moco_device_options_t options;
    moco_device_t *device = NULL;
    const int32_t lanes[] = {-1, 1025, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        expect_ok(moco_device_options_init(&options, sizeof options));
        options.lanes = lanes[i];
        expect_status(MOCO_ERR_ARGUMENT, moco_device_create(&options, &device));
        expect_message("lanes");
    }
    expect_ok(moco_device_options_init(&options, sizeof options));
    options.number = 1;
    expect_status(MOCO_ERR_ARGUMENT, moco_device_create(&options, &device));
    expect_message("number 1");
    options.kind = MOCO_DEVICE_GPU;
    options.number = 1023; /* whatever machine this is */
    expect_status(MOCO_ERR_UNSUPPORTED, moco_device_create(&options, &device));
    expect_message("GPU");
    options.number = 1024;
    expect_status(MOCO_ERR_ARGUMENT, moco_device_create(&options, &device));
    options.number = 0;
    options.kind = 7;
    expect_status(MOCO_ERR_ARGUMENT, moco_device_create(&options, &device));
    ck_assert_ptr_null(device);
    device = (moco_device_t *)&options; /* whatever stands there: a failed call leaves NULL */
    expect_status(MOCO_ERR_ARGUMENT, moco_device_create(&options, &device));
    ck_assert_ptr_null(device);
}
END_TEST

START_TEST(files_that_are_not_there)
{
    moco_dataset_t *dataset = NULL;
    moco_model_t *model = NULL;
    moco_index_t *index = NULL;
    moco_trainer_t *trainer = (moco_trainer_t *)&index; /* whatever stands there: a failed call leaves NULL */
    const char *path = "/nowhere/at/all";
    expect_status(MOCO_ERR_IO, moco_dataset_open(path, NULL, &dataset));
    expect_message(path);
    expect_status(MOCO_ERR_IO, moco_model_load(path, NULL, NULL, &model));
    expect_message(path);
    expect_status(MOCO_ERR_IO, moco_trainer_load(path, NULL, NULL, &trainer));
    expect_message(path);
    ck_assert_ptr_null(trainer);
    expect_status(MOCO_ERR_IO, moco_index_load_npy(path, NULL, NULL, &index));
    expect_message(path);
}
END_TEST

/* One row per option: the name, values that must be refused, and one that must not. */
static const struct {
    const char *name, *good, *bad[4];
} option_values[] = {
    {"arch", "resnet34", {"resnet19", "", "-1", "ResNet"}},
    {"stem", "cifar", {"imagnet", "", "9", " "}},
    {"head", "linear", {"mpl", "", "2.5", "-3"}},
    {"membership", "strided", {"random", "", "0x", "4"}},
    {"schedule", "step", {"cos", "", "7", "-"}},
    {"batch_size", "64", {"1", "65537", "sixty", "64.5"}},
    {"bn_groups", "4", {"0", "-2", "", "4x"}},
    {"image_size", "64", {"15", "1025", "1e9", "99999999999"}},
    {"queue_length", "4096", {"0", "-1", "16777217", "4k"}},
    {"dimension", "64", {"0", "65537", "", "1 2"}},
    {"epochs", "7", {"0", "1000001", "-1", "x"}},
    {"width", "0.5", {"0.01", "9", "nan", "inf"}},
    {"temperature", "0.07", {"0", "-0.1", "1e4", "warm"}},
    {"key_momentum", "0.99", {"-0.1", "1.1", "nan", ""}},
    {"base_lr", "0.1", {"-1", "1001", "inf", "0.1x"}},
    {"sgd_momentum", "0.5", {"1", "-0.1", "nan", "x"}},
    {"weight_decay", "0", {"-1", "11", "nan", "x"}},
    {"jitter_hue", "0.2", {"0.6", "-0.1", "nan", ""}},
    {"gray_probability", "1", {"1.5", "-1", "nan", ""}},
    {"max_broken_percent", "10", {"101", "-1", "x", ""}},
    {"seed", "18446744073709551615", {"-1", "18446744073709551616", "1.5", ""}},
};

START_TEST(options_by_name)
{
    moco_trainer_options_t options, before;
    expect_ok(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_V2, MOCO_ARCH_RECIPE));
    before = options;
    for (int b = 0; b < 4; b++) {
        expect_status(MOCO_ERR_ARGUMENT,
                      moco_trainer_options_set(&options, option_values[_i].name, option_values[_i].bad[b]));
        expect_message(option_values[_i].name);
        ck_assert_mem_eq(&options, &before, sizeof options);
    }
    expect_ok(moco_trainer_options_set(&options, option_values[_i].name, option_values[_i].good));
    ck_assert_int_ne(memcmp(&options, &before, sizeof options), 0);
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_set(&options, "no_such_option", "1"));
    expect_message("no_such_option");
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_set(&options, "struct_size", "8"));
}
END_TEST

/* Fields that are fine each by itself and wrong together, or out of range in a struct filled by
 * hand. */
START_TEST(options_that_disagree)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
#define REFUSED(field, value)                                                            \
    do {                                                                                 \
        tiny_options(&options);                                                          \
        options.field = value;                                                           \
        expect_status(MOCO_ERR_ARGUMENT, moco_trainer_create(&options, NULL, &trainer)); \
        ck_assert_ptr_null(trainer);                                                     \
    } while (0)
    REFUSED(batch_size, 9); /* not a multiple of two groups */
    REFUSED(bn_groups, 8);  /* groups of one image          */
    REFUSED(bn_groups, 3);
    REFUSED(shard, 3); /* does not divide a group      */
    REFUSED(crop_min_area, 1.5);
    REFUSED(crop_max_area, 0.01); /* below crop_min_area          */
    REFUSED(blur_sigma_max, 0.001);
    REFUSED(std_r, 0.0);
    REFUSED(std_g, (double)NAN);
    REFUSED(temperature, (double)INFINITY);
    REFUSED(arch, 99);
    REFUSED(stem, -1);
    REFUSED(views, MOCO_VIEWS_SIMCLR_CODE + 1);
    REFUSED(blur_probability_2, 0.5);  /* the pipeline has no blur      */
    REFUSED(blur_probability_2, -0.5); /* a share, or exactly -1        */
    REFUSED(solarize_probability, 0.5);
    REFUSED(solarize_probability_2, -0.25);
    REFUSED(resize_filter, 2);
    REFUSED(crop_tries, 0);
    REFUSED(blur_form, -1);
    REFUSED(dimension, 0);
    REFUSED(loader_threads, 257);
    REFUSED(queue_length, 0);
#undef REFUSED
    expect_status(MOCO_ERR_ARGUMENT,
                  moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_SIMCLR_CODE + 1, MOCO_ARCH_RECIPE));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_init(&options, sizeof options, 77, MOCO_ARCH_RECIPE));
    tiny_options(&options);
    options.memory_cap = 1000;
    expect_status(MOCO_ERR_MEMORY_CAP, moco_trainer_create(&options, NULL, &trainer));
    ck_assert_ptr_null(trainer);
}
END_TEST

START_TEST(queues)
{
    moco_queue_t *queue = NULL;
    const int64_t lengths[] = {0, -1, 16777217};
    for (int i = 0; i < 3; i++)
        expect_status(MOCO_ERR_ARGUMENT, moco_queue_create(QUEUE(lengths[i], 4, 0), NULL, &queue));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_create(QUEUE(4, 0, 0), NULL, &queue));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_create(QUEUE(4, 65537, 0), NULL, &queue));
    ck_assert_ptr_null(queue);
    expect_ok(moco_queue_create(QUEUE(4, 2, 1), NULL, &queue));

    float before[8], after[8], rows[4] = {1, 0, 0.6f, 0.9f}, unit[4] = {0, 1, 1, 0}, gradient[4] = {7, 7, 7, 7};
    moco_contrast_result_t result = {.struct_size = sizeof result, .loss = -3};
    expect_ok(moco_queue_keys(queue, before, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_enqueue(queue, 2, rows)); /* row 1 is not of length 1 */
    expect_message("1");
    rows[2] = NAN;
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_enqueue(queue, 2, rows));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_enqueue(queue, 0, rows));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_enqueue(queue, 1, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_contrast(queue, 2, rows, unit, CONTRAST(0.1, gradient), &result));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_contrast(queue, 2, unit, rows, CONTRAST(0.1, gradient), &result));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_contrast(queue, 2, unit, unit, CONTRAST(0, gradient), &result));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_contrast(queue, 2, unit, unit, CONTRAST((double)NAN, NULL), &result));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_contrast(queue, 2, unit, unit, NULL, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_restore(queue, before, 4));
    expect_status(MOCO_ERR_ARGUMENT, moco_queue_restore(queue, before, -1));
    ck_assert(result.loss == -3 && gradient[0] == 7);
    expect_ok(moco_queue_keys(queue, after, NULL));
    ck_assert_mem_eq(before, after, sizeof before);
    ck_assert_int_eq(moco_queue_pointer(queue), 0);
    moco_queue_free(queue);
}
END_TEST

START_TEST(indexes)
{
    moco_index_t *index = NULL;
    float rows[4] = {1, 0, 0, 2}, wrong[2] = {NAN, 0}, similarity;
    int32_t labels[2] = {0, 1}, negative[1] = {-1}, top[4];
    int64_t id;
    expect_status(MOCO_ERR_ARGUMENT, moco_index_create(0, NULL, NULL, &index));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_create(65537, NULL, NULL, &index));
    expect_ok(moco_index_create(2, NULL, NULL, &index));
    ck_assert_int_ne(moco_index_search(index, 1, rows, SEARCH(1), &id, NULL), MOCO_OK); /* empty */
    expect_status(MOCO_ERR_ARGUMENT, moco_index_add(index, 1, wrong, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_add(index, 1, rows, negative));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_add(index, -1, rows, labels));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_add(index, 1, NULL, labels));
    ck_assert_int_eq(moco_index_count(index), 0);
    expect_ok(moco_index_add(index, 2, rows, labels));
    ck_assert_int_eq(moco_index_count(index), 2);
    expect_status(MOCO_ERR_ARGUMENT, moco_index_search(index, 1, rows, SEARCH(0), &id, &similarity));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_search(index, 1, rows, SEARCH(3), &id, &similarity));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_search(index, 1, wrong, SEARCH(1), &id, &similarity));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_search(index, 1, rows, SEARCH(1), NULL, &similarity));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_classify(index, 1, rows, CLASSIFY(0, 0.1, 2), top));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_classify(index, 1, rows, CLASSIFY(1, 0, 2), top));
    expect_status(MOCO_ERR_ARGUMENT,
                  moco_index_classify(index, 1, rows, CLASSIFY(1, 0.1, 1), top)); /* label 1 is held */
    expect_ok(moco_index_classify(index, 2, rows, CLASSIFY(10, 0.1, 2), top));    /* k beyond the index: all of it */
    ck_assert_int_eq(top[0], 0);
    ck_assert_int_eq(top[2], 1);
    moco_index_free(index);

    index = NULL;
    expect_ok(moco_index_create(2, NULL, NULL, &index));
    expect_ok(moco_index_add(index, 2, rows, NULL));
    ck_assert_int_ne(moco_index_classify(index, 1, rows, CLASSIFY(1, 0.1, 2), top), MOCO_OK); /* no labels */
    moco_index_free(index);

    index = NULL; /* a label beyond every number of classes can be kept, and is no class */
    labels[1] = 1 << 24;
    expect_ok(moco_index_create(2, NULL, NULL, &index));
    expect_ok(moco_index_add(index, 2, rows, labels));
    expect_status(MOCO_ERR_ARGUMENT, moco_index_classify(index, 1, rows, CLASSIFY(1, 0.1, 0), top));
    expect_message("classes is 0, wanted more than the largest label 16777216 and at most 16777216");
    moco_index_free(index);
}
END_TEST

static int32_t refuses(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    (void)index, (void)data, (void)size;
    ++*(int *)user;
    return 1;
}

START_TEST(data_sets)
{
    moco_dataset_t *dataset = NULL;
    moco_dataset_options_t options;
    uint8_t pixels[16 * 16 * 3];
    int calls = 0;
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_create(0, refuses, &calls, NULL, NULL, &dataset));
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_create(-5, refuses, &calls, NULL, NULL, &dataset));
    expect_ok(moco_dataset_options_init(&options, sizeof options));
    options.limit = -1;
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_create(3, refuses, &calls, NULL, &options, &dataset));
    expect_ok(moco_dataset_options_init(&options, sizeof options));
    options.max_pixels = 0;
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_create(3, refuses, &calls, NULL, &options, &dataset));
    ck_assert_ptr_null(dataset);
    ck_assert_int_eq(calls, 0);
    expect_ok(moco_dataset_create(3, refuses, &calls, NULL, NULL, &dataset));
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_pixels(dataset, 3, 16, 16, pixels));
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_pixels(dataset, -1, 16, 16, pixels));
    expect_status(MOCO_ERR_ARGUMENT, moco_dataset_pixels(dataset, 0, 0, 16, pixels));
    expect_status(MOCO_ERR_IMAGE, moco_dataset_pixels(dataset, 0, 16, 16, pixels));
    ck_assert_int_eq(calls, 1);
    ck_assert_ptr_null(moco_dataset_name(dataset, 3));
    ck_assert_str_eq(moco_dataset_name(dataset, 2), "2");
    moco_dataset_free(dataset);
}
END_TEST

/* A trainer through the states that refuse a call; none of them changes it. */
START_TEST(trainers)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_step_report_t report = {.struct_size = sizeof report};
    uint8_t pixels[20 * 20 * 3] = {0};
    moco_image_t images[2] = {
        {.struct_size = sizeof(moco_image_t), .planes = {pixels}, .width = 20, .height = 20, .format = MOCO_PIXELS_RGB},
        {.struct_size = sizeof(moco_image_t),
         .planes = {pixels},
         .width = 20,
         .height = 20,
         .format = MOCO_PIXELS_RGB}};
    float *views = calloc(9 * 3 * 16 * 16, sizeof *views);
    for (int i = 0; i < 9 * 3 * 16 * 16; i++)
        views[i] = (float)((i * 31) % 97) / 48.f - 1.f;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));

    expect_status(MOCO_ERR_NO_DATA, moco_trainer_step(trainer, NULL, &report));
    expect_status(MOCO_ERR_IMAGE, moco_trainer_push_encoded(trainer, ONE_FILE(pixels, sizeof pixels)));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_encoded(trainer, ONE_FILE(NULL, 10)));
    images[1].width = 0; /* all or nothing: the good first image is not taken either */
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_pixels(trainer, 2, images));
    images[1].width = 20;
    images[1].strides[0] = 59; /* less than a row */
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_pixels(trainer, 2, images));
    images[1].strides[0] = 0;
    images[1].format = 9;
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_pixels(trainer, 2, images));
    ck_assert_int_eq(moco_trainer_discard(trainer), 0);
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_views(trainer, 0, views, views, MOCO_LAYOUT_NCHW));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_views(trainer, 1, views, views, 5));
    expect_status(MOCO_ERR_FULL, moco_trainer_push_views(trainer, 9, views, views, MOCO_LAYOUT_NCHW));

    expect_ok(moco_trainer_push_views(trainer, 5, views, views, MOCO_LAYOUT_NHWC));
    expect_status(MOCO_ERR_FULL, moco_trainer_push_views(trainer, 4, views, views, MOCO_LAYOUT_NHWC));
    images[1].format = MOCO_PIXELS_RGB;
    expect_status(MOCO_ERR_STATE, moco_trainer_push_pixels(trainer, 1, images));
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_step(trainer, NULL, &report));
    ck_assert_int_eq(moco_trainer_discard(trainer), 5);
    expect_ok(moco_trainer_push_pixels(trainer, 2, images));
    expect_status(MOCO_ERR_STATE, moco_trainer_push_views(trainer, 1, views, views, MOCO_LAYOUT_NCHW));
    ck_assert_int_eq(moco_trainer_discard(trainer), 2);

    /* A loss that is no number: the step is refused, the batch stays until it is dropped. */
    views[7] = NAN;
    expect_status(MOCO_ERR_NONFINITE, moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
    expect_message("number 7 of view 0 is nan");
    for (int i = 0; i < 3 * 16 * 16; i++)
        views[i] = FLT_MAX;
    expect_ok(moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
    expect_status(MOCO_ERR_NONFINITE, moco_trainer_step(trainer, NULL, &report));
    expect_message("1");
    expect_status(MOCO_ERR_NONFINITE, moco_trainer_step(trainer, NULL, &report));
    ck_assert_int_eq(moco_trainer_discard(trainer), 8);
    memset(views, 0, 3 * 16 * 16 * sizeof *views);
    expect_ok(moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
    expect_ok(moco_trainer_step(trainer, NULL, &report));
    ck_assert_int_eq(report.step, 1);
    ck_assert(isfinite(report.loss) && report.loss > 0);
    ck_assert_double_eq_tol(report.chance_loss, log(33.0), 1e-12);

    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_save(trainer, NULL));
    expect_status(MOCO_ERR_IO, moco_trainer_save(trainer, "/nowhere/at/all.safetensors"));
    free(views);
    moco_trainer_free(trainer);
}
END_TEST

/* A model: broken images among good ones, taps it does not have, a folder where a file should
 * be. */
START_TEST(models)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    moco_trainer_free(trainer);
    const int32_t width = moco_model_dimension(model, MOCO_TAP_PROJECTION);
    ck_assert_int_eq(width, 16);
    ck_assert_int_eq(moco_model_dimension(model, MOCO_TAP_BACKBONE), 128);
    ck_assert_int_eq(moco_model_dimension(model, 2), 0);
    ck_assert_int_eq(moco_model_image_size(model), 16);

    uint8_t pixels[24 * 24 * 4];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 7);
    moco_image_t images[3] = {
        {.struct_size = sizeof(moco_image_t), .planes = {pixels}, .width = 24, .height = 24, .format = MOCO_PIXELS_RGB},
        {.struct_size = sizeof(moco_image_t), .planes = {NULL}, .width = 24, .height = 24, .format = MOCO_PIXELS_RGB},
        {.struct_size = sizeof(moco_image_t),
         .planes = {pixels},
         .width = 24,
         .height = 24,
         .format = MOCO_PIXELS_RGBA}};
    float rows[3][16], alone[16];
    moco_status_t items[3] = {77, 77, 77};
    expect_status(MOCO_ERR_ARGUMENT,
                  moco_model_embed_pixels(model, 1, images, EMBED(.tap = 2, .statuses = items), rows[0]));
    expect_status(MOCO_ERR_ARGUMENT,
                  moco_model_embed_pixels(model, 0, images, EMBED(.tap = 1, .statuses = items), rows[0]));
    expect_status(MOCO_ERR_ARGUMENT, moco_model_embed_pixels(model, 3, images, EMBED(.tap = 1), rows[0]));
    expect_ok(moco_model_embed_pixels(model, 3, images, EMBED(.tap = 1, .statuses = items), rows[0]));
    ck_assert_int_eq(items[0], MOCO_OK);
    ck_assert_int_ne(items[1], MOCO_OK);
    ck_assert_int_eq(items[2], MOCO_OK);
    double norm = 0;
    for (int i = 0; i < 16; i++) {
        ck_assert(rows[1][i] == 0);
        norm += (double)rows[0][i] * rows[0][i];
    }
    ck_assert_double_eq_tol(norm, 1, 1e-5);
    expect_ok(moco_model_embed_pixels(model, 1, images, EMBED(.tap = 1), alone));
    for (int i = 0; i < 16; i++)
        ck_assert_double_eq_tol(alone[i], rows[0][i], 1e-5);

    /* Numbers that are not finite, given or made on the way: a row of zeros and a status. */
    static float tensors[3][3 * 16 * 16];
    tensors[1][5] = NAN;
    for (int i = 0; i < 3 * 16 * 16; i++)
        tensors[2][i] = FLT_MAX;
    expect_ok(moco_model_embed_tensor(model, 3, tensors[0], EMBED(.tap = 1, .statuses = items), rows[0]));
    ck_assert(items[0] == MOCO_OK && items[1] == MOCO_ERR_NONFINITE && items[2] == MOCO_ERR_NONFINITE);
    ck_assert(rows[1][0] == 0 && rows[2][0] == 0);
    expect_status(MOCO_ERR_NONFINITE, moco_model_embed_tensor(model, 3, tensors[0], EMBED(.tap = 1), rows[0]));
    expect_message("[1]: number 5 is nan");

    const uint8_t *data[1] = {pixels};
    const uint64_t sizes[1] = {sizeof pixels};
    expect_status(MOCO_ERR_IMAGE, moco_model_embed_encoded(model, 1, data, sizes, EMBED(.tap = 1), alone));
    expect_ok(moco_model_embed_encoded(model, 1, data, sizes, EMBED(.tap = 1, .statuses = items), alone));
    ck_assert_int_eq(items[0], MOCO_ERR_IMAGE);
    expect_status(MOCO_ERR_IO, moco_model_save(model, "/nowhere/at/all.safetensors"));
    moco_model_free(model);
}
END_TEST

static void count_line(void *user, int32_t level, const char *line)
{
    (void)level, (void)line;
    ++*(int *)user;
}

START_TEST(log_sink_may_come_and_go)
{
    int lines = 0;
    moco_set_log(count_line, &lines, MOCO_LOG_DEBUG);
    moco_set_log(NULL, NULL, 0);
    moco_device_t *device = NULL;
    expect_ok(moco_device_create(NULL, &device));
    moco_device_free(device);
    ck_assert_int_eq(lines, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wrong use");
    TCase *calls = tcase_create("calls"), *objects = tcase_create("objects");
    tcase_add_test(calls, names_of_status);
    tcase_add_test(calls, version);
    tcase_add_test(calls, text_rule);
    tcase_add_test(calls, free_takes_null);
    tcase_add_test(calls, questions_about_null);
    tcase_add_test(calls, null_arguments);
    tcase_add_test(calls, devices);
    tcase_add_test(calls, files_that_are_not_there);
    tcase_add_loop_test(calls, options_by_name, 0, (int)(sizeof option_values / sizeof *option_values));
    tcase_add_test(calls, options_that_disagree);
    tcase_set_timeout(calls, 120);
    tcase_set_timeout(objects, 120);
    tcase_add_test(objects, queues);
    tcase_add_test(objects, indexes);
    tcase_add_test(objects, data_sets);
    tcase_add_test(objects, trainers);
    tcase_add_test(objects, models);
    tcase_add_test(objects, log_sink_may_come_and_go);
    suite_add_tcase(suite, calls);
    suite_add_tcase(suite, objects);
    return run_suite(suite);
}
