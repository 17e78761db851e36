/* Where in a file whole encoders lie: under which prefix of its tensors' names, at any depth. */
#ifndef MO_PERSIST_ROOTS_H
#define MO_PERSIST_ROOTS_H

#include "persist/layout.h"
#include "persist/tensor_file.h"

#define MO_PREFIX 256

/* An encoder's place: its tensors are called `prefix` and then as `scheme` has it. scheme NULL: the
 * file has none. */
typedef struct mo_root {
    char prefix[MO_PREFIX];
    const mo_scheme_t *scheme;
} mo_root_t;

/* The encoders of a file that are meant: both are one where there is no pair. */
typedef struct mo_roots {
    const mo_role_t *role; /* NULL: no encoder was found, or several and none is meant */
    char base[MO_PREFIX];  /* before the names of the saved module's own entries: "state_dict.module." */
    mo_root_t query, key;
    int from_average;     /* 1: `query` is the averaged encoder of a pair, as its program evaluates it */
    char *other, *choice; /* prefix of the encoder that was left out; why none is meant: NULL without, mo_free */
} mo_roots_t;

/* The naming under `prefix`, by the tensors that show it; NULL if there is no encoder. */
const mo_scheme_t *mo_scheme_at(const mo_tensor_file_t *file, const char *prefix);
/* `wanted`: the prefix of the encoder that is meant, or some whole parts of it that no other
 * encoder's prefix has; NULL to choose by the names. That no encoder is found or meant is no error;
 * MOCO_ERR_MEMORY is. */
moco_status_t mo_roots_find(const mo_tensor_file_t *file, const char *wanted, mo_roots_t *roots);
void mo_roots_free(mo_roots_t *roots); /* safe on a zeroed struct */

#endif
