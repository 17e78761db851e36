/* Hosts compiled against another release: their options structs are shorter or longer than the
 * library's. */
#include "api.h"

#include <stddef.h>

enum { GUARD = 0x5a, ROOM = 4096 };

typedef union {
    uint8_t bytes[ROOM];
    uint64_t struct_size;
    moco_trainer_options_t trainer;
    moco_dataset_options_t dataset;
    moco_device_options_t device;
    moco_run_options_t run;
    moco_probe_options_t probe;
    moco_finetune_options_t finetune;
} buffer_t;

typedef moco_status_t (*init_fn)(void *options, uint64_t struct_size);

static moco_status_t init_trainer(void *options, uint64_t struct_size)
{
    return moco_trainer_options_init(options, struct_size, MOCO_RECIPE_V2, MOCO_ARCH_RECIPE);
}

#define SIMPLE(X) \
    X(dataset)    \
    X(device) X(run) X(model) X(embed) X(queue) X(contrast) X(index) X(search) X(classify) X(knn) X(snapshot) X(convert)
#define INIT(name)                                                        \
    static moco_status_t init_##name(void *options, uint64_t struct_size) \
    {                                                                     \
        return moco_##name##_options_init(options, struct_size);          \
    }
SIMPLE(INIT)

static moco_status_t init_probe(void *options, uint64_t struct_size)
{
    return moco_probe_options_init(options, struct_size, MOCO_PROBE_V3);
}

static moco_status_t init_finetune(void *options, uint64_t struct_size)
{
    return moco_finetune_options_init(options, struct_size, MOCO_OPTIMIZER_SGD);
}

/* First byte from `from` on that is not the guard any more; ROOM if there is none. */
static int touched(const uint8_t *bytes, uint64_t from)
{
    while (from < ROOM && bytes[from] == GUARD)
        from++;
    return (int)from;
}

static const struct {
    init_fn init;
    uint64_t size;
} structs[] = {{init_trainer, sizeof(moco_trainer_options_t)},
#define ROW(name) {init_##name, sizeof(moco_##name##_options_t)},
               SIMPLE(ROW){init_probe, sizeof(moco_probe_options_t)},
               {init_finetune, sizeof(moco_finetune_options_t)}};

/* The layout is the interface: a field that moves breaks every host in the field. */
START_TEST(layout_is_pinned)
{
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, recipe), 8);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, width), 24);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, loss), 56);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, queue_length), 96);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, batch_size), 120);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, optimizer), 144);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, epochs), 208);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, views), 248);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, mean_r), 384);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, seed), 432);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, loader_threads), 460);
    ck_assert_uint_eq(offsetof(moco_trainer_options_t, precision), 464);
    ck_assert_uint_eq(sizeof(moco_trainer_options_t), 472);
    ck_assert_uint_eq(sizeof(moco_dataset_options_t), 32);
    ck_assert_uint_eq(sizeof(moco_device_options_t), 32);
    ck_assert_uint_eq(sizeof(moco_snapshot_options_t), 16);
    ck_assert_uint_eq(sizeof(moco_queue_options_t), 32);
    ck_assert_uint_eq(sizeof(moco_index_options_t), 16);
    ck_assert_uint_eq(sizeof(moco_model_options_t), 96);
    ck_assert_uint_eq(offsetof(moco_model_options_t, encoder), 56);
    ck_assert_uint_eq(sizeof(moco_contrast_result_t), 40);
    ck_assert_uint_eq(sizeof(moco_embed_result_t), 24);
    if (sizeof(void *) == 8) { /* structs with pointers */
        ck_assert_uint_eq(offsetof(moco_run_options_t, max_steps), 32);
        ck_assert_uint_eq(offsetof(moco_run_options_t, save_minutes), 48);
        ck_assert_uint_eq(sizeof(moco_run_options_t), 72);
        ck_assert_uint_eq(offsetof(moco_embed_options_t, tap), 48);
        ck_assert_uint_eq(sizeof(moco_embed_options_t), 64);
        ck_assert_uint_eq(sizeof(moco_contrast_options_t), 24);
        ck_assert_uint_eq(sizeof(moco_search_options_t), 24);
        ck_assert_uint_eq(sizeof(moco_classify_options_t), 40);
        ck_assert_uint_eq(offsetof(moco_knn_options_t, tap), 52);
        ck_assert_uint_eq(sizeof(moco_knn_options_t), 56);
        ck_assert_uint_eq(sizeof(moco_convert_options_t), 112);
        ck_assert_uint_eq(offsetof(moco_image_t, strides), 40);
        ck_assert_uint_eq(offsetof(moco_image_t, width), 72);
        ck_assert_uint_eq(sizeof(moco_image_t), 96);
    }
    ck_assert_uint_eq(offsetof(moco_step_report_t, knn_top1), 144);
    ck_assert_uint_eq(sizeof(moco_step_report_t), 160);
    ck_assert_uint_eq(sizeof(moco_knn_result_t), 56);
    ck_assert_uint_eq(offsetof(moco_probe_options_t, base_lr), 56);
    ck_assert_uint_eq(offsetof(moco_probe_options_t, lr_factor), 200);
    ck_assert_uint_eq(offsetof(moco_probe_options_t, loader_threads), 268);
    ck_assert_uint_eq(sizeof(moco_probe_options_t), 272);
    ck_assert_uint_eq(offsetof(moco_finetune_options_t, base_lr), 48);
    ck_assert_uint_eq(offsetof(moco_finetune_options_t, label_smoothing), 152);
    ck_assert_uint_eq(offsetof(moco_finetune_options_t, loader_threads), 188);
    ck_assert_uint_eq(sizeof(moco_finetune_options_t), 192);
    ck_assert_uint_eq(offsetof(moco_classifier_report_t, phase), 64);
    ck_assert_uint_eq(sizeof(moco_classifier_report_t), 80);
    ck_assert_uint_eq(offsetof(moco_classifier_result_t, classes), 96);
    ck_assert_uint_eq(sizeof(moco_classifier_result_t), 120);
    ck_assert_uint_eq(sizeof(moco_classifier_rate_t), 56);
}
END_TEST

/* For every prefix of the struct: what the host knows is what a full host gets, what lies behind
 * stays untouched. */
START_TEST(init_writes_a_prefix)
{
    init_fn init = structs[_i].init;
    buffer_t full, part;
    expect_ok(init(&full, structs[_i].size));
    ck_assert_uint_eq(full.struct_size, structs[_i].size);
    for (uint64_t size = 8; size <= structs[_i].size; size++) {
        memset(&part, GUARD, sizeof part);
        expect_ok(init(&part, size));
        ck_assert_uint_eq(part.struct_size, size);
        ck_assert_mem_eq(part.bytes + 8, full.bytes + 8, size - 8);
        ck_assert_msg(touched(part.bytes, size) == ROOM, "byte %d behind a struct of %d was written",
                      touched(part.bytes, size), (int)size);
    }
}
END_TEST

START_TEST(init_zeroes_what_is_newer)
{
    buffer_t full, longer;
    expect_ok(structs[_i].init(&full, structs[_i].size));
    memset(&longer, GUARD, sizeof longer);
    expect_ok(structs[_i].init(&longer, structs[_i].size + 40));
    ck_assert_mem_eq(longer.bytes + 8, full.bytes + 8, structs[_i].size - 8);
    for (uint64_t i = structs[_i].size; i < structs[_i].size + 40; i++)
        ck_assert_uint_eq(longer.bytes[i], 0);
    ck_assert_uint_eq(longer.bytes[structs[_i].size + 40], GUARD);
}
END_TEST

START_TEST(init_refuses_impossible_sizes)
{
    buffer_t buffer;
    memset(&buffer, GUARD, sizeof buffer);
    const uint64_t sizes[] = {0, 1, 7, (uint64_t)1 << 40};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        expect_status(MOCO_ERR_ARGUMENT, structs[_i].init(&buffer, sizes[i]));
        ck_assert_int_eq(touched(buffer.bytes, 0), ROOM);
    }
    expect_status(MOCO_ERR_ARGUMENT, structs[_i].init(NULL, structs[_i].size));
}
END_TEST

/* An old host: its struct ends before first_epoch. Its bytes are in a block of exactly that size,
 * so that a sanitizer sees any read behind it. */
START_TEST(old_host_trains_with_defaults)
{
    const uint64_t size = offsetof(moco_trainer_options_t, first_epoch);
    void *block = malloc(size);
    moco_trainer_options_t *old = block, now;
    moco_trainer_t *trainer = NULL;
    ck_assert_ptr_nonnull(old);
    expect_ok(moco_trainer_options_init(old, size, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE));
    expect_ok(moco_trainer_options_init(&now, sizeof now, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE));
    expect_ok(moco_trainer_options_set(old, "width", "0.25"));
    expect_ok(moco_trainer_options_set(old, "arch", "resnet18"));
    expect_ok(moco_trainer_options_set(old, "queue_length", "64"));
    expect_ok(moco_trainer_options_set(old, "image_size", "16"));
    expect_ok(moco_trainer_options_set(old, "batch_size", "16"));

    uint64_t needed = 0;
    expect_ok(moco_trainer_options_json(old, NULL, 0, &needed));
    char *text = malloc(needed);
    expect_ok(moco_trainer_options_json(old, text, needed, NULL));
    ck_assert_ptr_nonnull(strstr(text, "\"batch_size\""));
    free(text);

    /* What the host does not know is the library's default, in the struct that comes back too. */
    expect_ok(moco_trainer_plan(old, NULL, NULL, 0, &needed));
    expect_ok(moco_trainer_create(old, NULL, &trainer));
    moco_trainer_options_t back;
    expect_ok(moco_trainer_options_get(trainer, &back, sizeof back));
    ck_assert_int_eq(back.batch_size, 16);
    ck_assert_int_eq(now.first_epoch, 1); /* not the zero that a missing field would look like */
    ck_assert_int_eq(back.first_epoch, now.first_epoch);
    ck_assert_int_eq(back.milestone_2, now.milestone_2);
    ck_assert_int_eq(back.views, now.views);
    ck_assert_int_eq(back.max_broken_percent, now.max_broken_percent);
    ck_assert_double_eq(back.width, 0.25);
    ck_assert_int_eq(back.queue_length, 64);
    memset(old, 0, size);
    expect_ok(moco_trainer_options_get(trainer, old, size));
    uint64_t held;
    double width;
    memcpy(&held, old, sizeof held);
    memcpy(&width, (const uint8_t *)old + offsetof(moco_trainer_options_t, width), sizeof width);
    ck_assert_uint_eq(held, size);
    ck_assert_double_eq(width, 0.25);
    moco_trainer_free(trainer);
    free(old);
}
END_TEST

/* Naming a field that its struct is too short to hold must not write behind it. */
START_TEST(set_refuses_a_field_the_host_does_not_have)
{
    const uint64_t size = offsetof(moco_trainer_options_t, dimension);
    buffer_t buffer;
    memset(&buffer, GUARD, sizeof buffer);
    expect_ok(moco_trainer_options_init(&buffer.trainer, size, MOCO_RECIPE_V2, MOCO_ARCH_RECIPE));
    moco_status_t status = moco_trainer_options_set(&buffer.trainer, "dimension", "64");
    ck_assert_int_ne(status, MOCO_OK);
    expect_message("dimension");
    ck_assert_int_eq(touched(buffer.bytes, size), ROOM);
}
END_TEST

/* A newer host: zeros behind our struct are harmless, a wish we cannot know is refused. */
START_TEST(newer_host)
{
    buffer_t buffer;
    moco_trainer_t *trainer = NULL;
    moco_device_t *device = NULL;
    uint64_t needed;
    const uint64_t longer = sizeof(moco_trainer_options_t) + 16;
    expect_ok(moco_trainer_options_init(&buffer.trainer, longer, MOCO_RECIPE_V2, MOCO_ARCH_RECIPE));
    expect_ok(moco_trainer_options_json(&buffer.trainer, NULL, 0, &needed));
    buffer.bytes[sizeof(moco_trainer_options_t) + 3] = 1;
    expect_status(MOCO_ERR_VERSION, moco_trainer_options_json(&buffer.trainer, NULL, 0, &needed));
    expect_status(MOCO_ERR_VERSION, moco_trainer_create(&buffer.trainer, NULL, &trainer));
    ck_assert_ptr_null(trainer);

    expect_ok(moco_device_options_init(&buffer.device, sizeof(moco_device_options_t) + 8));
    buffer.device.lanes = 1;
    expect_ok(moco_device_create(&buffer.device, &device));
    moco_device_free(device);
    device = NULL;
    buffer.bytes[sizeof(moco_device_options_t)] = 1;
    expect_status(MOCO_ERR_VERSION, moco_device_create(&buffer.device, &device));
    ck_assert_ptr_null(device);
}
END_TEST

/* Images lie in the host's array as far apart as the host's struct is long. */
START_TEST(images_of_another_length)
{
    struct {
        moco_image_t known;
        uint64_t wish; /* of a later release */
    } newer[2];
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    uint8_t pixels[2][16 * 16 * 3];
    float apart[2][16], together[2][16];
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    moco_trainer_free(trainer);
    memset(newer, 0, sizeof newer);
    const moco_embed_options_t how = {.struct_size = sizeof how, .tap = MOCO_TAP_PROJECTION};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 16 * 16 * 3; k++)
            pixels[i][k] = (uint8_t)(k * (7 + i));
        const moco_image_t one = {.struct_size = sizeof one, .planes = {pixels[i]}, .width = 16, .height = 16};
        newer[i].known = one;
        newer[i].known.struct_size = sizeof newer[0];
        expect_ok(moco_model_embed_pixels(model, 1, &one, &how, apart[i]));
    }
    expect_ok(moco_model_embed_pixels(model, 2, &newer[0].known, &how, together[0]));
    for (int i = 0; i < 16; i++)
        ck_assert_double_eq_tol(together[1][i], apart[1][i], 1e-5);
    newer[1].wish = 1;
    expect_status(MOCO_ERR_VERSION, moco_model_embed_pixels(model, 2, &newer[0].known, &how, together[0]));
    newer[1].wish = 0;
    newer[1].known.struct_size = sizeof(moco_image_t);
    expect_status(MOCO_ERR_ARGUMENT, moco_model_embed_pixels(model, 2, &newer[0].known, &how, together[0]));
    expect_message("struct_size");
    newer[0].known.struct_size = 0;
    expect_status(MOCO_ERR_ARGUMENT, moco_model_embed_pixels(model, 1, &newer[0].known, &how, together[0]));
    expect_message("struct_size");
    moco_model_free(model);
}
END_TEST

/* A report is filled as far as the caller's struct goes. */
START_TEST(short_report)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    union {
        moco_step_report_t report;
        uint8_t bytes[ROOM];
    } out;
    tiny_options(&options);
    float *views = calloc(8 * 3 * 16 * 16, sizeof *views);
    for (int i = 0; i < 8 * 3 * 16 * 16; i++)
        views[i] = (float)((i * 37) % 101) / 50.f - 1.f;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
    memset(&out, GUARD, sizeof out);
    const uint64_t size = offsetof(moco_step_report_t, lr);
    out.report.struct_size = size;
    expect_ok(moco_trainer_step(trainer, NULL, &out.report));
    ck_assert_int_eq(out.report.step, 1);
    ck_assert(out.report.loss > 0);
    ck_assert_uint_eq(out.report.struct_size, size);
    ck_assert_msg(touched(out.bytes, size) == ROOM, "byte %d behind a report of %d was written",
                  touched(out.bytes, size), (int)size);

    /* An impossible size is refused before anything happens: the step is not taken. */
    expect_ok(moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
    out.report.struct_size = 0;
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_step(trainer, NULL, &out.report));
    out.report.struct_size = size;
    expect_ok(moco_trainer_step(trainer, NULL, &out.report));
    ck_assert_int_eq(out.report.step, 2);

    /* A newer host's longer report: what this library does not know is zero. */
    expect_ok(moco_trainer_push_views(trainer, 8, views, views, MOCO_LAYOUT_NCHW));
    memset(&out, GUARD, sizeof out);
    out.report.struct_size = sizeof out.report + 16;
    expect_ok(moco_trainer_step(trainer, NULL, &out.report));
    ck_assert_uint_eq(out.report.struct_size, sizeof out.report + 16);
    for (uint64_t i = sizeof out.report; i < sizeof out.report + 16; i++)
        ck_assert_uint_eq(out.bytes[i], 0);
    ck_assert_int_eq(touched(out.bytes, sizeof out.report + 16), ROOM);
    free(views);
    moco_trainer_free(trainer);
}
END_TEST

int main(void)
{
    const int count = (int)(sizeof structs / sizeof *structs);
    Suite *suite = suite_create("options of other releases");
    TCase *init = tcase_create("init"), *host = tcase_create("host");
    tcase_add_test(init, layout_is_pinned);
    tcase_add_loop_test(init, init_writes_a_prefix, 0, count);
    tcase_add_loop_test(init, init_zeroes_what_is_newer, 0, count);
    tcase_add_loop_test(init, init_refuses_impossible_sizes, 0, count);
    tcase_set_timeout(init, 120);
    tcase_set_timeout(host, 120);
    tcase_add_test(host, old_host_trains_with_defaults);
    tcase_add_test(host, set_refuses_a_field_the_host_does_not_have);
    tcase_add_test(host, newer_host);
    tcase_add_test(host, images_of_another_length);
    tcase_add_test(host, short_report);
    suite_add_tcase(suite, init);
    suite_add_tcase(suite, host);
    return run_suite(suite);
}
