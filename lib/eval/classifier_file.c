/* Backbone and classifier as one file; see classifier_file.h. */
#include "eval/classifier_file.h"

#include <stdio.h>
#include <stdlib.h>


#include "eval/model_file.h"
#include "persist/checkpoint.h"
#include "util/json.h"
#include "util/status.h"
#include "util/version.h"

const char *mo_classifier_layer(int32_t arch)
{
    return mo_is_vit(arch) ? "head" : "fc";
}

static moco_status_t put_names(mo_st_writer_t *writer, const mo_classifier_t *classifier)
{
    json_t *names = json_array();
    for (int32_t c = 0; c < classifier->classes; c++)
        json_array_append_new(names, mo_json_bytes(classifier->names[c]));
    char *text = names != NULL && json_array_size(names) == (size_t)classifier->classes
                     ? json_dumps(names, JSON_COMPACT)
                     : NULL;
    json_decref(names);
    moco_status_t status = text != NULL ? mo_st_meta(writer, "classes", text)
                                        : mo_fail(MOCO_ERR_MEMORY, "no memory for the names of the classes");
    free(text);
    return status;
}

static moco_status_t put_layer(mo_st_writer_t *writer, int32_t arch, const mo_classifier_t *classifier)
{
    const int64_t dims[] = {classifier->classes, classifier->features};
    char name[32];
    moco_status_t status = MOCO_OK;
    snprintf(name, sizeof name, "%s.weight", mo_classifier_layer(arch));
    TRY(mo_st_add(writer, name, MO_F32, 2, dims, classifier->weights));
    snprintf(name, sizeof name, "%s.bias", mo_classifier_layer(arch));
    TRY(mo_st_add(writer, name, MO_F32, 1, dims, classifier->bias));
cleanup:
    return status;
}

moco_status_t mo_classifier_write(mo_st_writer_t *writer, const moco_model_t *model, const mo_classifier_t *classifier,
                                  const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_encoder_t backbone = model->encoder; /* its numbers are borrowed */
    const int64_t batches = backbone.steps > 0 ? backbone.steps : 0;
    backbone.spec.head = -1;
    backbone.net = (mo_net_t){0};
    TRY(mo_encoder_net(&backbone.spec, &backbone.net)); /* the head comes last in a net: the same offsets without it */
    TRY(mo_meta_int(writer, "format_version", MO_FORMAT_VERSION));
    TRY(mo_st_meta(writer, "kind", "classifier"));
    TRY(mo_st_meta(writer, "libmoco", MO_VERSION_TEXT));
    TRY(mo_model_meta(writer, &backbone.spec, &model->transform, backbone.steps));
    TRY(put_names(writer, classifier));
    TRY(mo_encoder_put(writer, "", &backbone, &batches));
    TRY(put_layer(writer, backbone.spec.arch, classifier));
    TRY(mo_st_write(writer, path));
cleanup:
    mo_net_free(&backbone.net);
    return status;
}
