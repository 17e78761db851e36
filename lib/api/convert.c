/* moco_convert and moco_file_info: the border. */
#include <moco/convert.h>

#include "eval/convert.h"
#include "eval/loaded.h"
#include "persist/output.h"
#include "train/import.h"
#include "train/run_folder.h"
#include "util/border.h"
#include "util/cancel.h"
#include "util/file.h"
#include "util/need.h"
#include "util/status.h"

moco_status_t moco_convert(const char *source, const char *target, const moco_convert_options_t *options, char *text,
                           uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_convert_options_t o;
    const mo_answer_t answer = {text, capacity, needed};
    mo_run_folder_t guard = {0};
    MO_NEED(source);
    MO_NEED(target);
    if (capacity > 0)
        MO_NEED(text);
    TRY(mo_option_resolve(&mo_convert_options, options, &o));
    TRY(mo_cancel_check(o.cancel));
    if (mo_file_same(source, target))
        return mo_fail(MOCO_ERR_EXISTS, "%s is the file to read and the file to write: wanted another target", target);
    TRY(mo_output_check(target, MO_OUTPUT_SAFETENSORS));
    TRY(mo_run_folder_guard(&guard, target));
    TRY(o.to == MOCO_FILE_TRAINING ? mo_import_training(source, target, &o, &answer)
                                   : mo_convert_encoder(source, target, &o, &answer));
cleanup:
    mo_run_folder_close(&guard, 0);
    return status;
}

moco_status_t moco_file_info(const char *path, char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    json_t *info = NULL, *training = NULL;
    MO_NEED(path);
    TRY(mo_file_describe(path, &info));
    if (json_object_get(info, "tensors") != NULL)
        TRY(mo_import_describe(path, &training));
    if (training != NULL && json_object_set(info, "training", training) != 0)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a description"));
    status = mo_json_text(info, text, capacity, needed);
    info = NULL;
cleanup:
    json_decref(training);
    json_decref(info);
    return status;
}
