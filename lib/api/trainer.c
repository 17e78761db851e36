/* moco_trainer_*: the border. */
#include <moco/trainer.h>

#include "train/describe.h"
#include "train/draw.h"
#include "train/options.h"
#include "train/run.h"
#include "train/run_folder.h"
#include "train/trainer.h"
#include "train/warnings.h"
#include "util/border.h"
#include "util/json.h"
#include "persist/output.h"
#include "util/need.h"
#include "util/rng.h"
#include "util/structsize.h"

moco_status_t moco_trainer_create(const moco_trainer_options_t *options, moco_device_t *device, moco_trainer_t **out)
{
    MO_BORDER;
    MO_NEED(options);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_trainer_create(options, device, out);
    if (status == MOCO_OK)
        mo_warn_options(&(*out)->state.options);
    return status;
}

void moco_trainer_free(moco_trainer_t *trainer)
{
    MO_BORDER;
    mo_trainer_delete(trainer);
}

moco_status_t moco_trainer_plan(const moco_trainer_options_t *options, moco_device_t *device, char *text,
                                uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    moco_trainer_t *trainer = NULL;
    MO_NEED(options);
    moco_status_t status = mo_trainer_plan(options, device, &trainer);
    if (status != MOCO_OK)
        return status;
    status = mo_json_text(mo_trainer_plan_json(trainer), text, capacity, needed);
    mo_trainer_delete(trainer);
    return status;
}

moco_status_t moco_trainer_push_views(moco_trainer_t *trainer, int64_t count, const float *queries, const float *keys,
                                      int32_t layout)
{
    MO_BORDER;
    MO_NEED(trainer);
    MO_NEED(queries);
    MO_NEED(keys);
    return mo_push_views(trainer, count, queries, keys, layout);
}

moco_status_t moco_trainer_push_pixels(moco_trainer_t *trainer, int64_t count, const moco_image_t *images)
{
    MO_BORDER;
    MO_NEED(trainer);
    MO_NEED(images);
    return mo_push_pixels(trainer, count, images);
}

moco_status_t moco_trainer_push_encoded(moco_trainer_t *trainer, int64_t count, const uint8_t *const *data,
                                        const uint64_t *sizes)
{
    MO_BORDER;
    MO_NEED(trainer);
    MO_NEED(data);
    MO_NEED(sizes);
    return mo_push_encoded(trainer, count, data, sizes);
}

int64_t moco_trainer_discard(moco_trainer_t *trainer)
{
    MO_BORDER;
    return trainer != NULL ? mo_push_done(trainer) : -1;
}

moco_status_t moco_trainer_step(moco_trainer_t *trainer, const moco_run_options_t *options, moco_step_report_t *report)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_run_options_t o;
    MO_NEED(trainer);
    TRY(mo_option_resolve(&mo_run_options, options, &o));
    TRY(mo_report_check(report));
    TRY(mo_run_pushed(trainer, &o, report));
cleanup:
    return status;
}

moco_status_t moco_trainer_steps(moco_trainer_t *trainer, moco_dataset_t *dataset, int64_t count,
                                 const moco_run_options_t *options, moco_step_report_t *report)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_run_options_t o;
    MO_NEED(trainer);
    MO_NEED(dataset);
    TRY(mo_need_whole("count", count, 1, INT64_MAX));
    TRY(mo_option_resolve(&mo_run_options, options, &o));
    TRY(mo_report_check(report));
    TRY(mo_run_steps(trainer, dataset, count, &o, report));
cleanup:
    return status;
}

moco_status_t moco_trainer_run(moco_trainer_t *trainer, moco_dataset_t *dataset, moco_dataset_t *test,
                               const char *folder, const moco_run_options_t *options)
{
    MO_BORDER;
    moco_run_options_t o;
    MO_NEED(trainer);
    MO_NEED(dataset);
    moco_status_t status = mo_option_resolve(&mo_run_options, options, &o);
    return status == MOCO_OK ? mo_run_epochs(trainer, dataset, test, folder, &o) : status;
}

moco_status_t moco_trainer_snapshot(moco_trainer_t *trainer, const moco_snapshot_options_t *options,
                                    moco_device_t *device, moco_model_t **out)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_snapshot_options_t o;
    MO_NEED(trainer);
    MO_NEED(out);
    *out = NULL;
    TRY(mo_option_resolve(&mo_snapshot_options, options, &o));
    TRY(mo_trainer_snapshot(trainer, &o, device, out));
cleanup:
    return status;
}

moco_status_t moco_trainer_save(moco_trainer_t *trainer, const char *path)
{
    MO_BORDER;
    MO_NEED(trainer);
    MO_NEED(path);
    mo_run_folder_t guard = {0};
    moco_status_t status = MOCO_OK;
    TRY(mo_output_check(path, MO_OUTPUT_SAFETENSORS));
    TRY(mo_run_folder_guard(&guard, path));
    TRY(mo_state_save(&trainer->state, NULL, path));
cleanup:
    mo_run_folder_close(&guard, 0);
    return status;
}

moco_status_t moco_trainer_load(const char *path, const moco_trainer_options_t *overrides, moco_device_t *device,
                                moco_trainer_t **out)
{
    MO_BORDER;
    MO_NEED(path);
    MO_NEED(out);
    *out = NULL;
    return mo_trainer_load_file(path, overrides, device, out);
}

moco_status_t moco_trainer_options_get(const moco_trainer_t *trainer, moco_trainer_options_t *options,
                                       uint64_t struct_size)
{
    MO_BORDER;
    MO_NEED(trainer);
    MO_NEED(options);
    return mo_struct_init(options, struct_size, &trainer->state.options, sizeof trainer->state.options);
}

int64_t moco_trainer_step_number(const moco_trainer_t *trainer)
{
    return trainer != NULL ? trainer->state.step : -1;
}

moco_status_t moco_trainer_state(const moco_trainer_t *trainer, char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    MO_NEED(trainer);
    return mo_json_text(mo_trainer_state_json(trainer), text, capacity, needed);
}

/* ---- what a trainer draws ---- */

moco_status_t moco_shuffle_permutation(uint64_t seed, int64_t step, int32_t count, int32_t *permutation)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    MO_NEED(permutation);
    TRY(mo_need_whole("step", step, 0, UINT32_MAX));
    TRY(mo_need_whole("count", count, 1, INT32_MAX));
    TRY(mo_rng_permutation(seed, MO_STREAM_SHUFFLE, (uint32_t)step, count, permutation));
cleanup:
    return status;
}

moco_status_t moco_dataset_views(moco_dataset_t *dataset, const moco_trainer_options_t *options, int64_t epoch,
                                 int64_t index, uint8_t *views)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_trainer_options_t full;
    MO_NEED(dataset);
    MO_NEED(options);
    MO_NEED(views);
    TRY(mo_need_whole("epoch", epoch, 0, UINT32_MAX));
    TRY(mo_options_overlay(options, &full));
    TRY(mo_options_check_views(&full));
    TRY(mo_draw_views(dataset, &full, epoch, index, views));
cleanup:
    return status;
}
