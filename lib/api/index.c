/* The border of <moco/index.h>: arguments are checked, queries normalised, the eval module does the work. */
#include <moco/index.h>

#include <math.h>
#include <stddef.h>

#include "eval/classify.h"
#include "eval/index.h"
#include "persist/npy.h"
#include "util/alloc.h"
#include "util/rows.h"
#include "util/status.h"

#define MAX_CLASSES 16777216

moco_status_t moco_index_create(int32_t dimension, moco_device_t *device, moco_index_t **out)
{
    if (out == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "out is NULL");
    return mo_index_create(dimension, device, out);
}

void moco_index_free(moco_index_t *index)
{
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
    if (index == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "index is NULL");
    if (count < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted 0 or more", (long long)count);
    if (rows == NULL && count > 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is NULL", name);
    return MOCO_OK;
}

moco_status_t moco_index_add(moco_index_t *index, const float *vectors, const int32_t *labels, int64_t count)
{
    moco_status_t status = check_rows(index, "vectors", vectors, count);
    return status == MOCO_OK && count > 0 ? mo_index_add(index, vectors, labels, count) : status;
}

static moco_status_t search_chunks(const moco_index_t *index, const float *queries, int64_t count, int64_t k,
                                   int64_t *ids, float *similarities)
{
    moco_status_t status = MOCO_OK;
    const int64_t chunk = mo_index_chunk(k) < count ? mo_index_chunk(k) : count;
    mo_neighbour_t *near = NULL;
    float *rows = NULL;
    TRY(mo_calloc((size_t)chunk, (size_t)k * sizeof *near, &near));
    TRY(mo_calloc((size_t)count, (size_t)index->dimension * sizeof *rows, &rows));
    TRY(mo_rows_normalise(queries, count, index->dimension, rows)); /* all, before anything is written */
    for (int64_t done = 0; done < count; done += chunk) {
        int64_t now = count - done < chunk ? count - done : chunk;
        TRY(mo_index_nearest(index, rows + done * index->dimension, now, k, near));
        for (int64_t i = 0; i < now * k; i++) {
            ids[done * k + i] = near[i].id;
            if (similarities != NULL)
                similarities[done * k + i] = near[i].similarity;
        }
    }
cleanup:
    mo_free(near);
    mo_free(rows);
    return status;
}

moco_status_t moco_index_search(moco_index_t *index, const float *queries, int64_t count, int64_t k, int64_t *ids,
                                float *similarities)
{
    moco_status_t status = check_rows(index, "queries", queries, count);
    if (status != MOCO_OK)
        return status;
    if (k < 1 || k > index->count)
        return mo_fail(MOCO_ERR_ARGUMENT, "k is %lld, wanted 1 to the %lld vectors of the index", (long long)k,
                       (long long)index->count);
    if (count == 0)
        return MOCO_OK;
    if (ids == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "ids is NULL");
    return search_chunks(index, queries, count, k, ids, similarities);
}

static moco_status_t check_classes(const moco_index_t *index, int64_t k, double temperature, int32_t classes)
{
    if (index->count == 0)
        return mo_fail(MOCO_ERR_NO_DATA, "the index holds no vectors");
    if (index->unlabelled > 0)
        return mo_fail(MOCO_ERR_STATE, "%lld of the %lld vectors of the index have no label",
                       (long long)index->unlabelled, (long long)index->count);
    if (k < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "k is %lld, wanted 1 or more", (long long)k);
    if (!(temperature >= 1e-3 && temperature <= 1e3))
        return mo_fail(MOCO_ERR_ARGUMENT, "temperature is %g, wanted 0.001 to 1000", temperature);
    if (classes <= index->max_label || classes > MAX_CLASSES)
        return mo_fail(MOCO_ERR_ARGUMENT, "classes is %d, wanted more than the largest label %d and at most %d",
                       (int)classes, (int)index->max_label, MAX_CLASSES);
    return MOCO_OK;
}

moco_status_t moco_index_classify(moco_index_t *index, const float *queries, int64_t count, int64_t k,
                                  double temperature, int32_t classes, int32_t *top)
{
    moco_status_t status = MOCO_OK;
    float *rows = NULL;
    TRY(check_rows(index, "queries", queries, count));
    TRY(check_classes(index, k, temperature, classes));
    if (count == 0)
        return MOCO_OK;
    if (top == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "top is NULL");
    TRY(mo_calloc((size_t)count, (size_t)index->dimension * sizeof *rows, &rows));
    TRY(mo_rows_normalise(queries, count, index->dimension, rows));
    TRY(mo_index_classify(index, rows, count, k < index->count ? k : index->count, temperature, classes, top));
cleanup:
    mo_free(rows);
    return status;
}

moco_status_t moco_index_load_npy(const char *path, moco_device_t *device, moco_index_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_index_t *index = NULL;
    float *vectors = NULL;
    int64_t rows = 0, dimension = 0;
    if (out == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "out is NULL");
    TRY(mo_npy_read(path, &vectors, &rows, &dimension));
    if (dimension < 1 || dimension > 65536) {
        status = mo_fail(MOCO_ERR_FORMAT, "%s: rows have %lld numbers, wanted 1 to 65536", path, (long long)dimension);
        goto cleanup;
    }
    TRY(mo_index_create((int32_t)dimension, device, &index));
    status = mo_index_add(index, vectors, NULL, rows);
    if (status == MOCO_ERR_ARGUMENT) /* not the caller's fault but the file's */
        status = mo_fail(MOCO_ERR_FORMAT, "%s: %s", path, moco_last_message());
    if (status != MOCO_OK)
        goto cleanup;
    *out = index;
    index = NULL;
cleanup:
    mo_free(vectors);
    mo_index_free(index);
    return status;
}

moco_status_t moco_index_save_npy(const moco_index_t *index, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_npy_writer_t npy = {0};
    if (index == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "index is NULL");
    TRY(mo_npy_open(&npy, path, index->dimension));
    TRY(mo_npy_rows(&npy, index->vectors, index->count));
    TRY(mo_npy_commit(&npy));
cleanup:
    mo_npy_abort(&npy);
    return status;
}
