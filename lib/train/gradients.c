/* The pool of blocks and the tree; see gradients.h. */
#include "train/gradients.h"

#include <string.h>

#include "engine/kernel.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/status.h"

static MO_CLONES(void, add, (float *a, const float *b, int64_t count), (a, b, count))
{
    for (int64_t i = 0; i < count; i++)
        a[i] += b[i];
}

static moco_status_t add_block(moco_device_t *device, mo_buffer_t to, mo_buffer_t from, int64_t count)
{
    moco_status_t status = MOCO_OK;
    float *a = NULL, *b = NULL;
    if (device != NULL && mo_device_is_gpu(device))
        return mo_kernel_run(device, MO_KERNEL_ADD, count, mo_arg_buffer(to), mo_arg_buffer(from));
    TRY(mo_buffer_map(to, MO_UPDATE, &a));
    TRY(mo_buffer_map(from, MO_READ, &b));
    add(a, b, count);
cleanup:
    mo_buffer_unmap(to, a);
    mo_buffer_unmap(from, b);
    return status;
}

/* At work: one block a shard. Waiting: finished subtrees beside the paths from the root to the
 * shards at work. `paths` paths have at most min(paths, 2^d) nodes of level d; each but the lowest
 * has two children, and those on no path can wait: 2 - paths + the sum over the inner levels. A
 * lane may be slow for any time, so all of it counts. Shards of a group start and end together:
 * where they fill whole subtrees a group is one leaf, else a run with two ends. */
int32_t mo_gradient_blocks(int32_t leaves, int32_t sets, int32_t together)
{
    int aligned = (together & (together - 1)) == 0;
    int64_t blocks = (int64_t)sets * together, paths = aligned ? sets : 2 * (int64_t)sets;
    int64_t ends = aligned ? leaves / together : leaves, waiting = 2 - paths;
    if (paths >= ends)
        return leaves;
    for (int64_t nodes = 2; nodes < ends; nodes *= 2)
        waiting += nodes < paths ? nodes : paths;
    blocks += waiting;
    return blocks < leaves ? (int32_t)blocks : leaves;
}

moco_status_t mo_gradients_create(mo_gradients_t *g, int64_t floats, int32_t leaves, int32_t sets, int32_t together,
                                  moco_device_t *device)
{
    moco_status_t status = MOCO_OK;
    int32_t nodes = 0;
    memset(g, 0, sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    g->ready = 1;
    g->device = device;
    g->floats = floats;
    g->leaves = leaves;
    TRY(mo_calloc(33, sizeof *g->level_start, &g->level_start));
    TRY(mo_calloc(33, sizeof *g->level_size, &g->level_size));
    for (int32_t size = leaves;; size = (size + 1) / 2) {
        g->level_start[g->levels] = nodes;
        g->level_size[g->levels++] = size;
        nodes += size;
        if (size == 1)
            break;
    }
    TRY(mo_calloc((size_t)nodes, sizeof *g->node, &g->node));
    int32_t blocks = mo_gradient_blocks(leaves, sets, together);
    TRY(mo_calloc((size_t)blocks, sizeof *g->block, &g->block));
    TRY(mo_calloc((size_t)blocks, sizeof *g->free_list, &g->free_list));
    for (; g->blocks < blocks; g->blocks++)
        TRY(mo_buffer_create(device, (size_t)floats * sizeof(float), &g->block[g->blocks]));
    mo_gradients_recycle(g);
cleanup:
    return status;
}

void mo_gradients_free(mo_gradients_t *g)
{
    if (!g->ready)
        return;
    for (int32_t i = 0; i < g->blocks; i++)
        mo_buffer_free(&g->block[i]);
    mo_free(g->block);
    mo_free(g->free_list);
    mo_free(g->node);
    mo_free(g->level_start);
    mo_free(g->level_size);
    pthread_mutex_destroy(&g->lock);
    memset(g, 0, sizeof *g);
}

void mo_gradients_recycle(mo_gradients_t *g)
{
    if (!g->ready)
        return;
    int32_t nodes = g->level_start[g->levels - 1] + 1;
    memset(g->node, 0, (size_t)nodes * sizeof *g->node);
    memcpy(g->free_list, g->block, (size_t)g->blocks * sizeof *g->block);
    g->free_count = g->blocks;
    g->total = (mo_buffer_t){0};
}

moco_status_t mo_gradients_take(mo_gradients_t *g, mo_buffer_t *block)
{
    pthread_mutex_lock(&g->lock);
    *block = g->free_count > 0 ? g->free_list[--g->free_count] : (mo_buffer_t){0};
    pthread_mutex_unlock(&g->lock);
    return block->memory != NULL ? MOCO_OK : mo_fail(MOCO_ERR_ENGINE, "all %d gradient blocks are in use", g->blocks);
}

moco_status_t mo_gradients_finish(mo_gradients_t *g, int32_t leaf, mo_buffer_t block)
{
    int32_t level = 0, index = leaf;
    pthread_mutex_lock(&g->lock);
    while (level < g->levels - 1) {
        int32_t sibling = index ^ 1;
        if (sibling < g->level_size[level]) {
            mo_buffer_t *other = &g->node[g->level_start[level] + sibling];
            if (other->memory == NULL) { /* the sibling will merge */
                g->node[g->level_start[level] + index] = block;
                break;
            }
            const mo_buffer_t left = index & 1 ? *other : block, right = index & 1 ? block : *other;
            *other = (mo_buffer_t){0};
            pthread_mutex_unlock(&g->lock);
            const moco_status_t status = add_block(g->device, left, right, g->floats);
            if (status != MOCO_OK)
                return status; /* the step is lost; the next one starts with all blocks */
            pthread_mutex_lock(&g->lock);
            g->free_list[g->free_count++] = right;
            block = left;
        }
        level++;
        index /= 2;
    }
    if (level == g->levels - 1)
        g->total = block;
    pthread_mutex_unlock(&g->lock);
    return MOCO_OK;
}
