/* Programs in OpenCL C: building one, and running its kernels; see opencl.h. */
#include "engine/run/opencl_internal.h"

#include <stdio.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/status.h"

enum {
    GROUP = 64, /* work-items of a work-group */
    SINGLE_PRECISION = 0x101B,
    EXACT_QUOTIENTS = 1 << 7, /* CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT */
    BUILD_LOG = 0x1183,
    OUT_OF_RESOURCES = -5
};

typedef void *(*program_fn)(void *context, uint32_t count, const char **sources, const size_t *lengths, int32_t *error);
typedef int32_t (*build_fn)(void *program, uint32_t count, void *const *devices, const char *options, void *then,
                            void *data);
typedef int32_t (*log_fn)(void *program, void *device, uint32_t what, size_t room, void *value, size_t *bytes);
typedef void *(*kernel_fn)(void *program, const char *name, int32_t *error);
typedef int32_t (*release_fn)(void *object);
typedef int32_t (*number_fn)(void *kernel, uint32_t number, size_t bytes, const void *value);
typedef int32_t (*run_fn)(void *queue, void *kernel, uint32_t rank, const size_t *from, const size_t *all,
                          const size_t *group, uint32_t events, const void *after, void *event);

static moco_status_t refuse_program(const mo_opencl_t *o, void *program, int32_t error)
{
    log_fn log;
    char *said = NULL;
    size_t bytes = 0;
    const int can_say = mo_opencl_look_up("clGetProgramBuildInfo", &log) &&
                        log(program, o->device, BUILD_LOG, 0, NULL, &bytes) == 0 &&
                        mo_calloc(bytes + 1, 1, &said) == MOCO_OK &&
                        log(program, o->device, BUILD_LOG, bytes, said, NULL) == 0;
    const moco_status_t status =
        mo_fail(MOCO_ERR_ENGINE, "the GPU's driver could not compile the kernels of this library: OpenCL error %d %s",
                error, can_say ? said : "");
    mo_free(said);
    return status;
}

/* Quotients and roots are rounded as on a CPU where the device can. */
static const char *options_of(const mo_opencl_t *o)
{
    uint64_t can = 0;
    o->device_info(o->device, SINGLE_PRECISION, sizeof can, &can, NULL);
    return can & EXACT_QUOTIENTS ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
}

moco_status_t mo_opencl_build(mo_opencl_t *o, const char *source, int32_t count, const char *const *names)
{
    moco_status_t status = MOCO_OK;
    program_fn create;
    build_fn build;
    kernel_fn kernel;
    int32_t error = 0;
    if (!mo_opencl_look_up("clCreateProgramWithSource", &create) || !mo_opencl_look_up("clBuildProgram", &build) ||
        !mo_opencl_look_up("clCreateKernel", &kernel))
        return mo_fail(MOCO_ERR_UNSUPPORTED, "this process has no OpenCL that compiles");
    TRY(mo_calloc((size_t)count, sizeof *o->kernels, &o->kernels));
    o->kernel_count = count;
    o->names = names;
    o->program = mo_fault(MO_FAULT_ENGINE) ? NULL : create(o->context, 1, &source, NULL, &error);
    if (o->program == NULL)
        TRY(mo_opencl_failed("take a program", error != 0 ? error : OUT_OF_RESOURCES));
    error = mo_fault(MO_FAULT_ENGINE) ? OUT_OF_RESOURCES : build(o->program, 1, &o->device, options_of(o), NULL, NULL);
    if (error != 0)
        TRY(refuse_program(o, o->program, error));
    for (int32_t i = 0; i < count; i++) {
        o->kernels[i] = mo_fault(MO_FAULT_ENGINE) ? NULL : kernel(o->program, names[i], &error);
        if (o->kernels[i] == NULL)
            TRY(mo_opencl_failed("make a kernel", error != 0 ? error : OUT_OF_RESOURCES));
    }
cleanup:
    if (status != MOCO_OK)
        mo_opencl_drop_kernels(o);
    return status;
}

void mo_opencl_drop_kernels(mo_opencl_t *o)
{
    release_fn release;
    if (mo_opencl_look_up("clReleaseKernel", &release))
        for (int32_t i = 0; i < o->kernel_count; i++)
            if (o->kernels[i] != NULL)
                release(o->kernels[i]);
    if (o->program != NULL && mo_opencl_look_up("clReleaseProgram", &release))
        release(o->program);
    mo_free(o->kernels);
    o->kernels = NULL;
    o->program = NULL;
    o->kernel_count = 0;
}

moco_status_t mo_opencl_run(mo_opencl_t *o, int32_t number, int64_t items, int32_t count, const mo_opencl_arg_t *args)
{
    number_fn give;
    run_fn run;
    const size_t group = GROUP, all = (size_t)(items + GROUP - 1) / GROUP * GROUP;
    int32_t error = 0;
    if (items == 0)
        return MOCO_OK;
    if (!mo_opencl_look_up("clSetKernelArg", &give) || !mo_opencl_look_up("clEnqueueNDRangeKernel", &run))
        return mo_fail(MOCO_ERR_UNSUPPORTED, "this process has no OpenCL that runs kernels");
    error = mo_fault(MO_FAULT_ENGINE) ? OUT_OF_RESOURCES : 0;
    for (int32_t i = 0; i < count && error == 0; i++)
        error = args[i].bytes == 0 ? o->give_address(o->kernels[number], (uint32_t)i, args[i].value)
                                   : give(o->kernels[number], (uint32_t)i, args[i].bytes, args[i].value);
    if (error == 0)
        error = mo_fault(MO_FAULT_ENGINE) ? OUT_OF_RESOURCES
                                          : run(o->queue, o->kernels[number], 1, NULL, &all, &group, 0, NULL, NULL);
    if (error == 0)
        return MOCO_OK;
    char what[64];
    snprintf(what, sizeof what, "run the kernel '%s'", o->names[number]);
    return mo_opencl_failed(what, error);
}
