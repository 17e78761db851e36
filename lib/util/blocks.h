/* The memory of an object as a list: what each block is for, how large it is, and which pointer gets it. A plan is the
 * sum of the list; taking and freeing walk it. So every size is written once. */
#ifndef MO_UTIL_BLOCKS_H
#define MO_UTIL_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

typedef struct mo_block {
    const char *name; /* what it counts as; several blocks may share one */
    size_t bytes;
    void **pointer; /* the owner's; NULL: only counted, somebody else takes it */
} mo_block_t;

enum { MO_BLOCKS = 32 };

typedef struct mo_blocks {
    mo_block_t list[MO_BLOCKS];
    int32_t count; /* may pass MO_BLOCKS, which _take refuses */
} mo_blocks_t;

/* `pointer`: the address of a pointer to anything. */
void mo_blocks_add(mo_blocks_t *blocks, const char *name, size_t bytes, void *pointer);
/* Bytes that another object takes, counted here: packed weights, gradients, scratchpads. */
void mo_blocks_count(mo_blocks_t *blocks, const char *name, size_t bytes);
/* Sum of the blocks of a name; of all, where `name` is NULL. */
uint64_t mo_blocks_bytes(const mo_blocks_t *blocks, const char *name);
/* Zeroed and touched, as mo_block_create does it. After a failure _free gives back what was taken. */
moco_status_t mo_blocks_take(mo_blocks_t *blocks);
/* The owner's pointers become NULL. Safe on a zeroed list, and on one that was never taken. */
void mo_blocks_free(mo_blocks_t *blocks);

#endif
