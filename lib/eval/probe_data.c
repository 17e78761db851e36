/* Where the linear probe's features come from: checked data sets, features made once, batches of crops. */
#include "eval/index.h"
#include "eval/probe_work.h"
#include "util/alloc.h"
#include "util/rows.h"
#include "util/rng.h"
#include "util/status.h"

#define CROP_TRIES 10 /* as published, before the central box */

/* moco_progress_fn of the two phases that make features. */
static int32_t features_progress(void *user, int64_t done, int64_t total, int32_t phase)
{
    moco_probe_report_t r = {.done = done, .total = total, .phase = phase, .top1 = -1, .top5 = -1};
    return mo_probe_report(user, &r) != MOCO_OK;
}

static int32_t test_progress(void *user, int64_t done, int64_t total)
{
    return features_progress(user, done, total, MOCO_PROBE_TEST_FEATURES);
}

static int32_t train_progress(void *user, int64_t done, int64_t total)
{
    return features_progress(user, done, total, MOCO_PROBE_TRAIN_FEATURES);
}

moco_status_t mo_probe_check_data(mo_probe_work_t *w, int32_t *map)
{
    int64_t labelled;
    return mo_classes_check(w->train, w->test, w->o->batch_size, map, &labelled);
}

static moco_status_t normalise(const mo_probe_work_t *w, float *rows, int64_t count, int32_t width)
{
    if (!w->o->normalize || mo_rows_normalise(rows, count, width, rows) == MOCO_OK)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_NONFINITE, "features of the model: %s", moco_last_message());
}

static moco_status_t collect(mo_probe_work_t *w, moco_dataset_t *dataset, const int32_t *map, moco_progress_fn progress,
                             mo_features_t *out)
{
    moco_status_t status = MOCO_OK;
    mo_features_spec_t spec = {.tap = MOCO_TAP_BACKBONE, .map = map, .loader_threads = w->o->loader_threads,
                               .progress = progress, .user = w, .total = mo_dataset_count(dataset)};
    TRY(mo_features_collect(w->model, dataset, &spec, out));
    TRY(normalise(w, out->rows, out->count, out->width));
cleanup:
    return status;
}

moco_status_t mo_probe_too_few(const mo_probe_work_t *w, int64_t good)
{
    return mo_fail(MOCO_ERR_NO_DATA, "the training set has %lld good images with a class, a batch takes %d",
                   (long long)good, w->o->batch_size);
}

moco_status_t mo_probe_collect(mo_probe_work_t *w, const int32_t *map)
{
    moco_status_t status = MOCO_OK;
    TRY(collect(w, w->test, map, test_progress, &w->measured));
    if (w->measured.count == 0)
        TRY(mo_fail(MOCO_ERR_NO_DATA, "no good image of the test set has a class"));
    if (!w->o->cached)
        return MOCO_OK;
    TRY(collect(w, w->train, NULL, train_progress, &w->cache));
    if (w->cache.count < w->o->batch_size)
        TRY(mo_probe_too_few(w, w->cache.count));
    TRY(mo_calloc((size_t)w->cache.count, sizeof *w->order, &w->order));
cleanup:
    return status;
}

/* Crops and flips of training images, one view each. */
moco_status_t mo_probe_open_loader(mo_probe_work_t *w)
{
    const moco_probe_options_t *o = w->o;
    const int32_t lanes = mo_device_lanes(w->model->device);
    mo_loader_spec_t spec = {.train = 1, .one_view = 1, .keep_last = 1, .labelled = 1, .seed = o->seed,
                             .order_stream = MO_STREAM_PROBE_ORDER, .batch = o->batch_size, .depth = 2,
                             .max_broken = -1, .threads = mo_loader_threads(o->loader_threads, lanes)};
    const moco_trainer_options_t views = {.views = MOCO_VIEWS_V1, .image_size = w->model->transform.eval_crop,
                                          .crop_min_area = o->crop_min_area, .crop_max_area = o->crop_max_area,
                                          .crop_tries = CROP_TRIES, .flip_probability = o->flip_probability,
                                          .blur_sigma_min = 1, .blur_sigma_max = 1}; /* of a blur that never comes */
    moco_status_t status = MOCO_OK;
    mo_view_spec_from_options(&views, &spec.views);
    spec.views.stream = MO_STREAM_PROBE_VIEW;
    TRY(mo_calloc((size_t)o->batch_size, (size_t)w->linear.features * sizeof *w->rows, &w->rows));
    TRY(mo_calloc((size_t)o->batch_size, sizeof *w->labels, &w->labels));
    TRY(mo_loader_create(&spec, w->train, &w->loader));
cleanup:
    return status;
}

moco_status_t mo_probe_embed(mo_probe_work_t *w, const mo_batch_t *batch)
{
    moco_status_t status = MOCO_OK;
    mo_source_t source = {.rows = batch->rows[0]};
    const moco_embed_options_t how = {.tap = MOCO_TAP_BACKBONE};
    TRY(mo_embed(w->model, batch->count, &source, MO_SIZE_MANY, &how, w->rows));
    for (int64_t i = 0; i < batch->count; i++)
        w->labels[i] = mo_dataset_label(w->train, batch->index[i]);
    TRY(normalise(w, w->rows, batch->count, w->linear.features));
cleanup:
    return status;
}
