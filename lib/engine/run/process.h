/* The devices of a process, as far as fork and exit concern them. Every call of oneDNN that makes
 * or runs a primitive, and the one that makes the engine, stands between mo_gate_enter and
 * mo_gate_leave: those take oneDNN's locks, or need its static objects.
 *
 * The other calls need no gate. Memory objects, descriptors and attributes are plain allocations
 * that refer to their engine alone; to wait for a stream of the CPU is to return; what destroys an
 * object counts its references. So they may be interrupted by a fork, which holds the locks of the
 * allocator, and may run while static objects are destroyed, as frees in exit handlers do. What
 * oneDNN is asked about itself and the processor is initialised at the first question, under a lock
 * of the compiler's: such questions stand between mo_process_hold and mo_process_release. */
#ifndef MO_ENGINE_PROCESS_H
#define MO_ENGINE_PROCESS_H

#include "engine/run/lane.h"

void mo_process_add(moco_device_t *device);
void mo_process_remove(moco_device_t *device);

/* While held, no other thread forks, and an exit waits. No lock is taken: what is asked in between
 * may load drivers for seconds, and meanwhile devices are opened and closed. Not on a thread that
 * is inside the gate. 0, and nothing is held, once the process has begun to exit. */
int mo_process_hold(void);
void mo_process_release(void);

/* On the lane's own thread, not nested; MO_MAKING also for what runs for the first time.
 * MOCO_ERR_STATE once the process has begun to exit. While the process forks, a lane that wants to
 * make something waits here. */
moco_status_t mo_gate_enter(mo_lane_t *lane, mo_inside_t what);
void mo_gate_leave(mo_lane_t *lane);

/* To be told after oneDNN made something or ran it for the first time, inside the gate: `kind` says
 * of which kind it was. */
void mo_gate_note(uint64_t kind);
/* A number for an implementation of oneDNN. */
uint64_t mo_gate_kind(const char *operation, const char *implementation, int use);

/* Before a call returns with a failure: where the cause is that another thread lets the process
 * exit, wait for the end, so that the host need not handle an error of its last moments. After two
 * seconds the call returns all the same, since that thread may be waiting for this one. */
void mo_process_wait(void);

#endif
