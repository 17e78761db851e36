/* The data set handle: made of a listing, counted by reference, asked for names and classes. Called
 * by the border, the loader and the evaluators. */
#include "data/dataset.h"

#include "util/alloc.h"
#include "util/hash.h"
#include "util/status.h"

/* ---- making and freeing ---- */

static uint64_t hash_names(const mo_listing_t *listing)
{
    uint64_t hash = MO_HASH_START;
    for (int64_t i = 0; i < listing->count; i++) {
        const char *name = listing->text + listing->entries[i].name;
        for (; *name != '\0'; name++)
            hash = mo_hash_add(hash, (uint8_t)*name);
        hash = mo_hash_add(hash, '\n');
    }
    return hash;
}

moco_status_t mo_dataset_create(const moco_dataset_options_t *options, moco_dataset_t **out)
{
    moco_dataset_t *dataset = NULL;
    const moco_status_t status = mo_calloc(1, sizeof *dataset, &dataset);
    if (status != MOCO_OK)
        return status;
    atomic_init(&dataset->references, 1);
    dataset->listing.fd = -1;
    dataset->max_pixels = options->max_pixels;
    dataset->max_bytes = options->max_bytes;
    *out = dataset;
    return MOCO_OK;
}

moco_status_t mo_dataset_finish(moco_dataset_t *dataset)
{
    moco_status_t status = MOCO_OK;
    const size_t count = (size_t)dataset->listing.count;
    TRY(mo_calloc(count, sizeof *dataset->reasons, &dataset->reasons));
    TRY(mo_calloc(count, sizeof *dataset->marks, &dataset->marks));
    dataset->name_hash = hash_names(&dataset->listing);
cleanup:
    return status;
}

moco_status_t mo_dataset_open(const char *path, const moco_dataset_options_t *options, moco_dataset_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_dataset_t *dataset = NULL;
    TRY(mo_dataset_create(options, &dataset));
    TRY(mo_listing_open(&dataset->listing, path, options->limit));
    TRY(mo_dataset_finish(dataset));
    *out = dataset;
    dataset = NULL;
cleanup:
    mo_dataset_release(dataset);
    return status;
}

moco_dataset_t *mo_dataset_retain(moco_dataset_t *dataset)
{
    atomic_fetch_add_explicit(&dataset->references, 1, memory_order_relaxed);
    return dataset;
}

void mo_dataset_release(moco_dataset_t *dataset)
{
    if (dataset == NULL || atomic_fetch_sub_explicit(&dataset->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int64_t i = 0; dataset->reasons != NULL && i < dataset->listing.count; i++)
        mo_free(atomic_load_explicit(&dataset->reasons[i], memory_order_relaxed));
    for (int32_t i = 0; i < MO_IDLE_BUFFERS; i++) {
        mo_bytes_t *bytes = atomic_load_explicit(&dataset->idle[i], memory_order_relaxed);
        if (bytes != NULL)
            mo_free(bytes->data);
        mo_free(bytes);
    }
    mo_free(dataset->reasons);
    mo_free(dataset->marks);
    mo_listing_free(&dataset->listing);
    mo_free(dataset);
}

/* ---- what it holds ---- */

int64_t mo_dataset_count(const moco_dataset_t *dataset)
{
    return dataset == NULL ? 0 : dataset->listing.count;
}

int32_t mo_dataset_classes(const moco_dataset_t *dataset)
{
    return dataset == NULL ? 0 : dataset->listing.class_count;
}

const char *mo_dataset_name(const moco_dataset_t *dataset, int64_t index)
{
    if (dataset == NULL || index < 0 || index >= dataset->listing.count)
        return NULL;
    return dataset->listing.text + dataset->listing.entries[index].name;
}

int32_t mo_dataset_label(const moco_dataset_t *dataset, int64_t index)
{
    if (dataset == NULL || index < 0 || index >= dataset->listing.count)
        return -1;
    return dataset->listing.entries[index].label;
}

const char *mo_dataset_class_name(const moco_dataset_t *dataset, int32_t label)
{
    if (dataset == NULL || label < 0 || label >= dataset->listing.class_count)
        return NULL;
    return dataset->listing.text + dataset->listing.classes[label];
}

uint64_t mo_dataset_name_hash(const moco_dataset_t *dataset)
{
    return dataset->name_hash;
}

const char *mo_dataset_source(const moco_dataset_t *dataset)
{
    const int32_t source = dataset->listing.source;
    return source == MO_SOURCE_TAR || source == MO_SOURCE_LIST ? dataset->listing.path : NULL;
}

int mo_dataset_is_callback(const moco_dataset_t *dataset)
{
    return dataset->listing.source == MO_SOURCE_CALLBACK;
}
