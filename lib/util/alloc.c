/* Allocation with clear failures, and large pre-touched blocks. */
#include "util/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util/fault.h"
#include "util/headroom.h"
#include "util/size.h"
#include "util/status.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define FIRST_ITEMS 64 /* of an array that grows */

static moco_status_t no_memory(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return mo_fail(MOCO_ERR_MEMORY, "no memory for %zu items of %zu bytes", count, size);
    return mo_fail(MOCO_ERR_MEMORY, "no memory for %s", mo_size(bytes).text);
}

/* Whether so much may be asked of the system, which promises more than it has. */
static moco_status_t admit(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? no_memory(count, size) : mo_headroom_admit(bytes);
}

moco_status_t mo_calloc(size_t count, size_t size, void *out)
{
    const moco_status_t status = admit(count, size);
    if (status != MOCO_OK)
        return status;
    void *memory = mo_fault(MO_FAULT_ALLOC) ? NULL : calloc(count ? count : 1, size ? size : 1);
    if (memory == NULL)
        return no_memory(count, size);
    *(void **)out = memory;
    return MOCO_OK;
}

moco_status_t mo_grow(void *pointer, size_t count, size_t size)
{
    void *old = *(void **)pointer;
    const size_t had = old != NULL && size > 0 ? malloc_usable_size(old) / size : 0;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return no_memory(count, size);
    const moco_status_t status = admit(count > had ? count - had : 0, size); /* the old part is paid for */
    if (status != MOCO_OK)
        return status;
    void *memory = mo_fault(MO_FAULT_ALLOC) ? NULL : realloc(old, bytes > 0 ? bytes : 1);
    if (memory == NULL)
        return no_memory(count, size);
    *(void **)pointer = memory;
    return MOCO_OK;
}

moco_status_t mo_reserve(void *pointer, int64_t wanted, int64_t *capacity, size_t size)
{
    if (wanted <= *capacity)
        return MOCO_OK;
    const int64_t least = *capacity < FIRST_ITEMS / 2 ? FIRST_ITEMS
                          : *capacity > INT64_MAX / 2 ? wanted
                                                      : *capacity * 2;
    const int64_t count = wanted > least ? wanted : least;
    const moco_status_t status = mo_grow(pointer, (size_t)count, size);
    if (status == MOCO_OK)
        *capacity = count;
    return status;
}

moco_status_t mo_grow_by_one(void *pointer, int32_t count, size_t size)
{
    const int full = count == 0 || (count >= 16 && (count & (count - 1)) == 0);
    return full ? mo_grow(pointer, count == 0 ? 16 : (size_t)count * 2, size) : MOCO_OK;
}

moco_status_t mo_strdup(const char *from, char **out)
{
    size_t size = strlen(from) + 1;
    moco_status_t status = mo_calloc(size, 1, out);
    if (status == MOCO_OK)
        memcpy(*out, from, size);
    return status;
}

moco_status_t mo_strprintf(char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "text could not be formatted");
    moco_status_t status = mo_calloc((size_t)length + 1, 1, out);
    if (status != MOCO_OK)
        return status;
    va_start(args, format);
    vsnprintf(*out, (size_t)length + 1, format, args);
    va_end(args);
    return MOCO_OK;
}

void mo_free(void *pointer)
{
    free(pointer);
}

/* Large blocks have mappings of their own, aligned to huge pages, so that freeing returns them and
 * neighbours never share a page. */
moco_status_t mo_block_create(size_t bytes, void *out)
{
    const size_t wanted = bytes > 0 ? bytes : 1, align = wanted < HUGE_PAGE ? 64 : HUGE_PAGE;
    void *memory = NULL;
    if (wanted > SIZE_MAX / 2)
        return no_memory(wanted, 1);
    const size_t rounded = (wanted + align - 1) / align * align;
    const moco_status_t status = mo_headroom_admit(rounded);
    if (status != MOCO_OK)
        return status;
    if (mo_fault(MO_FAULT_ALLOC) || posix_memalign(&memory, align, rounded) != 0)
        return no_memory(wanted, 1);
    if (align == HUGE_PAGE)
        madvise(memory, rounded, MADV_HUGEPAGE); /* a wish: refusal changes speed only */
    memset(memory, 0, rounded);
    *(void **)out = memory;
    return MOCO_OK;
}

void mo_block_free(void *block, size_t bytes)
{
    (void)bytes;
    free(block);
}
