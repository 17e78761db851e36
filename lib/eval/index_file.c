/* Vectors of an index in .npy files. */
#include "eval/embedding_record.h"
#include "eval/index.h"
#include "persist/npy.h"
#include "persist/output.h"
#include "util/alloc.h"
#include "util/file.h"
#include "util/status.h"

moco_status_t mo_index_read_npy(const char *path, int64_t capacity, moco_device_t *device, moco_index_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_index_t *index = NULL;
    float *vectors = NULL;
    int64_t rows = 0, dimension = 0;
    TRY(mo_npy_read(path, &vectors, &rows, &dimension));
    if (dimension < 1 || dimension > 65536)
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: rows have %lld numbers, wanted 1 to 65536", path, (long long)dimension));
    TRY(mo_embedding_check(path, vectors, rows, dimension));
    TRY(mo_index_create((int32_t)dimension, device, &index));
    TRY(mo_index_reserve(index, capacity > rows ? capacity : rows));
    status = mo_index_add(index, vectors, NULL, rows);
    if (status == MOCO_ERR_ARGUMENT) /* not the caller's fault but the file's */
        status = mo_fail(MOCO_ERR_FORMAT, "%s: %s", path, moco_last_message());
    TRY(status);
    *out = index;
    index = NULL;
cleanup:
    mo_free(vectors);
    mo_index_free(index);
    return status;
}

/* The rows have their name already: a failure says so. */
static moco_status_t forget(const char *path)
{
    char message[MO_MESSAGE_SIZE];
    const moco_status_t status = mo_embedding_forget(path);
    if (status == MOCO_OK)
        return MOCO_OK;
    mo_message_copy(message);
    return mo_fail(status, "the vectors are in '%.150s', but not without the files of those before: %s", path, message);
}

/* Rows without a record may have names beside them all the same. */
static void tell_of_names(const char *path)
{
    char *names = NULL;
    if (mo_embedding_beside(path, MO_NAMES_ENDING, &names) == MOCO_OK && mo_file_exists(names))
        mo_log(MOCO_LOG_WARNING, "%s: is there, and does not belong to the new rows of '%s'", names, path);
    mo_free(names);
}

moco_status_t mo_index_write_npy(const moco_index_t *index, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_npy_writer_t npy = {0};
    int tied = 0, same;
    TRY(mo_output_check(path, MO_OUTPUT_NPY));
    TRY(mo_npy_open(&npy, path, index->dimension));
    TRY(mo_npy_rows(&npy, index->vectors, index->count));
    TRY(mo_embedding_replace(path, index->vectors, index->count, index->dimension, &tied, &same));
    TRY(mo_npy_commit(&npy));
    if (tied)
        TRY(forget(path));
    else if (!same)
        tell_of_names(path);
cleanup:
    mo_npy_abort(&npy);
    return status;
}
