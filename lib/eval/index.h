/* Unit vectors held for search and for the weighted kNN classifier. Called by the border and by kNN
 * evaluation. */
#ifndef MO_EVAL_INDEX_H
#define MO_EVAL_INDEX_H

#include <stdint.h>
#include <moco/index.h>

#include "util/options.h"

/* index_options.c. */
extern const mo_option_table_t mo_index_options;
extern const mo_option_table_t mo_search_options;
extern const mo_option_table_t mo_classify_options;

#define MO_MAX_CLASSES 16777216

typedef struct mo_index_gpu mo_index_gpu_t; /* index_gpu.h */

struct moco_index {
    moco_device_t *device;
    mo_index_gpu_t *gpu; /* NULL on a CPU */
    float *vectors;      /* [count, dimension], rows of norm 1 (or 0) */
    int32_t *labels;     /* [count], -1 = none                        */
    int64_t count, capacity;
    int64_t unlabelled; /* vectors without a label   */
    int32_t max_label;  /* -1 = none                 */
    int32_t dimension;
};

typedef struct mo_neighbour {
    int64_t id;
    float similarity;
} mo_neighbour_t;

moco_status_t mo_index_create(int32_t dimension, moco_device_t *device, moco_index_t **out);
void mo_index_free(moco_index_t *index);
/* Checked, normalised, copied; on failure the index is as it was. labels may be NULL. */
moco_status_t mo_index_add(moco_index_t *index, const float *vectors, const int32_t *labels, int64_t count);

/* Memory for `count` more vectors at once. */
moco_status_t mo_index_reserve(moco_index_t *index, int64_t count);

/* out[count, k], best first, ties by lower id; queries are normalised rows; 1 <= k <= index->count.
 * `cancel` may be NULL. */
moco_status_t mo_index_nearest(const moco_index_t *index, const float *queries, int64_t count, int64_t k,
                               const moco_cancel_t *cancel, mo_neighbour_t *out);

/* How many queries to hand to mo_index_nearest at once, so that its memory stays small. */
int64_t mo_index_chunk(int64_t k);

/* index_file.c. */
moco_status_t mo_index_read_npy(const char *path, int64_t capacity, moco_device_t *device, moco_index_t **out);
moco_status_t mo_index_write_npy(const moco_index_t *index, const char *path);

/* search.c: the public call of this name on checked arguments; queries as the host has them, count
 * > 0. */
moco_status_t mo_index_search(const moco_index_t *index, const float *queries, int64_t count,
                              const moco_search_options_t *options, int64_t *ids, float *similarities);

#endif
