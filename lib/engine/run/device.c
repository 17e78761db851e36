/* The device handle: engine, lanes, the queue of work between callers and lanes, and its life
 * across fork. */
#include "engine/device.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/device_internal.h"
#include "engine/run/lane.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/fault.h"

#define LANE_STACK ((size_t)8 << 20)

/* ---- fork: devices are listed so that the child can be told which of them were at work ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static moco_device_t *all_devices;

static void fork_prepare(void)
{
    pthread_mutex_lock(&all_lock);
    for (moco_device_t *d = all_devices; d != NULL; d = d->after)
        pthread_mutex_lock(&d->lock);
}

static void fork_parent(void)
{
    for (moco_device_t *d = all_devices; d != NULL; d = d->after)
        pthread_mutex_unlock(&d->lock);
    pthread_mutex_unlock(&all_lock);
}

static void fork_child(void)
{
    for (moco_device_t *d = all_devices; d != NULL; d = d->after) {
        if (d->first != NULL || d->urgent_first != NULL || d->busy > 0)
            d->forked = 1; /* lanes died in the middle of something */
        for (int i = 0; i < d->lane_count; i++)
            d->lanes[i].started = 0;
        d->first = d->last = d->urgent_first = d->urgent_last = NULL;
        d->busy = 0;
        pthread_cond_init(&d->wake, NULL);
        pthread_cond_init(&d->finished, NULL);
        pthread_mutex_unlock(&d->lock);
    }
    pthread_mutex_unlock(&all_lock);
}

static void fork_register(void)
{
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}

static void list_add(moco_device_t *device)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fork_register);
    pthread_mutex_lock(&all_lock);
    device->after = all_devices;
    all_devices = device;
    pthread_mutex_unlock(&all_lock);
}

static void list_remove(moco_device_t *device)
{
    pthread_mutex_lock(&all_lock);
    moco_device_t **at = &all_devices;
    while (*at != NULL && *at != device)
        at = &(*at)->after;
    if (*at != NULL)
        *at = device->after;
    pthread_mutex_unlock(&all_lock);
}

/* ---- lanes at work ---- */

/* Claim one part of the first work that has any left; the lock is held. */
static mo_work_t *claim(moco_device_t *device, int urgent_only, int64_t *part)
{
    mo_work_t *lists[2] = {device->urgent_first, urgent_only ? NULL : device->first};
    for (int i = 0; i < 2; i++)
        for (mo_work_t *work = lists[i]; work != NULL; work = work->after)
            if (work->next < work->parts) {
                *part = work->next++;
                if (i == 0)
                    atomic_fetch_sub(&device->urgent_parts, 1);
                return work;
            }
    return NULL;
}

static void unlink_work(mo_work_t **first, mo_work_t **last, mo_work_t *work)
{
    mo_work_t *before = NULL;
    for (mo_work_t *w = *first; w != NULL && w != work; w = w->after)
        before = w;
    if (before != NULL)
        before->after = work->after;
    else
        *first = work->after;
    if (*last == work)
        *last = before;
}

/* Run a claimed part; the lock is held on entry and on return, not in between. */
static void run_part(mo_lane_t *lane, mo_work_t *work, int64_t part)
{
    moco_device_t *device = lane->device;
    device->busy++;
    lane->depth += work->urgent;
    pthread_mutex_unlock(&device->lock);
    moco_status_t status = work->fn(lane, work->ctx, part);
    pthread_mutex_lock(&device->lock);
    lane->depth -= work->urgent;
    device->busy--;
    if (status != MOCO_OK && work->status == MOCO_OK) {
        work->status = status;
        mo_message_copy(work->message);
        atomic_store(&work->failed, 1);
    }
    if (++work->done == work->parts) {
        if (work->urgent)
            unlink_work(&device->urgent_first, &device->urgent_last, work);
        else
            unlink_work(&device->first, &device->last, work);
        work->after = work; /* mark: out of the list */
        pthread_cond_broadcast(&device->finished);
    }
}

static void *lane_main(void *argument)
{
    mo_lane_t *lane = argument;
    moco_device_t *device = lane->device;
    mo_openmp_one_thread(); /* before this thread's first oneDNN call, once */
    pthread_mutex_lock(&device->lock);
    while (!device->stop) {
        int64_t part;
        mo_work_t *work = claim(device, 0, &part);
        if (work != NULL)
            run_part(lane, work, part);
        else
            pthread_cond_wait(&device->wake, &device->lock);
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

void mo_lane_yield(mo_lane_t *lane)
{
    moco_device_t *device = lane->device;
    if (lane->depth > 0 || atomic_load_explicit(&device->urgent_parts, memory_order_relaxed) <= 0)
        return;
    int64_t part;
    pthread_mutex_lock(&device->lock);
    mo_work_t *work = claim(device, 1, &part);
    if (work != NULL)
        run_part(lane, work, part);
    pthread_mutex_unlock(&device->lock);
}

static moco_status_t start_lanes(moco_device_t *device)
{
    /* Lanes take no signals: the host's handlers run on the host's threads. */
    sigset_t all, old;
    pthread_attr_t attr;
    int error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, LANE_STACK);
    for (int i = 0; i < device->lane_count && error == 0; i++) {
        mo_lane_t *lane = &device->lanes[i];
        if (lane->started)
            continue;
        error = mo_fault(MO_FAULT_ENGINE) ? EAGAIN : pthread_create(&lane->thread, &attr, lane_main, lane);
        lane->started = error == 0;
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0)
        return mo_fail(MOCO_ERR_THREAD, "a lane thread could not be started: %s", strerror(error));
    return MOCO_OK;
}

moco_status_t mo_work_run(moco_device_t *device, mo_work_t *work)
{
    work->next = work->done = 0;
    work->status = MOCO_OK;
    atomic_store(&work->failed, 0);
    work->after = NULL;
    if (work->parts == 0)
        return MOCO_OK;
    pthread_mutex_lock(&device->lock);
    moco_status_t status = MOCO_OK;
    if (device->forked)
        status = mo_fail(MOCO_ERR_FORKED, "the process was forked while this device was at work");
    else
        status = start_lanes(device);
    if (status != MOCO_OK) {
        pthread_mutex_unlock(&device->lock);
        return status;
    }
    mo_work_t **first = work->urgent ? &device->urgent_first : &device->first;
    mo_work_t **last = work->urgent ? &device->urgent_last : &device->last;
    if (*last != NULL)
        (*last)->after = work;
    else
        *first = work;
    *last = work;
    if (work->urgent)
        atomic_fetch_add(&device->urgent_parts, (int)work->parts);
    pthread_cond_broadcast(&device->wake);
    while (work->after != work)
        pthread_cond_wait(&device->finished, &device->lock);
    pthread_mutex_unlock(&device->lock);
    return work->status == MOCO_OK ? MOCO_OK : mo_message_set(work->status, work->message);
}

void mo_work_more(moco_device_t *device, mo_work_t *work, int64_t parts)
{
    pthread_mutex_lock(&device->lock);
    work->parts += parts;
    pthread_cond_broadcast(&device->wake);
    pthread_mutex_unlock(&device->lock);
}

typedef struct parallel {
    mo_parallel_fn fn;
    void *ctx;
} parallel_t;

static moco_status_t parallel_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    (void)lane;
    parallel_t *p = ctx;
    p->fn(p->ctx, part);
    return MOCO_OK;
}

moco_status_t mo_device_parallel(moco_device_t *device, int64_t parts, mo_parallel_fn fn, void *ctx)
{
    parallel_t p = {fn, ctx};
    mo_work_t work = {.fn = parallel_part, .ctx = &p, .parts = parts};
    return mo_work_run(device, &work);
}

/* Only lanes that were never started, or were lost in a fork, refuse work, and then before any of
 * it has run. */
void mo_device_sweep(moco_device_t *device, int64_t parts, mo_parallel_fn fn, void *ctx)
{
    if (mo_device_parallel(device, parts, fn, ctx) != MOCO_OK)
        for (int64_t part = 0; part < parts; part++)
            fn(ctx, part);
}

moco_status_t mo_device_run(moco_device_t *device, int64_t parts, mo_lane_fn fn, void *ctx, int urgent)
{
    mo_work_t work = {.fn = fn, .ctx = ctx, .parts = parts, .urgent = urgent};
    return mo_work_run(device, &work);
}

int32_t mo_lane_number(const mo_lane_t *lane)
{
    return lane->number;
}

typedef struct call {
    mo_call_fn fn;
    void *ctx;
} call_t;

static moco_status_t call_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    (void)part;
    call_t *c = ctx;
    return c->fn(lane, c->ctx);
}

moco_status_t mo_device_call(moco_device_t *device, mo_call_fn fn, void *ctx)
{
    call_t c = {fn, ctx};
    mo_work_t work = {.fn = call_part, .ctx = &c, .parts = 1};
    return mo_work_run(device, &work);
}

/* ---- life ---- */

static moco_status_t open_engine(mo_lane_t *lane, void *ctx)
{
    moco_device_t *device = ctx;
    (void)lane;
    moco_status_t status = mo_engine_make(dnnl_engine_create(&device->engine, dnnl_cpu, 0), "create a CPU engine");
    for (int i = 0; i < device->lane_count && status == MOCO_OK; i++)
        status = mo_engine_make(dnnl_stream_create(&device->lanes[i].stream, device->engine, dnnl_stream_default_flags),
                                "create a stream");
    return status;
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
    list_remove(device);
    stop_lanes(device);
    for (int i = 0; i < device->lane_count; i++) {
        mo_lane_t *lane = &device->lanes[i];
        if (lane->scratchpad != NULL)
            dnnl_memory_destroy(lane->scratchpad);
        mo_block_free(lane->scratchpad_block, lane->scratchpad_bytes);
        if (lane->stream != NULL)
            dnnl_stream_destroy(lane->stream);
    }
    if (device->engine != NULL)
        dnnl_engine_destroy(device->engine);
    pthread_cond_destroy(&device->wake);
    pthread_cond_destroy(&device->finished);
    pthread_mutex_destroy(&device->lock);
    mo_free(device->lanes);
    mo_free(device);
}

moco_status_t mo_device_open_lanes(int32_t lanes, moco_device_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_device_t *device = NULL;
    if (lanes <= 0)
        lanes = mo_default_lanes();
    TRY(mo_calloc(1, sizeof *device, &device));
    pthread_mutex_init(&device->lock, NULL);
    pthread_cond_init(&device->wake, NULL);
    pthread_cond_init(&device->finished, NULL);
    atomic_init(&device->references, 1);
    list_add(device);
    TRY(mo_calloc((size_t)lanes, sizeof *device->lanes, &device->lanes));
    device->lane_count = lanes;
    for (int i = 0; i < lanes; i++) {
        device->lanes[i].device = device;
        device->lanes[i].number = i;
    }
    TRY(mo_device_call(device, open_engine, device));
    *out = device;
    device = NULL;
cleanup:
    if (device != NULL)
        destroy(device);
    return status;
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

moco_status_t mo_lane_scratchpad(mo_lane_t *lane, size_t bytes)
{
    moco_status_t status = MOCO_OK;
    void *block = NULL;
    dnnl_memory_t memory = NULL;
    mo_md_t md = NULL;
    if (bytes <= lane->scratchpad_bytes)
        return MOCO_OK;
    dnnl_dims_t dims = {(dnnl_dim_t)bytes};
    mo_headroom_planned_begin(); /* every plan counts it */
    status = mo_block_create(bytes, &block);
    mo_headroom_planned_end();
    TRY(status);
    TRY(mo_engine_status(mo_md_tag(&md, 1, dims, dnnl_u8, dnnl_a), "describe a scratchpad"));
    TRY(mo_engine_make(dnnl_memory_create(&memory, md, lane->device->engine, block), "create a scratchpad"));
    if (lane->scratchpad != NULL)
        dnnl_memory_destroy(lane->scratchpad);
    mo_block_free(lane->scratchpad_block, lane->scratchpad_bytes);
    lane->scratchpad = memory;
    lane->scratchpad_block = block;
    lane->scratchpad_bytes = bytes;
    block = NULL;
cleanup:
    mo_md_free(md);
    mo_block_free(block, bytes);
    return status;
}
