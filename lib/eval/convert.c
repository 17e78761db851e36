/* Conversion of encoders: read, describe, write; see convert.h. Training checkpoints are
 * train/import.c's. */
#include "eval/convert.h"

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "persist/layout.h"
#include "util/cancel.h"

moco_status_t mo_convert_encoder(const char *source, const char *target, const moco_convert_options_t *o,
                                 const mo_answer_t *answer)
{
    static const char *const schemes[] = {
        [MOCO_FILE_TORCHVISION] = "torchvision", [MOCO_FILE_TIMM] = "timm", [MOCO_FILE_DETECTRON2] = "detectron2"};
    moco_status_t status = MOCO_OK;
    mo_loaded_t l = {0};
    const int drop = o->head == MOCO_CONVERT_HEAD_DROP ||
                     (o->head == MOCO_CONVERT_HEAD_AUTO && o->to != MOCO_FILE_ENCODER);
    const mo_wanted_t wanted = {.key = o->encoder == MOCO_ENCODER_KEY,
                                .no_head = drop,
                                .image_size = o->image_size,
                                .eval_resize = o->eval_resize,
                                .vit_heads = o->vit_heads,
                                .mean = {o->mean_r, o->mean_g, o->mean_b},
                                .std = {o->std_r, o->std_g, o->std_b},
                                .prefix = o->prefix};
    TRY(mo_loaded_read(source, &wanted, &l));
    TRY(mo_cancel_check(o->cancel));
    if (json_object_set_new(l.report, "model", mo_spec_json(&l.encoder.spec, &l.transform)) != 0)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a report"));
    TRY(mo_json_answer(json_incref(l.report), answer));
    if (o->to == MOCO_FILE_ENCODER)
        TRY(mo_model_write_encoder(&l.encoder, &l.transform, NULL, target));
    else
        TRY(mo_export(&l, mo_scheme_find(schemes[o->to]), target));
cleanup:
    mo_loaded_free(&l);
    return status;
}
