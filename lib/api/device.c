/* moco_device_*: the border. */
#include <moco/device.h>

#include "engine/device.h"
#include "util/border.h"
#include "util/need.h"

moco_status_t moco_device_create(const moco_device_options_t *options, moco_device_t **out)
{
    MO_BORDER;
    moco_device_options_t full;
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_option_resolve(&mo_device_options, options, &full);
    if (status != MOCO_OK)
        return status;
    return mo_device_open(&full, out);
}

void moco_device_free(moco_device_t *device)
{
    MO_BORDER;
    mo_device_release(device);
}
