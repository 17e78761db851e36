/* moco_finetune_*: the border. */
#include <moco/finetune.h>

#include <string.h>

#include "train/finetune.h"
#include "util/status.h"
#include "util/structsize.h"

#define NEED(pointer)                                                   \
    do {                                                                \
        if ((pointer) == NULL)                                          \
            return mo_fail(MOCO_ERR_ARGUMENT, "'" #pointer "' is NULL"); \
    } while (0)

moco_status_t moco_finetune(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                            const moco_finetune_options_t *options, moco_finetune_fn progress, void *user,
                            moco_finetune_t **out)
{
    moco_finetune_options_t full;
    NEED(model);
    NEED(train);
    NEED(test);
    NEED(out);
    *out = NULL;
    moco_status_t status = mo_option_resolve(&mo_finetune_options, options, &full);
    return status == MOCO_OK ? mo_finetune_run(model, train, test, &full, progress, user, out) : status;
}

void moco_finetune_free(moco_finetune_t *finetune)
{
    mo_finetune_delete(finetune);
}

moco_status_t moco_finetune_result(const moco_finetune_t *finetune, moco_finetune_result_t *result)
{
    NEED(finetune);
    NEED(result);
    moco_status_t status = mo_report_check(result);
    if (status == MOCO_OK)
        mo_report_out(&finetune->result, sizeof finetune->result, result);
    return status;
}

moco_status_t moco_finetune_confusion(const moco_finetune_t *finetune, int64_t *table)
{
    NEED(finetune);
    NEED(table);
    memcpy(table, finetune->confusion, (size_t)finetune->classes * (size_t)finetune->classes * sizeof *table);
    return MOCO_OK;
}

const char *moco_finetune_class_name(const moco_finetune_t *finetune, int32_t label)
{
    return finetune != NULL && label >= 0 && label < finetune->classes ? finetune->names[label] : NULL;
}

moco_status_t moco_finetune_weights(const moco_finetune_t *finetune, float *weights, float *bias)
{
    NEED(finetune);
    if (weights != NULL)
        memcpy(weights, finetune->weights, (size_t)finetune->classes * (size_t)finetune->features * sizeof *weights);
    if (bias != NULL)
        memcpy(bias, finetune->bias, (size_t)finetune->classes * sizeof *bias);
    return MOCO_OK;
}

moco_status_t moco_finetune_save(const moco_finetune_t *finetune, const char *path)
{
    NEED(finetune);
    NEED(path);
    return mo_finetune_write(finetune, path);
}
