/* Both views of an image by the functions of training; see draw.h. */
#include "train/draw.h"

#include "data/data.h"
#include "train/options.h"
#include "util/status.h"

moco_status_t mo_draw_views(moco_dataset_t *dataset, const moco_trainer_options_t *options, int64_t epoch,
                            int64_t index, uint8_t *views)
{
    moco_status_t status = MOCO_OK;
    mo_pixels_t pixels = {0};
    mo_view_work_t work = {0};
    mo_view_spec_t spec;
    mo_options_views(options, &spec);
    TRY(mo_dataset_decode(dataset, index, &pixels));
    for (int view = 0; view < 2; view++)
        TRY(mo_view_draw(&work, &spec, &pixels, options->seed, epoch, index, view,
                         views + (size_t)view * (size_t)spec.size * (size_t)spec.size * 3));
cleanup:
    mo_view_work_free(&work);
    mo_pixels_free(&pixels);
    return status;
}
