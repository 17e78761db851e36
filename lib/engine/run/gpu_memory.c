/* Memory of a GPU as a kind of memory: a map is a copy on the host, fetched where it is read and
 * sent back where it is written. Both stand behind the engine's work on it in one queue. */
#include <stdlib.h>
#include <string.h>

#include "engine/run/device_internal.h"
#include "engine/run/gpu.h"
#include "util/alloc.h"

/* In front of what a caller has mapped. */
typedef struct mapping {
    size_t offset, bytes;
    mo_access_t access;
} mapping_t;

enum { FRONT = 64 };
_Static_assert(sizeof(mapping_t) <= FRONT, "what stands in front fits");

static moco_status_t create(moco_device_t *device, size_t bytes, mo_memory_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_memory_t *memory = NULL;
    void *at = NULL;
    TRY(mo_calloc(1, sizeof *memory, &memory));
    TRY(mo_opencl_alloc(device->gpu, bytes, &at));
    memory->at = at;
    *out = memory;
    memory = NULL;
cleanup:
    mo_free(memory);
    return status;
}

static void drop(mo_memory_t *memory)
{
    mo_opencl_free(memory->device->gpu, memory->at);
    mo_free(memory);
}

static moco_status_t map(mo_memory_t *memory, size_t offset, size_t bytes, mo_access_t access, void **out)
{
    moco_status_t status = mo_gpu_alive(memory->device);
    atomic_fetch_add(&memory->device->counts.maps, 1);
    uint8_t *block = NULL;
    if (status == MOCO_OK && (mo_fault(MO_FAULT_ALLOC) || posix_memalign((void **)&block, FRONT, FRONT + bytes) != 0))
        status = mo_fail(MOCO_ERR_MEMORY, "no memory to look at %zu bytes of the GPU", bytes);
    if (status == MOCO_OK && access == MO_WRITE)
        memset(block + FRONT, 0, bytes); /* what a call that fails does not write is sent, too */
    else if (status == MOCO_OK)
        status = mo_gpu_copy(memory->device, block + FRONT, memory->at + offset, bytes, 1);
    if (status != MOCO_OK) {
        free(block);
        return status;
    }
    *(mapping_t *)block = (mapping_t){.offset = offset, .bytes = bytes, .access = access};
    *out = block + FRONT;
    return MOCO_OK;
}

/* Who unmaps cannot be told of a failure: the next one who wants something of the device is. */
static void unmap(mo_memory_t *memory, void *mapped)
{
    uint8_t *block = (uint8_t *)mapped - FRONT;
    const mapping_t *m = (const mapping_t *)block;
    if (m->access != MO_READ && mo_gpu_copy(memory->device, memory->at + m->offset, mapped, m->bytes, 1) != MOCO_OK)
        mo_gpu_lose(memory->device);
    free(block);
}

static void nothing(mo_memory_t *memory)
{
    (void)memory;
}

const mo_memory_kind_t mo_memory_of_gpus = {create, drop, map, unmap, nothing, nothing};
