/* moco_convert and moco_file_info: the border. */
#include <moco/convert.h>

#include <string.h>

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "persist/layout.h"
#include "train/import.h"
#include "util/json.h"
#include "util/status.h"
#include "util/structsize.h"

_Static_assert(sizeof(moco_convert_options_t) == 88, "no padding");

static const moco_convert_options_t defaults = {.struct_size = sizeof defaults, .key_update = 1};

moco_status_t moco_convert_options_init(moco_convert_options_t *options, uint64_t struct_size)
{
    return mo_struct_init(options, struct_size, &defaults, sizeof defaults);
}

/* ---- checks ---- */

static moco_status_t check_choices(const moco_convert_options_t *o)
{
    const struct {
        const char *name;
        int32_t value, last;
    } rows[] = {{"layout", o->layout, MOCO_FILE_DETECTRON2}, {"encoder", o->encoder, MOCO_ENCODER_KEY},
                {"head", o->head, MOCO_CONVERT_HEAD_DROP}, {"key_update", o->key_update, 1},
                {"vit_heads", o->vit_heads, 1024}, {"reserved", o->reserved, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].value < 0 || rows[i].value > rows[i].last)
            return mo_fail(MOCO_ERR_ARGUMENT, "%s is %d, wanted 0 to %d", rows[i].name, rows[i].value, rows[i].last);
    if (o->layout == MOCO_FILE_TRAINING && (o->encoder != MOCO_ENCODER_QUERY || o->head == MOCO_CONVERT_HEAD_DROP))
        return mo_fail(MOCO_ERR_ARGUMENT, "a training checkpoint has both encoders and their heads: encoder is %d and "
                       "head %d, wanted %d and not %d", o->encoder, o->head, MOCO_ENCODER_QUERY, MOCO_CONVERT_HEAD_DROP);
    return MOCO_OK;
}

static moco_status_t check_transform(const moco_convert_options_t *o)
{
    const double std[3] = {o->std_r, o->std_g, o->std_b}, mean[3] = {o->mean_r, o->mean_g, o->mean_b};
    const int given = std[0] != 0 || std[1] != 0 || std[2] != 0;
    for (int i = 0; i < 3; i++)
        if (given && !(std[i] >= 1e-6 && std[i] <= 1e6 && mean[i] >= -1e3 && mean[i] <= 1e3))
            return mo_fail(MOCO_ERR_ARGUMENT,
                           "mean is %g and std %g in channel %d, wanted -1000 to 1000 and 1e-6 to 1e6, "
                           "or every std 0",
                           mean[i], std[i], i);
    if (o->layout == MOCO_FILE_TRAINING && (given || o->image_size != 0 || o->eval_resize != 0))
        return mo_fail(MOCO_ERR_ARGUMENT, "a training checkpoint's image size and transform are those of 'training'");
    if (o->image_size != 0 && (o->image_size < 16 || o->image_size > 1024))
        return mo_fail(MOCO_ERR_ARGUMENT, "image_size is %d, wanted 16 to 1024, or 0", o->image_size);
    if (o->eval_resize != 0 && (o->eval_resize < 1 || o->eval_resize > 4096 || o->eval_resize < o->image_size))
        return mo_fail(MOCO_ERR_ARGUMENT, "eval_resize is %d, wanted image_size %d to 4096, or 0", o->eval_resize,
                       o->image_size);
    return MOCO_OK;
}

/* ---- conversion ---- */

static moco_status_t convert_encoder(const char *in, const char *out, const moco_convert_options_t *o, json_t **report)
{
    static const char *const schemes[] = {[MOCO_FILE_TORCHVISION] = "torchvision", [MOCO_FILE_TIMM] = "timm",
                                          [MOCO_FILE_DETECTRON2] = "detectron2"};
    moco_status_t status = MOCO_OK;
    mo_loaded_t l = {0};
    const int drop = o->head == MOCO_CONVERT_HEAD_DROP || (o->head == MOCO_CONVERT_HEAD_AUTO && o->layout != MOCO_FILE_ENCODER);
    const mo_wanted_t wanted = {.key = o->encoder == MOCO_ENCODER_KEY,
                                .no_head = drop,
                                .image_size = o->image_size,
                                .eval_resize = o->eval_resize,
                                .vit_heads = o->vit_heads,
                                .mean = {o->mean_r, o->mean_g, o->mean_b},
                                .std = {o->std_r, o->std_g, o->std_b}};
    TRY(mo_loaded_read(in, &wanted, &l));
    if (json_object_set_new(l.report, "model", mo_spec_json(&l.encoder.spec, &l.transform)) != 0)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a report"));
    if (o->layout == MOCO_FILE_ENCODER)
        TRY(mo_model_write_encoder(&l.encoder, &l.transform, out));
    else
        TRY(mo_export(&l, mo_scheme_find(schemes[o->layout]), out));
    *report = l.report;
    l.report = NULL;
cleanup:
    mo_loaded_free(&l);
    return status;
}

moco_status_t moco_convert(const char *in, const char *out, const moco_convert_options_t *options,
                           const moco_trainer_options_t *training, char *report, uint64_t capacity)
{
    moco_status_t status = MOCO_OK;
    moco_convert_options_t o;
    json_t *made = NULL;
    if (in == NULL || out == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "'%s' is NULL", in == NULL ? "in" : "out");
    if ((report == NULL) != (capacity == 0) || (report != NULL && capacity < MOCO_CONVERT_REPORT_SIZE))
        return mo_fail(MOCO_ERR_ARGUMENT, "capacity is %llu, wanted %d or more for a report, or 0 with NULL",
                       (unsigned long long)capacity, MOCO_CONVERT_REPORT_SIZE);
    TRY(mo_struct_overlay(options, &o, &defaults, sizeof o));
    TRY(check_choices(&o));
    TRY(check_transform(&o));
    if (training != NULL && o.layout != MOCO_FILE_TRAINING)
        TRY(mo_fail(MOCO_ERR_ARGUMENT, "'training' is for layout MOCO_FILE_TRAINING alone, layout is %d", o.layout));
    TRY(o.layout == MOCO_FILE_TRAINING ? mo_import_training(in, out, training, o.key_update, o.vit_heads, &made)
                                       : convert_encoder(in, out, &o, &made));
    if (report != NULL) {
        status = mo_json_text(made, report, capacity, NULL);
        made = NULL;
    }
cleanup:
    json_decref(made);
    return status;
}

moco_status_t moco_file_info(const char *path, char *text, uint64_t capacity, uint64_t *needed)
{
    json_t *info = NULL;
    if (path == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "'path' is NULL");
    moco_status_t status = mo_file_describe(path, &info);
    return status == MOCO_OK ? mo_json_text(info, text, capacity, needed) : status;
}
