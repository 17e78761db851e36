/* Buffers over memories; see buffer.h. */
#include "engine/run/gpu.h"

#include <assert.h>
#include <string.h>

#include "util/alloc.h"
#include "util/status.h"

#ifdef MOCO_FAULTS
const mo_memory_kind_t *mo_memory_of_tests;
#endif

static moco_status_t host_memory(size_t bytes, mo_memory_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_memory_t *memory = NULL;
    TRY(mo_calloc(1, sizeof *memory, &memory));
    TRY(mo_block_create(bytes, &memory->at));
    *out = memory;
    memory = NULL;
cleanup:
    mo_free(memory);
    return status;
}

moco_status_t mo_buffer_create(moco_device_t *device, size_t bytes, mo_buffer_t *out)
{
    const int on_gpu = device != NULL && mo_device_is_gpu(device);
    const mo_memory_kind_t *kind = on_gpu ? &mo_memory_of_gpus : mo_memory_of_tests;
    mo_memory_t *memory = NULL;
    *out = (mo_buffer_t){0};
    const moco_status_t status = kind != NULL ? kind->create(device, bytes, &memory) : host_memory(bytes, &memory);
    if (status != MOCO_OK)
        return status;
    memory->kind = kind;
    memory->device = device != NULL ? mo_device_retain(device) : NULL;
    memory->bytes = bytes;
    *out = (mo_buffer_t){.memory = memory, .bytes = bytes};
    return MOCO_OK;
}

void mo_buffer_free(mo_buffer_t *buffer)
{
    mo_memory_t *memory = buffer->memory;
    *buffer = (mo_buffer_t){0};
    if (memory == NULL)
        return;
    moco_device_t *device = memory->device;
    if (memory->kind != NULL)
        memory->kind->free(memory);
    else {
        mo_block_free(memory->at, memory->bytes);
        mo_free(memory);
    }
    mo_device_release(device);
}

mo_buffer_t mo_buffer_part(mo_buffer_t buffer, size_t offset, size_t bytes)
{
    assert(offset <= buffer.bytes && bytes <= buffer.bytes - offset);
    return (mo_buffer_t){.memory = buffer.memory, .offset = buffer.offset + offset, .bytes = bytes};
}

moco_status_t mo_buffer_map(mo_buffer_t buffer, mo_access_t access, void *out)
{
    mo_memory_t *memory = buffer.memory;
    if (memory == NULL)
        return mo_fail(MOCO_ERR_ENGINE, "there is no buffer to map");
    if (memory->kind != NULL)
        return memory->kind->map(memory, buffer.offset, buffer.bytes, access, out);
    *(void **)out = memory->at + buffer.offset;
    return MOCO_OK;
}

void mo_buffer_unmap(mo_buffer_t buffer, void *mapped)
{
    if (mapped != NULL && buffer.memory->kind != NULL)
        buffer.memory->kind->unmap(buffer.memory, mapped);
}

moco_status_t mo_buffer_read(mo_buffer_t buffer, void *to)
{
    void *mapped;
    const moco_status_t status = mo_buffer_map(buffer, MO_READ, &mapped);
    if (status != MOCO_OK)
        return status;
    memcpy(to, mapped, buffer.bytes);
    mo_buffer_unmap(buffer, mapped);
    return MOCO_OK;
}

moco_status_t mo_buffer_write(mo_buffer_t buffer, const void *from)
{
    void *mapped;
    const moco_status_t status = mo_buffer_map(buffer, MO_WRITE, &mapped);
    if (status != MOCO_OK)
        return status;
    memcpy(mapped, from, buffer.bytes);
    mo_buffer_unmap(buffer, mapped);
    return MOCO_OK;
}

moco_status_t mo_buffer_copy(mo_buffer_t to, mo_buffer_t from)
{
    moco_status_t status = MOCO_OK;
    void *target = NULL;
    to.bytes = from.bytes = to.bytes < from.bytes ? to.bytes : from.bytes;
    TRY(mo_buffer_map(to, MO_WRITE, &target));
    TRY(mo_buffer_read(from, target));
cleanup:
    mo_buffer_unmap(to, target);
    return status;
}

/* ---- several at once ---- */

static int same(mo_buffer_t a, mo_buffer_t b)
{
    return a.memory == b.memory && a.offset == b.offset;
}

static int32_t first_of(const mo_buffer_t *buffers, int32_t i)
{
    for (int32_t j = 0; j < i; j++)
        if (same(buffers[j], buffers[i]))
            return j;
    return i;
}

/* All of the part that begins where buffer `first` does, as the later ones want it. */
static moco_status_t map_for_all(const mo_buffer_t *buffers, const mo_access_t *access, int32_t count, int32_t first,
                                 float **values)
{
    mo_buffer_t part = buffers[first];
    mo_access_t wanted = access[first];
    for (int32_t i = first + 1; i < count; i++)
        if (same(buffers[i], part)) {
            part.bytes = buffers[i].bytes > part.bytes ? buffers[i].bytes : part.bytes;
            wanted = access[i] == wanted ? wanted : MO_UPDATE;
        }
    return mo_buffer_map(part, wanted, &values[first]);
}

moco_status_t mo_buffers_map(const mo_buffer_t *buffers, const mo_access_t *access, int32_t count, float **values)
{
    moco_status_t status = MOCO_OK;
    memset(values, 0, (size_t)count * sizeof *values);
    for (int32_t i = 0; i < count && status == MOCO_OK; i++) {
        const int plain = buffers[i].memory != NULL && buffers[i].memory->kind == NULL;
        const int32_t first = plain ? i : first_of(buffers, i);
        if (first == i)
            status = plain ? mo_buffer_map(buffers[i], access[i], &values[i])
                           : map_for_all(buffers, access, count, i, values);
        else
            values[i] = values[first];
    }
    return status;
}

void mo_buffers_unmap(const mo_buffer_t *buffers, int32_t count, float *const *values)
{
    for (int32_t i = 0; i < count; i++)
        if (values[i] != NULL && buffers[i].memory->kind != NULL && first_of(buffers, i) == i)
            mo_buffer_unmap(buffers[i], values[i]);
}
