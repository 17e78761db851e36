/* An encoder under other programs' names, for them to load. */
#include <stdio.h>

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "nets/names.h"
#include "persist/layout.h"
#include "util/status.h"
#include "util/version.h"

static moco_status_t put_statistics(mo_st_writer_t *w, const mo_scheme_t *scheme, const mo_loaded_t *l,
                                    const int64_t *batches)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < l->encoder.net.bn_count; i++) {
        const mo_bn_t *bn = &l->encoder.net.bns[i];
        const struct {
            const char *part;
            mo_dtype_t dtype;
            int32_t rank;
            const void *data;
        } rows[] = {{"running_mean", MO_F32, 1, l->encoder.running + bn->offset},
                    {"running_var", MO_F32, 1, l->encoder.running + bn->offset + bn->channels},
                    {"num_batches_tracked", MO_I64, 0, batches}};
        const int64_t dims[1] = {bn->channels};
        for (int k = 0; k < 3; k++) {
            char ours[MO_LAYOUT_NAME], theirs[MO_LAYOUT_NAME];
            snprintf(ours, sizeof ours, "%s.%s", bn->name, rows[k].part);
            mo_scheme_theirs(scheme, ours, theirs);
            TRY(mo_st_add(w, theirs, rows[k].dtype, rows[k].rank, dims, rows[k].data));
        }
    }
cleanup:
    return status;
}

/* "format" is what PyTorch's safetensors front end writes; the other two are detectron2's hints for
 * loading. */
moco_status_t mo_export(const mo_loaded_t *l, const mo_scheme_t *scheme, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t w = {0};
    const int64_t batches = l->encoder.steps > 0 ? l->encoder.steps : 0;
    const int detectron2 = scheme == mo_scheme_find("detectron2");
    float *params = NULL;
    if (mo_is_vit(l->encoder.spec.arch) && !scheme->vit)
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s's names are those of ResNets, the encoder is a ViT (%s); wanted timm's", scheme->name,
                       mo_arch_names[l->encoder.spec.arch]);
    TRY(mo_buffer_map(l->encoder.params, MO_READ, &params));
    TRY(mo_st_meta(&w, "format", "pt"));
    TRY(mo_st_meta(&w, "source", MO_VERSION_TEXT));
    if (mo_is_vit(l->encoder.spec.arch)) /* no shape tells them */
        TRY(mo_meta_int(&w, "vit_heads", mo_vit_form(&l->encoder.spec).heads));
    if (detectron2) {
        TRY(mo_st_meta(&w, "__author__", "MOCO"));
        TRY(mo_st_meta(&w, "matching_heuristics", "True"));
    }
    for (int32_t i = 0; i < l->encoder.net.parameter_count; i++) {
        const mo_parameter_t *parameter = &l->encoder.net.parameters[i];
        char theirs[MO_LAYOUT_NAME];
        if (parameter->hidden) /* a constant of the arithmetic */
            continue;
        mo_scheme_theirs(scheme, parameter->name, theirs);
        TRY(mo_st_add(&w, theirs, MO_F32, parameter->rank, parameter->dims, params + parameter->offset));
    }
    TRY(put_statistics(&w, scheme, l, &batches));
    TRY(mo_st_write(&w, path));
cleanup:
    mo_buffer_unmap(l->encoder.params, params);
    mo_st_writer_free(&w);
    return status;
}
