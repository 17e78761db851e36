/* Gradient blocks: each shard fills a whole one, and finished neighbours of a fixed pairwise tree
 * merge at once, so the sum has the same bits whoever finishes first and only a few blocks
 * exist. */
#ifndef MO_TRAIN_GRADIENTS_H
#define MO_TRAIN_GRADIENTS_H

#include <pthread.h>
#include <stdint.h>
#include <moco/status.h>

#include "engine/buffer.h"

typedef struct mo_gradients {
    pthread_mutex_t lock;
    moco_device_t *device; /* borrowed; NULL: the blocks lie on the host */
    int64_t floats;        /* of a block */
    int32_t leaves;        /* shards     */
    int32_t blocks, free_count;
    mo_buffer_t *block, *free_list;
    mo_buffer_t *node; /* finished nodes waiting for their sibling, level after level */
    int32_t *level_start, *level_size, levels;
    mo_buffer_t total; /* the root, once all leaves are in; goes back with _recycle */
    int ready;         /* the lock exists */
} mo_gradients_t;

/* Blocks that never run out with `sets` groups of `together` shards in flight, whoever is slow. */
int32_t mo_gradient_blocks(int32_t leaves, int32_t sets, int32_t together);
moco_status_t mo_gradients_create(mo_gradients_t *g, int64_t floats, int32_t leaves, int32_t sets, int32_t together,
                                  moco_device_t *device);
void mo_gradients_free(mo_gradients_t *g);
moco_status_t mo_gradients_take(mo_gradients_t *g, mo_buffer_t *block);
moco_status_t mo_gradients_finish(mo_gradients_t *g, int32_t leaf, mo_buffer_t block);
/* All blocks free again: before every step, whatever the last one left. */
void mo_gradients_recycle(mo_gradients_t *g);

#endif
