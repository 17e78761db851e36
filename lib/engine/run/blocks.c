/* Lists of blocks; see blocks.h. */
#include "engine/blocks.h"

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
    add(b, (mo_block_t){.name = name, .bytes = bytes, .pointer = pointer});
}

void mo_blocks_add_buffer(mo_blocks_t *b, const char *name, size_t bytes, mo_buffer_t *buffer)
{
    add(b, (mo_block_t){.name = name, .bytes = bytes, .buffer = buffer});
}

void mo_blocks_count(mo_blocks_t *b, const char *name, size_t bytes)
{
    add(b, (mo_block_t){.name = name, .bytes = bytes});
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

moco_status_t mo_blocks_take(mo_blocks_t *b, moco_device_t *device)
{
    moco_status_t status = MOCO_OK;
    if (b->count > MO_BLOCKS)
        return mo_fail(MOCO_ERR_ENGINE, "a list of %d blocks, wanted at most %d", b->count, MO_BLOCKS);
    for (int32_t i = 0; i < b->count; i++) {
        const mo_block_t *one = &b->list[i];
        if (one->pointer != NULL)
            TRY(mo_block_create(one->bytes, one->pointer));
        if (one->buffer != NULL)
            TRY(mo_buffer_create(device, one->bytes, one->buffer));
    }
cleanup:
    return status;
}

void mo_blocks_free(mo_blocks_t *b)
{
    for (int32_t i = 0; i < listed(b); i++) {
        const mo_block_t *one = &b->list[i];
        if (one->pointer != NULL) {
            mo_block_free(*one->pointer, one->bytes);
            *one->pointer = NULL;
        }
        if (one->buffer != NULL)
            mo_buffer_free(one->buffer);
    }
    b->count = 0;
}
