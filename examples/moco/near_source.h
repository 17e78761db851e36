/* Where `moco near` and the contact sheet of `moco demo` search: vectors with a name each. */
#ifndef PROGRAM_NEAR_SOURCE_H
#define PROGRAM_NEAR_SOURCE_H

#include "common.h"

typedef struct near_source {
    moco_index_t *index;
    char **names; /* [moco_index_count] */
    int64_t count;
} near_source_t;

/* Embeds a folder, tar or list. `numbers` (may be NULL) receives the data-set entry of every
 * vector; free it. */
moco_status_t near_from_dataset(near_source_t *source, moco_model_t *model, int tap, moco_dataset_t *dataset,
                                moco_device_t *device, int32_t loader_threads, int64_t **numbers);

/* Reads X.npy and the names beside it. Returns an exit code. */
int near_from_npy(near_source_t *source, const char *path, moco_device_t *device);

void near_free(near_source_t *source);

#endif
