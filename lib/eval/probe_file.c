/* A probe's classifier in a file, beside the backbone it was trained on. */
#include <stdio.h>
#include <stdlib.h>

#include <moco/version.h>

#include "eval/model_file.h"
#include "eval/probe.h"
#include "persist/checkpoint.h"
#include "util/json.h"
#include "util/status.h"

static moco_status_t put_names(mo_st_writer_t *writer, const moco_probe_t *probe)
{
    json_t *names = json_array();
    for (int32_t c = 0; c < probe->classes; c++)
        json_array_append_new(names, mo_json_bytes(probe->names[c]));
    char *text = names != NULL && json_array_size(names) == (size_t)probe->classes ? json_dumps(names, JSON_COMPACT)
                                                                                  : NULL;
    json_decref(names);
    moco_status_t status = text != NULL ? mo_st_meta(writer, "classes", text)
                                        : mo_fail(MOCO_ERR_MEMORY, "no memory for the names of the classes");
    free(text);
    return status;
}

/* "fc" in torchvision's ResNets, "head" in the usual ViTs. */
static moco_status_t put_classifier(mo_st_writer_t *writer, const moco_probe_t *probe)
{
    const char *layer = probe->arch >= MOCO_ARCH_VIT_SMALL ? "head" : "fc";
    const int64_t dims[] = {probe->classes, probe->features};
    char name[32];
    moco_status_t status = MOCO_OK;
    snprintf(name, sizeof name, "%s.weight", layer);
    TRY(mo_st_add(writer, name, MO_F32, 2, dims, probe->weights));
    snprintf(name, sizeof name, "%s.bias", layer);
    TRY(mo_st_add(writer, name, MO_F32, 1, dims, probe->bias));
cleanup:
    return status;
}

moco_status_t mo_probe_write(const moco_probe_t *probe, const moco_model_t *model, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t writer = {0};
    mo_net_t backbone = {0};
    mo_encoder_spec_t spec = model->spec;
    if (mo_model_hash(model) != probe->result.backbone_hash)
        return mo_fail(MOCO_ERR_MISMATCH, "the model's hash is %016llx, the probed one had %016llx",
                       (unsigned long long)mo_model_hash(model), (unsigned long long)probe->result.backbone_hash);
    spec.head = -1;
    TRY(mo_encoder_build(&spec, &backbone)); /* the head comes last in a net: the same offsets without it */
    mo_encoder_file_t file = {&backbone, model->params, model->running, model->steps > 0 ? model->steps : 0};
    TRY(mo_meta_int(&writer, "format_version", MO_FORMAT_VERSION));
    TRY(mo_st_meta(&writer, "kind", "classifier"));
    TRY(mo_st_meta(&writer, "libmoco", moco_version_string()));
    TRY(mo_model_meta(&writer, &spec, &model->recipe, model->steps));
    TRY(put_names(&writer, probe));
    TRY(mo_meta_int(&writer, "normalize", probe->options.normalize));
    TRY(mo_meta_double(&writer, "lr", probe->result.lr));
    TRY(mo_encoder_put(&writer, "", &file));
    TRY(put_classifier(&writer, probe));
    TRY(mo_st_write(&writer, path));
cleanup:
    mo_net_free(&backbone);
    mo_st_writer_free(&writer);
    return status;
}
