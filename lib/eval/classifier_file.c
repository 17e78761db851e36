/* Backbone and classifier as one file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/classifier.h"
#include "eval/loaded.h"
#include "eval/model_file.h"
#include "persist/checkpoint.h"
#include "persist/output.h"
#include "util/alloc.h"
#include "util/json.h"
#include "util/status.h"
#include "util/version.h"

enum { LAYER_NAME = 32 };

const char *mo_classifier_layer(int32_t arch)
{
    return mo_is_vit(arch) ? "head" : "fc";
}

static void layer_name(int32_t arch, const char *part, char name[LAYER_NAME])
{
    snprintf(name, LAYER_NAME, "%s.%s", mo_classifier_layer(arch), part);
}

/* ---- writing ---- */

/* `value`: a new reference, which this drops. */
static moco_status_t put_json(mo_st_writer_t *writer, const char *key, json_t *value)
{
    moco_status_t status = MOCO_OK;
    char *text = NULL;
    TRY(mo_json_dump(value, JSON_COMPACT, &text));
    TRY(mo_st_meta(writer, key, text));
cleanup:
    json_decref(value);
    mo_free(text);
    return status;
}

static moco_status_t put_layer(mo_st_writer_t *writer, const moco_classifier_t *c)
{
    const int64_t dims[] = {c->result.classes, c->result.features};
    char name[LAYER_NAME];
    moco_status_t status = MOCO_OK;
    layer_name(c->model->encoder.spec.arch, "weight", name);
    TRY(mo_st_add(writer, name, MO_F32, 2, dims, c->weights));
    layer_name(c->model->encoder.spec.arch, "bias", name);
    TRY(mo_st_add(writer, name, MO_F32, 1, dims, c->bias));
cleanup:
    return status;
}

moco_status_t mo_classifier_write(const moco_classifier_t *c, const char *path)
{
    const moco_model_t *model = c->model;
    moco_status_t status = MOCO_OK;
    mo_st_writer_t writer = {0};
    mo_encoder_t backbone = model->encoder; /* its numbers are borrowed */
    const int64_t batches = backbone.steps > 0 ? backbone.steps : 0;
    float *params = NULL;
    backbone.spec.head = -1;
    backbone.net = (mo_net_t){0};
    TRY(mo_output_check(path, MO_OUTPUT_SAFETENSORS));
    TRY(mo_encoder_net(&backbone.spec, &backbone.net)); /* the head comes last in a net: the same offsets without it */
    TRY(mo_meta_int(&writer, "format_version", MO_FORMAT_VERSION));
    TRY(mo_st_meta(&writer, "kind", "classifier"));
    TRY(mo_st_meta(&writer, "libmoco", MO_VERSION_TEXT));
    TRY(mo_model_meta(&writer, &backbone.spec, &model->transform, backbone.steps));
    TRY(put_json(&writer, "classes", mo_classifier_names(c)));
    if (!c->result.finetuned)
        TRY(mo_meta_int(&writer, "normalize", c->result.normalize));
    TRY(put_json(&writer, "result", mo_classifier_numbers(&c->result)));
    TRY(mo_buffer_map(backbone.params, MO_READ, &params));
    TRY(mo_encoder_put(&writer, "", &backbone, params, &batches));
    TRY(put_layer(&writer, c));
    TRY(mo_st_write(&writer, path));
cleanup:
    mo_buffer_unmap(backbone.params, params);
    mo_net_free(&backbone.net);
    mo_st_writer_free(&writer);
    return status;
}

/* ---- reading ---- */

static moco_status_t check_kind(const mo_tensor_file_t *file, const char *path)
{
    const char *kind = mo_tensor_file_text(file, "kind");
    if (!mo_is_ours(file) || kind == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "'%s' is no file of libmoco, wanted a classifier that it has written", path);
    if (strcmp(kind, "classifier") != 0)
        return mo_fail(MOCO_ERR_FORMAT, "'%s' is a %s, wanted a classifier", path, mo_show(kind).text);
    return MOCO_OK;
}

static moco_status_t get_json(const mo_tensor_file_t *file, const char *key, json_t **out)
{
    const char *text = mo_tensor_file_text(file, key);
    char reason[MO_JSON_REASON];
    if (text == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "the metadata has no '%s'", key);
    moco_status_t status = mo_json_load(text, strlen(text), 2, out, reason);
    return status == MOCO_OK ? MOCO_OK : mo_fail(status, "metadata '%s': %s", key, reason);
}

static moco_status_t get_tensor(const mo_tensor_file_t *file, int32_t arch, const char *part,
                                const mo_file_tensor_t **out)
{
    char name[LAYER_NAME];
    layer_name(arch, part, name);
    *out = mo_tensor_file_find(file, name);
    return *out != NULL ? MOCO_OK : mo_fail(MOCO_ERR_SHAPE, "there is no tensor '%s'", name);
}

static moco_status_t get_layer(const mo_tensor_file_t *file, moco_classifier_t *c, int32_t arch)
{
    const int64_t dims[] = {c->result.classes, c->result.features};
    const mo_file_tensor_t *weight, *bias;
    moco_status_t status = MOCO_OK;
    TRY(get_tensor(file, arch, "weight", &weight));
    TRY(get_tensor(file, arch, "bias", &bias));
    TRY(mo_shape_check(weight, 2, dims));
    TRY(mo_shape_check(bias, 1, dims));
    TRY(mo_file_floats(weight, c->weights, dims[0] * dims[1]));
    TRY(mo_file_floats(bias, c->bias, dims[0]));
cleanup:
    return status;
}

static moco_status_t get_names(const json_t *names, moco_classifier_t *c)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < c->result.classes; i++) {
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        if (name == NULL)
            return mo_fail(MOCO_ERR_FORMAT, "metadata 'classes': entry %d is no text", i);
        TRY(mo_strdup(name, &c->names[i]));
    }
cleanup:
    return status;
}

/* Files of before `result` have two of its numbers as metadata of their own: the rate of a probe,
 * the top-1 of fine-tuning. */
static moco_status_t get_old_result(const mo_tensor_file_t *file, moco_classifier_result_t *r)
{
    moco_status_t status = MOCO_OK;
    if (mo_tensor_file_text(file, "lr") != NULL)
        TRY(mo_meta_get_double(file, "lr", 0, 1e6, &r->base_lr));
    if (mo_tensor_file_text(file, "top1") != NULL)
        TRY(mo_meta_get_double(file, "top1", 0, 100, &r->top1));
cleanup:
    return status;
}

static moco_status_t get_result(const mo_tensor_file_t *file, moco_classifier_t *c)
{
    moco_classifier_result_t *r = &c->result;
    json_t *numbers = NULL;
    int64_t normalize = 0;
    moco_status_t status = MOCO_OK;
    r->finetuned = mo_tensor_file_text(file, "normalize") == NULL;
    if (!r->finetuned)
        TRY(mo_meta_get_int(file, "normalize", 0, 1, &normalize));
    r->normalize = (int32_t)normalize;
    r->rates = 1;
    TRY(mo_backbone_hash(c->model, &r->backbone_hash));
    if (mo_tensor_file_text(file, "result") != NULL)
        TRY(get_json(file, "result", &numbers));
    TRY(mo_classifier_numbers_get(numbers, r));
    if (numbers == NULL)
        TRY(get_old_result(file, r));
    c->rates[0] = (moco_classifier_rate_t){.struct_size = sizeof c->rates[0],
                                           .base_lr = r->base_lr,
                                           .effective_lr = r->effective_lr,
                                           .top1 = r->top1,
                                           .top5 = r->top5,
                                           .train_loss = r->train_loss,
                                           .test_loss = r->test_loss};
cleanup:
    json_decref(numbers);
    return status;
}

/* A count that the layer confirms, before memory is taken for it. */
static moco_status_t count_classes(const mo_tensor_file_t *file, const moco_model_t *model, const json_t *names,
                                   int32_t *classes)
{
    const int64_t dims[] = {(int64_t)json_array_size(names), mo_model_width(model, MOCO_TAP_BACKBONE)};
    const mo_file_tensor_t *weight;
    moco_status_t status = MOCO_OK;
    if (dims[0] < 1)
        TRY(mo_fail(MOCO_ERR_FORMAT, "metadata 'classes' is no array of names"));
    TRY(get_tensor(file, model->encoder.spec.arch, "weight", &weight));
    TRY(mo_shape_check(weight, 2, dims));
    *classes = (int32_t)dims[0];
cleanup:
    return status;
}

moco_status_t mo_classifier_describe(const mo_tensor_file_t *file, const char *path, json_t *out)
{
    enum { SHOWN = 100 };
    moco_status_t status = MOCO_OK;
    json_t *names = NULL, *shown = json_array(), *name;
    size_t i;
    TRY(check_kind(file, path));
    TRY(get_json(file, "classes", &names));
    json_array_foreach(names, i, name)
    {
        if (json_string_value(name) == NULL)
            TRY(mo_fail(MOCO_ERR_FORMAT, "metadata 'classes': entry %zu is no text", i));
        if (i < SHOWN && json_array_append_new(shown, mo_json_bytes(json_string_value(name))) != 0)
            TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a description"));
    }
    if (json_object_set_new(out, "classes", json_integer((json_int_t)json_array_size(names))) != 0 ||
        json_object_set(out, "class_names", shown) != 0)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a description"));
cleanup:
    json_decref(names);
    json_decref(shown);
    return status;
}

moco_status_t mo_classifier_read(const char *path, const mo_wanted_t *wanted, moco_device_t *device,
                                 moco_classifier_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_tensor_file_t file = {0};
    json_t *names = NULL;
    moco_model_t *model = NULL;
    moco_classifier_t *c = NULL;
    int32_t classes;
    TRY(mo_tensor_file_open(&file, path));
    TRY(check_kind(&file, path));
    TRY(mo_model_read_file(&file, path, wanted, device, &model));
    TRY(get_json(&file, "classes", &names));
    TRY(count_classes(&file, model, names, &classes));
    TRY(mo_classifier_create(classes, mo_model_width(model, MOCO_TAP_BACKBONE), &c));
    c->model = model;
    model = NULL;
    TRY(get_layer(&file, c, c->model->encoder.spec.arch));
    TRY(get_names(names, c));
    TRY(get_result(&file, c));
    *out = c;
    c = NULL;
cleanup:
    if (status != MOCO_OK)
        mo_message_of_file(path);
    json_decref(names);
    mo_model_release(model);
    mo_classifier_delete(c);
    mo_tensor_file_close(&file);
    return status;
}
