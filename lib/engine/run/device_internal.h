/* What the device handle holds; shared by the files of devices and lanes. */
#ifndef MO_ENGINE_DEVICE_INTERNAL_H
#define MO_ENGINE_DEVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/run/lane.h"
#include "engine/run/opencl.h"
#include "engine/run/turns.h"

/* Work of one class. */
typedef struct mo_waiting {
    mo_work_t *first, *last;
    int64_t since; /* monotonic nanoseconds: unclaimed parts have waited without a break from here on */
} mo_waiting_t;

struct moco_device {
    atomic_int references;
    dnnl_engine_t engine;
    mo_lane_t *lanes;
    int lane_count;
    mo_opencl_t *gpu;     /* NULL: a CPU                          */
    dnnl_stream_t stream; /* gpu: everything goes this way, in order; each lane's is this one */
    atomic_int kernels;   /* gpu: they are compiled; set under `submit`                       */
    struct {
        atomic_llong waits, maps;
    } counts;                /* gpu */
    pthread_mutex_t submit;  /* gpu: one lane at a time sets arguments of kernels, which all lanes share */
    atomic_int lost;         /* gpu: see mo_gpu_lose                 */
    int64_t number;          /* gpu: which one                       */
    pthread_mutex_t lock;    /* guards everything below            */
    pthread_cond_t wake;     /* lanes sleep here                   */
    pthread_cond_t finished; /* callers sleep here                 */
    mo_waiting_t queues[2];  /* by class                           */
    mo_turns_t turns;
    atomic_int embedding_parts; /* unclaimed; a hint read between operations */
    int busy;                   /* parts running                   */
    int stop, forked;
    struct moco_device *after; /* list of all devices, for fork     */
};

/* In the child of a fork, with the lock held: its lanes are gone. */
void mo_device_forked(moco_device_t *device);

/* host.c: what the machine and the OpenMP runtime are asked */
int32_t mo_default_lanes(void);
void mo_openmp_find(void);              /* before lanes start, not while the process forks or exits */
moco_status_t mo_processor_check(void); /* MOCO_ERR_UNSUPPORTED where oneDNN has no kernels for the processor */
void mo_openmp_one_thread(void);

#endif
