/* A file of named tensors and texts, whichever container they come in: safetensors, what PyTorch's
 * torch.save writes (a zip archive, or the pickles one after the other of versions before 1.6), or
 * a plain pickle of NumPy arrays. The container is told from the content, never from the name. The
 * file stays open: opening reads what describes the tensors, and the numbers are read when they are
 * asked for. */
#ifndef MO_PERSIST_TENSOR_FILE_H
#define MO_PERSIST_TENSOR_FILE_H

#include <stdint.h>
#include <moco/status.h>
#include "util/source.h"

#define MO_FILE_DIMS 8

typedef enum mo_dtype {
    MO_F32,
    MO_F16,
    MO_BF16,
    MO_F64,
    MO_I64,
    MO_I32,
    MO_I16,
    MO_I8,
    MO_U8,
    MO_BOOL,
    MO_DTYPE_OTHER
} mo_dtype_t;

typedef enum mo_container { MO_SAFETENSORS, MO_TORCH_ZIP, MO_TORCH_LEGACY, MO_PLAIN_PICKLE } mo_container_t;

typedef struct mo_file_tensor {
    char *name; /* members of nested dictionaries and lists are joined by dots: "state_dict.fc.weight" */
    mo_dtype_t dtype;
    char dtype_name[16];
    int32_t rank;
    int64_t dims[MO_FILE_DIMS];
    int64_t strides[MO_FILE_DIMS]; /* in numbers; views and transposes come with other strides than C order */
    const mo_source_t *source;
    uint64_t at;    /* the source's byte at which the first number begins */
    uint64_t bytes; /* of all numbers; more than lie there where a stride of 0 repeats them */
    int64_t order;  /* place in the file's own order: tensors are sorted by name */
    uint32_t crc;   /* CRC-32 of the bytes at `at`, of an archive's member that is this tensor; 0 = not known */
} mo_file_tensor_t;

typedef struct mo_file_text {
    char *key, *value;
} mo_file_text_t;

typedef struct mo_tensor_file {
    mo_source_t *source;
    uint64_t data; /* safetensors: the byte after the header */
    mo_container_t container;
    mo_file_tensor_t *tensors; /* sorted by name, each name once */
    int64_t count;
    mo_file_text_t *texts; /* metadata; from PyTorch: numbers, truth values and short texts of the saved object */
    int64_t text_count;
    char *opaque;      /* class of an object of the file that is neither tensor, number nor text; NULL without */
    uint8_t *decoded;  /* numbers that the file keeps in another form, NULL without … */
    mo_source_t *lent; /* … which tensors read as a source of its own */
} mo_tensor_file_t;

/* Of a file with checksums (safetensors_sum.h) both are compared, which reads it once. */
moco_status_t mo_tensor_file_open(mo_tensor_file_t *file, const char *path);
/* For those who want texts and shapes alone: the numbers are not looked at. */
moco_status_t mo_tensor_file_peek(mo_tensor_file_t *file, const char *path);
/* The same of a file that lies in memory, which is borrowed until the close. `path` names it in
 * messages. */
moco_status_t mo_tensor_file_open_memory(mo_tensor_file_t *file, const uint8_t *bytes, uint64_t size, const char *path);
void mo_tensor_file_close(mo_tensor_file_t *file); /* safe on a zeroed struct */
const char *mo_container_name(mo_container_t container);

const mo_file_tensor_t *mo_tensor_file_find(const mo_tensor_file_t *file, const char *name); /* NULL if absent */
const char *mo_tensor_file_text(const mo_tensor_file_t *file, const char *key);              /* NULL if absent */

/* Numbers of a tensor in C order, as float32 (from F32, F16, BF16, F64) or as whole numbers (from
 * the integer types); count must match exactly: MOCO_ERR_SHAPE names both. MOCO_ERR_IO where the
 * file cannot be read any more or has changed since it was opened. MOCO_ERR_FORMAT where the bytes
 * do not have the tensor's CRC-32. MOCO_ERR_NONFINITE where a float is infinite or no number. */
moco_status_t mo_file_floats(const mo_file_tensor_t *tensor, float *out, int64_t count);
moco_status_t mo_file_ints(const mo_file_tensor_t *tensor, int64_t *out, int64_t count);

/* How many numbers lie in the file: fewer than the tensor has where a stride of 0 repeats them. */
uint64_t mo_file_stored(const mo_file_tensor_t *tensor);
/* Space for what a small file only repeats, by strides of 0 or by many tensors over the same bytes:
 * MOCO_ERR_UNSUPPORTED when *bytes, the sum so far over tensors that are to be read, is with this
 * one more than 64 MiB above the size of the file. */
moco_status_t mo_file_repeats(const mo_file_tensor_t *tensor, uint64_t *bytes);

/* ---- for the readers of containers ---- */

uint64_t mo_dtype_bytes(mo_dtype_t dtype); /* of one number; 0 for MO_DTYPE_OTHER */
const char *mo_dtype_name(mo_dtype_t dtype);
/* C order strides from rank and dims. */
void mo_file_tensor_dense(mo_file_tensor_t *tensor);
/* 0 on overflow. */
int mo_file_count(const mo_file_tensor_t *tensor, int64_t *count);
/* Sorts by name; a name that comes twice is MOCO_ERR_FORMAT. */
moco_status_t mo_tensor_file_sort(mo_tensor_file_t *file, const char *path);

/* A name from a file as a message can show it: short, one line. */
#define MO_SHOWN 80
typedef struct mo_shown {
    char text[MO_SHOWN + 4];
} mo_shown_t;
mo_shown_t mo_show(const char *name);

#endif
