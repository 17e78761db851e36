/* The device handle: engine and lanes. */
#include "engine/device.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/run/device_internal.h"
#include "engine/run/gpu.h"
#include "engine/run/process.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/fault.h"

enum { GPU_LANES = 1 }; /* each takes device memory of its own */

/* Lanes sleep by the clock that nobody sets. */
static void init_conditions(moco_device_t *device)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&device->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&device->finished, NULL);
}

void mo_device_forked(moco_device_t *device)
{
    if (device->queues[MO_TRAINING].first != NULL || device->queues[MO_EMBEDDING].first != NULL || device->busy > 0 ||
        device->gpu != NULL)
        device->forked = 1; /* lanes died in the middle of something; a driver's threads always do */
    for (int i = 0; i < device->lane_count; i++) {
        device->lanes[i].started = 0;
        atomic_store(&device->lanes[i].inside, MO_OUTSIDE);
    }
    device->queues[MO_TRAINING] = device->queues[MO_EMBEDDING] = (mo_waiting_t){NULL, NULL, 0};
    atomic_store(&device->embedding_parts, 0);
    device->busy = 0;
    init_conditions(device);
}

/* ---- life ---- */

static moco_status_t make_gpu(moco_device_t *device, int64_t number)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_gpu_check(number));
    TRY(mo_engine_make(dnnl_engine_create(&device->engine, dnnl_gpu, (size_t)number), "create a GPU engine"));
    TRY(mo_engine_make(dnnl_stream_create(&device->copies, device->engine, dnnl_stream_default_flags),
                       "create a stream"));
    TRY(mo_opencl_open(device->engine, device->copies, &device->gpu));
    device->number = number;
cleanup:
    return status;
}

static moco_status_t open_engine(mo_lane_t *lane, void *ctx)
{
    const moco_device_options_t *open = ctx;
    moco_device_t *device = lane->device;
    moco_status_t status = mo_gate_enter(lane, MO_MAKING);
    if (status != MOCO_OK)
        return status;
    status = open->kind == MOCO_DEVICE_GPU
                 ? make_gpu(device, open->number)
                 : mo_engine_make(dnnl_engine_create(&device->engine, dnnl_cpu, 0), "create a CPU engine");
    for (int i = 0; i < device->lane_count && status == MOCO_OK; i++)
        status = mo_engine_make(dnnl_stream_create(&device->lanes[i].stream, device->engine, dnnl_stream_default_flags),
                                "create a stream");
    mo_gate_note(mo_gate_kind("engine", "", MO_MAKING));
    mo_gate_leave(lane);
    return status;
}

static void free_scratchpad(moco_device_t *device, void *block, size_t bytes)
{
    if (device->gpu != NULL)
        mo_opencl_free(device->gpu, block);
    else
        mo_block_free(block, bytes);
}

static void stop_lanes(moco_device_t *device)
{
    pthread_mutex_lock(&device->lock);
    device->stop = 1;
    pthread_cond_broadcast(&device->wake);
    pthread_mutex_unlock(&device->lock);
    for (int i = 0; i < device->lane_count; i++)
        if (device->lanes[i].started)
            pthread_join(device->lanes[i].thread, NULL);
}

static void destroy(moco_device_t *device)
{
    mo_process_remove(device);
    stop_lanes(device);
    for (int i = 0; i < device->lane_count; i++) {
        mo_lane_t *lane = &device->lanes[i];
        if (lane->scratchpad != NULL)
            dnnl_memory_destroy(lane->scratchpad);
        free_scratchpad(device, lane->scratchpad_block, lane->scratchpad_bytes);
        if (lane->stream != NULL)
            dnnl_stream_destroy(lane->stream);
    }
    mo_opencl_close(device->gpu);
    if (device->copies != NULL)
        dnnl_stream_destroy(device->copies);
    if (device->engine != NULL)
        dnnl_engine_destroy(device->engine);
    pthread_mutex_destroy(&device->submit);
    pthread_cond_destroy(&device->wake);
    pthread_cond_destroy(&device->finished);
    pthread_mutex_destroy(&device->lock);
    mo_free(device->lanes);
    mo_free(device);
}

moco_status_t mo_device_open(const moco_device_options_t *options, moco_device_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_device_t *device = NULL;
    const int on_gpu = options->kind == MOCO_DEVICE_GPU;
    moco_device_options_t open = *options;
    TRY(mo_processor_check());
    const int32_t lanes = options->lanes > 0 ? options->lanes : on_gpu ? GPU_LANES : mo_default_lanes();
    if (!on_gpu && options->number > 0)
        TRY(mo_fail(MOCO_ERR_ARGUMENT, "CPU number %lld was asked for; there is one, number 0",
                    (long long)options->number));
    TRY(mo_calloc(1, sizeof *device, &device));
    pthread_mutex_init(&device->lock, NULL);
    pthread_mutex_init(&device->submit, NULL);
    init_conditions(device);
    mo_turns_begin(&device->turns, (int32_t)options->training_percent, lanes);
    atomic_init(&device->references, 1);
    TRY(mo_calloc((size_t)lanes, sizeof *device->lanes, &device->lanes));
    device->lane_count = lanes;
    for (int i = 0; i < lanes; i++) {
        device->lanes[i].device = device;
        device->lanes[i].number = i;
    }
    mo_process_add(device); /* whole: a fork or an exit may look at it from here on */
    TRY(mo_device_call(device, open_engine, &open));
    *out = device;
    device = NULL;
cleanup:
    if (device != NULL)
        destroy(device);
    return status;
}

moco_status_t mo_device_open_lanes(int32_t lanes, moco_device_t **out)
{
    moco_device_options_t options;
    moco_status_t status = mo_option_resolve(&mo_device_options, NULL, &options);
    options.lanes = lanes;
    return status == MOCO_OK ? mo_device_open(&options, out) : status;
}

moco_device_t *mo_device_retain(moco_device_t *device)
{
    atomic_fetch_add(&device->references, 1);
    return device;
}

void mo_device_release(moco_device_t *device)
{
    if (device != NULL && atomic_fetch_sub(&device->references, 1) == 1)
        destroy(device);
}

moco_status_t mo_device_default(moco_device_t *given, moco_device_t **out)
{
    if (given != NULL) {
        *out = mo_device_retain(given);
        return MOCO_OK;
    }
    return mo_device_open_lanes(0, out);
}

int32_t mo_device_lanes(const moco_device_t *device)
{
    return device->lane_count;
}

int mo_device_is_gpu(const moco_device_t *device)
{
    return device->gpu != NULL;
}

void mo_device_headroom(const moco_device_t *device, mo_headroom_t *memory)
{
    char source[sizeof memory->source];
    mo_opencl_facts_t facts;
    mo_headroom_read(memory);
    if (device->gpu == NULL)
        return;
    mo_opencl_facts(device->gpu, &facts);
    snprintf(source, sizeof source, "the memory of the GPU %s", facts.name);
    mo_headroom_offer(memory, facts.bytes, facts.bytes, source);
}

void mo_gpu_lose(moco_device_t *device)
{
    atomic_store(&device->lost, 1);
}

moco_status_t mo_gpu_alive(const moco_device_t *device)
{
    if (!atomic_load(&device->lost))
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ENGINE, "numbers could not be brought to the GPU a while ago; make a new device");
}

dnnl_engine_t mo_device_engine(const moco_device_t *device)
{
    return device->engine;
}

moco_status_t mo_engine_result(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return MOCO_OK;
    return mo_fail(status == dnnl_out_of_memory ? MOCO_ERR_MEMORY : MOCO_ERR_ENGINE, "oneDNN could not %s: %s", what,
                   mo_dnnl_status_name(status));
}

dnnl_status_t mo_memory_create(moco_device_t *device, mo_cmd_t md, void *address, dnnl_memory_t *memory)
{
    if (device->gpu != NULL)
        return mo_opencl_memory(memory, md, device->engine, address);
    return dnnl_memory_create(memory, md, device->engine, address != NULL ? address : DNNL_MEMORY_NONE);
}

dnnl_status_t mo_lane_submit(mo_lane_t *lane, dnnl_primitive_t primitive, int count, const dnnl_exec_arg_t *args)
{
    moco_device_t *device = lane->device;
    if (device->gpu == NULL)
        return dnnl_primitive_execute(primitive, lane->stream, count, args);
    pthread_mutex_lock(&device->submit);
    const dnnl_status_t status = dnnl_primitive_execute(primitive, lane->stream, count, args);
    pthread_mutex_unlock(&device->submit);
    return status;
}

moco_status_t mo_lane_scratchpad(mo_lane_t *lane, size_t bytes)
{
    moco_status_t status = MOCO_OK;
    moco_device_t *device = lane->device;
    void *block = NULL;
    dnnl_memory_t memory = NULL;
    mo_md_t md = NULL;
    if (bytes <= lane->scratchpad_bytes)
        return MOCO_OK;
    if (lane->scratchpad != NULL) /* a GPU may still be at work in it, of what was asked for before a yield */
        TRY(mo_engine_status(dnnl_stream_wait(lane->stream), "wait"));
    dnnl_dims_t dims = {(dnnl_dim_t)bytes};
    if (device->gpu != NULL)
        TRY(mo_opencl_alloc(device->gpu, bytes, &block));
    else {
        mo_headroom_planned_begin(); /* every plan counts it */
        status = mo_block_create(bytes, &block);
        mo_headroom_planned_end();
        TRY(status);
    }
    TRY(mo_engine_status(mo_md_tag(&md, 1, dims, dnnl_u8, dnnl_a), "describe a scratchpad"));
    TRY(mo_engine_make(mo_memory_create(device, md, block, &memory), "create a scratchpad"));
    if (lane->scratchpad != NULL)
        dnnl_memory_destroy(lane->scratchpad);
    free_scratchpad(device, lane->scratchpad_block, lane->scratchpad_bytes);
    lane->scratchpad = memory;
    lane->scratchpad_block = block;
    lane->scratchpad_bytes = bytes;
    block = NULL;
cleanup:
    mo_md_free(md);
    free_scratchpad(device, block, bytes);
    return status;
}
