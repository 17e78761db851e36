/* What the device handle holds; shared by device.c and host.c only. */
#ifndef MO_ENGINE_DEVICE_INTERNAL_H
#define MO_ENGINE_DEVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/run/lane.h"

struct moco_device {
    atomic_int references;
    dnnl_engine_t engine;
    mo_lane_t *lanes;
    int lane_count;
    pthread_mutex_t lock;    /* guards everything below            */
    pthread_cond_t wake;     /* lanes sleep here                   */
    pthread_cond_t finished; /* callers sleep here                 */
    mo_work_t *first, *last, *urgent_first, *urgent_last;
    atomic_int urgent_parts; /* a hint read between operations     */
    int busy;                /* parts running                      */
    int stop, forked;
    struct moco_device *after; /* list of all devices, for fork     */
};

/* host.c: what the machine and the OpenMP runtime are asked */
int32_t mo_default_lanes(void);
void mo_openmp_one_thread(void);

#endif
