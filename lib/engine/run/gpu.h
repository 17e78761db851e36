/* What a device has that is a GPU; for the engine's own files. */
#ifndef MO_ENGINE_GPU_H
#define MO_ENGINE_GPU_H

#include "engine/run/memory.h"
#include "engine/run/opencl.h"

int mo_device_is_gpu(const moco_device_t *device);

extern const mo_memory_kind_t mo_memory_of_gpus; /* gpu_memory.c */

/* Something that was written could not be brought to the device: nothing on it can be trusted any
 * more, and whoever asks for it from now on is told. */
void mo_gpu_lose(moco_device_t *device);
moco_status_t mo_gpu_alive(const moco_device_t *device);

#endif
