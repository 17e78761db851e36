/* moco_knn_measure: the border. */
#include "eval/knn.h"
#include "util/border.h"
#include "util/need.h"
#include "util/structsize.h"

moco_status_t moco_knn_measure(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                               const moco_knn_options_t *options, moco_knn_result_t *result)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_knn_options_t o;
    moco_knn_result_t full = {.struct_size = sizeof full};
    MO_NEED(model);
    MO_NEED(bank);
    MO_NEED(test);
    MO_NEED(result);
    TRY(mo_option_resolve(&mo_knn_options, options, &o));
    TRY(mo_report_check(result));
    TRY(mo_knn_check(bank, test));
    TRY(mo_knn_accuracy(model, bank, test, &o, &full));
    mo_report_out(&full, sizeof full, result);
cleanup:
    return status;
}
