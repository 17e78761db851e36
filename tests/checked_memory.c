/* Memory for tests, which catches what works on a CPU only because host and engine share addresses.
 * Memory of the kind "pages" lies on pages of its own that nobody may touch but while they are
 * open: mapped, or at work in the engine. Of the kind "copies" a map is a copy: one for reading
 * must not be written, one for writing holds NaNs until it is, and nobody sees what is written
 * before the unmap. Two maps of the same numbers, of which one writes, are a mistake in both kinds.
 * A mistake ends the program, with a message or a memory fault. */
#include "checked_memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/status.h"

typedef struct mapping {
    struct mapping *after;
    size_t offset, bytes;
    mo_access_t access;
    void *mapped;
} mapping_t;

typedef struct checked {
    mo_memory_t memory;
    pthread_mutex_t lock;
    int open; /* "pages": maps and runs at work */
    mapping_t *mappings;
} checked_t;

static void mistake(const char *what)
{
    fprintf(stderr, "checked memory: %s\n", what);
    abort();
}

static size_t pages(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes / page + 1) * page;
}

static moco_status_t create_pages(size_t bytes, int protection, mo_memory_t **out)
{
    checked_t *c = NULL;
    moco_status_t status = mo_calloc(1, sizeof *c, &c);
    if (status != MOCO_OK)
        return status;
    void *at = mo_fault(MO_FAULT_ALLOC) ? MAP_FAILED
                                        : mmap(NULL, pages(bytes), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        mo_free(c);
        return mo_fail(MOCO_ERR_MEMORY, "no memory for a block of %zu bytes", bytes);
    }
    c->memory.at = at;
    pthread_mutex_init(&c->lock, NULL);
    *out = &c->memory;
    return MOCO_OK;
}

static moco_status_t create_closed(moco_device_t *device, size_t bytes, mo_memory_t **out)
{
    (void)device;
    return create_pages(bytes, PROT_NONE, out);
}

static moco_status_t create_open(moco_device_t *device, size_t bytes, mo_memory_t **out)
{
    (void)device;
    return create_pages(bytes, PROT_READ | PROT_WRITE, out);
}

static void drop(mo_memory_t *memory)
{
    checked_t *c = (checked_t *)memory;
    if (c->open != 0 || c->mappings != NULL)
        mistake("freed while it is mapped or at work");
    munmap(memory->at, pages(memory->bytes));
    pthread_mutex_destroy(&c->lock);
    mo_free(c);
}

static void open_by(checked_t *c, int more)
{
    const int before = c->open;
    c->open += more;
    if ((before == 0) != (c->open == 0) &&
        mprotect(c->memory.at, pages(c->memory.bytes), c->open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
        mistake("pages could not be opened or closed");
}

static void enter(mo_memory_t *memory)
{
    checked_t *c = (checked_t *)memory;
    pthread_mutex_lock(&c->lock);
    open_by(c, 1);
    pthread_mutex_unlock(&c->lock);
}

static void leave(mo_memory_t *memory)
{
    checked_t *c = (checked_t *)memory;
    pthread_mutex_lock(&c->lock);
    open_by(c, -1);
    pthread_mutex_unlock(&c->lock);
}

static void nothing(mo_memory_t *memory)
{
    (void)memory;
}

/* ---- maps ---- */

static int overlap(const mapping_t *a, const mapping_t *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes &&
           (a->access != MO_READ || b->access != MO_READ);
}

/* The lock is held. */
static void list(checked_t *c, size_t offset, size_t bytes, mo_access_t access, void *mapped)
{
    mapping_t *one = calloc(1, sizeof *one);
    if (one == NULL)
        mistake("no memory left");
    *one = (mapping_t){.after = c->mappings, .offset = offset, .bytes = bytes, .access = access, .mapped = mapped};
    for (const mapping_t *m = c->mappings; m != NULL; m = m->after)
        if (overlap(m, one))
            mistake("the same numbers are mapped twice, and one map writes");
    c->mappings = one;
}

static mapping_t *unlist(checked_t *c, void *mapped)
{
    mapping_t **at = &c->mappings;
    while (*at != NULL && (*at)->mapped != mapped)
        at = &(*at)->after;
    mapping_t *one = *at;
    if (one == NULL)
        mistake("unmapped what was not mapped");
    *at = one->after;
    return one;
}

static moco_status_t map_pages(mo_memory_t *memory, size_t offset, size_t bytes, mo_access_t access, void **out)
{
    checked_t *c = (checked_t *)memory;
    pthread_mutex_lock(&c->lock);
    list(c, offset, bytes, access, memory->at + offset);
    open_by(c, 1);
    pthread_mutex_unlock(&c->lock);
    *out = memory->at + offset;
    return MOCO_OK;
}

static void unmap_pages(mo_memory_t *memory, void *mapped)
{
    checked_t *c = (checked_t *)memory;
    pthread_mutex_lock(&c->lock);
    free(unlist(c, mapped));
    open_by(c, -1);
    pthread_mutex_unlock(&c->lock);
}

static moco_status_t map_copy(mo_memory_t *memory, size_t offset, size_t bytes, mo_access_t access, void **out)
{
    checked_t *c = (checked_t *)memory;
    void *copy = NULL;
    if (posix_memalign(&copy, MO_BUFFER_ALIGN, bytes + 1) != 0)
        mistake("no memory left");
    pthread_mutex_lock(&c->lock);
    list(c, offset, bytes, access, copy);
    if (access == MO_WRITE)
        memset(copy, 0xff, bytes);
    else
        memcpy(copy, memory->at + offset, bytes);
    pthread_mutex_unlock(&c->lock);
    *out = copy;
    return MOCO_OK;
}

static void unmap_copy(mo_memory_t *memory, void *mapped)
{
    checked_t *c = (checked_t *)memory;
    pthread_mutex_lock(&c->lock);
    mapping_t *one = unlist(c, mapped);
    if (one->access != MO_READ)
        memcpy(memory->at + one->offset, mapped, one->bytes);
    else if (memcmp(memory->at + one->offset, mapped, one->bytes) != 0)
        mistake("what was mapped for reading has changed");
    pthread_mutex_unlock(&c->lock);
    free(mapped);
    free(one);
}

static const mo_memory_kind_t by_pages = {create_closed, drop, map_pages, unmap_pages, enter, leave},
                              by_copies = {create_open, drop, map_copy, unmap_copy, nothing, nothing};

void checked_memory(const char *guard)
{
    if (guard == NULL || guard[0] == '\0')
        mo_memory_of_tests = NULL;
    else if (strcmp(guard, "pages") == 0)
        mo_memory_of_tests = &by_pages;
    else if (strcmp(guard, "copies") == 0)
        mo_memory_of_tests = &by_copies;
    else
        mistake("MOCO_GUARD is neither 'pages' nor 'copies'");
}

__attribute__((constructor)) static void from_environment(void)
{
    checked_memory(getenv("MOCO_GUARD"));
}
