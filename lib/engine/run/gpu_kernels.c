/* Running kernels on a device that is a GPU, and what else happens there without a wait; see
 * kernel.h and buffer.h. */
#include "engine/kernels/gpu_source.h"
#include "engine/run/device_internal.h"
#include "engine/run/gpu.h"
#include "engine/run/process.h"
#include "util/status.h"

/* What follows is a call of OpenCL's: of a lane, inside the gate. */
static moco_status_t enter(mo_lane_t **lane, mo_inside_t what)
{
    *lane = mo_lane_of_thread();
    return *lane != NULL ? mo_gate_enter(*lane, what) : MOCO_OK;
}

static void leave(mo_lane_t *lane)
{
    if (lane != NULL)
        mo_gate_leave(lane);
}

static mo_opencl_arg_t bytes_of(const mo_kernel_arg_t *arg)
{
    if (arg->kind == 'f')
        return (mo_opencl_arg_t){&arg->real, sizeof arg->real};
    if (arg->kind == 'l')
        return (mo_opencl_arg_t){&arg->whole, sizeof arg->whole};
    return (mo_opencl_arg_t){mo_buffer_address(arg->buffer), 0};
}

moco_status_t mo_kernel_start(moco_device_t *device, mo_kernel_t kernel, int64_t items, int32_t count,
                              const mo_kernel_arg_t *args)
{
    mo_opencl_arg_t all[MO_KERNEL_ARGS + 1] = {{&items, sizeof items}};
    mo_lane_t *lane;
    moco_status_t status = mo_gpu_alive(device);
    if (status == MOCO_OK)
        status = enter(&lane, atomic_load(&device->kernels) ? MO_RUNNING : MO_MAKING);
    if (status != MOCO_OK)
        return status;
    for (int32_t i = 0; i < count; i++)
        all[i + 1] = bytes_of(&args[i]);
    pthread_mutex_lock(&device->submit);
    if (!atomic_load(&device->kernels)) {
        status = mo_opencl_build(device->gpu, mo_gpu_kernel_source, MO_KERNELS, mo_gpu_kernel_names);
        mo_gate_note(mo_gate_kind("kernels", "", MO_MAKING)); /* the driver has loaded its compiler */
        atomic_store(&device->kernels, status == MOCO_OK);
    }
    if (status == MOCO_OK)
        status = mo_opencl_run(device->gpu, (int32_t)kernel, items, count + 1, all);
    pthread_mutex_unlock(&device->submit);
    leave(lane);
    return status;
}

/* ---- copies and waits ---- */

moco_status_t mo_gpu_copy(moco_device_t *device, void *to, const void *from, size_t bytes, int wait)
{
    mo_lane_t *lane;
    moco_status_t status = enter(&lane, MO_RUNNING);
    if (status != MOCO_OK)
        return status;
    if (wait)
        atomic_fetch_add(&device->counts.waits, 1);
    status = mo_opencl_copy(device->gpu, to, from, bytes, wait);
    leave(lane);
    return status;
}

moco_status_t mo_gpu_wait(moco_device_t *device)
{
    mo_lane_t *lane;
    moco_status_t status = enter(&lane, MO_RUNNING);
    if (status != MOCO_OK)
        return status;
    atomic_fetch_add(&device->counts.waits, 1);
    status = mo_opencl_wait(device->gpu);
    leave(lane);
    return status;
}

moco_status_t mo_device_wait(moco_device_t *device)
{
    return device->gpu != NULL ? mo_gpu_wait(device) : MOCO_OK;
}

/* On a lane. */
static moco_status_t drop(mo_lane_t *lane, void *ctx)
{
    (void)lane;
    return mo_device_wait(ctx);
}

moco_status_t mo_device_drop(moco_device_t *device, moco_status_t failure)
{
    char why[MO_MESSAGE_SIZE];
    if (!mo_device_is_gpu(device))
        return failure;
    mo_message_copy(why);
    /* Fails likely as well, for the same reason. */
    (void)(mo_lane_of_thread() != NULL ? mo_device_wait(device) : mo_device_call(device, drop, device));
    return mo_message_set(failure, why);
}

void mo_device_counts(const moco_device_t *device, mo_device_counts_t *counts)
{
    *counts = (mo_device_counts_t){atomic_load(&device->counts.waits), atomic_load(&device->counts.maps)};
}

static int is_on_gpu(mo_buffer_t buffer)
{
    return buffer.memory != NULL && buffer.memory->kind == &mo_memory_of_gpus;
}

moco_status_t mo_buffer_upload(mo_buffer_t to, const void *from)
{
    if (!is_on_gpu(to))
        return mo_buffer_write(to, from);
    return mo_gpu_copy(to.memory->device, mo_buffer_address(to), from, to.bytes, 0);
}

moco_status_t mo_buffer_fetch(mo_buffer_t from, void *to)
{
    if (!is_on_gpu(from))
        return mo_buffer_read(from, to);
    return mo_gpu_copy(from.memory->device, to, mo_buffer_address(from), from.bytes, 0);
}

moco_status_t mo_buffer_move(mo_buffer_t to, mo_buffer_t from)
{
    if (!is_on_gpu(to) || !is_on_gpu(from))
        return mo_buffer_copy(to, from);
    return mo_gpu_copy(to.memory->device, mo_buffer_address(to), mo_buffer_address(from),
                       to.bytes < from.bytes ? to.bytes : from.bytes, 0);
}
