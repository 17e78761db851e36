/* Memory. Every allocation passes here, so that tests can make the n-th one fail (fault.h). */
#ifndef MO_UTIL_ALLOC_H
#define MO_UTIL_ALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

/* Zeroed array of `count` items; MOCO_ERR_MEMORY with the size in the message. A count of 0 gives a
 * non-NULL pointer. */
moco_status_t mo_calloc(size_t count, size_t size, void *out);
/* Grow *pointer to `count` items; new bytes are not zeroed; on failure *pointer is as before. */
moco_status_t mo_grow(void *pointer, size_t count, size_t size);
/* Makes place for `wanted` items in an array of *capacity: grows to at least twice what it was,
 * from 64 items on, and changes nothing on failure. */
moco_status_t mo_reserve(void *pointer, int64_t wanted, int64_t *capacity, size_t size);
/* Place for one more item in an array of `count` that grows through this call alone: from 16 on it
 * doubles. */
moco_status_t mo_grow_by_one(void *pointer, int32_t count, size_t size);
moco_status_t mo_strdup(const char *from, char **out);
/* printf into a new string. */
moco_status_t mo_strprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mo_free(void *pointer);

/* Large blocks of floats and activations: 64-byte aligned (2 MiB when large), zeroed, touched, huge
 * pages asked for. */
moco_status_t mo_block_create(size_t bytes, void *out);
void mo_block_free(void *block, size_t bytes);

#endif
