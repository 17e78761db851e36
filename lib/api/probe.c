/* moco_probe_*: the border. */
#include <moco/probe.h>

#include <string.h>

#include "eval/probe.h"
#include "util/status.h"
#include "util/structsize.h"

#define NEED(pointer)                                                   \
    do {                                                                \
        if ((pointer) == NULL)                                          \
            return mo_fail(MOCO_ERR_ARGUMENT, "'" #pointer "' is NULL"); \
    } while (0)

moco_status_t moco_probe(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                         const moco_probe_options_t *options, moco_probe_fn progress, void *user, moco_probe_t **out)
{
    moco_probe_options_t full;
    NEED(model);
    NEED(train);
    NEED(test);
    NEED(out);
    *out = NULL;
    moco_status_t status = mo_option_resolve(&mo_probe_options, options, &full);
    return status == MOCO_OK ? mo_probe_run(model, train, test, &full, progress, user, out) : status;
}

void moco_probe_free(moco_probe_t *probe)
{
    mo_probe_delete(probe);
}

moco_status_t moco_probe_result(const moco_probe_t *probe, moco_probe_result_t *result)
{
    NEED(probe);
    NEED(result);
    moco_status_t status = mo_report_check(result);
    if (status == MOCO_OK)
        mo_report_out(&probe->result, sizeof probe->result, result);
    return status;
}

moco_status_t moco_probe_rate(const moco_probe_t *probe, int32_t index, moco_probe_rate_t *rate)
{
    NEED(probe);
    NEED(rate);
    if (index < 0 || index >= probe->result.rates)
        return mo_fail(MOCO_ERR_ARGUMENT, "index is %d, wanted 0 to %d", index, probe->result.rates - 1);
    moco_status_t status = mo_report_check(rate);
    if (status == MOCO_OK)
        mo_report_out(&probe->rates[index], sizeof probe->rates[index], rate);
    return status;
}

moco_status_t moco_probe_confusion(const moco_probe_t *probe, int64_t *table)
{
    NEED(probe);
    NEED(table);
    memcpy(table, probe->confusion, (size_t)probe->classes * (size_t)probe->classes * sizeof *table);
    return MOCO_OK;
}

const char *moco_probe_class_name(const moco_probe_t *probe, int32_t label)
{
    return probe != NULL && label >= 0 && label < probe->classes ? probe->names[label] : NULL;
}

moco_status_t moco_probe_weights(const moco_probe_t *probe, float *weights, float *bias)
{
    NEED(probe);
    if (weights != NULL)
        memcpy(weights, probe->weights, (size_t)probe->classes * (size_t)probe->features * sizeof *weights);
    if (bias != NULL)
        memcpy(bias, probe->bias, (size_t)probe->classes * sizeof *bias);
    return MOCO_OK;
}

moco_status_t moco_probe_save(const moco_probe_t *probe, const moco_model_t *model, const char *path)
{
    NEED(probe);
    NEED(model);
    NEED(path);
    return mo_probe_write(probe, model, path);
}
