/* moco_classifier_*, moco_probe_train, moco_finetune_train: the border. */
#include <moco/classifier.h>
#include <moco/finetune.h>
#include <moco/probe.h>

#include <string.h>

#include "api/options.h"
#include "eval/classifier.h"
#include "eval/loaded.h"
#include "eval/probe.h"
#include "train/finetune.h"
#include "train/run_folder.h"
#include "util/border.h"
#include "util/json.h"
#include "util/need.h"
#include "util/status.h"
#include "util/structsize.h"

/* ---- training ---- */

moco_status_t moco_probe_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                               const moco_probe_options_t *options, moco_classifier_t **out)
{
    MO_BORDER;
    moco_probe_options_t full;
    MO_NEED(model);
    MO_NEED(train);
    MO_NEED(test);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_option_resolve(&mo_probe_options, options, &full);
    return status == MOCO_OK ? mo_probe_train(model, train, test, &full, out) : status;
}

moco_status_t moco_finetune_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                  const moco_finetune_options_t *options, moco_classifier_t **out)
{
    MO_BORDER;
    moco_finetune_options_t full;
    MO_NEED(model);
    MO_NEED(train);
    MO_NEED(test);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_option_resolve(&mo_finetune_options, options, &full);
    return status == MOCO_OK ? mo_finetune_train(model, train, test, &full, out) : status;
}

/* ---- what both give ---- */

moco_status_t moco_classifier_load(const char *path, const moco_model_options_t *options, moco_device_t *device,
                                   moco_classifier_t **out)
{
    MO_BORDER;
    mo_wanted_t wanted;
    MO_NEED(path);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_wanted_of(options, &wanted);
    return status == MOCO_OK ? mo_classifier_read(path, &wanted, device, out) : status;
}

moco_status_t moco_classifier_save(const moco_classifier_t *classifier, const char *path)
{
    MO_BORDER;
    MO_NEED(classifier);
    MO_NEED(path);
    mo_run_folder_t guard = {0};
    moco_status_t status = MOCO_OK;
    TRY(mo_run_folder_guard(&guard, path));
    TRY(mo_classifier_write(classifier, path));
cleanup:
    mo_run_folder_close(&guard, 0);
    return status;
}

void moco_classifier_free(moco_classifier_t *classifier)
{
    MO_BORDER;
    mo_classifier_delete(classifier);
}

moco_status_t moco_classifier_result(const moco_classifier_t *classifier, moco_classifier_result_t *result)
{
    MO_BORDER;
    MO_NEED(classifier);
    MO_NEED(result);
    moco_status_t status = mo_report_check(result);
    if (status == MOCO_OK)
        mo_report_out(&classifier->result, sizeof classifier->result, result);
    return status;
}

moco_status_t moco_classifier_rate(const moco_classifier_t *classifier, int32_t index, moco_classifier_rate_t *rate)
{
    MO_NEED(classifier);
    MO_NEED(rate);
    if (index < 0 || index >= classifier->result.rates)
        return mo_fail(MOCO_ERR_ARGUMENT, "index is %d, wanted 0 to %d", index, classifier->result.rates - 1);
    moco_status_t status = mo_report_check(rate);
    if (status == MOCO_OK)
        mo_report_out(&classifier->rates[index], sizeof classifier->rates[index], rate);
    return status;
}

moco_status_t moco_classifier_confusion(const moco_classifier_t *classifier, int64_t *table)
{
    MO_BORDER;
    MO_NEED(classifier);
    MO_NEED(table);
    if (classifier->confusion == NULL && classifier->result.classes > MO_CONFUSION_CLASSES)
        return mo_fail(MOCO_ERR_NO_DATA, "the classifier has %d classes; up to %d have a confusion table",
                       classifier->result.classes, MO_CONFUSION_CLASSES);
    if (classifier->confusion == NULL)
        return mo_fail(MOCO_ERR_NO_DATA, "the classifier was read from a file, which has no confusion table");
    const size_t classes = (size_t)classifier->result.classes;
    memcpy(table, classifier->confusion, classes * classes * sizeof *table);
    return MOCO_OK;
}

const char *moco_classifier_class_name(const moco_classifier_t *classifier, int32_t label)
{
    return classifier != NULL && label >= 0 && label < classifier->result.classes ? classifier->names[label] : NULL;
}

moco_status_t moco_classifier_weights(const moco_classifier_t *classifier, float *weights, float *bias)
{
    MO_BORDER;
    MO_NEED(classifier);
    const size_t classes = (size_t)classifier->result.classes, features = (size_t)classifier->result.features;
    if (weights != NULL)
        memcpy(weights, classifier->weights, classes * features * sizeof *weights);
    if (bias != NULL)
        memcpy(bias, classifier->bias, classes * sizeof *bias);
    return MOCO_OK;
}

moco_status_t moco_classifier_model(const moco_classifier_t *classifier, moco_model_t **out)
{
    MO_BORDER;
    MO_NEED(classifier);
    MO_NEED(out);
    *out = mo_model_retain(classifier->model);
    return MOCO_OK;
}

moco_status_t moco_classifier_info(const moco_classifier_t *classifier, char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    MO_NEED(classifier);
    return mo_json_text(mo_classifier_json(classifier), text, capacity, needed);
}
