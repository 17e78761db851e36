/* Inside the engine: lanes, and work in parts that may grow while it runs. */
#ifndef MO_ENGINE_LANE_H
#define MO_ENGINE_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "engine/device.h"
#include "engine/onednn/compat.h"
#include "engine/run/turns.h"
#include "util/fault.h"
#include "util/status.h"
#include "util/headroom.h"

/* What a lane does inside oneDNN. */
typedef enum mo_inside { MO_OUTSIDE, MO_RUNNING, MO_MAKING } mo_inside_t;

struct mo_lane {
    moco_device_t *device;
    pthread_t thread;
    int started;
    int number;
    dnnl_stream_t stream;
    dnnl_memory_t scratchpad; /* user scratchpad of every primitive that runs here */
    void *scratchpad_block;
    size_t scratchpad_bytes;
    atomic_int inside; /* mo_inside_t: read by who forks or exits */
    int depth;         /* > 0 while inside an embedding */
    int64_t since;     /* monotonic nanoseconds: what the lane did up to here is charged */
};

/* A piece of work lives on its caller's stack: `parts` calls of fn. A running part may add more
 * (mo_work_more); the first failure wins and is what the caller gets. */
typedef struct mo_work {
    mo_lane_fn fn;
    void *ctx;
    int64_t parts, next, done;
    int grows;        /* mo_work_more was called: its parts come before those of others of its class */
    mo_class_t class; /* embeddings are also taken between the operations of other work */
    atomic_int failed;
    moco_status_t status;
    char message[MO_MESSAGE_SIZE];
    struct mo_work *after; /* list of the device */
} mo_work_t;

moco_status_t mo_work_run(moco_device_t *device, mo_work_t *work); /* queue and wait */
/* From within one of its parts. Few and short ones: they all go before what others of the class
 * wait for, since what follows them waits for each. */
void mo_work_more(moco_device_t *device, mo_work_t *work, int64_t parts);

/* The lane whose thread calls; NULL: none. */
mo_lane_t *mo_lane_of_thread(void);

/* Between two operations: run one part of an embedding that waits, if it is its turn. */
void mo_lane_yield(mo_lane_t *lane);

dnnl_engine_t mo_device_engine(const moco_device_t *device);
/* A oneDNN memory at an address of this device; NULL: bound later. */
dnnl_status_t mo_memory_create(moco_device_t *device, mo_cmd_t md, void *address, dnnl_memory_t *memory);
/* Runs it, on a GPU some time later: in the order of the calls of this lane. */
dnnl_status_t mo_lane_submit(mo_lane_t *lane, dnnl_primitive_t primitive, int count, const dnnl_exec_arg_t *args);
/* Until all that was submitted has run. */
moco_status_t mo_lane_wait(mo_lane_t *lane);
/* After a row of calls: on a CPU they have run, on a GPU they will, before all that follows. */
moco_status_t mo_lane_end(mo_lane_t *lane);
/* Scratchpads of at least `bytes` on this lane. */
moco_status_t mo_lane_scratchpad(mo_lane_t *lane, size_t bytes);

/* A oneDNN failure as ours. Where a fault point pretends one, the call is not made: nothing is
 * there to be freed. */
moco_status_t mo_engine_result(dnnl_status_t status, const char *what);
#define mo_engine_status(call, what) mo_engine_result(mo_fault(MO_FAULT_ENGINE) ? dnnl_runtime_error : (call), (what))
/* The same for calls that make something or run it for the first time. oneDNN 2.6 writes through
 * pointers that its own allocations did not get, so it is asked only where the system still hands
 * out memory. */
#define MO_ENGINE_ROOM ((size_t)8 << 20)
#define mo_engine_make(call, what)                                             \
    mo_engine_result(mo_fault(MO_FAULT_ENGINE)           ? dnnl_runtime_error  \
                     : mo_headroom_probe(MO_ENGINE_ROOM) ? (call)              \
                                                         : dnnl_out_of_memory, \
                     (what))

#endif
