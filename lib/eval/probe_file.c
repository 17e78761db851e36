/* A probe's classifier in a file, beside the backbone it was trained on. */
#include "eval/classifier_file.h"
#include "eval/probe.h"
#include "persist/checkpoint.h"
#include "util/status.h"

moco_status_t mo_probe_write(const moco_probe_t *probe, const moco_model_t *model, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t writer = {0};
    const mo_classifier_t classifier = {probe->classes, probe->features, probe->names, probe->weights, probe->bias};
    if (mo_model_hash(model) != probe->result.backbone_hash)
        return mo_fail(MOCO_ERR_MISMATCH, "the model's hash is %016llx, the probed one had %016llx",
                       (unsigned long long)mo_model_hash(model), (unsigned long long)probe->result.backbone_hash);
    TRY(mo_meta_int(&writer, "normalize", probe->options.normalize));
    TRY(mo_meta_double(&writer, "lr", probe->result.lr));
    TRY(mo_classifier_write(&writer, model, &classifier, path));
cleanup:
    mo_st_writer_free(&writer);
    return status;
}
