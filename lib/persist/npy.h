/* NumPy .npy files of float32 matrices. */
#ifndef MO_PERSIST_NPY_H
#define MO_PERSIST_NPY_H

#include <stdint.h>
#include <moco/status.h>
#include "util/atomic_file.h"
#include "util/source.h"

/* Writes rows as they come; the row count goes into the header at the commit. */
typedef struct mo_npy_writer {
    mo_atomic_file_t file;
    int64_t rows;
    int32_t dimension;
} mo_npy_writer_t;
moco_status_t mo_npy_open(mo_npy_writer_t *npy, const char *path, int32_t dimension);
moco_status_t mo_npy_rows(mo_npy_writer_t *npy, const float *rows, int64_t count);
moco_status_t mo_npy_commit(mo_npy_writer_t *npy);
/* Goes on after the first `rows` rows of the part file of an earlier process (mo_atomic_resume); 0
 * begins anew. */
moco_status_t mo_npy_resume(mo_npy_writer_t *npy, const char *path, int32_t dimension, int64_t rows);
uint64_t mo_npy_header_size(void); /* of files written here: the rows begin after it */
/* The row count into the header: npy->file can then be committed. */
moco_status_t mo_npy_finish(mo_npy_writer_t *npy);
void mo_npy_abort(mo_npy_writer_t *npy);

/* Whether a file that begins so is one. */
int mo_npy_begins(const uint8_t *bytes, uint64_t size);
/* What the header says, which the file's length must bear out; the numbers are not read. */
moco_status_t mo_npy_shape(const mo_source_t *file, int64_t *rows, int64_t *dimension);
/* Whole file: '<f4', C order, two dimensions, versions 1-3. *rows from mo_free-able memory. Hostile
 * headers are refused. */
moco_status_t mo_npy_read(const char *path, float **values, int64_t *rows, int64_t *dimension);

#endif
