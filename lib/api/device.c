/* moco_device_*: the border. */
#include <moco/device.h>

#include "engine/device.h"
#include "util/need.h"
#include "util/structsize.h"

static const moco_device_options_t defaults = {.struct_size = sizeof(moco_device_options_t), .kind = MOCO_DEVICE_CPU};

moco_status_t moco_device_options_init(moco_device_options_t *options, uint64_t struct_size)
{
    return mo_struct_init(options, struct_size, &defaults, sizeof defaults);
}

moco_status_t moco_device_create(const moco_device_options_t *options, moco_device_t **out)
{
    moco_device_options_t full;
    MO_NEED(out);
    moco_status_t status = mo_struct_overlay(options, &full, &defaults, sizeof defaults);
    if (status != MOCO_OK)
        return status;
    if (full.kind == MOCO_DEVICE_GPU)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "GPU devices come with a later version; this one has the CPU");
    if (full.kind != MOCO_DEVICE_CPU)
        return mo_fail(MOCO_ERR_ARGUMENT, "device kind is %d, wanted %d (CPU)", full.kind, MOCO_DEVICE_CPU);
    if ((status = mo_need_whole("lanes", full.lanes, 0, 1024)) != MOCO_OK)
        return status;
    return mo_device_open_lanes(full.lanes, out);
}

void moco_device_free(moco_device_t *device)
{
    mo_device_release(device);
}
