/* The OpenCL that a GPU engine of oneDNN runs on; see opencl.h. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "engine/run/opencl_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/status.h"

/* Numbers and prototypes of the standard, of its extension cl_intel_unified_shared_memory and of
 * oneDNN's OpenCL interface. */
enum {
    PLATFORM_NAME = 0x0902,
    LARGEST_MEMORY = 0x1010,
    MEMORY_BYTES = 0x101F,
    DEVICE_NAME = 0x102B,
    DRIVER_VERSION = 0x102D,
    DEVICE_PLATFORM = 0x1031,
    OUT_OF_DEVICE_MEMORY = -4, /* CL_MEM_OBJECT_ALLOCATION_FAILURE */
    OUT_OF_RESOURCES = -5,
    OUT_OF_HOST_MEMORY = -6,
    INVALID_BUFFER_SIZE = -61,
    WITH_ADDRESSES = 0 /* dnnl_ocl_interop_usm */
};

typedef int32_t (*platforms_fn)(uint32_t room, void **platforms, uint32_t *count);
typedef void *(*extension_fn)(void *platform, const char *name);
typedef dnnl_status_t (*of_engine_fn)(dnnl_engine_t engine, void *object);
typedef dnnl_status_t (*of_stream_fn)(dnnl_stream_t stream, void *queue);
typedef dnnl_status_t (*memory_fn)(dnnl_memory_t *memory, mo_cmd_t md, dnnl_engine_t engine, int kind, void *address);

/* In the place where oneDNN's own calls find it. */
int mo_opencl_look_up(const char *name, void *function)
{
    *(void **)function = dlsym(RTLD_DEFAULT, name);
    return *(void **)function != NULL;
}

/* ---- is there one? ---- */

int32_t mo_gpu_count(void)
{
    return (int32_t)dnnl_engine_get_count(dnnl_gpu);
}

/* "2 OpenCL platforms (A, B)" */
static void describe_platforms(char *text, size_t room)
{
    platforms_fn platforms;
    info_fn info = NULL;
    void *found[8];
    uint32_t count = 0;
    if (!mo_opencl_look_up("clGetPlatformIDs", &platforms) || !mo_opencl_look_up("clGetPlatformInfo", &info) ||
        platforms(8, found, &count) != 0)
        count = 0;
    int at = snprintf(text, room, "%u OpenCL platform%s", count, count == 1 ? "" : "s");
    for (uint32_t i = 0; i < count && i < 8; i++) {
        char name[80] = "?";
        info(found[i], PLATFORM_NAME, sizeof name, name, NULL);
        name[sizeof name - 1] = '\0';
        if (at >= 0 && (size_t)at < room)
            at += snprintf(text + at, room - (size_t)at, "%s%s%s", i == 0 ? " (" : ", ", name,
                           i + 1 == count || i == 7 ? ")" : "");
    }
}

moco_status_t mo_gpu_check(int64_t number)
{
    const dnnl_version_t *v = dnnl_version();
    char platforms[512];
    memory_fn memory;
    if (v->gpu_runtime == DNNL_RUNTIME_NONE)
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "a GPU was asked for, but oneDNN %d.%d.%d here is built for CPUs alone; wanted one built with "
                       "OpenCL",
                       v->major, v->minor, v->patch);
    if (v->gpu_runtime != DNNL_RUNTIME_OCL || !mo_opencl_look_up("dnnl_ocl_interop_memory_create", &memory))
        return mo_fail(
            MOCO_ERR_UNSUPPORTED,
            "a GPU was asked for, but oneDNN %d.%d.%d here reaches GPUs by another way than OpenCL, which is "
            "the one that this library knows",
            v->major, v->minor, v->patch);
    const int32_t count = mo_gpu_count();
    if (count <= 0) {
        describe_platforms(platforms, sizeof platforms);
        return mo_fail(
            MOCO_ERR_UNSUPPORTED,
            "a GPU was asked for, but oneDNN %d.%d.%d finds none: it wants an OpenCL device of type GPU made "
            "by Intel, its driver (intel-opencl-icd) listed in /etc/OpenCL/vendors, and permission to open "
            "/dev/dri/renderD*; found %s",
            v->major, v->minor, v->patch, platforms);
    }
    if (number >= count)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "GPU number %lld was asked for; there are %d, from number 0 on",
                       (long long)number, count);
    return MOCO_OK;
}

/* ---- opening ---- */

moco_status_t mo_opencl_failed(const char *what, int32_t error)
{
    const int memory = error == OUT_OF_DEVICE_MEMORY || error == OUT_OF_RESOURCES || error == OUT_OF_HOST_MEMORY ||
                       error == INVALID_BUFFER_SIZE;
    return mo_fail(memory ? MOCO_ERR_MEMORY : MOCO_ERR_ENGINE, "the GPU could not %s: OpenCL error %d%s", what, error,
                   error == OUT_OF_RESOURCES ? " (its memory is used up, or it was lost)" : "");
}

/* The functions that are there without being asked for; 0: one is not. */
static int find_functions(mo_opencl_t *o, dnnl_engine_t engine, dnnl_stream_t stream, extension_fn *extension)
{
    of_engine_fn context_of, device_of;
    of_stream_fn queue_of;
    return mo_opencl_look_up("dnnl_ocl_interop_engine_get_context", &context_of) &&
           mo_opencl_look_up("dnnl_ocl_interop_get_device", &device_of) &&
           mo_opencl_look_up("dnnl_ocl_interop_stream_get_command_queue", &queue_of) &&
           mo_opencl_look_up("clGetDeviceInfo", &o->device_info) && mo_opencl_look_up("clFinish", &o->finish) &&
           mo_opencl_look_up("clFlush", &o->flush) &&
           mo_opencl_look_up("clGetExtensionFunctionAddressForPlatform", extension) &&
           context_of(engine, &o->context) == dnnl_success && device_of(engine, &o->device) == dnnl_success &&
           queue_of(stream, &o->queue) == dnnl_success &&
           o->device_info(o->device, DEVICE_PLATFORM, sizeof o->platform, &o->platform, NULL) == 0;
}

static int find_memory_functions(mo_opencl_t *o, extension_fn extension)
{
    *(void **)&o->alloc = extension(o->platform, "clDeviceMemAllocINTEL");
    *(void **)&o->free = extension(o->platform, "clMemFreeINTEL");
    *(void **)&o->copy = extension(o->platform, "clEnqueueMemcpyINTEL");
    *(void **)&o->fill = extension(o->platform, "clEnqueueMemFillINTEL");
    *(void **)&o->give_address = extension(o->platform, "clSetKernelArgMemPointerINTEL");
    return o->alloc != NULL && o->free != NULL && o->copy != NULL && o->fill != NULL && o->give_address != NULL;
}

moco_status_t mo_opencl_open(dnnl_engine_t engine, dnnl_stream_t stream, mo_opencl_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_opencl_t *o = NULL;
    extension_fn extension = NULL;
    mo_opencl_facts_t facts;
    TRY(mo_calloc(1, sizeof *o, &o));
    if (!find_functions(o, engine, stream, &extension))
        TRY(mo_fail(MOCO_ERR_UNSUPPORTED, "this process has no OpenCL that a GPU could be used with"));
    mo_opencl_facts(o, &facts);
    if (!find_memory_functions(o, extension))
        TRY(mo_fail(MOCO_ERR_UNSUPPORTED,
                    "the GPU %s (driver %s) offers no memory with addresses, cl_intel_unified_shared_memory; a newer "
                    "driver does",
                    facts.name, facts.driver));
    *out = o;
    o = NULL;
cleanup:
    mo_free(o);
    return status;
}

void mo_opencl_close(mo_opencl_t *opencl)
{
    if (opencl != NULL)
        mo_opencl_drop_kernels(opencl);
    mo_free(opencl);
}

static void text_of(const mo_opencl_t *o, uint32_t what, char *text, size_t room)
{
    if (o->device_info(o->device, what, room, text, NULL) != 0)
        snprintf(text, room, "?");
    text[room - 1] = '\0';
}

void mo_opencl_facts(const mo_opencl_t *opencl, mo_opencl_facts_t *facts)
{
    *facts = (mo_opencl_facts_t){.bytes = 0};
    text_of(opencl, DEVICE_NAME, facts->name, sizeof facts->name);
    text_of(opencl, DRIVER_VERSION, facts->driver, sizeof facts->driver);
    opencl->device_info(opencl->device, MEMORY_BYTES, sizeof facts->bytes, &facts->bytes, NULL);
    opencl->device_info(opencl->device, LARGEST_MEMORY, sizeof facts->largest, &facts->largest, NULL);
}

int mo_opencl_describe(int32_t number, mo_opencl_facts_t *facts)
{
    mo_opencl_t opencl = {.context = NULL};
    dnnl_engine_t engine = NULL;
    of_engine_fn device_of = NULL;
    const int found = mo_opencl_look_up("dnnl_ocl_interop_get_device", &device_of) &&
                      mo_opencl_look_up("clGetDeviceInfo", &opencl.device_info) &&
                      dnnl_engine_create(&engine, dnnl_gpu, (size_t)number) == dnnl_success &&
                      device_of(engine, &opencl.device) == dnnl_success;
    if (found)
        mo_opencl_facts(&opencl, facts);
    if (engine != NULL)
        dnnl_engine_destroy(engine);
    return found;
}

/* ---- memory ---- */

moco_status_t mo_opencl_alloc(mo_opencl_t *o, size_t bytes, void **address)
{
    int32_t error = 0;
    const float zero = 0;
    const size_t wanted = (bytes > 0 ? bytes + sizeof zero - 1 : sizeof zero) / sizeof zero * sizeof zero;
    void *at = mo_fault(MO_FAULT_ENGINE) ? NULL : o->alloc(o->context, o->device, NULL, wanted, 0, &error);
    if (at == NULL) {
        mo_opencl_facts_t facts;
        mo_opencl_facts(o, &facts);
        return mo_fail(MOCO_ERR_MEMORY,
                       "the GPU %s has no memory for a block of %zu bytes (OpenCL error %d; it has %llu in all and "
                       "gives at most %llu at once)",
                       facts.name, bytes, error, (unsigned long long)facts.bytes, (unsigned long long)facts.largest);
    }
    error = o->fill(o->queue, at, &zero, sizeof zero, wanted, 0, NULL, NULL);
    if (error != 0) {
        o->free(o->context, at);
        return mo_opencl_failed("clear memory", error);
    }
    *address = at;
    return MOCO_OK;
}

void mo_opencl_free(mo_opencl_t *o, void *address)
{
    if (address == NULL)
        return;
    o->finish(o->queue);
    o->free(o->context, address);
}

moco_status_t mo_opencl_wait(mo_opencl_t *o)
{
    const int32_t error = mo_fault(MO_FAULT_ENGINE) ? OUT_OF_RESOURCES : o->finish(o->queue);
    return error == 0 ? MOCO_OK : mo_opencl_failed("finish its work", error);
}

void mo_opencl_flush(mo_opencl_t *o)
{
    o->flush(o->queue); /* a failure is seen by who waits */
}

moco_status_t mo_opencl_copy(mo_opencl_t *o, void *to, const void *from, size_t bytes, int wait)
{
    if (bytes == 0)
        return MOCO_OK;
    const int32_t error = mo_fault(MO_FAULT_ENGINE) ? OUT_OF_RESOURCES
                                                    : o->copy(o->queue, wait != 0, to, from, bytes, 0, NULL, NULL);
    return error == 0 ? MOCO_OK : mo_opencl_failed("copy numbers", error);
}

dnnl_status_t mo_opencl_memory(dnnl_memory_t *memory, mo_cmd_t md, dnnl_engine_t engine, void *address)
{
    static memory_fn create;
    memory_fn found = __atomic_load_n(&create, __ATOMIC_RELAXED);
    if (found == NULL && mo_opencl_look_up("dnnl_ocl_interop_memory_create", &found))
        __atomic_store_n(&create, found, __ATOMIC_RELAXED);
    return found != NULL ? found(memory, md, engine, WITH_ADDRESSES, address) : dnnl_unimplemented;
}
