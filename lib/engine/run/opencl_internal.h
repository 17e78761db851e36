/* What opencl.c and opencl_kernels.c share. */
#ifndef MO_ENGINE_OPENCL_INTERNAL_H
#define MO_ENGINE_OPENCL_INTERNAL_H

#include "engine/run/opencl.h"

typedef int32_t (*info_fn)(void *object, uint32_t what, size_t room, void *value, size_t *bytes);
typedef void *(*alloc_fn)(void *context, void *device, const void *properties, size_t bytes, uint32_t alignment,
                          int32_t *error);
typedef int32_t (*free_fn)(void *context, void *address);
typedef int32_t (*copy_fn)(void *queue, uint32_t wait, void *to, const void *from, size_t bytes, uint32_t events,
                           const void *after, void *event);
typedef int32_t (*fill_fn)(void *queue, void *at, const void *pattern, size_t pattern_bytes, size_t bytes,
                           uint32_t events, const void *after, void *event);
typedef int32_t (*queue_fn)(void *queue);
typedef int32_t (*address_fn)(void *kernel, uint32_t number, const void *address);

struct mo_opencl {
    void *context, *device, *queue, *platform;
    info_fn device_info;
    alloc_fn alloc;
    free_fn free;
    copy_fn copy;
    fill_fn fill;
    queue_fn finish, flush;
    address_fn give_address;
    void *program; /* of our own kernels; NULL: not built yet */
    void **kernels;
    const char *const *names; /* of the kernels */
    int32_t kernel_count;
};

/* A function by its name, where oneDNN's own calls find it; 0: there is none. */
int mo_opencl_look_up(const char *name, void *function);
moco_status_t mo_opencl_failed(const char *what, int32_t error);
void mo_opencl_drop_kernels(mo_opencl_t *opencl);

#endif
