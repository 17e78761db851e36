/* What the machine (pickle.c), its stack (pickle_stack.c), its globals (pickle_globals.c) and its
 * objects (pickle_objects.c, pickle_numpy.c) give each other. */
#ifndef MO_PERSIST_PICKLE_INTERNAL_H
#define MO_PERSIST_PICKLE_INTERNAL_H

#include "persist/pickle.h"

/* Far above what checkpoints hold (a ResNet-50 pair with its optimizer makes some 30,000
 * values). */
enum {
    MO_PICKLE_MAX_VALUES = 1 << 21,
    MO_PICKLE_MAX_POOL = 1 << 24,
    MO_PICKLE_MAX_TENSORS = 1 << 18,
    MO_PICKLE_MAX_MARKS = 1 << 16
};

/* Makes place for one more item of an array that doubles up to a limit; MOCO_ERR_FORMAT beyond
 * it. */
moco_status_t mo_pickle_room(const mo_pickle_t *p, void *items, int64_t count, int64_t *capacity, size_t size,
                             int64_t limit, const char *what);
moco_status_t mo_pickle_new(mo_pickle_t *p, mo_pickle_value_t value, int32_t *number);
moco_status_t mo_pickle_push_new(mo_pickle_t *p, mo_pickle_value_t value);
moco_status_t mo_pickle_push_number(mo_pickle_t *p, int32_t number);
/* Numbers on top of the stack above its last mark; MOCO_ERR_FORMAT if there are fewer. */
moco_status_t mo_pickle_pop(mo_pickle_t *p, int32_t count, const int32_t **numbers);
moco_status_t mo_pickle_append(mo_pickle_t *p, int32_t container, const int32_t *numbers, int64_t count);
moco_status_t mo_pickle_damaged(const mo_pickle_t *p, const char *what);

moco_status_t mo_pickle_push_mark(mo_pickle_t *p);
moco_status_t mo_pickle_pop_mark(mo_pickle_t *p, const int32_t **numbers,
                                 int64_t *count); /* all above it; it goes too */
moco_status_t mo_pickle_drop(mo_pickle_t *p);
moco_status_t mo_pickle_repeat(mo_pickle_t *p);
moco_status_t mo_pickle_remember(mo_pickle_t *p, uint64_t place);
moco_status_t mo_pickle_recall(mo_pickle_t *p, uint64_t place);
/* New containers: of given numbers, of the last `count` on the stack, of all above the last
 * mark. */
moco_status_t mo_pickle_push_items(mo_pickle_t *p, mo_pickle_kind_t kind, const int32_t *numbers, int64_t count);
moco_status_t mo_pickle_push_tuple(mo_pickle_t *p, int32_t count);
moco_status_t mo_pickle_push_marked(mo_pickle_t *p, mo_pickle_kind_t kind);
/* The last `count`, or all above the last mark, go into the list or dictionary below them, which
 * stays there. */
moco_status_t mo_pickle_add(mo_pickle_t *p, mo_pickle_kind_t kind, int32_t count);
moco_status_t mo_pickle_add_marked(mo_pickle_t *p, mo_pickle_kind_t kind);

/* pickle_globals.c: what may be named, and what becomes of it. */
typedef enum mo_pickle_meaning {
    MO_AS_DICT,
    MO_AS_TENSOR,
    MO_AS_ODD_TENSOR, /* of a kind that is not read */
    MO_AS_FIRST,      /* its first argument */
    MO_AS_SUBTYPE,    /* (function, class, arguments, …): the function's tensor */
    MO_AS_STORAGE,
    MO_AS_NOTHING, /* of no interest */
    MO_AS_ARRAY,
    MO_AS_BUFFER_ARRAY,
    MO_AS_NUMBER,
    MO_AS_DTYPE,
    MO_AS_BYTES
} mo_pickle_meaning_t;
typedef struct mo_pickle_global_row {
    const char *module, *name;
    mo_pickle_meaning_t meaning;
    mo_dtype_t dtype; /* of a storage */
    uint32_t item;    /* bytes of a number of other types; 0 = as the type has them */
    const char *odd;  /* the type of what is not read, for messages; at most 15 letters */
} mo_pickle_global_row_t;
const mo_pickle_global_row_t *mo_pickle_row(const mo_pickle_value_t *value); /* NULL if it is no global */
moco_status_t mo_pickle_global(mo_pickle_t *p, const uint8_t *module, int64_t module_size, const uint8_t *name,
                               int64_t name_size);
moco_status_t mo_pickle_push_opaque(mo_pickle_t *p, int32_t number);
int mo_pickle_same(const char *wanted, const uint8_t *bytes, int64_t size);

/* pickle_objects.c */
moco_status_t mo_pickle_reduce(mo_pickle_t *p);     /* callable, arguments -> value              */
moco_status_t mo_pickle_build(mo_pickle_t *p);      /* value, state -> value                     */
moco_status_t mo_pickle_persistent(mo_pickle_t *p); /* tuple that names a storage -> the storage */
int mo_pickle_sizes(const mo_pickle_t *p, const mo_pickle_value_t *value, int64_t out[MO_FILE_DIMS]);
moco_status_t mo_pickle_push_tensor(mo_pickle_t *p, const mo_pickle_tensor_t *tensor);

/* pickle_numpy.c: arguments, a tuple, to a value. */
moco_status_t mo_pickle_push_array(mo_pickle_t *p);
moco_status_t mo_pickle_push_buffer_array(mo_pickle_t *p, const mo_pickle_value_t *args);
moco_status_t mo_pickle_push_scalar(mo_pickle_t *p, const mo_pickle_value_t *args);
moco_status_t mo_pickle_push_dtype(mo_pickle_t *p, const mo_pickle_value_t *args);
moco_status_t mo_pickle_push_encoded(mo_pickle_t *p, const mo_pickle_value_t *args);
/* States of arrays and types. */
moco_status_t mo_pickle_build_array(mo_pickle_t *p, int32_t tensor, const mo_pickle_value_t *state);
moco_status_t mo_pickle_build_dtype(mo_pickle_t *p, mo_pickle_value_t *dtype, const mo_pickle_value_t *state);

#endif
