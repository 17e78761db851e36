/* A linear probe with every allocation, engine call and file request failing in turn, and the guard
 * that notices a backbone that changes under it. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "unit/data_fixtures.h"
#include "eval/model.h"
#include "fault/trainer_fixtures.h"
#include "util/fault.h"

#include <moco/probe.h>

enum { IMAGES = 24, CLASSES = 3 };

typedef struct probing {
    moco_device_t *device;
    moco_model_t *model;
    moco_dataset_t *data;
    moco_probe_options_t options;
    float weights[CLASSES * 64];
    char path[64];
    int known, save;
} probing_t;

static void open_all(probing_t *p, int32_t protocol)
{
    moco_trainer_options_t o = tiny_options(4, 2);
    moco_trainer_t *trainer = NULL;
    *p = (probing_t){.device = tiny_device(1)};
    OK(moco_trainer_create(&o, p->device, &trainer));
    OK(moco_trainer_snapshot(trainer, NULL, NULL, &p->model));
    moco_trainer_free(trainer);
    ck_assert_int_le(CLASSES * moco_model_dimension(p->model, MOCO_TAP_BACKBONE), CLASSES * 64);
    fixture_folder(p->path);
    for (int i = 0; i < IMAGES; i++) {
        fixture_t jpeg = fixture_jpeg(TINY_SIZE, TINY_SIZE, 3, 0, (unsigned)i);
        char name[64];
        snprintf(name, sizeof name, "c%d/%02d.jpg", i % CLASSES, i);
        fixture_write(p->path, name, jpeg.bytes, jpeg.size);
        free(jpeg.bytes);
    }
    OK(moco_dataset_open(p->path, NULL, &p->data));
    OK(moco_probe_options_init(&p->options, sizeof p->options, protocol));
    p->options.epochs = 2;
    p->options.batch_size = 10;
    p->options.loader_threads = 1;
}

static void close_all(probing_t *p)
{
    fixture_remove(p->path);
    moco_dataset_free(p->data);
    moco_model_free(p->model);
    moco_device_free(p->device);
}

/* What was written is read again, to the same bits. */
static moco_status_t reload(const probing_t *p, const char *path)
{
    moco_classifier_t *loaded = NULL;
    float weights[CLASSES * 64] = {0};
    const moco_status_t status = moco_classifier_load(path, NULL, p->device, &loaded);
    ck_assert((loaded != NULL) == (status == MOCO_OK));
    if (status == MOCO_OK) {
        OK(moco_classifier_weights(loaded, weights, NULL));
        ck_assert_mem_eq(p->weights, weights, sizeof weights);
    }
    moco_classifier_free(loaded);
    return status;
}

/* One probe, and what it found written to a file; a success gives the bits of the first one. */
static moco_status_t attempt(probing_t *p)
{
    moco_classifier_t *probe = NULL;
    char path[96];
    float weights[CLASSES * 64] = {0};
    moco_status_t status = moco_probe_train(p->model, p->data, p->data, &p->options, &probe);
    ck_assert((probe != NULL) == (status == MOCO_OK));
    snprintf(path, sizeof path, "%s/probe.safetensors", p->path);
    if (status == MOCO_OK) {
        OK(moco_classifier_weights(probe, weights, NULL));
        if (!p->known)
            memcpy(p->weights, weights, sizeof weights);
        p->known = 1;
        ck_assert_mem_eq(p->weights, weights, sizeof weights);
        status = moco_classifier_save(probe, path);
    }
    if (status == MOCO_OK)
        status = reload(p, path);
    moco_classifier_free(probe);
    return status;
}

/* Each request of a kind fails once; where there are many, every eleventh in the middle. */
START_TEST(test_faults)
{
    probing_t p;
    open_all(&p, _i == 0 ? MOCO_PROBE_V1 : MOCO_PROBE_CACHED);
    OK(attempt(&p));
    for (int kind = 0; kind < MO_FAULT_KINDS; kind++) {
        mo_fault_arm(kind, -1);
        OK(attempt(&p));
        const long total = mo_fault_arm(kind, -1);
        ck_assert_int_gt(total, 0);
        for (long n = 0; n<total; n += total> 60 && n > 25 && n < total - 10 ? 11 : 1) {
            mo_fault_arm(kind, n);
            const moco_status_t status = attempt(&p);
            mo_fault_arm(kind, -1);
            ck_assert_msg(status == MOCO_ERR_MEMORY || status == MOCO_ERR_ENGINE || status == MOCO_ERR_IO ||
                              status == MOCO_ERR_THREAD,
                          "kind %d, request %ld of %ld: status %d (%s)", kind, n, total, status, moco_last_message());
            ck_assert_str_ne(moco_last_message(), "");
        }
        OK(attempt(&p));
    }
    close_all(&p);
}
END_TEST

static int32_t meddle(void *user, const moco_classifier_report_t *report)
{
    moco_model_t *model = user;
    if (report->phase == MOCO_CLASSIFIER_TRAINING && report->epoch == 1 && report->epoch_end)
        model->encoder.running[3] = nextafterf(model->encoder.running[3], 9);
    return 0;
}

START_TEST(test_backbone_guard)
{
    probing_t p;
    moco_classifier_t *probe = NULL;
    open_all(&p, MOCO_PROBE_CACHED);
    OK(moco_probe_train(p.model, p.data, p.data, &p.options, &probe));
    moco_classifier_free(probe);
    probe = NULL;
    p.options.progress = meddle;
    p.options.user = p.model;
    ck_assert_int_eq(moco_probe_train(p.model, p.data, p.data, &p.options, &probe), MOCO_ERR_STATE);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "changed under the probe"));
    ck_assert_ptr_null(probe);
    close_all(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("probe faults");
    TCase *tc = tcase_create("probe faults");
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, test_faults, 0, 2);
    tcase_add_test(tc, test_backbone_guard);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
