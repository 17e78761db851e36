/* Pickles as torch.save and NumPy's users write them, read by a machine that executes nothing: it
 * imports no module and calls no function. It knows containers, texts, numbers, tensors and arrays.
 * Every other class is carried as an opaque value, of which only the name and, of a container, the
 * items are known. Functions that run programs when Python loads the file are refused by their
 * names, so that the user learns what the file is. Everything made is bounded by limits in
 * pickle_internal.h, whatever the bytes claim. */
#ifndef MO_PERSIST_PICKLE_H
#define MO_PERSIST_PICKLE_H

#include <stdint.h>
#include "persist/tensor_file.h"

typedef enum mo_pickle_kind {
    MO_PICKLE_NONE,
    MO_PICKLE_BOOL,    /* whole */
    MO_PICKLE_INT,     /* whole */
    MO_PICKLE_BIG,     /* bytes: more than 64 bits, little-endian two's complement */
    MO_PICKLE_REAL,    /* real */
    MO_PICKLE_TEXT,    /* bytes, perhaps not UTF-8 */
    MO_PICKLE_BYTES,   /* bytes */
    MO_PICKLE_TUPLE,   /* items */
    MO_PICKLE_LIST,    /* items */
    MO_PICKLE_DICT,    /* items: key, value, key, value; a key may come again, the last one counts */
    MO_PICKLE_GLOBAL,  /* number of a row of the table of globals */
    MO_PICKLE_STORAGE, /* number of a storage */
    MO_PICKLE_TENSOR,  /* number of a tensor or array */
    MO_PICKLE_DTYPE,   /* NumPy's type of numbers: number of a mo_dtype_t, count of bytes of one */
    MO_PICKLE_OPAQUE   /* number of its class; -1 of one that is of no interest */
} mo_pickle_kind_t;

/* Values refer to each other by number. Texts and bytes point into the pickle. */
typedef struct mo_pickle_value {
    int32_t kind;
    int32_t count; /* of bytes or items */
    union {
        int64_t whole;
        double real;
        const uint8_t *bytes;
        int32_t number;
        struct {
            int32_t first, capacity; /* in the pool */
        } items;
    };
} mo_pickle_value_t;

/* Numbers kept beside the pickle, under a key. `first` and `size`: the part that a view of a
 * storage sees. */
typedef struct mo_pickle_storage {
    mo_dtype_t dtype;
    const char *odd; /* the name of a type that is not read; NULL: unknown */
    uint32_t item;   /* bytes of a number; 0 = unknown */
    int32_t key_size;
    const uint8_t *key;
    int64_t count, first, size;
} mo_pickle_storage_t;

typedef struct mo_pickle_tensor {
    int32_t storage, rank; /* storage -1: an array, whose numbers lie at `data` */
    int64_t offset, dims[MO_FILE_DIMS], strides[MO_FILE_DIMS];
    const char *odd;  /* why its numbers cannot be read, as a type: "complex"; else NULL */
    mo_dtype_t dtype; /* of an array */
    const uint8_t *data;
    int64_t data_size;
} mo_pickle_tensor_t;

/* The class of an opaque value, as the pickle names it. */
typedef struct mo_pickle_class {
    const uint8_t *module, *name;
    int32_t module_size, name_size;
} mo_pickle_class_t;

typedef struct mo_pickle {
    const char *path; /* for messages */
    const uint8_t *bytes;
    uint64_t size, at; /* of the pickle and what follows it; its place in the file, set by the caller after reading */
    mo_pickle_value_t *values;
    int32_t *pool; /* items of containers */
    int32_t *stack, *marks, *memo;
    mo_pickle_storage_t *storages;
    mo_pickle_tensor_t *tensors;
    mo_pickle_class_t *classes;
    uint8_t *decoded;     /* bytes that the pickle keeps as texts, one after the other */
    int decoded_is_taken; /* 1: somebody else frees them */
    int64_t value_count, value_capacity, pool_count, pool_capacity, stack_count, stack_capacity, mark_count,
        mark_capacity, memo_count, memo_capacity, storage_count, storage_capacity, tensor_count, tensor_capacity,
        class_count, class_capacity;
    uint64_t decoded_size;
    int32_t root;
} mo_pickle_t;

/* Reads one pickle from the start of `bytes`, which must live as long as the values; *used = its
 * length. The struct is zeroed or holds an earlier pickle, which is forgotten. MOCO_ERR_UNSUPPORTED
 * for a function that runs programs. */
moco_status_t mo_pickle_read(mo_pickle_t *pickle, const uint8_t *bytes, uint64_t size, const char *path,
                             uint64_t *used);
void mo_pickle_free(mo_pickle_t *pickle); /* safe on a zeroed struct */

const mo_pickle_value_t *mo_pickle_root(const mo_pickle_t *pickle);
const mo_pickle_value_t *mo_pickle_item(const mo_pickle_t *pickle, const mo_pickle_value_t *value, int32_t i);
/* "module.Name" of an opaque value as a message can show it. */
mo_shown_t mo_pickle_class_name(const mo_pickle_t *pickle, const mo_pickle_value_t *value);

#endif
