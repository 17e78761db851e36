/* What packed weights and instances are; shared by the files that make and run them. */
#ifndef MO_ENGINE_INSTANCE_H
#define MO_ENGINE_INSTANCE_H

#include "engine/plan/plan_internal.h"
#include "engine/run/memory.h"

struct mo_packed {
    mo_plan_t *plan;
    mo_buffer_t params, block;
    dnnl_memory_t *memory; /* [pack_count * 2] */
};

/* What a space of an instance is bound to: it holds the space from byte `skip` on. */
typedef struct mo_bound {
    mo_buffer_t buffer;
    int64_t skip;
} mo_bound_t;

struct mo_instance {
    mo_plan_t *plan;
    mo_bound_t space[MO_SPACES];
    dnnl_memory_t *memory; /* [slot_count] */
    dnnl_exec_arg_t *args; /* flat, per instruction; the last one is the scratchpad */
};

/* The memory object of a slot whose space begins in `base`; {0}: it is bound later. */
moco_status_t mo_slot_memory(const mo_plan_t *plan, int32_t slot, mo_buffer_t base, dnnl_memory_t *memory);
/* Where the numbers of a slot are now. */
mo_buffer_t mo_instance_slot(const mo_instance_t *instance, int32_t slot);
/* Instructions [from, to) on this lane, none of which syncs. */
moco_status_t mo_instance_execute(mo_lane_t *lane, mo_instance_t *instance, int32_t from, int32_t to,
                                  const moco_cancel_t *cancel);

#endif
