/* For the operations: descriptors of slots, attributes, and what forward leaves for backward. */
#ifndef MO_ENGINE_EMIT_INTERNAL_H
#define MO_ENGINE_EMIT_INTERNAL_H

#include "engine/plan/plan_internal.h"

#define MD(plan, slot) ((plan)->slots[slot].md)
#define TYPE(plan, slot) mo_md_type(MD(plan, slot))
#define ENGINE(call, what) TRY(mo_engine_make((call), (what)))

/* Numbers of an operation's memo cells. */
enum { MEMO_WORKSPACE = 0, MEMO_MEAN = 1, MEMO_VARIANCE = 2 };

static inline int32_t *mo_memo(mo_plan_t *plan, const mo_op_t *op, int cell)
{
    return &plan->memo[(op - plan->ops) * MO_MEMO + cell];
}

static inline dnnl_primitive_desc_t *mo_hint(mo_plan_t *plan, const mo_op_t *op, int cell)
{
    return &plan->hints[(op - plan->ops) * MO_MEMO + cell];
}

/* An attribute without post-ops. */
static inline moco_status_t mo_attr_plain(mo_attr_t *attr)
{
    moco_status_t status = mo_engine_make(mo_attr_begin(attr), "make attributes");
    return status == MOCO_OK ? mo_engine_make(mo_attr_end(attr), "make attributes") : status;
}

/* Keep a copy of a forward descriptor as hint for backward. */
moco_status_t mo_keep_hint(mo_plan_t *plan, const mo_op_t *op, int cell, dnnl_primitive_desc_t pd);

#endif
