/* What calls say and give beside their main work: reasons of images that could not be used, models
 * in memory, snapshots of either encoder, options of a checkpoint, names of recipes, and outputs
 * that would replace an input. */
#include "draw.h"
#include "call_options.h"

#include <pthread.h>

enum { IMAGES = 9, D = 16 };

static scratch_t scratch;
static moco_dataset_t *dataset;
static moco_trainer_t *trainer;
static moco_model_t *model;

static void set_up(void)
{
    moco_trainer_options_t options;
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 3, 28);
    break_picture(in_scratch(&scratch, "images"), 4, 3);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_steps(trainer, dataset, 2, NULL, NULL));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
}

static void tear_down(void)
{
    moco_model_free(model);
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}

/* ---- reasons ---- */

typedef struct told {
    int64_t index[IMAGES];
    int32_t status[IMAGES];
    char reason[IMAGES][256];
    int count;
    pthread_t thread;
} told_t;

static void failed(void *user, int64_t index, int32_t status, const char *reason)
{
    told_t *told = user;
    ck_assert(pthread_equal(pthread_self(), told->thread));
    told->index[told->count] = index;
    told->status[told->count] = status;
    snprintf(told->reason[told->count++], sizeof told->reason[0], "%s", reason);
}

START_TEST(reasons_of_images_in_memory)
{
    picture_t jpeg = draw_jpeg(28, 28, 3, 1);
    const uint8_t *data[4] = {jpeg.bytes, (const uint8_t *)"no image", NULL, jpeg.bytes};
    const uint64_t sizes[4] = {jpeg.size, 8, 8, jpeg.size};
    told_t told = {.thread = pthread_self()};
    moco_status_t statuses[4] = {-1, -1, -1, -1};
    float rows[4 * D];
    expect_status(MOCO_ERR_IMAGE, moco_model_embed_encoded(model, 2, data, sizes, EMBED(.tap = 1), rows));
    expect_message("data[1]");
    expect_ok(moco_model_embed_encoded(model, 4, data, sizes, EMBED(.tap = 1, .failed = failed, .user = &told), rows));
    ck_assert_int_eq(told.count, 2);
    ck_assert(told.index[0] == 1 && told.index[1] == 2);
    ck_assert(told.status[0] == MOCO_ERR_IMAGE && told.status[1] == MOCO_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(told.reason[0], "a text that begins 'no image'"));
    ck_assert_ptr_null(strstr(told.reason[0], "data[")); /* its number is told beside it */
    ck_assert_ptr_nonnull(strstr(told.reason[1], "data[2] is NULL"));
    ck_assert(rows[D] == 0 && rows[2 * D] == 0 && rows[0] != 0);
    ck_assert_mem_eq(rows, rows + 3 * D, D * sizeof *rows);
    told.count = 0;
    expect_ok(moco_model_embed_encoded(model, 4, data, sizes,
                                       EMBED(.tap = 1, .failed = failed, .user = &told, .statuses = statuses), rows));
    ck_assert_int_eq(told.count, 2);
    ck_assert(statuses[0] == MOCO_OK && statuses[1] == MOCO_ERR_IMAGE && statuses[2] == MOCO_ERR_ARGUMENT &&
              statuses[3] == MOCO_OK);
    free(jpeg.bytes);
}
END_TEST

static int32_t count_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    (void)indices, (void)rows;
    *(int64_t *)user += count;
    return 0;
}

START_TEST(reasons_in_a_data_set)
{
    moco_dataset_t *fresh = dataset_of(in_scratch(&scratch, "images"));
    told_t told = {.thread = pthread_self()};
    int64_t rows = 0;
    ck_assert_int_eq(moco_dataset_broken_count(fresh), 0);
    expect_ok(moco_model_embed_dataset(model, fresh, EMBED(.failed = failed, .user = &told), count_rows, &rows));
    ck_assert_int_eq(rows, IMAGES - 1);
    ck_assert_int_eq(told.count, 1);
    ck_assert_int_eq(moco_dataset_broken_count(fresh), 1);
    const char *reason = moco_dataset_broken_reason(fresh, told.index[0]);
    ck_assert_ptr_nonnull(reason);
    ck_assert_str_eq(reason, told.reason[0]);
    for (int64_t i = 0; i < IMAGES; i++)
        ck_assert_int_eq(moco_dataset_broken_reason(fresh, i) != NULL, i == told.index[0]);
    ck_assert_ptr_null(moco_dataset_broken_reason(fresh, -1));
    ck_assert_ptr_null(moco_dataset_broken_reason(fresh, IMAGES));
    ck_assert_ptr_null(moco_dataset_broken_reason(NULL, 0));
    ck_assert_int_eq(moco_dataset_broken_count(NULL), 0);
    moco_dataset_free(fresh);
}
END_TEST

/* All or nothing: the image that is no image is named, and none is taken. */
START_TEST(pushing_files)
{
    picture_t jpeg = draw_jpeg(28, 28, 3, 1);
    const uint8_t *data[3] = {jpeg.bytes, (const uint8_t *)"no image", jpeg.bytes};
    const uint64_t sizes[3] = {jpeg.size, 8, jpeg.size};
    expect_status(MOCO_ERR_IMAGE, moco_trainer_push_encoded(trainer, 3, data, sizes));
    expect_message("data[1]");
    ck_assert_int_eq(moco_trainer_discard(trainer), 0);
    data[1] = jpeg.bytes;
    const uint64_t good[3] = {jpeg.size, jpeg.size, jpeg.size};
    expect_ok(moco_trainer_push_encoded(trainer, 3, data, good));
    ck_assert_int_eq(moco_trainer_discard(trainer), 3);
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_push_encoded(trainer, 0, data, good));
    free(jpeg.bytes);
}
END_TEST

/* ---- models ---- */

static void row_of(moco_model_t *m, int32_t tap, float *row)
{
    uint8_t *pixels = draw_pixels(28, 28, 3, 2);
    const moco_image_t image = {.struct_size = sizeof image, .planes = {pixels}, .width = 28, .height = 28};
    expect_ok(moco_model_embed_pixels(m, 1, &image, EMBED(.tap = tap), row));
    free(pixels);
}

START_TEST(models_in_memory)
{
    uint64_t needed = 0;
    size_t size = 0;
    moco_model_t *again = NULL;
    float rows[2][D];
    const char *path = in_scratch(&scratch, "model");
    expect_ok(moco_model_save(model, path));
    uint8_t *file = read_file(path, &size);
    expect_ok(moco_model_save_memory(model, NULL, 0, &needed));
    ck_assert_uint_eq(needed, size);
    uint8_t *bytes = malloc(needed);
    expect_status(MOCO_ERR_ARGUMENT, moco_model_save_memory(model, bytes, needed - 1, &needed));
    expect_status(MOCO_ERR_ARGUMENT, moco_model_save_memory(model, NULL, needed, &needed));
    expect_status(MOCO_ERR_ARGUMENT, moco_model_save_memory(NULL, bytes, needed, &needed));
    expect_ok(moco_model_save_memory(model, bytes, needed, NULL));
    ck_assert_mem_eq(bytes, file, size);
    expect_ok(moco_model_load_memory(bytes, size, NULL, NULL, &again));
    memset(bytes, 0, size); /* not needed any more */
    row_of(model, MOCO_TAP_PROJECTION, rows[0]);
    row_of(again, MOCO_TAP_PROJECTION, rows[1]);
    ck_assert_mem_eq(rows[0], rows[1], sizeof rows[0]);
    moco_model_free(again);
    again = NULL;
    expect_status(MOCO_ERR_FORMAT, moco_model_load_memory(bytes, size, NULL, NULL, &again));
    expect_status(MOCO_ERR_FORMAT, moco_model_load_memory(file, size / 2, NULL, NULL, &again));
    expect_status(MOCO_ERR_ARGUMENT, moco_model_load_memory(NULL, size, NULL, NULL, &again));
    expect_status(MOCO_ERR_ARGUMENT, moco_model_load_memory(file, size, NULL, NULL, NULL));
    ck_assert_ptr_null(again);
    free(bytes);
    free(file);
}
END_TEST

START_TEST(options_of_loading)
{
    moco_model_options_t o;
    moco_model_t *loaded = NULL;
    float rows[4][128];
    const char *path = in_scratch(&scratch, "checkpoint");
    expect_ok(moco_trainer_save(trainer, path));
#define REFUSED(field, value)                                                       \
    do {                                                                            \
        expect_ok(moco_model_options_init(&o, sizeof o));                           \
        o.field = value;                                                            \
        expect_status(MOCO_ERR_ARGUMENT, moco_model_load(path, &o, NULL, &loaded)); \
        expect_message(#field);                                                     \
    } while (0)
    REFUSED(encoder, 2);
    REFUSED(drop_head, -1);
    REFUSED(image_size, 15);
    REFUSED(eval_resize, 4097);
    REFUSED(vit_heads, -1);
    REFUSED(precision, 3);
#undef REFUSED
    expect_ok(moco_model_options_init(&o, sizeof o));
    o.drop_head = 1;
    o.image_size = 32;
    expect_ok(moco_model_load(path, &o, NULL, &loaded));
    ck_assert_int_eq(moco_model_dimension(loaded, MOCO_TAP_PROJECTION), 0);
    ck_assert_int_eq(moco_model_image_size(loaded), 32);
    moco_model_free(loaded);

    /* Either encoder, from the trainer and from its checkpoint. */
    for (int32_t encoder = 0; encoder < 2; encoder++) {
        moco_snapshot_options_t s;
        expect_ok(moco_snapshot_options_init(&s, sizeof s));
        s.encoder = encoder;
        s.drop_head = encoder;
        expect_ok(moco_trainer_snapshot(trainer, &s, NULL, &loaded));
        ck_assert_int_eq(moco_model_dimension(loaded, MOCO_TAP_PROJECTION), encoder ? 0 : D);
        row_of(loaded, MOCO_TAP_BACKBONE, rows[encoder]);
        moco_model_free(loaded);
        expect_ok(moco_model_options_init(&o, sizeof o));
        o.encoder = encoder;
        expect_ok(moco_model_load(path, &o, NULL, &loaded));
        row_of(loaded, MOCO_TAP_BACKBONE, rows[2 + encoder]);
        moco_model_free(loaded);
    }
    ck_assert_mem_eq(rows[0], rows[2], sizeof rows[0]);
    ck_assert_mem_eq(rows[1], rows[3], sizeof rows[0]);
    ck_assert_mem_ne(rows[0], rows[1], sizeof rows[0]);
}
END_TEST

START_TEST(no_key_encoder)
{
    moco_trainer_options_t options;
    moco_trainer_t *simclr = NULL;
    moco_model_t *none = NULL;
    moco_snapshot_options_t s = {.struct_size = sizeof s, .encoder = MOCO_ENCODER_KEY};
    expect_ok(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_SIMCLR, MOCO_ARCH_RESNET18));
    options.width = 0.125;
    options.image_size = 32;
    options.batch_size = 4;
    options.bn_groups = 1;
    options.dimension = 16;
    options.head_width = 16;
    expect_ok(moco_trainer_create(&options, NULL, &simclr));
    expect_status(MOCO_ERR_MISMATCH, moco_trainer_snapshot(simclr, &s, NULL, &none));
    s.encoder = 2;
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_snapshot(simclr, &s, NULL, &none));
    ck_assert_ptr_null(none);
    moco_trainer_free(simclr);
}
END_TEST

/* ---- without building a trainer ---- */

START_TEST(numbers_names_and_saved_options)
{
    moco_trainer_options_t saved, wanted;
    const char *path = in_scratch(&scratch, "checkpoint");
    ck_assert_int_eq(moco_trainer_step_number(trainer), 2);
    ck_assert_int_eq(moco_trainer_step_number(NULL), -1);
    expect_ok(moco_trainer_save(trainer, path));
    expect_ok(moco_trainer_options_load(path, &saved, sizeof saved));
    expect_ok(moco_trainer_options_get(trainer, &wanted, sizeof wanted));
    ck_assert_mem_eq(&saved, &wanted, sizeof saved);
    wanted = saved;
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_load(NULL, &saved, sizeof saved));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_load(path, NULL, sizeof saved));
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_load(path, &saved, 3));
    expect_status(MOCO_ERR_IO, moco_trainer_options_load("/nowhere/at/all", &saved, sizeof saved));
    expect_ok(moco_model_save(model, in_scratch(&scratch, "model")));
    expect_status(MOCO_ERR_FORMAT, moco_trainer_options_load(in_scratch(&scratch, "model"), &saved, sizeof saved));
    ck_assert_mem_eq(&saved, &wanted, sizeof saved);

    ck_assert(moco_recipe_count() > MOCO_RECIPE_V3_VIT);
    for (int32_t i = 0; i < moco_recipe_count(); i++) {
        ck_assert_ptr_nonnull(moco_recipe_name(i));
        ck_assert_int_eq(moco_recipe_number(moco_recipe_name(i)), i);
    }
    ck_assert_ptr_null(moco_recipe_name(-1));
    ck_assert_ptr_null(moco_recipe_name(moco_recipe_count()));
}
END_TEST

/* MoCo v3 has other values for ViTs, whoever asks. */
static int warnings;

static void count_warning(void *user, int32_t level, const char *line)
{
    (void)user;
    warnings += level == MOCO_LOG_WARNING && strstr(line, "moco-v3-vit") != NULL;
}

START_TEST(a_recipe_for_an_architecture)
{
    moco_trainer_options_t a, b;
    moco_trainer_t *made = NULL;
    for (int32_t arch = MOCO_ARCH_VIT_SMALL; arch <= MOCO_ARCH_VIT_CONV_BASE; arch++) {
        expect_ok(moco_trainer_options_init(&a, sizeof a, MOCO_RECIPE_V3, arch));
        expect_ok(moco_trainer_options_init(&b, sizeof b, MOCO_RECIPE_V3_VIT, arch));
        ck_assert_mem_eq(&a, &b, sizeof a);
        ck_assert_int_eq(a.recipe, MOCO_RECIPE_V3_VIT);
        ck_assert_int_eq(a.arch, arch);
    }
    expect_ok(moco_trainer_options_init(&a, sizeof a, MOCO_RECIPE_V3, MOCO_ARCH_RESNET18));
    ck_assert(a.recipe == MOCO_RECIPE_V3 && a.arch == MOCO_ARCH_RESNET18 && a.optimizer == MOCO_OPTIMIZER_LARS);
    b = a;
    const int32_t unknown[] = {-2, MOCO_ARCH_VIT_CONV_BASE + 1, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_init(&a, sizeof a, MOCO_RECIPE_V2, unknown[i]));
        expect_message("arch");
    }
    ck_assert_mem_eq(&a, &b, sizeof a);

    /* A ViT laid over the ResNets' values: made as asked for, and told of once. */
    expect_ok(moco_trainer_options_set(&a, "arch", "vit_small"));
    a.width = 0.125;
    a.image_size = 32;
    a.patch_size = 8;
    a.vit_depth = 1;
    a.vit_heads = 4;
    a.batch_size = 4;
    a.bn_groups = 1;
    a.head_width = a.dimension = 16;
    moco_set_log(count_warning, NULL, MOCO_LOG_WARNING);
    expect_ok(moco_trainer_create(&a, NULL, &made));
    moco_trainer_free(made);
    ck_assert_int_eq(warnings, 1);
    a.recipe = MOCO_RECIPE_V3_VIT;
    expect_ok(moco_trainer_create(&a, NULL, &made));
    moco_trainer_free(made);
    ck_assert_int_eq(warnings, 1);
    moco_set_log(NULL, NULL, 0);
}
END_TEST

/* ---- what would be replaced ---- */

START_TEST(another_run)
{
    const char *run = in_scratch(&scratch, "run");
    moco_trainer_options_t options;
    moco_trainer_t *other = NULL;
    moco_run_options_t how = *RUN(.max_steps = 3);
    size_t size[2];
    mkdir(run, 0777);
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, &how));
    uint8_t *before = read_file(in_scratch(&scratch, "run/checkpoint.safetensors"), &size[0]);
    expect_ok(moco_trainer_options_get(trainer, &options, sizeof options));
    options.seed = 99;
    expect_ok(moco_trainer_create(&options, NULL, &other));
    expect_status(MOCO_ERR_EXISTS, moco_trainer_run(other, dataset, NULL, run, &how));
    expect_message("checkpoint.safetensors");
    uint8_t *after = read_file(in_scratch(&scratch, "run/checkpoint.safetensors"), &size[1]);
    ck_assert(size[0] == size[1] && memcmp(before, after, size[0]) == 0);
    ck_assert_int_eq(moco_trainer_step_number(other), 0);
    how.overwrite = 2;
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_run(other, dataset, NULL, run, &how));
    how.overwrite = 1;
    expect_ok(moco_trainer_run(other, dataset, NULL, run, &how));
    free(before);
    free(after);
    moco_trainer_free(other);
}
END_TEST

START_TEST(the_list_itself)
{
    moco_dataset_t *listed = NULL;
    char list[4096] = "";
    size_t size;
    for (int64_t i = 0; i < moco_dataset_count(dataset); i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "images/%s\n", moco_dataset_name(dataset, i));
    write_file(scratch.path, "photos.txt", (const uint8_t *)list, strlen(list));
    expect_ok(moco_dataset_open(in_scratch(&scratch, "photos.txt"), NULL, &listed));
    expect_status(MOCO_ERR_EXISTS,
                  moco_model_embed_to_npy(model, listed, in_scratch(&scratch, "photos.txt"), NULL, NULL));
    expect_message("photos.txt");
    expect_ok(moco_model_embed_to_npy(model, listed, in_scratch(&scratch, "photos.npy"), NULL, NULL));
    uint8_t *kept = read_file(in_scratch(&scratch, "photos.txt"), &size);
    ck_assert(size == strlen(list) && memcmp(kept, list, size) == 0);
    free(kept);
    moco_dataset_free(listed);
}
END_TEST

/* ---- the text rule beside work ---- */

START_TEST(a_report_that_does_not_fit)
{
    const char *in = in_scratch(&scratch, "model"), *out = in_scratch(&scratch, "converted");
    uint64_t needed = 0, again = 0;
    char text[65536];
    expect_ok(moco_model_save(model, in));
    expect_status(MOCO_ERR_ARGUMENT, moco_convert(in, out, NULL, text, 10, &needed));
    ck_assert(needed > 10 && !file_exists(out));
    expect_ok(moco_convert(in, out, NULL, text, needed, &again));
    ck_assert_uint_eq(again, needed);
    ck_assert_uint_eq(strlen(text) + 1, needed);
    ck_assert(file_exists(out));
    remove(out);
    expect_ok(moco_convert(in, out, NULL, NULL, 0, &again));
    ck_assert(again == needed && file_exists(out));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calls");
    TCase *tcase = tcase_create("calls");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, reasons_of_images_in_memory);
    tcase_add_test(tcase, reasons_in_a_data_set);
    tcase_add_test(tcase, pushing_files);
    tcase_add_test(tcase, models_in_memory);
    tcase_add_test(tcase, options_of_loading);
    tcase_add_test(tcase, no_key_encoder);
    tcase_add_test(tcase, numbers_names_and_saved_options);
    tcase_add_test(tcase, a_recipe_for_an_architecture);
    tcase_add_test(tcase, another_run);
    tcase_add_test(tcase, the_list_itself);
    tcase_add_test(tcase, a_report_that_does_not_fit);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
