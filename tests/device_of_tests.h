/* The device that tests of the engine run on: a CPU, or, where the environment variable
 * MOCO_TEST_DEVICE is "gpu", the first GPU (tests/gpu presents one). */
#ifndef TESTS_DEVICE_OF_TESTS_H
#define TESTS_DEVICE_OF_TESTS_H

#include <stdlib.h>
#include <string.h>

#include "engine/device.h"

static inline int on_gpu(void)
{
    const char *device = getenv("MOCO_TEST_DEVICE");
    return device != NULL && strcmp(device, "gpu") == 0;
}

static inline moco_status_t device_of_tests(int32_t lanes, moco_device_t **out)
{
    moco_device_options_t options;
    const moco_status_t status = mo_option_resolve(&mo_device_options, NULL, &options);
    options.kind = on_gpu() ? MOCO_DEVICE_GPU : MOCO_DEVICE_CPU;
    options.lanes = lanes;
    return status == MOCO_OK ? mo_device_open(&options, out) : status;
}

#endif
