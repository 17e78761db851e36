/* The memory of an object as a list: what each block is for, how large it is, and who gets it. A
 * plan is the sum of the list; taking and freeing walk it. So every size is written once. */
#ifndef MO_ENGINE_BLOCKS_H
#define MO_ENGINE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

#include "engine/buffer.h"

typedef struct mo_block {
    const char *name; /* what it counts as; several blocks may share one */
    size_t bytes;
    void **pointer;      /* the owner's pointer, to memory of the host alone         */
    mo_buffer_t *buffer; /* or buffer; neither: only counted, somebody else takes it */
} mo_block_t;

enum { MO_BLOCKS = 32 };

typedef struct mo_blocks {
    mo_block_t list[MO_BLOCKS];
    int32_t count; /* may pass MO_BLOCKS, which _take refuses */
} mo_blocks_t;

/* `pointer`: the address of a pointer to anything. */
void mo_blocks_add(mo_blocks_t *blocks, const char *name, size_t bytes, void *pointer);
void mo_blocks_add_buffer(mo_blocks_t *blocks, const char *name, size_t bytes, mo_buffer_t *buffer);
/* Bytes that another object takes, counted here: packed weights, gradients, scratchpads. */
void mo_blocks_count(mo_blocks_t *blocks, const char *name, size_t bytes);
/* Sum of the blocks of a name; of all, where `name` is NULL. */
uint64_t mo_blocks_bytes(const mo_blocks_t *blocks, const char *name);
/* Zeroed and touched, as mo_block_create does it; buffers where `device` has them, or in the host's
 * memory, where it is NULL. After a failure _free gives back what was taken. */
moco_status_t mo_blocks_take(mo_blocks_t *blocks, moco_device_t *device);
/* The owner's pointers become NULL and its buffers {0}. Safe on a zeroed list, and on one that was
 * never taken. */
void mo_blocks_free(mo_blocks_t *blocks);

#endif
