/* safetensors files: a reader that treats every byte as hostile, and a writer. */
#ifndef MO_PERSIST_SAFETENSORS_H
#define MO_PERSIST_SAFETENSORS_H

#include <stdint.h>
#include <moco/status.h>
#include "persist/tensor_file.h"
#include "util/folder.h"

/* Bytes of a header that is read or written. The deepest network of this library, with both
 * encoders and two blocks of an optimizer, has one of 7 million. */
#define MO_ST_MAX_HEADER 10000000u

/* Tensors and texts of a source; the caller makes the file its owner. */
moco_status_t mo_safetensors_parse(mo_tensor_file_t *st, const mo_source_t *source);

/* Writing: list what goes in, then write it all at once, through mo_atomic_* or into memory. Data
 * is borrowed until written. */
typedef struct mo_st_writer {
    struct mo_st_entry *entries;
    int64_t count, capacity;
    mo_file_text_t *meta;
    int64_t meta_count, meta_capacity;
} mo_st_writer_t;
moco_status_t mo_st_add(mo_st_writer_t *writer, const char *name, mo_dtype_t dtype, int32_t rank, const int64_t *dims,
                        const void *data);
moco_status_t mo_st_meta(mo_st_writer_t *writer, const char *key, const char *value);
moco_status_t mo_st_write(mo_st_writer_t *writer, const char *path);
/* The same as `name` in an opened folder; NULL: the working directory. */
moco_status_t mo_st_write_in(mo_st_writer_t *writer, const mo_folder_t *folder, const char *name);
/* The bytes of that file into memory. *needed = their number, which may be NULL. capacity 0 only
 * asks for it; less than is needed is MOCO_ERR_ARGUMENT and leaves `bytes` as they are. */
moco_status_t mo_st_write_memory(mo_st_writer_t *writer, void *bytes, uint64_t capacity, uint64_t *needed);
void mo_st_writer_free(mo_st_writer_t *writer);

#endif
