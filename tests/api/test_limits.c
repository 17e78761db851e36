/* A host with little: threads with small stacks, and few descriptors. Calls give right results, or
 * a status with a reason, and go on when there is more again; nothing crashes or is left open. */
#include "draw.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>

enum { IMAGES = 12, STACK = 64 * 1024 };

static scratch_t scratch;
static char data[256], checkpoint[256], saved[256], rows[256], converted[256];

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 3, 28);
    snprintf(data, sizeof data, "%s", in_scratch(&scratch, "images"));
    snprintf(checkpoint, sizeof checkpoint, "%s", in_scratch(&scratch, "checkpoint.safetensors"));
    snprintf(saved, sizeof saved, "%s", in_scratch(&scratch, "model.safetensors"));
    snprintf(rows, sizeof rows, "%s", in_scratch(&scratch, "rows.npy"));
    snprintf(converted, sizeof converted, "%s", in_scratch(&scratch, "converted.safetensors"));
}

static void tear_down(void)
{
    scratch_drop(&scratch);
}

/* ---- one of everything ---- */

typedef struct objects {
    moco_device_t *device;
    moco_dataset_t *dataset;
    moco_trainer_t *trainer, *again;
    moco_model_t *model, *loaded;
    moco_index_t *index;
    moco_classifier_t *classifier;
} objects_t;

static void close_all(objects_t *o)
{
    moco_classifier_free(o->classifier);
    moco_index_free(o->index);
    moco_model_free(o->loaded);
    moco_model_free(o->model);
    moco_trainer_free(o->again);
    moco_trainer_free(o->trainer);
    moco_dataset_free(o->dataset);
    moco_device_free(o->device);
}

#define GO(call)                          \
    do {                                  \
        if ((status = (call)) != MOCO_OK) \
            return status;                \
    } while (0)

static moco_status_t train(objects_t *o)
{
    moco_status_t status;
    moco_device_options_t lanes;
    moco_trainer_options_t options;
    uint8_t views[2 * 16 * 16 * 3];
    tiny_options(&options);
    GO(moco_device_options_init(&lanes, sizeof lanes));
    lanes.lanes = 2;
    GO(moco_device_create(&lanes, &o->device));
    GO(moco_dataset_open(data, NULL, &o->dataset));
    GO(moco_dataset_views(o->dataset, &options, 0, 0, views));
    GO(moco_trainer_create(&options, o->device, &o->trainer));
    GO(moco_trainer_steps(o->trainer, o->dataset, 2, NULL, NULL));
    GO(moco_trainer_save(o->trainer, checkpoint));
    GO(moco_trainer_load(checkpoint, NULL, o->device, &o->again));
    return moco_trainer_steps(o->again, o->dataset, 1, NULL, NULL);
}

static moco_status_t use(objects_t *o)
{
    moco_status_t status;
    moco_embed_result_t result = {.struct_size = sizeof result};
    moco_knn_result_t knn = {.struct_size = sizeof knn};
    moco_knn_options_t neighbours;
    moco_probe_options_t probe;
    GO(moco_trainer_snapshot(o->trainer, NULL, o->device, &o->model));
    GO(moco_model_save(o->model, saved));
    GO(moco_model_load(saved, NULL, o->device, &o->loaded));
    GO(moco_model_embed_to_npy(o->loaded, o->dataset, rows, NULL, &result));
    GO(moco_index_load_npy(rows, NULL, o->device, &o->index));
    GO(moco_knn_options_init(&neighbours, sizeof neighbours));
    neighbours.k = 3;
    GO(moco_knn_measure(o->model, o->dataset, o->dataset, &neighbours, &knn));
    GO(moco_probe_options_init(&probe, sizeof probe, MOCO_PROBE_CACHED));
    probe.epochs = 1;
    probe.batch_size = 4;
    GO(moco_probe_train(o->model, o->dataset, o->dataset, &probe, &o->classifier));
    unlink(converted);
    return moco_convert(checkpoint, converted, NULL, NULL, 0, NULL);
}

static moco_status_t use_everything(void)
{
    objects_t objects = {0};
    moco_status_t status = train(&objects);
    if (status == MOCO_OK)
        status = use(&objects);
    close_all(&objects);
    return status;
}

/* ---- small stacks ---- */

static void *in_thread(void *status)
{
    *(moco_status_t *)status = use_everything();
    if (*(moco_status_t *)status != MOCO_OK)
        fprintf(stderr, "%s\n", moco_last_message());
    return NULL;
}

START_TEST(callers_have_64_KiB_of_stack)
{
    pthread_attr_t attributes;
    pthread_t thread;
    moco_status_t status = MOCO_ERR_STATE;
    pthread_attr_init(&attributes);
    ck_assert_int_eq(pthread_attr_setstacksize(&attributes, STACK < PTHREAD_STACK_MIN ? PTHREAD_STACK_MIN : STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &attributes, in_thread, &status), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    ck_assert_int_eq(status, MOCO_OK);
}
END_TEST

/* ---- few descriptors ---- */

static int open_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

START_TEST(few_descriptors)
{
    struct rlimit usual, few;
    int good = 0, refused = 0;
    expect_ok(use_everything()); /* what is opened once for the process is open now */
    const int before = open_descriptors(), next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &usual);
    for (int spare = 0; spare <= 40; spare += spare < 8 ? 1 : 8) {
        few = usual;
        few.rlim_cur = (rlim_t)(next + spare);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        const moco_status_t status = use_everything();
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
        ck_assert_msg(status == MOCO_OK || moco_last_message()[0] != '\0', "%d spare: no reason", spare);
        good += status == MOCO_OK;
        refused += status != MOCO_OK;
        ck_assert_msg(open_descriptors() == before, "%d spare: %d descriptors before, %d after", spare, before,
                      open_descriptors());
    }
    ck_assert_int_gt(good, 0);
    ck_assert_int_gt(refused, 0);
    expect_ok(use_everything());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *tcase = tcase_create("limits");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, callers_have_64_KiB_of_stack);
    tcase_add_test(tcase, few_descriptors);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
