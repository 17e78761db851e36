/* What a path may be that a call is asked to write: a host's photo or list must not be replaced by
 * a slip of the hand. */
#ifndef MO_PERSIST_OUTPUT_H
#define MO_PERSIST_OUTPUT_H

#include <moco/status.h>

typedef enum mo_output { MO_OUTPUT_SAFETENSORS, MO_OUTPUT_NPY } mo_output_t;

/* MOCO_ERR_EXISTS where `path` is a file of another kind. Nothing, an empty file and an earlier
 * file of the same kind are fine; links are followed. */
moco_status_t mo_output_check(const char *path, mo_output_t kind);

#endif
