/* moco_model_*: the border. */
#include <moco/model.h>

#include "api/options.h"
#include "eval/loaded.h"
#include "eval/model.h"
#include "eval/model_file.h"
#include "train/run_folder.h"
#include "util/border.h"
#include "util/json.h"
#include "util/need.h"
#include "util/status.h"
#include "util/structsize.h"

/* ---- files ---- */

moco_status_t mo_wanted_of(const moco_model_options_t *options, mo_wanted_t *wanted)
{
    moco_status_t status = MOCO_OK;
    moco_model_options_t o;
    TRY(mo_option_resolve(&mo_model_options, options, &o));
    *wanted = (mo_wanted_t){.key = o.encoder == MOCO_ENCODER_KEY,
                            .no_head = o.drop_head,
                            .image_size = o.image_size,
                            .eval_resize = o.eval_resize,
                            .vit_heads = o.vit_heads,
                            .precision = o.precision,
                            .memory_cap = o.memory_cap,
                            .mean = {o.mean_r, o.mean_g, o.mean_b},
                            .std = {o.std_r, o.std_g, o.std_b},
                            .prefix = o.prefix};
cleanup:
    return status;
}

moco_status_t moco_model_load(const char *path, const moco_model_options_t *options, moco_device_t *device,
                              moco_model_t **out)
{
    MO_BORDER;
    mo_wanted_t wanted;
    MO_NEED(path);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_wanted_of(options, &wanted);
    return status == MOCO_OK ? mo_model_read(path, &wanted, device, out) : status;
}

moco_status_t moco_model_load_memory(const void *data, uint64_t size, const moco_model_options_t *options,
                                     moco_device_t *device, moco_model_t **out)
{
    MO_BORDER;
    mo_wanted_t wanted;
    MO_NEED(data);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_wanted_of(options, &wanted);
    return status == MOCO_OK ? mo_model_read_memory(data, size, &wanted, device, out) : status;
}

moco_status_t moco_model_save(const moco_model_t *model, const char *path)
{
    MO_BORDER;
    MO_NEED(model);
    MO_NEED(path);
    mo_run_folder_t guard = {0};
    moco_status_t status = MOCO_OK;
    TRY(mo_run_folder_guard(&guard, path));
    TRY(mo_model_write(model, path));
cleanup:
    mo_run_folder_close(&guard, 0);
    return status;
}

moco_status_t moco_model_save_memory(const moco_model_t *model, void *data, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    MO_NEED(model);
    return mo_model_write_memory(model, data, capacity, needed);
}

void moco_model_free(moco_model_t *model)
{
    MO_BORDER;
    mo_model_release(model);
}

/* ---- what it is ---- */

moco_status_t moco_model_info(const moco_model_t *model, char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    MO_NEED(model);
    return mo_json_text(mo_model_json(model), text, capacity, needed);
}

moco_status_t moco_model_file_info(const char *path, const moco_model_options_t *options, char *text, uint64_t capacity,
                                   uint64_t *needed)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    mo_wanted_t wanted;
    mo_loaded_t l = {0};
    MO_NEED(path);
    TRY(mo_wanted_of(options, &wanted));
    TRY(mo_loaded_look(path, &wanted, &l));
    status = mo_json_text(mo_encoder_json(&l.encoder, &l.transform, wanted.precision, l.foreign ? l.report : NULL),
                          text, capacity, needed);
cleanup:
    mo_loaded_free(&l);
    return status;
}

int32_t moco_model_dimension(const moco_model_t *model, int32_t tap)
{
    return model != NULL ? mo_model_width(model, tap) : 0;
}

int32_t moco_model_image_size(const moco_model_t *model)
{
    return model != NULL ? model->encoder.spec.image_size : 0;
}

/* ---- images to embeddings ---- */

static moco_status_t resolve(const moco_model_t *model, const moco_embed_options_t *options, moco_embed_options_t *o)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_option_resolve(&mo_embed_options, options, o));
    TRY(mo_model_check_tap(model, o->tap));
cleanup:
    return status;
}

/* options: resolved. */
static moco_status_t embed(moco_model_t *model, int64_t count, const mo_image_source_t *source,
                           const moco_embed_options_t *o, float *out)
{
    MO_NEED(out);
    moco_status_t status = mo_need_whole("count", count, 1, INT64_MAX);
    if (status != MOCO_OK)
        return status;
    return mo_embed(model, count, source, count == 1 ? MO_SIZE_ONE : MO_SIZE_MANY, o, out);
}

moco_status_t moco_model_embed_encoded(moco_model_t *model, int64_t count, const uint8_t *const *data,
                                       const uint64_t *sizes, const moco_embed_options_t *options, float *out)
{
    MO_BORDER;
    const mo_image_source_t source = {.encoded = data, .sizes = sizes};
    moco_embed_options_t o;
    MO_NEED(model);
    MO_NEED(data);
    MO_NEED(sizes);
    moco_status_t status = resolve(model, options, &o);
    return status == MOCO_OK ? embed(model, count, &source, &o, out) : status;
}

moco_status_t moco_model_embed_pixels(moco_model_t *model, int64_t count, const moco_image_t *images,
                                      const moco_embed_options_t *options, float *out)
{
    MO_BORDER;
    const mo_image_source_t source = {.images = images};
    moco_embed_options_t o;
    MO_NEED(model);
    MO_NEED(images);
    moco_status_t status = resolve(model, options, &o);
    return status == MOCO_OK ? embed(model, count, &source, &o, out) : status;
}

moco_status_t moco_model_embed_tensor(moco_model_t *model, int64_t count, const float *images,
                                      const moco_embed_options_t *options, float *out)
{
    MO_BORDER;
    mo_image_source_t source = {.floats = images};
    moco_embed_options_t o;
    MO_NEED(model);
    MO_NEED(images);
    moco_status_t status = resolve(model, options, &o);
    if (status != MOCO_OK)
        return status;
    source.layout = o.layout;
    return embed(model, count, &source, &o, out);
}

moco_status_t moco_model_embed_dataset(moco_model_t *model, moco_dataset_t *dataset,
                                       const moco_embed_options_t *options, moco_rows_fn rows, void *user)
{
    MO_BORDER;
    moco_embed_options_t o;
    MO_NEED(model);
    MO_NEED(dataset);
    MO_NEED(rows);
    moco_status_t status = resolve(model, options, &o);
    return status == MOCO_OK ? mo_embed_dataset(model, dataset, &o, rows, user) : status;
}

moco_status_t moco_model_embed_to_npy(moco_model_t *model, moco_dataset_t *dataset, const char *path,
                                      const moco_embed_options_t *options, moco_embed_result_t *result)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_embed_options_t o;
    moco_embed_result_t full;
    MO_NEED(model);
    MO_NEED(dataset);
    MO_NEED(path);
    TRY(resolve(model, options, &o));
    TRY(mo_report_check(result));
    TRY(mo_embed_to_npy(model, dataset, path, &o, &full));
    mo_report_out(&full, sizeof full, result);
cleanup:
    return status;
}
