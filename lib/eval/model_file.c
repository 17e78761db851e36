/* Models in files: what their metadata says, and writing model.safetensors (query encoder with its
 * head, torchvision names). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <moco/trainer.h>

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "engine/ops.h"
#include "nets/names.h"
#include "persist/checkpoint.h"
#include "persist/output.h"
#include "util/alloc.h"
#include "util/json.h"
#include "util/names.h"
#include "util/number.h"
#include "util/status.h"
#include "util/version.h"

#define NO_HEAD "none"

static const char *head_name(const mo_encoder_spec_t *spec)
{
    return spec->head < 0 ? NO_HEAD : mo_head_names[spec->head];
}

static moco_status_t get_name(const mo_tensor_file_t *st, const char *key, const char *const *names, int32_t *out)
{
    const char *text = mo_tensor_file_text(st, key);
    if (text == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "the metadata has no '%s'", key);
    for (int32_t i = 0; names[i] != NULL; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return MOCO_OK;
        }
    return mo_fail(MOCO_ERR_UNSUPPORTED, "metadata '%s' is '%.40s', which this version does not know", key, text);
}

static moco_status_t get_head(const mo_tensor_file_t *st, int32_t *head)
{
    const char *text = mo_tensor_file_text(st, "head");
    if (text == NULL || strcmp(text, NO_HEAD) != 0)
        return get_name(st, "head", mo_head_names, head);
    *head = -1;
    return MOCO_OK;
}

static moco_status_t get_triple(const mo_tensor_file_t *st, const char *key, double low, double high, double *values)
{
    const char *text = mo_tensor_file_text(st, key);
    char copy[128];
    int count = 0;
    if (text == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "the metadata has no '%s'", key);
    snprintf(copy, sizeof copy, "%s", text);
    for (char *part = copy, *end; part != NULL && count < 3; part = end, count++) {
        end = strchr(part, ',');
        if (end != NULL)
            *end++ = '\0';
        moco_status_t status = mo_parse_double(part, low, high, &values[count]);
        if (status != MOCO_OK)
            return mo_fail(MOCO_ERR_FORMAT, "metadata '%s' is '%.60s', wanted three numbers %g to %g", key, text, low,
                           high);
    }
    return count == 3 ? MOCO_OK : mo_fail(MOCO_ERR_FORMAT, "metadata '%s' is '%.60s', wanted three numbers", key, text);
}

/* A number that files carry only when it is not 0. */
static moco_status_t get_optional(const mo_tensor_file_t *st, const char *key, int64_t high, int32_t *out)
{
    int64_t value = 0;
    moco_status_t status = MOCO_OK;
    if (mo_tensor_file_text(st, key) != NULL)
        status = mo_meta_get_int(st, key, 0, high, &value);
    *out = (int32_t)value;
    return status;
}

static moco_status_t get_count(const mo_tensor_file_t *st, const char *key, int32_t *count)
{
    int64_t value = 0;
    moco_status_t status = mo_meta_get_int(st, key, 1, 1024, &value);
    *count = (int32_t)value;
    return status;
}

static moco_status_t read_vit(const mo_tensor_file_t *st, mo_encoder_spec_t *spec)
{
    moco_status_t status = MOCO_OK;
    TRY(get_count(st, "patch_size", &spec->patch_size));
    TRY(get_count(st, "vit_depth", &spec->depth));
    TRY(get_count(st, "vit_heads", &spec->heads));
    TRY(get_name(st, "vit_norm", mo_vit_norm_names, &spec->vit_norm));
    status = mo_vit_check(spec);
    if (status == MOCO_ERR_ARGUMENT) { /* not the caller's argument: the file's content */
        char found[MO_MESSAGE_SIZE];
        mo_message_copy(found);
        return mo_fail(MOCO_ERR_FORMAT, "metadata: %.400s", found);
    }
cleanup:
    return status;
}

moco_status_t mo_model_meta_get(const mo_tensor_file_t *st, mo_encoder_spec_t *spec, mo_transform_t *transform,
                                int64_t *steps)
{
    moco_status_t status = MOCO_OK;
    int64_t size, dimension, resize, crop;
    TRY(get_name(st, "arch", mo_arch_names, &spec->arch));
    TRY(get_name(st, "stem", mo_stem_names, &spec->stem));
    TRY(get_head(st, &spec->head));
    TRY(get_optional(st, "head_width", 65536, &spec->head_width));
    TRY(get_optional(st, "head_layers", 3, &spec->head_layers));
    TRY(mo_meta_get_double(st, "width", 0.0625, 8, &spec->width));
    TRY(mo_meta_get_int(st, "size", 16, 1024, &size));
    TRY(mo_meta_get_int(st, "dimension", 1, 65536, &dimension));
    TRY(mo_meta_get_int(st, "eval_resize", 1, 4096, &resize));
    TRY(mo_meta_get_int(st, "eval_crop", size, size, &crop));
    TRY(mo_meta_get_int(st, "steps", -1, INT64_MAX, steps));
    TRY(get_triple(st, "mean", -1e6, 1e6, transform->mean));
    TRY(get_triple(st, "std", 1e-6, 1e6, transform->std));
    spec->image_size = (int32_t)size;
    spec->dimension = (int32_t)dimension;
    if (mo_is_vit(spec->arch))
        TRY(read_vit(st, spec));
    transform->eval_resize = (int32_t)resize;
    transform->eval_crop = (int32_t)crop;
cleanup:
    return status;
}

moco_status_t mo_model_read_file(const mo_tensor_file_t *file, const char *path, const mo_wanted_t *wanted,
                                 moco_device_t *device, moco_model_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_loaded_t l = {0};
    moco_model_t *model = NULL;
    TRY(mo_loaded_take(file, path, wanted, &l));
    TRY(mo_model_create(&l.encoder, &l.transform, wanted->precision, wanted->memory_cap, device, &model));
    if (l.foreign) {
        model->report = l.report;
        l.report = NULL;
    }
    *out = model;
cleanup:
    mo_loaded_free(&l);
    return status;
}

moco_status_t mo_model_read(const char *path, const mo_wanted_t *wanted, moco_device_t *device, moco_model_t **out)
{
    mo_tensor_file_t file = {0};
    moco_status_t status = mo_tensor_file_open(&file, path);
    if (status == MOCO_OK)
        status = mo_model_read_file(&file, path, wanted, device, out);
    mo_tensor_file_close(&file);
    return status;
}

moco_status_t mo_model_read_memory(const uint8_t *bytes, uint64_t size, const mo_wanted_t *wanted,
                                   moco_device_t *device, moco_model_t **out)
{
    static const char name[] = "model in memory";
    mo_tensor_file_t file = {0};
    moco_status_t status = mo_tensor_file_open_memory(&file, bytes, size, name);
    if (status == MOCO_OK)
        status = mo_model_read_file(&file, name, wanted, device, out);
    mo_tensor_file_close(&file);
    return status;
}

/* Three float32 in 9 digits, which give the same bits back: "0.485000014,0.456,0.406". */
static moco_status_t put_triple(mo_st_writer_t *w, const char *key, const double *values)
{
    char text[128];
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        char number[MO_NUMBER_TEXT];
        mo_text_double((double)(float)values[i], 9, number);
        at += (size_t)snprintf(text + at, sizeof text - at, i > 0 ? ",%s" : "%s", number);
    }
    return mo_st_meta(w, key, text);
}

/* What the encoder has, published or not: files do not depend on defaults. */
static moco_status_t put_vit(mo_st_writer_t *w, const mo_encoder_spec_t *spec)
{
    moco_status_t status = MOCO_OK;
    mo_vit_form_t form = mo_vit_form(spec);
    TRY(mo_meta_int(w, "patch_size", form.patch));
    TRY(mo_meta_int(w, "vit_depth", form.depth));
    TRY(mo_meta_int(w, "vit_heads", form.heads));
    TRY(mo_st_meta(w, "vit_norm", mo_vit_norm_names[spec->vit_norm]));
cleanup:
    return status;
}

moco_status_t mo_model_meta(mo_st_writer_t *w, const mo_encoder_spec_t *spec, const mo_transform_t *transform,
                            int64_t steps)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_st_meta(w, "arch", mo_arch_names[spec->arch]));
    TRY(mo_st_meta(w, "stem", mo_stem_names[spec->stem]));
    TRY(mo_st_meta(w, "head", head_name(spec)));
    if (spec->head_width != 0)
        TRY(mo_meta_int(w, "head_width", spec->head_width));
    if (spec->head_layers != 0)
        TRY(mo_meta_int(w, "head_layers", spec->head_layers));
    TRY(mo_meta_double(w, "width", spec->width));
    TRY(mo_meta_int(w, "size", spec->image_size));
    TRY(mo_meta_int(w, "dimension", spec->dimension));
    if (mo_is_vit(spec->arch))
        TRY(put_vit(w, spec));
    TRY(mo_meta_int(w, "eval_resize", transform->eval_resize));
    TRY(mo_meta_int(w, "eval_crop", transform->eval_crop));
    TRY(mo_meta_int(w, "steps", steps));
    TRY(put_triple(w, "mean", transform->mean));
    TRY(put_triple(w, "std", transform->std));
cleanup:
    return status;
}

/* Borrows the numbers, and *batches, until the writer is done. */
static moco_status_t put_model(mo_st_writer_t *w, const mo_encoder_t *encoder, const mo_transform_t *transform,
                               const float *params, const int64_t *batches)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_meta_int(w, "format_version", MO_FORMAT_VERSION));
    TRY(mo_st_meta(w, "kind", "model"));
    TRY(mo_st_meta(w, "libmoco", MO_VERSION_TEXT));
    TRY(mo_model_meta(w, &encoder->spec, transform, encoder->steps));
    TRY(mo_encoder_put(w, "", encoder, params, batches));
cleanup:
    return status;
}

moco_status_t mo_model_write_encoder(const mo_encoder_t *encoder, const mo_transform_t *transform,
                                     const mo_folder_t *folder, const char *name)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t w = {0};
    const int64_t batches = encoder->steps > 0 ? encoder->steps : 0;
    float *params = NULL;
    TRY(mo_buffer_map(encoder->params, MO_READ, &params));
    TRY(put_model(&w, encoder, transform, params, &batches));
    TRY(mo_st_write_in(&w, folder, name));
cleanup:
    mo_buffer_unmap(encoder->params, params);
    mo_st_writer_free(&w);
    return status;
}

moco_status_t mo_model_write(const moco_model_t *m, const char *path)
{
    const moco_status_t status = mo_output_check(path, MO_OUTPUT_SAFETENSORS);
    return status != MOCO_OK ? status : mo_model_write_encoder(&m->encoder, &m->transform, NULL, path);
}

moco_status_t mo_model_write_memory(const moco_model_t *m, void *bytes, uint64_t capacity, uint64_t *needed)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t w = {0};
    const int64_t batches = m->encoder.steps > 0 ? m->encoder.steps : 0;
    float *params = NULL;
    TRY(mo_buffer_map(m->encoder.params, MO_READ, &params));
    TRY(put_model(&w, &m->encoder, &m->transform, params, &batches));
    TRY(mo_st_write_memory(&w, bytes, capacity, needed));
cleanup:
    mo_buffer_unmap(m->encoder.params, params);
    mo_st_writer_free(&w);
    return status;
}

json_t *mo_spec_json(const mo_encoder_spec_t *spec, const mo_transform_t *r)
{
    json_t *all = json_pack("{s:s, s:f, s:s, s:s, s:i, s:[f,f,f], s:[f,f,f], s:i, s:i}", "arch",
                            mo_arch_names[spec->arch], "width", spec->width, "stem", mo_stem_names[spec->stem], "head",
                            head_name(spec), "size", spec->image_size, "mean", r->mean[0], r->mean[1], r->mean[2],
                            "std", r->std[0], r->std[1], r->std[2], "eval_resize", r->eval_resize, "eval_crop",
                            r->eval_crop);
    if (all == NULL || !mo_is_vit(spec->arch))
        return all;
    mo_vit_form_t form = mo_vit_form(spec);
    json_t *vit = json_pack("{s:i, s:i, s:i, s:s}", "patch_size", form.patch, "vit_depth", form.depth, "vit_heads",
                            form.heads, "vit_norm", mo_vit_norm_names[spec->vit_norm]);
    if (vit == NULL || json_object_update(all, vit) != 0) {
        json_decref(all);
        all = NULL;
    }
    json_decref(vit);
    return all;
}

moco_status_t mo_model_sum(const moco_model_t *m, mo_checksum_t *sum)
{
    moco_status_t status = MOCO_OK;
    const mo_encoder_t *e = &m->encoder;
    json_t *spec = mo_spec_json(&e->spec, &m->transform);
    char *text = NULL;
    float *params = NULL;
    TRY(mo_json_dump(spec, JSON_COMPACT | JSON_SORT_KEYS, &text));
    TRY(mo_buffer_map(e->params, MO_READ, &params));
    mo_checksum_add(sum, MO_VERSION_TEXT, sizeof MO_VERSION_TEXT);
    mo_checksum_add(sum, text, strlen(text));
    if (m->precision != MOCO_PRECISION_FLOAT32)
        mo_checksum_add(sum, &m->precision, sizeof m->precision);
    mo_checksum_add(sum, params, (uint64_t)e->net.params * sizeof *params);
    for (int32_t i = 0; i < e->net.bn_count; i++)
        mo_checksum_add(sum, e->running + e->net.bns[i].offset, 2 * (uint64_t)e->net.bns[i].channels * sizeof(float));
cleanup:
    mo_buffer_unmap(e->params, params);
    mo_free(text);
    json_decref(spec);
    return status;
}

json_t *mo_encoder_json(const mo_encoder_t *e, const mo_transform_t *transform, int32_t precision, const json_t *report)
{
    json_t *all = mo_spec_json(&e->spec, transform);
    json_t *more = json_pack("{s:i, s:i, s:I, s:I, s:I, s:s}", "backbone_dimension", e->net.shapes[e->net.backbone].c,
                             "projection_dimension", e->embedding >= 0 ? e->spec.dimension : 0, "parameters",
                             (json_int_t)mo_net_numel(&e->net), "multiply_adds",
                             (json_int_t)mo_net_multiply_adds(&e->net, 0, e->net.op_count, 0), "steps",
                             (json_int_t)e->steps, "precision", mo_precision_names[precision]);
    /* Copied, not shared: any number of threads may ask at once. */
    if (more != NULL && report != NULL && json_object_set_new(more, "source", json_deep_copy(report)) != 0) {
        json_decref(more);
        more = NULL;
    }
    if (more == NULL || json_object_update(all, more) != 0) {
        json_decref(all);
        all = NULL;
    }
    json_decref(more);
    return all;
}

json_t *mo_model_json(const moco_model_t *m)
{
    return mo_encoder_json(&m->encoder, &m->transform, m->precision, m->report);
}
