#ifndef MO_ENGINE_GPU_SOURCE_H
#define MO_ENGINE_GPU_SOURCE_H

#include "engine/kernel.h"

extern const char *const mo_gpu_kernel_names[MO_KERNELS];
extern const char *const mo_gpu_kernel_source;

#endif
