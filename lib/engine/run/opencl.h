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

/* Copies run on the queue of `stream`, which nothing else uses. Both outlive it. The next two are
 * made and freed where the engine is; everything else is for any thread. */
moco_status_t mo_opencl_open(dnnl_engine_t engine, dnnl_stream_t stream, mo_opencl_t **out);
void mo_opencl_close(mo_opencl_t *opencl); /* NULL is fine */
void mo_opencl_facts(const mo_opencl_t *opencl, mo_opencl_facts_t *facts);

moco_status_t mo_opencl_alloc(mo_opencl_t *opencl, size_t bytes, void **address); /* zeroed */
void mo_opencl_free(mo_opencl_t *opencl, void *address);
/* To or from the host, or within the device; waits until it is done. */
moco_status_t mo_opencl_copy(mo_opencl_t *opencl, void *to, const void *from, size_t bytes);

/* A oneDNN memory at an address, which may be NULL until one is set. */
dnnl_status_t mo_opencl_memory(dnnl_memory_t *memory, mo_cmd_t md, dnnl_engine_t engine, void *address);

#endif
