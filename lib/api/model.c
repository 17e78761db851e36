/* moco_model_*: the border. */
#include <moco/model.h>

#include <jansson.h>

#include "eval/model.h"
#include "util/json.h"
#include "util/status.h"

#define NEED(pointer)                                                   \
    do {                                                                \
        if ((pointer) == NULL)                                          \
            return mo_fail(MOCO_ERR_ARGUMENT, "'" #pointer "' is NULL"); \
    } while (0)

moco_status_t moco_model_load(const char *path, moco_device_t *device, moco_model_t **out)
{
    NEED(path);
    NEED(out);
    return mo_model_read(path, device, out);
}

moco_status_t moco_model_save(const moco_model_t *model, const char *path)
{
    NEED(model);
    NEED(path);
    return mo_model_write(model, path);
}

void moco_model_free(moco_model_t *model)
{
    mo_model_release(model);
}

moco_status_t moco_model_info(const moco_model_t *model, char *text, uint64_t capacity, uint64_t *needed)
{
    NEED(model);
    return mo_json_text(mo_model_json(model), text, capacity, needed);
}

int32_t moco_model_dimension(const moco_model_t *model, int32_t tap)
{
    return model != NULL ? mo_model_width(model, tap) : 0;
}

int32_t moco_model_image_size(const moco_model_t *model)
{
    return model != NULL ? model->encoder.spec.image_size : 0;
}

static moco_status_t embed(moco_model_t *model, int32_t tap, int64_t count, const mo_source_t *source, float *out,
                           moco_status_t *items)
{
    NEED(model);
    NEED(out);
    moco_status_t status = mo_model_check_tap(model, tap);
    if (status != MOCO_OK)
        return status;
    if (count < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted at least 1", (long long)count);
    return mo_embed(model, tap, count, source, count == 1 ? MO_SIZE_ONE : MO_SIZE_MANY, out, items);
}

moco_status_t moco_model_embed_jpeg(moco_model_t *model, int32_t tap, int64_t count, const uint8_t *const *data,
                                    const uint64_t *sizes, float *out, moco_status_t *items)
{
    NEED(data);
    NEED(sizes);
    mo_source_t source = {.encoded = data, .sizes = sizes};
    return embed(model, tap, count, &source, out, items);
}

moco_status_t moco_model_embed_pixels(moco_model_t *model, int32_t tap, int64_t count, const moco_image_t *images,
                                      float *out, moco_status_t *items)
{
    NEED(images);
    mo_source_t source = {.images = images};
    return embed(model, tap, count, &source, out, items);
}

moco_status_t moco_model_embed_tensor(moco_model_t *model, int32_t tap, int64_t count, const float *images,
                                      int32_t layout, float *out)
{
    NEED(images);
    if (layout != MOCO_LAYOUT_NCHW && layout != MOCO_LAYOUT_NHWC)
        return mo_fail(MOCO_ERR_ARGUMENT, "layout is %d, wanted %d (NCHW) or %d (NHWC)", layout, MOCO_LAYOUT_NCHW,
                       MOCO_LAYOUT_NHWC);
    mo_source_t source = {.floats = images, .layout = layout};
    return embed(model, tap, count, &source, out, NULL);
}

static moco_status_t check_dataset_call(const moco_model_t *model, int32_t tap, int32_t loader_threads)
{
    if (loader_threads < 0 || loader_threads > 256)
        return mo_fail(MOCO_ERR_ARGUMENT, "loader_threads is %d, wanted 1 to 256, or 0 for one per lane",
                       loader_threads);
    return mo_model_check_tap(model, tap);
}

moco_status_t moco_model_embed_dataset(moco_model_t *model, int32_t tap, moco_dataset_t *dataset,
                                       int32_t loader_threads, moco_rows_fn rows, void *user)
{
    NEED(model);
    NEED(dataset);
    if (rows == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "'rows' is NULL");
    moco_status_t status = check_dataset_call(model, tap, loader_threads);
    return status == MOCO_OK ? mo_embed_dataset(model, tap, dataset, loader_threads, rows, user) : status;
}

moco_status_t moco_model_embed_to_npy(moco_model_t *model, int32_t tap, moco_dataset_t *dataset, int32_t loader_threads,
                                      const char *path, moco_progress_fn progress, void *user, int64_t *written,
                                      int64_t *skipped)
{
    NEED(model);
    NEED(dataset);
    NEED(path);
    moco_status_t status = check_dataset_call(model, tap, loader_threads);
    if (status != MOCO_OK)
        return status;
    return mo_embed_to_npy(model, tap, dataset, loader_threads, path, progress, user, written, skipped);
}
