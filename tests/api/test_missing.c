/* Every pointer that a call cannot do without, missing in turn while all others are there: the
 * call says which one, and has done nothing. */
#include "labelled.h"
#include "call_options.h"

static world_t world;
static picture_t jpeg;

static void set_up(void)
{
    world = world_of(1, 24, 6, 20);
    jpeg = draw_jpeg(20, 20, 3, 1);
}

static void tear_down(void)
{
    free(jpeg.bytes);
    world_close(&world);
}

#define missing(name, call)                     \
    do {                                        \
        expect_status(MOCO_ERR_ARGUMENT, call); \
        expect_message("'" name "' is NULL");   \
    } while (0)

static const char *at(const char *name)
{
    return in_scratch(&world.scratch, name);
}

START_TEST(classifiers)
{
    moco_classifier_t *made = NULL, *other = NULL;
    moco_classifier_result_t result = {.struct_size = sizeof result};
    moco_classifier_rate_t rate = {.struct_size = sizeof rate};
    moco_model_t *model = NULL;
    int64_t table[CLASSES * CLASSES];
    uint64_t needed;
    const moco_probe_options_t probe = probe_options(MOCO_PROBE_CACHED);
    const moco_finetune_options_t tune = finetune_options(MOCO_OPTIMIZER_SGD);
    missing("model", moco_probe_train(NULL, world.train, world.test, &probe, &made));
    missing("train", moco_probe_train(world.model, NULL, world.test, &probe, &made));
    missing("test", moco_probe_train(world.model, world.train, NULL, &probe, &made));
    missing("out", moco_probe_train(world.model, world.train, world.test, &probe, NULL));
    missing("model", moco_finetune_train(NULL, world.train, world.test, &tune, &made));
    missing("train", moco_finetune_train(world.model, NULL, world.test, &tune, &made));
    missing("test", moco_finetune_train(world.model, world.train, NULL, &tune, &made));
    missing("out", moco_finetune_train(world.model, world.train, world.test, &tune, NULL));
    expect_ok(moco_probe_train(world.model, world.train, world.test, &probe, &made));
    missing("classifier", moco_classifier_save(NULL, at("c")));
    missing("path", moco_classifier_save(made, NULL));
    expect_ok(moco_classifier_save(made, at("c")));
    missing("path", moco_classifier_load(NULL, NULL, world.device, &other));
    missing("out", moco_classifier_load(at("c"), NULL, world.device, NULL));
    missing("classifier", moco_classifier_result(NULL, &result));
    missing("result", moco_classifier_result(made, NULL));
    missing("classifier", moco_classifier_rate(NULL, 0, &rate));
    missing("rate", moco_classifier_rate(made, 0, NULL));
    missing("classifier", moco_classifier_confusion(NULL, table));
    missing("table", moco_classifier_confusion(made, NULL));
    missing("classifier", moco_classifier_weights(NULL, NULL, NULL));
    missing("classifier", moco_classifier_model(NULL, &model));
    missing("out", moco_classifier_model(made, NULL));
    missing("classifier", moco_classifier_info(NULL, NULL, 0, &needed));
    ck_assert_ptr_null(moco_classifier_class_name(NULL, 0));
    ck_assert_ptr_null(other);
    ck_assert_ptr_null(model);
    moco_classifier_free(made);
}
END_TEST

static int32_t no_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    (void)user;
    (void)count;
    (void)indices;
    (void)rows;
    return 0;
}

static int32_t no_image(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    (void)user;
    (void)index;
    (void)data;
    (void)size;
    return 1;
}

START_TEST(models)
{
    enum { SIDE = 16 };
    static float tensor[3 * SIDE * SIDE];
    const uint8_t *const files[] = {jpeg.bytes};
    const uint64_t sizes[] = {jpeg.size};
    const moco_image_t image = {.struct_size = sizeof image, .planes = {(uint8_t *)tensor}, .width = 2, .height = 2};
    float row[FEATURES];
    uint64_t needed;
    moco_model_t *model = NULL;
    moco_dataset_t *dataset = NULL;
    moco_knn_result_t knn = {.struct_size = sizeof knn};
    uint8_t pixels[3];
    missing("model", moco_model_save(NULL, at("m")));
    missing("path", moco_model_save(world.model, NULL));
    expect_ok(moco_model_save(world.model, at("m")));
    missing("path", moco_model_load(NULL, NULL, world.device, &model));
    missing("out", moco_model_load(at("m"), NULL, world.device, NULL));
    missing("data", moco_model_load_memory(NULL, 100, NULL, world.device, &model));
    missing("out", moco_model_load_memory(tensor, sizeof tensor, NULL, world.device, NULL));
    missing("model", moco_model_save_memory(NULL, NULL, 0, &needed));
    missing("model", moco_model_info(NULL, NULL, 0, &needed));
    missing("path", moco_model_file_info(NULL, NULL, NULL, 0, &needed));
    missing("model", moco_model_embed_encoded(NULL, 1, files, sizes, NULL, row));
    missing("data", moco_model_embed_encoded(world.model, 1, NULL, sizes, NULL, row));
    missing("sizes", moco_model_embed_encoded(world.model, 1, files, NULL, NULL, row));
    missing("out", moco_model_embed_encoded(world.model, 1, files, sizes, NULL, NULL));
    missing("model", moco_model_embed_pixels(NULL, 1, &image, NULL, row));
    missing("images", moco_model_embed_pixels(world.model, 1, NULL, NULL, row));
    missing("out", moco_model_embed_pixels(world.model, 1, &image, NULL, NULL));
    missing("model", moco_model_embed_tensor(NULL, 1, tensor, NULL, row));
    missing("images", moco_model_embed_tensor(world.model, 1, NULL, NULL, row));
    missing("out", moco_model_embed_tensor(world.model, 1, tensor, NULL, NULL));
    missing("model", moco_model_embed_dataset(NULL, world.test, NULL, no_rows, NULL));
    missing("dataset", moco_model_embed_dataset(world.model, NULL, NULL, no_rows, NULL));
    missing("rows", moco_model_embed_dataset(world.model, world.test, NULL, NULL, NULL));
    missing("model", moco_model_embed_to_npy(NULL, world.test, at("x.npy"), NULL, NULL));
    missing("dataset", moco_model_embed_to_npy(world.model, NULL, at("x.npy"), NULL, NULL));
    missing("path", moco_model_embed_to_npy(world.model, world.test, NULL, NULL, NULL));
    missing("model", moco_knn_measure(NULL, world.train, world.test, NULL, &knn));
    missing("bank", moco_knn_measure(world.model, NULL, world.test, NULL, &knn));
    missing("test", moco_knn_measure(world.model, world.train, NULL, NULL, &knn));
    missing("result", moco_knn_measure(world.model, world.train, world.test, NULL, NULL));
    missing("path", moco_dataset_open(NULL, NULL, &dataset));
    missing("out", moco_dataset_open(at("test"), NULL, NULL));
    missing("read", moco_dataset_create(1, NULL, NULL, NULL, NULL, &dataset));
    missing("out", moco_dataset_create(1, no_image, NULL, NULL, NULL, NULL));
    missing("dataset", moco_dataset_pixels(NULL, 0, 1, 1, pixels));
    missing("pixels", moco_dataset_pixels(world.test, 0, 1, 1, NULL));
    missing("dataset", moco_dataset_info(NULL, NULL, 0, &needed));
    missing("source", moco_convert(NULL, at("n"), NULL, NULL, 0, &needed));
    missing("target", moco_convert(at("m"), NULL, NULL, NULL, 0, &needed));
    missing("text", moco_convert(at("m"), at("n"), NULL, NULL, 1, &needed)); /* room for an end, and nowhere */
    missing("path", moco_file_info(NULL, NULL, 0, &needed));
    missing("out", moco_device_create(NULL, NULL));
    missing("out", moco_cancel_create(NULL));
    ck_assert(!file_exists(at("n")) && !file_exists(at("x.npy")));
    ck_assert_ptr_null(model);
    ck_assert_ptr_null(dataset);
}
END_TEST

START_TEST(trainers)
{
    enum { SIDE = 16 };
    static float views[8 * 3 * SIDE * SIDE];
    static uint8_t drawn[2 * 3 * SIDE * SIDE];
    const uint8_t *const files[] = {jpeg.bytes};
    const uint64_t sizes[] = {jpeg.size};
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL, *other = NULL;
    moco_model_t *model = NULL;
    uint64_t needed;
    tiny_options(&options);
    missing("options", moco_trainer_create(NULL, world.device, &trainer));
    missing("out", moco_trainer_create(&options, world.device, NULL));
    missing("options", moco_trainer_plan(NULL, world.device, NULL, 0, &needed));
    expect_ok(moco_trainer_create(&options, world.device, &trainer));
    missing("trainer", moco_trainer_push_views(NULL, 8, views, views, MOCO_LAYOUT_NHWC));
    missing("queries", moco_trainer_push_views(trainer, 8, NULL, views, MOCO_LAYOUT_NHWC));
    missing("keys", moco_trainer_push_views(trainer, 8, views, NULL, MOCO_LAYOUT_NHWC));
    missing("trainer", moco_trainer_push_pixels(NULL, 1, &(moco_image_t){.struct_size = sizeof(moco_image_t)}));
    missing("images", moco_trainer_push_pixels(trainer, 1, NULL));
    missing("trainer", moco_trainer_push_encoded(NULL, 1, files, sizes));
    missing("data", moco_trainer_push_encoded(trainer, 1, NULL, sizes));
    missing("sizes", moco_trainer_push_encoded(trainer, 1, files, NULL));
    ck_assert_int_eq(moco_trainer_discard(NULL), -1);
    ck_assert_int_eq(moco_trainer_discard(trainer), 0);
    missing("trainer", moco_trainer_step(NULL, NULL, NULL));
    missing("trainer", moco_trainer_steps(NULL, world.train, 1, NULL, NULL));
    missing("dataset", moco_trainer_steps(trainer, NULL, 1, NULL, NULL));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_steps(trainer, world.train, 0, NULL, NULL));
    expect_message("count is 0, wanted 1 or more");
    missing("trainer", moco_trainer_run(NULL, world.train, NULL, NULL, NULL));
    missing("dataset", moco_trainer_run(trainer, NULL, NULL, NULL, NULL));
    missing("trainer", moco_trainer_snapshot(NULL, NULL, NULL, &model));
    missing("out", moco_trainer_snapshot(trainer, NULL, NULL, NULL));
    missing("trainer", moco_trainer_save(NULL, at("t")));
    missing("path", moco_trainer_save(trainer, NULL));
    missing("path", moco_trainer_load(NULL, NULL, world.device, &other));
    missing("out", moco_trainer_load(at("t"), NULL, world.device, NULL));
    missing("trainer", moco_trainer_options_get(NULL, &options, sizeof options));
    missing("options", moco_trainer_options_get(trainer, NULL, sizeof options));
    missing("path", moco_trainer_options_load(NULL, &options, sizeof options));
    missing("options", moco_trainer_options_load(at("t"), NULL, sizeof options));
    missing("trainer", moco_trainer_state(NULL, NULL, 0, &needed));
    ck_assert_int_eq(moco_trainer_step_number(NULL), -1);
    ck_assert_int_eq(moco_trainer_step_number(trainer), 0);
    missing("options", moco_trainer_options_set(NULL, "seed", "1"));
    missing("name", moco_trainer_options_set(&options, NULL, "1"));
    missing("value", moco_trainer_options_set(&options, "seed", NULL));
    missing("options", moco_trainer_options_json(NULL, NULL, 0, &needed));
    missing("permutation", moco_shuffle_permutation(0, 0, 4, NULL));
    missing("dataset", moco_dataset_views(NULL, &options, 0, 0, drawn));
    missing("options", moco_dataset_views(world.train, NULL, 0, 0, drawn));
    missing("views", moco_dataset_views(world.train, &options, 0, 0, NULL));
    ck_assert_ptr_null(other);
    ck_assert_ptr_null(model);
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(indexes_and_queues)
{
    const float rows[2][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}};
    const int32_t labels[] = {0, 1};
    float keys[8 * 4];
    int64_t ids[2];
    int32_t top[2];
    moco_index_t *index = NULL, *other = NULL;
    moco_queue_t *queue = NULL;
    moco_contrast_result_t result = {.struct_size = sizeof result};
    missing("out", moco_index_create(4, NULL, world.device, NULL));
    expect_ok(moco_index_create(4, NULL, world.device, &index));
    missing("index", moco_index_add(NULL, 2, rows[0], labels));
    missing("vectors", moco_index_add(index, 2, NULL, labels));
    expect_ok(moco_index_add(index, 0, NULL, NULL));
    expect_ok(moco_index_add(index, 2, rows[0], labels));
    missing("index", moco_index_search(NULL, 2, rows[0], SEARCH(1), ids, NULL));
    missing("queries", moco_index_search(index, 2, NULL, SEARCH(1), ids, NULL));
    missing("ids", moco_index_search(index, 2, rows[0], SEARCH(1), NULL, NULL));
    expect_ok(moco_index_search(index, 0, NULL, SEARCH(1), NULL, NULL));
    missing("index", moco_index_classify(NULL, 2, rows[0], CLASSIFY(1, 0.1, 2), top));
    missing("queries", moco_index_classify(index, 2, NULL, CLASSIFY(1, 0.1, 2), top));
    missing("top", moco_index_classify(index, 2, rows[0], CLASSIFY(1, 0.1, 2), NULL));
    expect_ok(moco_index_classify(index, 0, NULL, CLASSIFY(1, 0.1, 2), NULL));
    missing("index", moco_index_save_npy(NULL, at("i.npy")));
    missing("path", moco_index_save_npy(index, NULL));
    missing("path", moco_index_load_npy(NULL, NULL, world.device, &other));
    missing("out", moco_index_load_npy(at("i.npy"), NULL, world.device, NULL));
    ck_assert_ptr_null(other);
    moco_index_free(index);

    missing("out", moco_queue_create(QUEUE(8, 4, 0), world.device, NULL));
    expect_ok(moco_queue_create(QUEUE(8, 4, 0), world.device, &queue));
    missing("queue", moco_queue_enqueue(NULL, 2, rows[0]));
    missing("keys", moco_queue_enqueue(queue, 2, NULL));
    missing("queue", moco_queue_keys(NULL, keys, NULL));
    missing("keys", moco_queue_keys(queue, NULL, NULL));
    expect_ok(moco_queue_keys(queue, keys, NULL));
    missing("queue", moco_queue_restore(NULL, keys, 0));
    missing("keys", moco_queue_restore(queue, NULL, 0));
    missing("queue", moco_queue_contrast(NULL, 2, rows[0], rows[0], NULL, &result));
    missing("queries", moco_queue_contrast(queue, 2, NULL, rows[0], NULL, &result));
    missing("keys", moco_queue_contrast(queue, 2, rows[0], NULL, NULL, &result));
    missing("result", moco_queue_contrast(queue, 2, rows[0], rows[0], NULL, NULL));
    moco_queue_free(queue);
}
END_TEST

/* Whatever stood in the place of the result: a failed call leaves NULL there. */
#define leaves_null(out, call)                     \
    do {                                           \
        *(void **)&(out) = &world;                 \
        ck_assert_int_ne(call, MOCO_OK);           \
        ck_assert_msg((out) == NULL, "%s", #call); \
    } while (0)

START_TEST(failed_calls_leave_null)
{
    moco_device_options_t device_options = {.struct_size = sizeof device_options, .lanes = -1};
    moco_dataset_options_t dataset_options = {.struct_size = sizeof dataset_options, .limit = -1};
    moco_model_options_t model_options = {.struct_size = sizeof model_options, .image_size = -5};
    moco_index_options_t index_options = {.struct_size = sizeof index_options, .capacity = -1};
    moco_snapshot_options_t snapshot_options = {.struct_size = 3};
    moco_probe_options_t probe = probe_options(MOCO_PROBE_CACHED);
    moco_finetune_options_t tune = finetune_options(MOCO_OPTIMIZER_SGD);
    moco_trainer_options_t options;
    moco_device_t *device;
    moco_dataset_t *dataset;
    moco_model_t *model;
    moco_classifier_t *classifier;
    moco_index_t *index;
    moco_queue_t *queue;
    moco_trainer_t *trainer = NULL, *other;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, world.device, &trainer));
    options.batch_size = probe.epochs = tune.epochs = -1;
    leaves_null(device, moco_device_create(&device_options, &device));
    leaves_null(dataset, moco_dataset_open(at("test"), &dataset_options, &dataset));
    leaves_null(dataset, moco_dataset_open(at("none"), NULL, &dataset));
    leaves_null(dataset, moco_dataset_create(0, no_image, NULL, NULL, NULL, &dataset));
    leaves_null(model, moco_model_load(at("none"), &model_options, NULL, &model));
    leaves_null(model, moco_model_load(at("none"), NULL, NULL, &model));
    leaves_null(model, moco_model_load_memory("x", 1, &model_options, NULL, &model));
    leaves_null(model, moco_model_load_memory("x", 1, NULL, NULL, &model));
    leaves_null(model, moco_trainer_snapshot(trainer, &snapshot_options, NULL, &model));
    leaves_null(classifier, moco_classifier_load(at("none"), &model_options, NULL, &classifier));
    leaves_null(classifier, moco_classifier_load(at("none"), NULL, NULL, &classifier));
    leaves_null(classifier, moco_probe_train(world.model, world.train, world.test, &probe, &classifier));
    leaves_null(classifier, moco_finetune_train(world.model, world.train, world.test, &tune, &classifier));
    leaves_null(index, moco_index_create(0, NULL, NULL, &index));
    leaves_null(index, moco_index_create(4, &index_options, NULL, &index));
    leaves_null(index, moco_index_load_npy(at("none"), &index_options, NULL, &index));
    leaves_null(index, moco_index_load_npy(at("none"), NULL, NULL, &index));
    leaves_null(queue, moco_queue_create(QUEUE(0, 4, 0), NULL, &queue));
    leaves_null(other, moco_trainer_create(&options, NULL, &other));
    leaves_null(other, moco_trainer_load(at("none"), NULL, NULL, &other));
    moco_trainer_free(trainer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("missing");
    TCase *cases = tcase_create("missing");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, classifiers);
    tcase_add_test(cases, models);
    tcase_add_test(cases, trainers);
    tcase_add_test(cases, indexes_and_queues);
    tcase_add_test(cases, failed_calls_leave_null);
    tcase_set_timeout(cases, 120);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
