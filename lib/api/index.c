/* The border of <moco/index.h>: arguments are checked, the eval module does the work. */
#include <moco/index.h>

#include "eval/classify.h"
#include "eval/index.h"
#include "util/border.h"
#include "util/need.h"

moco_status_t moco_index_create(int32_t dimension, const moco_index_options_t *options, moco_device_t *device,
                                moco_index_t **out)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_index_options_t o;
    moco_index_t *index = NULL;
    MO_NEED(out);
    *out = NULL;
    TRY(mo_option_resolve(&mo_index_options, options, &o));
    TRY(mo_index_create(dimension, device, &index));
    TRY(mo_index_reserve(index, o.capacity));
    *out = index;
    index = NULL;
cleanup:
    mo_index_free(index);
    return status;
}

void moco_index_free(moco_index_t *index)
{
    MO_BORDER;
    mo_index_free(index);
}

int64_t moco_index_count(const moco_index_t *index)
{
    return index == NULL ? 0 : index->count;
}

int32_t moco_index_dimension(const moco_index_t *index)
{
    return index == NULL ? 0 : index->dimension;
}

static moco_status_t check_rows(const moco_index_t *index, const char *name, const float *rows, int64_t count)
{
    MO_NEED(index);
    if (count < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted 0 or more", (long long)count);
    if (rows == NULL && count > 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "'%s' is NULL", name);
    return MOCO_OK;
}

moco_status_t moco_index_add(moco_index_t *index, int64_t count, const float *vectors, const int32_t *labels)
{
    MO_BORDER;
    moco_status_t status = check_rows(index, "vectors", vectors, count);
    return status == MOCO_OK && count > 0 ? mo_index_add(index, vectors, labels, count) : status;
}

moco_status_t moco_index_search(moco_index_t *index, int64_t count, const float *queries,
                                const moco_search_options_t *options, int64_t *ids, float *similarities)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_search_options_t o;
    TRY(check_rows(index, "queries", queries, count));
    TRY(mo_option_resolve(&mo_search_options, options, &o));
    if (o.k > index->count)
        return mo_fail(MOCO_ERR_ARGUMENT, "k is %lld, wanted 1 to the %lld vectors of the index", (long long)o.k,
                       (long long)index->count);
    if (count == 0)
        return MOCO_OK;
    MO_NEED(ids);
    TRY(mo_index_search(index, queries, count, &o, ids, similarities));
cleanup:
    return status;
}

static moco_status_t check_classes(const moco_index_t *index, moco_classify_options_t *o)
{
    if (index->count == 0)
        return mo_fail(MOCO_ERR_NO_DATA, "the index holds no vectors");
    if (index->unlabelled > 0)
        return mo_fail(MOCO_ERR_STATE, "%lld of the %lld vectors of the index have no label",
                       (long long)index->unlabelled, (long long)index->count);
    if (o->classes == 0 && index->max_label < MO_MAX_CLASSES)
        o->classes = index->max_label + 1;
    if (o->classes <= index->max_label)
        return mo_fail(MOCO_ERR_ARGUMENT, "classes is %d, wanted more than the largest label %d and at most %d",
                       (int)o->classes, (int)index->max_label, MO_MAX_CLASSES);
    return MOCO_OK;
}

moco_status_t moco_index_classify(moco_index_t *index, int64_t count, const float *queries,
                                  const moco_classify_options_t *options, int32_t *top)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_classify_options_t o;
    TRY(check_rows(index, "queries", queries, count));
    TRY(mo_option_resolve(&mo_classify_options, options, &o));
    TRY(check_classes(index, &o));
    if (count == 0)
        return MOCO_OK;
    MO_NEED(top);
    TRY(mo_index_classify(index, queries, count, &o, top));
cleanup:
    return status;
}

moco_status_t moco_index_load_npy(const char *path, const moco_index_options_t *options, moco_device_t *device,
                                  moco_index_t **out)
{
    MO_BORDER;
    moco_index_options_t o;
    MO_NEED(path);
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_option_resolve(&mo_index_options, options, &o);
    return status == MOCO_OK ? mo_index_read_npy(path, o.capacity, device, out) : status;
}

moco_status_t moco_index_save_npy(const moco_index_t *index, const char *path)
{
    MO_BORDER;
    MO_NEED(index);
    MO_NEED(path);
    return mo_index_write_npy(index, path);
}
