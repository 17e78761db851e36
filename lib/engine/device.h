/* Devices and their lanes as the modules above see them: no oneDNN type here. Callers queue work
 * and wait; lanes do it.
 */
#ifndef MO_ENGINE_DEVICE_H
#define MO_ENGINE_DEVICE_H

#include <stdint.h>
#include <moco/device.h>

#include "util/headroom.h"
#include "util/options.h"

typedef struct mo_lane mo_lane_t;

extern const mo_option_table_t mo_device_options; /* device_options.c */

moco_device_t *mo_device_retain(moco_device_t *device);
/* Retains `given`, or makes a private default device when it is NULL. Release with
 * mo_device_release. */
moco_status_t mo_device_default(moco_device_t *given, moco_device_t **out);
moco_status_t mo_device_open(const moco_device_options_t *options, moco_device_t **out);
/* The defaults but for the lanes; 0 = one per processor this process may use. */
moco_status_t mo_device_open_lanes(int32_t lanes, moco_device_t **out);
void mo_device_release(moco_device_t *device); /* NULL is fine */
int32_t mo_device_lanes(const moco_device_t *device);
/* Whether buffers lie where only the engine and kernels (kernel.h) reach them without a copy. */
int mo_device_is_gpu(const moco_device_t *device);

/* What was queued without waiting has run; at once on a CPU. */
moco_status_t mo_device_wait(moco_device_t *device);
/* After a failure: waits for what was queued, so that nothing reads the host's memory any more.
 * Returns the failure, and keeps its message. On a lane or elsewhere. */
moco_status_t mo_device_drop(moco_device_t *device, moco_status_t failure);
/* How often a GPU's work was waited for, and how often its memory was mapped; 0 on a CPU. */
typedef struct mo_device_counts {
    int64_t waits, maps;
} mo_device_counts_t;
void mo_device_counts(const moco_device_t *device, mo_device_counts_t *counts);
/* Whoever cannot be told that something did not reach a GPU: all later calls are. */
void mo_device_lose(moco_device_t *device);

/* What a plan on this device may take, as mo_headroom_read says it; of a GPU also no more than its
 * own memory, of which nobody says how much others use. */
void mo_device_headroom(const moco_device_t *device, mo_headroom_t *memory);

/* Host arithmetic in parts: fn(ctx, 0 … parts-1) on the lanes, any order, each exactly once;
 * returns when all are done. */
typedef void (*mo_parallel_fn)(void *ctx, int64_t part);
moco_status_t mo_device_parallel(moco_device_t *device, int64_t parts, mo_parallel_fn fn, void *ctx);

/* The same on a device whose lanes have run before: it cannot be refused. */
void mo_device_sweep(moco_device_t *device, int64_t parts, mo_parallel_fn fn, void *ctx);

/* Parts that use a lane (instances run on it). `urgent` parts (embeddings) are also taken between
 * the operations of other work; a lane never runs two urgent parts at once, so state kept per lane
 * number is safe in them. */
typedef moco_status_t (*mo_lane_fn)(mo_lane_t *lane, void *ctx, int64_t part);
moco_status_t mo_device_run(moco_device_t *device, int64_t parts, mo_lane_fn fn, void *ctx, int urgent);
int32_t mo_lane_number(const mo_lane_t *lane);

/* One call on a lane: where primitives are created. The message of a failure comes back to this
 * thread. */
typedef moco_status_t (*mo_call_fn)(mo_lane_t *lane, void *ctx);
moco_status_t mo_device_call(moco_device_t *device, mo_call_fn fn, void *ctx);

#endif
