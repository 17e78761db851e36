/* What lies behind a GPU engine of oneDNN: an OpenCL device, and memory on it that has addresses
 * (OpenCL calls it unified shared memory; here it is the device's own and no host code can touch
 * it). So a part of a memory is an address plus an offset, as on a CPU.
 *
 * Nothing of OpenCL is linked to or included. oneDNN brings it into the process where it was built
 * with it, and the few functions that are needed are looked up there. */
#ifndef MO_ENGINE_OPENCL_H
#define MO_ENGINE_OPENCL_H

#include "engine/onednn/compat.h"

#include <moco/status.h>

typedef struct mo_opencl mo_opencl_t;

typedef struct mo_opencl_facts {
    char name[128], driver[64];
    uint64_t bytes;   /* of memory                           */
    uint64_t largest; /* bytes that one memory may have      */
} mo_opencl_facts_t;

/* GPUs that oneDNN can use; loads the OpenCL drivers of the system. */
int32_t mo_gpu_count(void);
/* MOCO_ERR_UNSUPPORTED where there is no GPU of this number, with what was looked for. */
moco_status_t mo_gpu_check(int64_t number);

/* What GPU `number` is; 0 where oneDNN cannot use it. */
int mo_opencl_describe(int32_t number, mo_opencl_facts_t *facts);

/* Copies and kernels run on the queue of `stream`, one after the other, behind what oneDNN was
 * given there before. Both outlive it. The next two are made and freed where the engine is;
 * everything else is for any thread. */
moco_status_t mo_opencl_open(dnnl_engine_t engine, dnnl_stream_t stream, mo_opencl_t **out);
void mo_opencl_close(mo_opencl_t *opencl); /* NULL is fine */
void mo_opencl_facts(const mo_opencl_t *opencl, mo_opencl_facts_t *facts);

moco_status_t mo_opencl_alloc(mo_opencl_t *opencl, size_t bytes, void **address); /* zeroed */
void mo_opencl_free(mo_opencl_t *opencl, void *address);                          /* once all that is queued has run */
/* To or from the host, or within the device. `wait`: until it is done; without, memory of the host
 * stays as it is until mo_opencl_wait. */
moco_status_t mo_opencl_copy(mo_opencl_t *opencl, void *to, const void *from, size_t bytes, int wait);
moco_status_t mo_opencl_wait(mo_opencl_t *opencl); /* until all that is queued has run */
void mo_opencl_flush(mo_opencl_t *opencl);         /* begin with it, if that has not happened yet */

/* Kernels of a program in OpenCL C, in the order of `names`. Freed by mo_opencl_close. */
moco_status_t mo_opencl_build(mo_opencl_t *opencl, const char *source, int32_t count, const char *const *names);
/* What a kernel is given: an address on the device, or a number of `bytes` bytes. */
typedef struct mo_opencl_arg {
    const void *value;
    size_t bytes; /* 0: `value` is an address */
} mo_opencl_arg_t;
/* Queues `items` work-items, rounded up, of a kernel that was built. One thread at a time. */
moco_status_t mo_opencl_run(mo_opencl_t *opencl, int32_t kernel, int64_t items, int32_t count,
                            const mo_opencl_arg_t *args);

/* A oneDNN memory at an address, which may be NULL until one is set. */
dnnl_status_t mo_opencl_memory(dnnl_memory_t *memory, mo_cmd_t md, dnnl_engine_t engine, void *address);

#endif
