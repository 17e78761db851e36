/* Border of the public calls that show what a trainer draws: the shuffle of a step, the two views of an image. Both
 * come from the same functions as in training. */
#include <moco/trainer.h>

#include "data/data.h"
#include "train/options.h"
#include "util/rng.h"
#include "util/status.h"

moco_status_t moco_shuffle(uint64_t seed, int64_t step, int32_t count, int32_t *permutation)
{
    if (permutation == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "permutation is NULL");
    if (step < 0 || step > UINT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "step is %lld; wanted 0..4294967295", (long long)step);
    if (count < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %d; wanted at least 1", count);
    return mo_rng_permutation(seed, MO_STREAM_SHUFFLE, (uint32_t)step, count, permutation);
}

moco_status_t moco_dataset_views(moco_dataset_t *dataset, const moco_trainer_options_t *options, int64_t epoch,
                                 int64_t index, uint8_t *views)
{
    moco_status_t status = MOCO_OK;
    mo_pixels_t pixels = {0};
    mo_view_work_t work = {0};
    mo_view_spec_t spec;
    moco_trainer_options_t full;
    if (dataset == NULL || options == NULL || views == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is NULL",
                       dataset == NULL ? "dataset" : options == NULL ? "options" : "views");
    if (epoch < 0 || epoch > UINT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "epoch is %lld; wanted 0..4294967295", (long long)epoch);
    TRY(mo_options_overlay(options, &full));
    TRY(mo_options_check_views(&full));
    mo_options_views(&full, &spec);
    TRY(mo_dataset_decode(dataset, index, &pixels));
    for (int view = 0; view < 2; view++)
        TRY(mo_view_draw(&work, &spec, &pixels, full.seed, epoch, index, view,
                         views + (size_t)view * (size_t)spec.size * (size_t)spec.size * 3));
cleanup:
    mo_view_work_free(&work);
    mo_pixels_free(&pixels);
    return status;
}
