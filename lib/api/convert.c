/* moco_convert and moco_file_info: the border. */
#include <moco/convert.h>

#include "eval/convert.h"
#include "eval/loaded.h"
#include "train/import.h"
#include "util/cancel.h"
#include "util/file.h"
#include "util/need.h"
#include "util/structsize.h"

_Static_assert(sizeof(void *) != 8 || sizeof(moco_convert_options_t) == 104, "no padding");

static const moco_convert_options_t defaults = {.struct_size = sizeof defaults, .key_update = 1};

moco_status_t moco_convert_options_init(moco_convert_options_t *options, uint64_t struct_size)
{
    return mo_struct_init(options, struct_size, &defaults, sizeof defaults);
}

static moco_status_t check_choices(const moco_convert_options_t *o)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_need_whole("layout", o->layout, 0, MOCO_FILE_DETECTRON2));
    TRY(mo_need_whole("encoder", o->encoder, 0, MOCO_ENCODER_KEY));
    TRY(mo_need_whole("head", o->head, 0, MOCO_CONVERT_HEAD_DROP));
    TRY(mo_need_whole("key_update", o->key_update, 0, 1));
    TRY(mo_need_whole("reserved", o->reserved, 0, 0));
cleanup:
    return status;
}

static moco_status_t check_transform(const moco_convert_options_t *o)
{
    const mo_wanted_t wanted = {.image_size = o->image_size,
                                .eval_resize = o->eval_resize,
                                .vit_heads = o->vit_heads,
                                .mean = {o->mean_r, o->mean_g, o->mean_b},
                                .std = {o->std_r, o->std_g, o->std_b}};
    return mo_wanted_check(&wanted);
}

/* A training checkpoint has all of a run, and a run's options say the rest. */
static moco_status_t check_training(const moco_convert_options_t *o)
{
    const int given = o->std_r != 0 || o->std_g != 0 || o->std_b != 0;
    if (o->layout != MOCO_FILE_TRAINING)
        return o->training == NULL
                   ? MOCO_OK
                   : mo_fail(MOCO_ERR_ARGUMENT, "'training' is for layout MOCO_FILE_TRAINING alone, layout is %d",
                             o->layout);
    if (o->encoder != MOCO_ENCODER_QUERY || o->head == MOCO_CONVERT_HEAD_DROP)
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "a training checkpoint has both encoders and their heads: encoder is %d and "
                       "head %d, wanted %d and not %d",
                       o->encoder, o->head, MOCO_ENCODER_QUERY, MOCO_CONVERT_HEAD_DROP);
    if (given || o->image_size != 0 || o->eval_resize != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "a training checkpoint's image size and transform are those of 'training'");
    return MOCO_OK;
}

moco_status_t moco_convert(const char *source, const char *target, const moco_convert_options_t *options, char *text,
                           uint64_t capacity, uint64_t *needed)
{
    moco_status_t status = MOCO_OK;
    moco_convert_options_t o;
    const mo_answer_t answer = {text, capacity, needed};
    MO_NEED(source);
    MO_NEED(target);
    if (capacity > 0)
        MO_NEED(text);
    TRY(mo_struct_overlay(options, &o, &defaults, sizeof o));
    TRY(check_choices(&o));
    TRY(check_transform(&o));
    TRY(check_training(&o));
    TRY(mo_cancel_check(o.cancel));
    if (mo_file_same(source, target))
        return mo_fail(MOCO_ERR_EXISTS, "%s is the file to read and the file to write: wanted another target", target);
    TRY(o.layout == MOCO_FILE_TRAINING ? mo_import_training(source, target, &o, &answer)
                                       : mo_convert_encoder(source, target, &o, &answer));
cleanup:
    return status;
}

moco_status_t moco_file_info(const char *path, char *text, uint64_t capacity, uint64_t *needed)
{
    json_t *info = NULL;
    MO_NEED(path);
    moco_status_t status = mo_file_describe(path, &info);
    return status == MOCO_OK ? mo_json_text(info, text, capacity, needed) : status;
}
