/* What packed weights and instances are; shared by the files that make and run them. */
#ifndef MO_ENGINE_INSTANCE_H
#define MO_ENGINE_INSTANCE_H

#include "engine/plan/plan_internal.h"

struct mo_packed {
    mo_plan_t *plan;
    uint8_t *block;
    size_t bytes;
    dnnl_memory_t *memory; /* [pack_count * 2] */
};

struct mo_instance {
    mo_plan_t *plan;
    uint8_t *arena;
    dnnl_memory_t *memory; /* [slot_count] */
    dnnl_exec_arg_t *args; /* flat, per instruction; the last one is the scratchpad */
};

/* The memory object of a slot whose space begins at `base`; NULL: it is bound later. */
moco_status_t mo_slot_memory(const mo_plan_t *plan, int32_t slot, uint8_t *base, dnnl_memory_t *memory);
/* Instructions [from, to) on this lane, none of which syncs. */
moco_status_t mo_instance_execute(mo_lane_t *lane, mo_instance_t *instance, int32_t from, int32_t to);

#endif
