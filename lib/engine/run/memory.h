/* What lies behind a buffer; for the engine's own files. */
#ifndef MO_ENGINE_MEMORY_H
#define MO_ENGINE_MEMORY_H

#include "engine/buffer.h"

/* Another kind of memory than the host's own. map's `bytes` from `offset` lie in the memory. */
typedef struct mo_memory_kind {
    /* Zeroed; what the struct says beside the address is filled in after it. */
    moco_status_t (*create)(moco_device_t *device, size_t bytes, mo_memory_t **out);
    void (*free)(mo_memory_t *memory);
    moco_status_t (*map)(mo_memory_t *memory, size_t offset, size_t bytes, mo_access_t access, void **out);
    void (*unmap)(mo_memory_t *memory, void *mapped);
    /* Around everything that the engine runs on it. */
    void (*enter)(mo_memory_t *memory);
    void (*leave)(mo_memory_t *memory);
} mo_memory_kind_t;

struct mo_memory {
    const mo_memory_kind_t *kind; /* NULL: the host's own, where a map is an address */
    moco_device_t *device;        /* retained; NULL: not tied to one                  */
    uint8_t *at;                  /* address for the engine; of a GPU's, for nobody else */
    size_t bytes;
};

/* What a primitive is given for this buffer. */
static inline void *mo_buffer_address(mo_buffer_t buffer)
{
    return buffer.memory != NULL ? buffer.memory->at + buffer.offset : NULL;
}

static inline void mo_buffer_enter(mo_buffer_t buffer)
{
    if (buffer.memory != NULL && buffer.memory->kind != NULL)
        buffer.memory->kind->enter(buffer.memory);
}

static inline void mo_buffer_leave(mo_buffer_t buffer)
{
    if (buffer.memory != NULL && buffer.memory->kind != NULL)
        buffer.memory->kind->leave(buffer.memory);
}

/* Maps `count` buffers at once. A part that is given several times is mapped once, for all that is
 * asked of it. */
moco_status_t mo_buffers_map(const mo_buffer_t *buffers, const mo_access_t *access, int32_t count, float **values);
void mo_buffers_unmap(const mo_buffer_t *buffers, int32_t count, float *const *values); /* those that are not NULL */

#ifdef MOCO_FAULTS
/* Of the test library: the kind that every new memory has, NULL = the host's own. */
extern const mo_memory_kind_t *mo_memory_of_tests;
#else
#define mo_memory_of_tests NULL
#endif

#endif
