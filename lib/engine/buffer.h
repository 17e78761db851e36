/* Memory of a device's engine: what plans read and write. No oneDNN type here, and no address: the
 * numbers may lie where only the engine reaches them. Host code reaches them through map and unmap
 * alone; on a CPU a map costs nothing.
 */
#ifndef MO_ENGINE_BUFFER_H
#define MO_ENGINE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/device.h"

#define MO_BUFFER_ALIGN 64 /* bytes: where the parts of a memory that an instance is bound to begin */

typedef struct mo_memory mo_memory_t;

/* A part of a memory; a value, to be copied and cut freely. {0} is none. */
typedef struct mo_buffer {
    mo_memory_t *memory;
    size_t offset, bytes;
} mo_buffer_t;

/* A memory of its own, zeroed, as one buffer; where `device` is NULL, in the host's memory, which
 * plans on a CPU can be bound to as well, but none on a GPU. Free it with mo_buffer_free, from that
 * buffer and not from a part. */
moco_status_t mo_buffer_create(moco_device_t *device, size_t bytes, mo_buffer_t *out);
void mo_buffer_free(mo_buffer_t *buffer); /* and makes it {0} */
/* `bytes` from byte `offset` of the buffer on; they must lie in it. */
mo_buffer_t mo_buffer_part(mo_buffer_t buffer, size_t offset, size_t bytes);
static inline mo_buffer_t mo_buffer_floats(mo_buffer_t buffer, int64_t from, int64_t count)
{
    return mo_buffer_part(buffer, (size_t)from * sizeof(float), (size_t)count * sizeof(float));
}

static inline int mo_buffer_same_place(mo_buffer_t a, mo_buffer_t b)
{
    return a.memory == b.memory && a.offset == b.offset;
}

/* ---- the numbers, on the host ---- */

typedef enum mo_access {
    MO_READ,  /* nothing is written                                                                       */
    MO_WRITE, /* everything is written; what is read before that is undefined                             */
    MO_UPDATE /* both: what is not written keeps its value                                                */
} mo_access_t;
/* out points to the buffer's bytes until the unmap. A buffer that is mapped for writing is not
 * mapped a second time and not read or written by the engine meanwhile; different parts may be
 * mapped at once, on any threads. Of memory on the host it cannot fail. */
moco_status_t mo_buffer_map(mo_buffer_t buffer, mo_access_t access, void *out);
void mo_buffer_unmap(mo_buffer_t buffer, void *mapped); /* NULL is fine */
/* The whole buffer to and from host memory; as many bytes as the smaller of two buffers. */
moco_status_t mo_buffer_read(mo_buffer_t buffer, void *to);
moco_status_t mo_buffer_write(mo_buffer_t buffer, const void *from);
moco_status_t mo_buffer_copy(mo_buffer_t to, mo_buffer_t from);

/* The same on a GPU without waiting, in the order of all that it is given: memory of the host must
 * stay as it is, or has its numbers, once mo_device_wait has returned. */
moco_status_t mo_buffer_upload(mo_buffer_t to, const void *from);
moco_status_t mo_buffer_fetch(mo_buffer_t from, void *to);
moco_status_t mo_buffer_move(mo_buffer_t to, mo_buffer_t from); /* within a device; they do not overlap */

#endif
