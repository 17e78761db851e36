/* Search on a device that is a GPU: a copy of the index's vectors lies there, products are
 * oneDNN's, and a kernel keeps the best of each query. */
#ifndef MO_EVAL_INDEX_GPU_H
#define MO_EVAL_INDEX_GPU_H

#include "eval/index.h"
#include "util/cancel.h"

/* Nothing on a CPU: *out is NULL then. */
moco_status_t mo_index_gpu_create(moco_device_t *device, int32_t dimension, mo_index_gpu_t **out);
void mo_index_gpu_free(mo_index_gpu_t *gpu);

/* How many lists a query has here: their best are kept side by side, and merged by the caller. */
int64_t mo_index_gpu_lists(int64_t count, int64_t k);

/* The best of all vectors for each query: list l has those with number l, l + lists, … and keeps at
 * most `held` of them, as a heap. entries [count, lists, held], sizes [count, lists]. Any thread;
 * one search at a time runs. */
typedef struct mo_index_scan {
    const moco_index_t *index;
    const float *queries; /* normalised rows */
    int64_t count, lists, held;
    mo_neighbour_t *entries;
    int64_t *sizes;
    const moco_cancel_t *cancel;
} mo_index_scan_t;
moco_status_t mo_index_gpu_scan(const mo_index_scan_t *scan);

#endif
