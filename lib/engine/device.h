/* Devices and their lanes as the rooms above see them: no oneDNN type here. Callers queue work and wait; lanes do it. */
#ifndef MO_ENGINE_DEVICE_H
#define MO_ENGINE_DEVICE_H

#include <stdint.h>
#include <moco/device.h>

typedef struct mo_lane mo_lane_t;

moco_device_t *mo_device_retain(moco_device_t *device);
/* Retains `given`, or makes a private default device when it is NULL. Release with moco_device_free. */
moco_status_t mo_device_default(moco_device_t *given, moco_device_t **out);
int32_t mo_device_lanes(const moco_device_t *device);

/* Host arithmetic in parts: fn(ctx, 0 … parts-1) on the lanes, any order, each exactly once; returns when all are done. */
typedef void (*mo_parallel_fn)(void *ctx, int64_t part);
moco_status_t mo_device_parallel(moco_device_t *device, int64_t parts, mo_parallel_fn fn, void *ctx);

/* One call on a lane: where primitives are created. The message of a failure comes back to this thread. */
typedef moco_status_t (*mo_call_fn)(mo_lane_t *lane, void *ctx);
moco_status_t mo_device_call(moco_device_t *device, mo_call_fn fn, void *ctx);

#endif
