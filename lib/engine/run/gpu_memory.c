/* Memory of a GPU as a kind of memory: a map is a copy on the host, fetched where it is read and
 * sent back where it is written. The engine's work on it has been waited for before. */
#include <stdlib.h>
#include <string.h>

#include "engine/run/device_internal.h"
#include "engine/run/gpu.h"
#include "engine/run/process.h"
#include "util/alloc.h"

/* In front of what a caller has mapped. */
typedef struct mapping {
    size_t offset, bytes;
    mo_access_t access;
} mapping_t;

enum { FRONT = 64 };
_Static_assert(sizeof(mapping_t) <= FRONT, "what stands in front fits");

/* A copy, for lanes inside the gate: an exit waits for it. */
static moco_status_t copy(mo_memory_t *memory, void *to, const void *from, size_t bytes)
{
    mo_lane_t *lane = mo_lane_of_thread();
    moco_status_t status = lane != NULL ? mo_gate_enter(lane, MO_RUNNING) : MOCO_OK;
    if (status != MOCO_OK)
        return status;
    status = mo_opencl_copy(memory->device->gpu, to, from, bytes);
    if (lane != NULL)
        mo_gate_leave(lane);
    return status;
}

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
    uint8_t *block = NULL;
    if (status == MOCO_OK && (mo_fault(MO_FAULT_ALLOC) || posix_memalign((void **)&block, FRONT, FRONT + bytes) != 0))
        status = mo_fail(MOCO_ERR_MEMORY, "no memory to look at %zu bytes of the GPU", bytes);
    if (status == MOCO_OK && access == MO_WRITE)
        memset(block + FRONT, 0, bytes); /* what a call that fails does not write is sent, too */
    else if (status == MOCO_OK)
        status = copy(memory, block + FRONT, memory->at + offset, bytes);
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
    if (m->access != MO_READ && copy(memory, memory->at + m->offset, mapped, m->bytes) != MOCO_OK)
        mo_gpu_lose(memory->device);
    free(block);
}

static void nothing(mo_memory_t *memory)
{
    (void)memory;
}

const mo_memory_kind_t mo_memory_of_gpus = {create, drop, map, unmap, nothing, nothing};
