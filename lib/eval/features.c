/* Data sets to features with labels; see features.h. */
#include "eval/features.h"

#include <string.h>

#include "eval/model.h"
#include "util/alloc.h"
#include "util/status.h"

typedef struct collection {
    const mo_features_spec_t *spec;
    moco_dataset_t *dataset;
    mo_features_t *out;
} collection_t;

static int32_t take_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    collection_t *c = user;
    const mo_features_spec_t *spec = c->spec;
    mo_features_t *out = c->out;
    for (int64_t i = 0; i < count; i++) {
        int32_t label = mo_dataset_label(c->dataset, indices[i]);
        if (label >= 0 && spec->map != NULL)
            label = spec->map[label];
        if (label < 0 && !spec->keep)
            continue;
        memcpy(out->rows + out->count * out->width, rows + i * out->width, (size_t)out->width * sizeof(float));
        out->labels[out->count++] = label;
    }
    if (spec->progress == NULL)
        return 0;
    return spec->progress(spec->user, spec->done_before + indices[count - 1] + 1, spec->total);
}

moco_status_t mo_features_collect(moco_model_t *model, moco_dataset_t *dataset, const mo_features_spec_t *spec,
                                  mo_features_t *out)
{
    moco_status_t status = MOCO_OK;
    const size_t images = (size_t)mo_dataset_count(dataset);
    collection_t c = {spec, dataset, out};
    const moco_embed_options_t how = {.cancel = spec->cancel, .tap = spec->tap, .loader_threads = spec->loader_threads};
    *out = (mo_features_t){.width = mo_model_width(model, spec->tap)};
    TRY(mo_calloc(images, (size_t)out->width * sizeof *out->rows, &out->rows));
    TRY(mo_calloc(images, sizeof *out->labels, &out->labels));
    TRY(mo_embed_dataset(model, dataset, &how, take_rows, &c));
cleanup:
    return status;
}

void mo_features_free(mo_features_t *features)
{
    mo_free(features->rows);
    mo_free(features->labels);
    *features = (mo_features_t){0};
}
