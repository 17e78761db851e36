/* Fine-tuning with every allocation, engine call and file request failing in turn. */
#include <stdio.h>
#include <unistd.h>

#include "unit/data_fixtures.h"
#include "eval/model.h"
#include "fault/trainer_fixtures.h"
#include "util/fault.h"

#include <moco/finetune.h>

enum { IMAGES = 24, CLASSES = 3 };

typedef struct tuning {
    moco_device_t *device;
    moco_model_t *model;
    moco_dataset_t *data;
    moco_finetune_options_t options;
    float weights[CLASSES * 64];
    char path[64];
    int known, save;
} tuning_t;

static void open_all(tuning_t *p)
{
    moco_trainer_options_t o = tiny_options(4, 2);
    moco_trainer_t *trainer = NULL;
    *p = (tuning_t){.device = tiny_device(1)};
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
    OK(moco_finetune_options_init(&p->options, sizeof p->options, MOCO_OPTIMIZER_ADAMW));
    p->options.epochs = 1;
    p->options.warmup_epochs = 0;
    p->options.batch_size = 12;
    p->options.shard = 6;
    p->options.loader_threads = 1;
}

static void close_all(tuning_t *p)
{
    fixture_remove(p->path);
    moco_dataset_free(p->data);
    moco_model_free(p->model);
    moco_device_free(p->device);
}

/* One run, and what came of it written to a file; a success gives the bits of the first one. */
static moco_status_t attempt(tuning_t *p)
{
    moco_classifier_t *finetune = NULL;
    char path[96];
    float weights[CLASSES * 64] = {0};
    moco_status_t status = moco_finetune_train(p->model, p->data, p->data, &p->options, &finetune);
    ck_assert((finetune != NULL) == (status == MOCO_OK));
    snprintf(path, sizeof path, "%s/tuned.safetensors", p->path);
    if (status == MOCO_OK) {
        OK(moco_classifier_weights(finetune, weights, NULL));
        if (!p->known)
            memcpy(p->weights, weights, sizeof weights);
        p->known = 1;
        ck_assert_mem_eq(p->weights, weights, sizeof weights);
        status = moco_classifier_save(finetune, path);
    }
    moco_classifier_free(finetune);
    return status;
}

/* Each request of a kind fails once; where there are many, twenty in the middle. */
START_TEST(test_faults)
{
    tuning_t p;
    open_all(&p);
    OK(attempt(&p));
    for (int kind = 0; kind < MO_FAULT_KINDS; kind++) {
        mo_fault_arm(kind, -1);
        OK(attempt(&p));
        const long total = mo_fault_arm(kind, -1);
        ck_assert_int_gt(total, 0);
        for (long n = 0; n<total; n += total> 40 && n > 12 && n < total - 4 ? total / 20 + 1 : 1) {
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

int main(void)
{
    Suite *suite = suite_create("finetune faults");
    TCase *tc = tcase_create("finetune faults");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_faults);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
