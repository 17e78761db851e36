/* moco_knn: the border. */
#include "eval/knn.h"
#include "util/need.h"
#include "util/structsize.h"

_Static_assert(sizeof(void *) != 8 || sizeof(moco_knn_options_t) == 56, "no padding");

moco_status_t moco_knn_options_init(moco_knn_options_t *options, uint64_t struct_size)
{
    return mo_struct_init(options, struct_size, &mo_knn_defaults, sizeof mo_knn_defaults);
}

moco_status_t moco_knn(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                       const moco_knn_options_t *options, moco_knn_result_t *result)
{
    moco_status_t status = MOCO_OK;
    moco_knn_options_t o;
    moco_knn_result_t full = {.struct_size = sizeof full};
    MO_NEED(model);
    MO_NEED(bank);
    MO_NEED(test);
    MO_NEED(result);
    TRY(mo_struct_overlay(options, &o, &mo_knn_defaults, sizeof o));
    TRY(mo_need_real("temperature", o.temperature, 1e-3, 1e3));
    TRY(mo_need_whole("k", o.k, 1, INT64_MAX));
    TRY(mo_need_whole("loader_threads", o.loader_threads, 0, 256));
    TRY(mo_need_whole("reserved", o.reserved, 0, 0));
    TRY(mo_report_check(result));
    TRY(mo_knn_accuracy(model, bank, test, &o, &full));
    mo_report_out(&full, sizeof full, result);
cleanup:
    return status;
}
