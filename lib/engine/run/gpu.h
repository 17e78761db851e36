/* What a device has that is a GPU; for the engine's own files. */
#ifndef MO_ENGINE_GPU_H
#define MO_ENGINE_GPU_H

#include "engine/run/memory.h"
#include "engine/run/opencl.h"

extern const mo_memory_kind_t mo_memory_of_gpus; /* gpu_memory.c */

/* Something that was written could not be brought to the device: nothing on it can be trusted any
 * more, and whoever asks for it from now on is told. */
void mo_gpu_lose(moco_device_t *device);
moco_status_t mo_gpu_alive(const moco_device_t *device);

/* Of lanes inside the gate, so that an exit waits for it. Counted. */
moco_status_t mo_gpu_copy(moco_device_t *device, void *to, const void *from, size_t bytes, int wait);
moco_status_t mo_gpu_wait(moco_device_t *device);

#endif
