/* moco_knn: the border. */
#include "eval/knn.h"
#include "util/status.h"
#include "util/structsize.h"

moco_status_t moco_knn(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test, int64_t k, double temperature,
                       int32_t loader_threads, moco_progress_fn progress, void *user, moco_knn_result_t *result)
{
    if (model == NULL || bank == NULL || test == NULL || result == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "'%s' is NULL",
                       model == NULL  ? "model"
                       : bank == NULL ? "bank"
                       : test == NULL ? "test"
                                      : "result");
    if (k < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "k is %lld, wanted at least 1, or 0 for 200", (long long)k);
    if (temperature != 0 && !(temperature >= 1e-3 && temperature <= 1e3))
        return mo_fail(MOCO_ERR_ARGUMENT, "temperature is %g, wanted 0.001 to 1000, or 0 for 0.1", temperature);
    if (loader_threads < 0 || loader_threads > 256)
        return mo_fail(MOCO_ERR_ARGUMENT, "loader_threads is %d, wanted 1 to 256, or 0 for one per lane",
                       loader_threads);
    moco_status_t status = mo_report_check(result);
    if (status != MOCO_OK)
        return status;
    moco_knn_result_t full = {.struct_size = sizeof full};
    status = mo_knn_accuracy(model, bank, test, k, temperature, loader_threads, progress, user, &full);
    if (status == MOCO_OK)
        mo_report_out(&full, sizeof full, result);
    return status;
}
