/* A data set to embeddings, batch by batch: while lanes embed one, loader threads decode the
 * next. */
#include "eval/model.h"
#include "util/alloc.h"
#include "util/status.h"

#define DATASET_BATCH 256 /* rows a loader batch: several shards for every lane */

/* Tells of the broken images among entries [from, to) of the listing. */
static void tell_broken(moco_dataset_t *dataset, const moco_embed_options_t *o, int64_t from, int64_t to)
{
    for (int64_t i = from; o->failed != NULL && i < to; i++) {
        const char *reason = mo_dataset_broken_reason(dataset, i);
        if (reason != NULL)
            o->failed(o->user, i, MOCO_ERR_IMAGE, reason);
    }
}

static moco_status_t refuse_all_broken(const moco_dataset_t *dataset)
{
    const int64_t count = mo_dataset_count(dataset);
    const char *reason = NULL;
    int64_t first = 0;
    while (first < count && (reason = mo_dataset_broken_reason(dataset, first)) == NULL)
        first++;
    return mo_fail(MOCO_ERR_NO_DATA, "none of the %lld images is good%s%.150s%s%s", (long long)count,
                   reason != NULL ? "; the first, '" : "", reason != NULL ? mo_dataset_name(dataset, first) : "",
                   reason != NULL ? "': " : "", reason != NULL ? reason : "");
}

moco_status_t mo_embed_dataset(moco_model_t *model, moco_dataset_t *dataset, const moco_embed_options_t *o,
                               moco_rows_fn rows, void *user)
{
    return mo_embed_dataset_from(model, dataset, 0, 0, o, rows, user);
}

moco_status_t mo_embed_dataset_from(moco_model_t *model, moco_dataset_t *dataset, int64_t first, int64_t done,
                                    const moco_embed_options_t *o, moco_rows_fn rows, void *user)
{
    moco_status_t status = MOCO_OK;
    mo_loader_t *loader = NULL;
    const mo_batch_t *batch = NULL;
    float *values = NULL;
    int64_t told = first;
    const moco_embed_options_t plain = {.cancel = o->cancel, .tap = o->tap}; /* the rows of a batch are all good */
    mo_loader_spec_t spec = {.train = 0,
                             .resize = model->transform.eval_resize,
                             .size = model->transform.eval_crop,
                             .batch = DATASET_BATCH,
                             .depth = 2,
                             .max_broken = -1,
                             .cancel = o->cancel,
                             .quiet = o->failed != NULL,
                             .threads = mo_loader_threads(o->loader_threads, mo_device_lanes(model->device))};
    TRY(mo_calloc((size_t)DATASET_BATCH * (size_t)mo_model_width(model, o->tap), sizeof *values, &values));
    TRY(mo_loader_create(&spec, dataset, &loader));
    TRY(mo_loader_seek(loader, 0, first));
    while ((status = mo_loader_next(loader, &batch)) == MOCO_OK) {
        mo_image_source_t source = {.rows = batch->rows[0], .dataset = dataset, .indices = batch->index};
        TRY(mo_embed(model, batch->count, &source, MO_SIZE_MANY, &plain, values));
        done += batch->count;
        tell_broken(dataset, o, told, batch->position);
        told = batch->position;
        if (rows(user, batch->count, batch->index, values) != 0)
            TRY(mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after %lld images", (long long)done));
        mo_loader_return(loader, batch);
        batch = NULL;
    }
    if (status == MOCO_ERR_NO_DATA) {
        tell_broken(dataset, o, told, mo_dataset_count(dataset));
        status = done > 0 ? MOCO_OK : refuse_all_broken(dataset);
    }
cleanup:
    if (loader != NULL && batch != NULL)
        mo_loader_return(loader, batch);
    mo_loader_free(loader);
    mo_free(values);
    return status;
}
