/* JSON is made by a library that takes memory of its own: here its n-th request fails, for each n,
 * in calls that describe an object and in calls that write files with a description. Each gives
 * MOCO_ERR_MEMORY, no file, and no text with a hole in it, or what it always gives. Under the
 * address sanitizer this also shows that nothing is lost or freed twice. */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "unit/data_fixtures.h"
#include "fault/trainer_fixtures.h"

#include <moco/moco.h>

enum { MOST_TEXT = 65536 };

static long until; /* requests that are granted before one is not; below 0: none fails */

static void *take(size_t size)
{
    return until-- == 0 ? NULL : malloc(size);
}

typedef struct objects {
    char folder[64], model_path[128], training_path[128], image_path[128];
    moco_device_t *device;
    moco_dataset_t *dataset;
    moco_trainer_t *trainer;
    moco_model_t *model, *vit;
    moco_trainer_options_t options;
    char text[MOST_TEXT];
} objects_t;

static objects_t o;

static void set_up(void)
{
    o = (objects_t){.device = tiny_device(1), .options = tiny_options(4, 2)};
    fixture_folder(o.folder);
    snprintf(o.model_path, sizeof o.model_path, "%s/model", o.folder);
    snprintf(o.training_path, sizeof o.training_path, "%s/training", o.folder);
    snprintf(o.image_path, sizeof o.image_path, "%s/images", o.folder);
    fixture_t jpeg = fixture_jpeg(TINY_SIZE, TINY_SIZE, 3, 0, 1);
    fixture_write(o.folder, "images/a/1.jpg", jpeg.bytes, jpeg.size);
    fixture_write(o.folder, "images/b/2.jpg", jpeg.bytes, 30);
    fixture_write(o.folder, "images/b/3.png", jpeg.bytes, jpeg.size);
    free(jpeg.bytes);
    OK(moco_dataset_open(o.image_path, NULL, &o.dataset));
    OK(moco_trainer_create(&o.options, o.device, &o.trainer));
    OK(moco_trainer_snapshot(o.trainer, NULL, NULL, &o.model));
    OK(moco_model_save(o.model, o.model_path));
    const moco_trainer_options_t of_vit = tiny_method_options(TINY_V3_VIT, 4);
    moco_trainer_t *trainer = NULL;
    OK(moco_trainer_create(&of_vit, o.device, &trainer));
    OK(moco_trainer_snapshot(trainer, NULL, NULL, &o.vit));
    moco_trainer_free(trainer);
    OK(moco_trainer_save(o.trainer, o.training_path));
}

static void tear_down(void)
{
    moco_dataset_free(o.dataset);
    moco_model_free(o.model);
    moco_model_free(o.vit);
    moco_trainer_free(o.trainer);
    moco_device_free(o.device);
    fixture_remove(o.folder);
}

static moco_status_t build_info(void)
{
    return moco_build_info(o.text, MOST_TEXT, NULL);
}

static moco_status_t device_info(void)
{
    return moco_device_info(o.device, o.text, MOST_TEXT, NULL);
}

static moco_status_t dataset_info(void)
{
    return moco_dataset_info(o.dataset, o.text, MOST_TEXT, NULL);
}

static moco_status_t model_info(void)
{
    return moco_model_info(o.model, o.text, MOST_TEXT, NULL);
}

static moco_status_t vit_info(void)
{
    return moco_model_info(o.vit, o.text, MOST_TEXT, NULL);
}

static moco_status_t model_file_info(void)
{
    return moco_model_file_info(o.model_path, NULL, o.text, MOST_TEXT, NULL);
}

static moco_status_t file_info(void)
{
    return moco_file_info(o.model_path, o.text, MOST_TEXT, NULL);
}

static moco_status_t trainer_state(void)
{
    return moco_trainer_state(o.trainer, o.text, MOST_TEXT, NULL);
}

static moco_status_t trainer_plan(void)
{
    return moco_trainer_plan(&o.options, o.device, o.text, MOST_TEXT, NULL);
}

static moco_status_t options_json(void)
{
    return moco_trainer_options_json(&o.options, o.text, MOST_TEXT, NULL);
}

/* A file that is written is the one that was wanted, or none. */
static moco_status_t compared(moco_status_t status, const char *path, const char *wanted)
{
    static uint8_t bytes[2][1 << 21];
    size_t sizes[2] = {0};
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(i == 0 ? path : wanted, "rb");
        if (file == NULL)
            continue;
        sizes[i] = fread(bytes[i], 1, sizeof bytes[i], file);
        fclose(file);
    }
    ck_assert(sizes[1] > 0 && sizes[1] < sizeof bytes[1]);
    ck_assert_uint_eq(sizes[0], status == MOCO_OK ? sizes[1] : 0);
    ck_assert(sizes[0] == 0 || memcmp(bytes[0], bytes[1], sizes[0]) == 0);
    unlink(path);
    return status;
}

static moco_status_t model_save(void)
{
    char target[160];
    snprintf(target, sizeof target, "%s-again", o.model_path);
    return compared(moco_model_save(o.model, target), target, o.model_path);
}

static moco_status_t trainer_save(void)
{
    char target[160];
    snprintf(target, sizeof target, "%s-again", o.training_path);
    return compared(moco_trainer_save(o.trainer, target), target, o.training_path);
}

static moco_status_t embed(void)
{
    static const char *const endings[] = {"npy", "names.txt", "skipped.txt", "embed.json"};
    char target[160];
    snprintf(target, sizeof target, "%s/rows.npy", o.folder);
    const moco_status_t status = moco_model_embed_to_npy(o.model, o.dataset, target, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        snprintf(target, sizeof target, "%s/rows.%s", o.folder, endings[i]);
        ck_assert_int_eq(unlink(target) == 0, status == MOCO_OK);
    }
    return status;
}

static const struct {
    const char *name;
    moco_status_t (*call)(void);
} calls[] = {
    {"build_info", build_info},        {"device_info", device_info},     {"dataset_info", dataset_info},
    {"model_info", model_info},        {"trainer_state", trainer_state}, {"trainer_plan", trainer_plan},
    {"options_json", options_json},    {"model_save", model_save},       {"trainer_save", trainer_save},
    {"model_info of a ViT", vit_info}, {"embed_to_npy", embed},          {"model_file_info", model_file_info},
    {"file_info", file_info},
};
enum { CALLS = sizeof calls / sizeof calls[0] };

START_TEST(each_request_fails)
{
    static char wanted[MOST_TEXT];
    long n = 0;
    until = -1;
    o.text[0] = '\0';
    ck_assert_msg(calls[_i].call() == MOCO_OK, "%s: %s", calls[_i].name, moco_last_message());
    strcpy(wanted, o.text);
    json_set_alloc_funcs(take, free);
    for (moco_status_t status = MOCO_ERR_MEMORY; status != MOCO_OK; n++) {
        ck_assert_int_lt(n, 100000);
        o.text[0] = '\0';
        until = n;
        status = calls[_i].call();
        const int failed = until < 0;
        until = -1;
        if (!failed)
            ck_assert_int_eq(status, MOCO_OK);
        if (status == MOCO_OK) {
            ck_assert_str_eq(o.text, wanted);
            if (failed) /* a request that nothing hung on */
                status = MOCO_ERR_MEMORY;
        } else {
            ck_assert_msg(status == MOCO_ERR_MEMORY, "%s, request %ld: status %d (%s)", calls[_i].name, n, status,
                          moco_last_message());
        }
    }
    json_set_alloc_funcs(malloc, free);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json faults");
    TCase *tcase = tcase_create("json faults");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, each_request_fails, 0, CALLS);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
