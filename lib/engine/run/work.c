/* Work on lanes: queues between callers and lanes, and the lanes' own loop. Embeddings and all
 * other work have a queue each; turns.c says which of them a lane serves next. */
#include <stdlib.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine/run/device_internal.h"
#include "engine/run/process.h"
#include "util/thread.h"

#define LANE_STACK ((size_t)8 << 20)

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- queues; the lock of the device is held in all of these ---- */

static void append(mo_waiting_t *queue, mo_work_t *work)
{
    work->after = NULL;
    if (queue->last != NULL)
        queue->last->after = work;
    else
        queue->first = work;
    queue->last = work;
}

static void take_out(mo_waiting_t *queue, mo_work_t *work)
{
    mo_work_t *before = NULL;
    for (mo_work_t *w = queue->first; w != NULL && w != work; w = w->after)
        before = w;
    if (before != NULL)
        before->after = work->after;
    else
        queue->first = work->after;
    if (queue->last == work)
        queue->last = before;
}

static void put_in_front(mo_waiting_t *queue, mo_work_t *work)
{
    work->after = queue->first;
    queue->first = work;
    if (queue->last == NULL)
        queue->last = work;
}

static mo_work_t *waiting(const moco_device_t *device, mo_class_t class)
{
    mo_work_t *work = device->queues[class].first;
    while (work != NULL && work->next >= work->parts)
        work = work->after;
    return work;
}

/* Parts are about to be added. */
static void note_arrival(moco_device_t *device, mo_class_t class)
{
    if (waiting(device, class) == NULL)
        device->queues[class].since = now_ns();
}

static mo_work_t *claim(moco_device_t *device, mo_class_t class, int64_t *part)
{
    mo_work_t *work = waiting(device, class);
    if (work == NULL)
        return NULL;
    *part = work->next++;
    if (class == MO_EMBEDDING)
        atomic_fetch_sub(&device->embedding_parts, 1);
    if (class == MO_EMBEDDING && !work->grows) {
        take_out(&device->queues[class], work); /* callers take turns: nobody waits for another's whole call */
        append(&device->queues[class], work);
    }
    return work;
}

/* Charges what the lane did since it was last asked. */
static void charge(mo_lane_t *lane, mo_class_t class)
{
    moco_device_t *device = lane->device;
    const int64_t now = now_ns();
    const mo_class_t other = class == MO_EMBEDDING ? MO_TRAINING : MO_EMBEDDING;
    const int64_t from = lane->since > device->queues[other].since ? lane->since : device->queues[other].since;
    mo_turns_charge(&device->turns, class, now - lane->since, waiting(device, other) != NULL ? now - from : 0);
    lane->since = now;
}

static void finish(moco_device_t *device, mo_work_t *work)
{
    take_out(&device->queues[work->class], work);
    work->after = work; /* mark: out of the queue */
    if (work->class == MO_TRAINING)
        device->turns.left = now_ns();
    pthread_cond_broadcast(&device->finished);
}

/* ---- lanes at work ---- */

/* Run a claimed part; the lock is held on entry and on return, not in between. */
static void run_part(mo_lane_t *lane, mo_work_t *work, int64_t part)
{
    moco_device_t *device = lane->device;
    device->busy++;
    lane->depth += work->class == MO_EMBEDDING;
    pthread_mutex_unlock(&device->lock);
    moco_status_t status = work->fn(lane, work->ctx, part);
    pthread_mutex_lock(&device->lock);
    charge(lane, work->class);
    lane->depth -= work->class == MO_EMBEDDING;
    device->busy--;
    if (status != MOCO_OK && work->status == MOCO_OK) {
        work->status = status;
        mo_message_copy(work->message);
        atomic_store(&work->failed, 1);
    }
    if (++work->done == work->parts)
        finish(device, work);
}

/* Sleep until work comes, or for `ns` at most: then training, which the lane was kept for, pays. */
static void hold(mo_lane_t *lane, int64_t ns)
{
    moco_device_t *device = lane->device;
    const int64_t until = lane->since + ns;
    const struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    pthread_cond_timedwait(&device->wake, &device->lock, &at);
    charge(lane, MO_TRAINING);
}

/* One part, or one sleep. */
static void serve(mo_lane_t *lane)
{
    moco_device_t *device = lane->device;
    const int embedding = waiting(device, MO_EMBEDDING) != NULL, training = waiting(device, MO_TRAINING) != NULL;
    if (!embedding && !training) {
        pthread_cond_wait(&device->wake, &device->lock);
        return;
    }
    lane->since = now_ns();
    const int64_t kept = training ? 0 : mo_turns_hold(&device->turns, lane->since);
    if (kept > 0) {
        hold(lane, kept);
        return;
    }
    int64_t part;
    const mo_class_t class = !training ? MO_EMBEDDING : !embedding ? MO_TRAINING : mo_turns_next(&device->turns);
    mo_work_t *work = claim(device, class, &part);
    run_part(lane, work, part);
}

static __thread mo_lane_t *own_lane;

mo_lane_t *mo_lane_of_thread(void)
{
    return own_lane;
}

static void *lane_main(void *argument)
{
    mo_lane_t *lane = argument;
    moco_device_t *device = lane->device;
    own_lane = lane;
    free(malloc(1)); /* a thread's first allocation sets address space aside, better now than while oneDNN works */
    mo_openmp_one_thread(); /* before this thread's first oneDNN call, once */
    pthread_mutex_lock(&device->lock);
    while (!device->stop)
        serve(lane);
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

void mo_lane_yield(mo_lane_t *lane)
{
    moco_device_t *device = lane->device;
    if (lane->depth > 0 || atomic_load_explicit(&device->embedding_parts, memory_order_relaxed) <= 0)
        return;
    int64_t part = 0;
    pthread_mutex_lock(&device->lock);
    charge(lane, MO_TRAINING);
    mo_work_t *work = mo_turns_next(&device->turns) == MO_EMBEDDING ? claim(device, MO_EMBEDDING, &part) : NULL;
    if (work != NULL)
        run_part(lane, work, part);
    pthread_mutex_unlock(&device->lock);
}

static moco_status_t start_lanes(moco_device_t *device)
{
    int error = 0;
    for (int i = 0; i < device->lane_count && error == 0; i++) {
        mo_lane_t *lane = &device->lanes[i];
        if (lane->started)
            continue;
        error = mo_fault(MO_FAULT_ENGINE) ? EAGAIN : mo_thread_start(&lane->thread, LANE_STACK, lane_main, lane);
        lane->started = error == 0;
    }
    if (error != 0)
        return mo_fail(MOCO_ERR_THREAD, "a lane thread could not be started: %s", strerror(error));
    return MOCO_OK;
}

/* ---- callers ---- */

moco_status_t mo_work_run(moco_device_t *device, mo_work_t *work)
{
    work->next = work->done = 0;
    work->grows = 0;
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
    note_arrival(device, work->class);
    append(&device->queues[work->class], work);
    if (work->class == MO_EMBEDDING)
        atomic_fetch_add(&device->embedding_parts, (int)work->parts);
    pthread_cond_broadcast(&device->wake);
    while (work->after != work)
        pthread_cond_wait(&device->finished, &device->lock);
    pthread_mutex_unlock(&device->lock);
    if (work->status == MOCO_OK)
        return MOCO_OK;
    mo_process_wait();
    return mo_message_set(work->status, work->message);
}

void mo_work_more(moco_device_t *device, mo_work_t *work, int64_t parts)
{
    pthread_mutex_lock(&device->lock);
    note_arrival(device, work->class);
    take_out(&device->queues[work->class], work);
    put_in_front(&device->queues[work->class], work);
    work->grows = 1;
    work->parts += parts;
    if (work->class == MO_EMBEDDING)
        atomic_fetch_add(&device->embedding_parts, (int)parts);
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
    mo_work_t work = {.fn = fn, .ctx = ctx, .parts = parts, .class = urgent ? MO_EMBEDDING : MO_TRAINING};
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
