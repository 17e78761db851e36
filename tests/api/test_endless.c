/* Inputs without an end, and those that nobody writes: a device of zeros, a FIFO. Every path that a
 * call is given is refused or taken for a broken image, and none is waited for. */
#include "draw.h"
#include "call_options.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static scratch_t scratch;
static char fifo[512];
static const char *endless[] = {"/dev/zero", fifo};
static moco_device_t *device;
static moco_trainer_t *trainer;
static moco_model_t *model;
static moco_dataset_t *images;

static void setup(void)
{
    moco_trainer_options_t options;
    scratch = scratch_make();
    snprintf(fifo, sizeof fifo, "%s", in_scratch(&scratch, "fifo"));
    ck_assert_int_eq(mkfifo(fifo, 0666), 0);
    draw_tree(in_scratch(&scratch, "set"), 16, 2, 24);
    images = dataset_of(in_scratch(&scratch, "set"));
    device = device_of(1);
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, device, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, device, &model));
}

static void teardown(void)
{
    moco_model_free(model);
    moco_trainer_free(trainer);
    moco_device_free(device);
    moco_dataset_free(images);
    scratch_drop(&scratch);
}

START_TEST(inputs)
{
    const char *path = endless[_i];
    moco_dataset_t *dataset = NULL;
    moco_model_t *loaded = NULL;
    moco_trainer_t *gone_on = NULL;
    moco_classifier_t *classifier = NULL;
    moco_index_t *index = NULL;
    moco_trainer_options_t options;
    expect_status(MOCO_ERR_IO, moco_dataset_open(path, NULL, &dataset));
    expect_status(MOCO_ERR_IO, moco_model_load(path, NULL, device, &loaded));
    expect_status(MOCO_ERR_IO, moco_classifier_load(path, NULL, device, &classifier));
    expect_status(MOCO_ERR_IO, moco_trainer_load(path, NULL, device, &gone_on));
    expect_status(MOCO_ERR_IO, moco_trainer_options_load(path, &options, sizeof options));
    expect_status(MOCO_ERR_IO, moco_index_load_npy(path, NULL, device, &index));
    expect_status(MOCO_ERR_IO, moco_file_info(path, NULL, 0, NULL));
    expect_status(MOCO_ERR_IO, moco_convert(path, in_scratch(&scratch, "out"), NULL, NULL, 0, NULL));
}
END_TEST

START_TEST(outputs)
{
    const char *path = endless[_i];
    moco_index_t *index = NULL;
    const float row[4] = {1, 0, 0, 0};
    expect_ok(moco_index_create(4, NULL, device, &index));
    expect_ok(moco_index_add(index, 1, row, NULL));
    expect_status(MOCO_ERR_IO, moco_model_save(model, path));
    expect_status(MOCO_ERR_IO, moco_trainer_save(trainer, path));
    expect_status(MOCO_ERR_IO, moco_index_save_npy(index, path));
    expect_status(MOCO_ERR_IO, moco_model_embed_to_npy(model, images, path, NULL, NULL));
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, images, NULL, path, RUN(.max_steps = 1)));
    const char *saved = in_scratch(&scratch, "model.safetensors");
    expect_ok(moco_model_save(model, saved));
    expect_status(MOCO_ERR_IO, moco_convert(saved, path, NULL, NULL, 0, NULL));
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert(!S_ISREG(info.st_mode)); /* it was not replaced either */
    moco_index_free(index);
}
END_TEST

/* A picture of a listing that is none: the call goes on without it. */
START_TEST(images_of_a_data_set)
{
    uint8_t pixels[8 * 8 * 3];
    moco_dataset_t *listed = NULL;
    moco_embed_result_t result = {.struct_size = sizeof result};
    char list[512], link[512];
    snprintf(link, sizeof link, "%s", in_scratch(&scratch, "set/endless.jpg"));
    ck_assert_int_eq(symlink(endless[_i], link), 0);
    snprintf(list, sizeof list, "%s", in_scratch(&scratch, "list.txt"));
    FILE *file = fopen(list, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s\nset/endless.jpg\n%s/set/class0/none.jpg\n", endless[_i], scratch.path);
    fclose(file);
    expect_ok(moco_dataset_open(list, NULL, &listed));
    for (int64_t i = 0; i < moco_dataset_count(listed); i++)
        expect_status(MOCO_ERR_IMAGE, moco_dataset_pixels(listed, i, 8, 8, pixels));
    moco_dataset_free(listed);
    moco_dataset_t *folder = dataset_of(in_scratch(&scratch, "set"));
    expect_ok(moco_model_embed_to_npy(model, folder, in_scratch(&scratch, "rows.npy"), NULL, &result));
    ck_assert_int_eq(result.rows, 16);
    moco_dataset_free(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("endless");
    TCase *tc = tcase_create("endless");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, inputs, 0, 2);
    tcase_add_loop_test(tc, outputs, 0, 2);
    tcase_add_loop_test(tc, images_of_a_data_set, 0, 2);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
