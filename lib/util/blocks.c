/* Lists of blocks; see blocks.h. */
#include "util/blocks.h"

#include <string.h>

#include "util/alloc.h"
#include "util/status.h"

static void add(mo_blocks_t *b, mo_block_t block)
{
    if (b->count < MO_BLOCKS)
        b->list[b->count] = block;
    b->count++;
}

void mo_blocks_add(mo_blocks_t *b, const char *name, size_t bytes, void *pointer)
{
    add(b, (mo_block_t){name, bytes, pointer});
}

void mo_blocks_count(mo_blocks_t *b, const char *name, size_t bytes)
{
    add(b, (mo_block_t){name, bytes, NULL});
}

static int32_t listed(const mo_blocks_t *b)
{
    return b->count < MO_BLOCKS ? b->count : MO_BLOCKS;
}

uint64_t mo_blocks_bytes(const mo_blocks_t *b, const char *name)
{
    uint64_t sum = 0;
    for (int32_t i = 0; i < listed(b); i++)
        sum += name == NULL || strcmp(name, b->list[i].name) == 0 ? b->list[i].bytes : 0;
    return sum;
}

moco_status_t mo_blocks_take(mo_blocks_t *b)
{
    moco_status_t status = MOCO_OK;
    if (b->count > MO_BLOCKS)
        return mo_fail(MOCO_ERR_ENGINE, "a list of %d blocks, wanted at most %d", b->count, MO_BLOCKS);
    for (int32_t i = 0; i < b->count; i++)
        if (b->list[i].pointer != NULL)
            TRY(mo_block_create(b->list[i].bytes, b->list[i].pointer));
cleanup:
    return status;
}

void mo_blocks_free(mo_blocks_t *b)
{
    for (int32_t i = 0; i < listed(b); i++)
        if (b->list[i].pointer != NULL) {
            mo_block_free(*b->list[i].pointer, b->list[i].bytes);
            *b->list[i].pointer = NULL;
        }
    b->count = 0;
}
