/* safetensors files: a reader that treats every byte as hostile, and a writer (format: fact sheet 9.1). */
#ifndef MO_PERSIST_SAFETENSORS_H
#define MO_PERSIST_SAFETENSORS_H

#include <stdint.h>
#include <moco/status.h>
#include "util/file.h"

#define MO_ST_MAX_DIMS 8

typedef enum mo_dtype { MO_F32, MO_F16, MO_BF16, MO_F64, MO_I64, MO_I32, MO_U8, MO_DTYPE_OTHER } mo_dtype_t;

typedef struct mo_st_tensor {
    char *name;
    mo_dtype_t dtype;
    char dtype_name[16];
    int32_t rank;
    int64_t dims[MO_ST_MAX_DIMS];
    const uint8_t *data; /* inside the mapping; may be unaligned in foreign files */
    uint64_t bytes;
} mo_st_tensor_t;

typedef struct mo_st_meta {
    char *key, *value;
} mo_st_meta_t;

typedef struct mo_safetensors {
    mo_file_view_t file;
    mo_st_tensor_t *tensors; /* sorted by name */
    int64_t count;
    mo_st_meta_t *meta;
    int64_t meta_count;
} mo_safetensors_t;

moco_status_t mo_safetensors_open(mo_safetensors_t *st, const char *path);
/* The same on bytes in memory (not owned): what the fuzz target and open share. `path` is for messages. */
moco_status_t mo_safetensors_parse(mo_safetensors_t *st, const uint8_t *bytes, uint64_t size, const char *path);
void mo_safetensors_close(mo_safetensors_t *st); /* safe on a zeroed struct */
const mo_st_tensor_t *mo_safetensors_find(const mo_safetensors_t *st, const char *name); /* NULL if absent */
const char *mo_safetensors_meta(const mo_safetensors_t *st, const char *key);            /* NULL if absent */
/* Numbers of a tensor as float32 (from F32, F16, BF16, F64); count must match exactly: MOCO_ERR_SHAPE names both. */
moco_status_t mo_safetensors_floats(const mo_st_tensor_t *tensor, float *out, int64_t count);
moco_status_t mo_safetensors_ints(const mo_st_tensor_t *tensor, int64_t *out, int64_t count);

/* Writing: list what goes in, then write it all at once through mo_atomic_*. Data is borrowed until written. */
typedef struct mo_st_writer {
    struct mo_st_entry *entries;
    int64_t count, capacity;
    mo_st_meta_t *meta;
    int64_t meta_count, meta_capacity;
} mo_st_writer_t;
moco_status_t mo_st_add(mo_st_writer_t *writer, const char *name, mo_dtype_t dtype, int32_t rank, const int64_t *dims,
                        const void *data);
moco_status_t mo_st_meta(mo_st_writer_t *writer, const char *key, const char *value);
moco_status_t mo_st_write(mo_st_writer_t *writer, const char *path);
void mo_st_writer_free(mo_st_writer_t *writer);

#endif
