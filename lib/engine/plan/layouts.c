/* Where tensors lie in blocks of 16 channels instead of N,H,W,C: in infer plans of networks whose
 * 3x3 convolutions can be made by Winograd's way, which wants that. A run of operations that slide
 * over the image has blocks from its first product with enough channels on; what comes in is copied
 * into blocks once, and what all positions were averaged into lies the same either way. */
#include "engine/plan/plan_internal.h"

#define BLOCK 16

static int slides(const mo_op_t *op)
{
    return (op->kind->traits & MO_SLIDES) != 0;
}

static int is_one_position(mo_shape_t s)
{
    return s.h == 1 && s.w == 1;
}

static void leave(mo_plan_t *plan, int32_t tensor)
{
    if (tensor >= 0)
        plan->blocked[tensor] = 0;
}

/* What is added to a result lies where the result does, and a product that adds cannot be copied
 * behind it. A pooling into one position leaves the blocks; a product there has no fast form. */
static int fits(const mo_plan_t *plan, const mo_op_t *op)
{
    const int src = plan->blocked[op->src], dst = plan->blocked[op->dst];
    if (op->other >= 0)
        return src == dst && plan->blocked[op->other] == dst;
    return src <= dst || (is_one_position(plan->net->shapes[op->dst]) && !(op->kind->traits & MO_MULTIPLIES));
}

static moco_status_t ask_winograd(const mo_plan_t *plan, int *has)
{
    moco_status_t status = mo_gate_enter(plan->lane, MO_MAKING);
    if (status != MOCO_OK)
        return status;
    status = mo_engine_make(mo_has_winograd(mo_device_engine(plan->device), has), "ask for Winograd's convolutions");
    mo_gate_note(mo_gate_kind("winograd", "", MO_MAKING));
    mo_gate_leave(plan->lane);
    return status;
}

moco_status_t mo_plan_layouts(mo_plan_t *plan, const mo_plan_spec_t *spec)
{
    int all = 1, has = 0;
    if (plan->cut || plan->primitives || plan->low != dnnl_f32)
        return MOCO_OK;
    const moco_status_t status = ask_winograd(plan, &has);
    if (status != MOCO_OK || !has)
        return status;
    for (int32_t i = 0; i < plan->net->tensors; i++) {
        const mo_shape_t s = plan->net->shapes[i];
        plan->blocked[i] = s.c % BLOCK == 0 && !is_one_position(s);
    }
    for (int32_t i = 0; i < plan->op_count; i++)
        if (!plan->ops[i].skipped && !slides(&plan->ops[i])) {
            leave(plan, plan->ops[i].src);
            leave(plan, plan->ops[i].other);
            leave(plan, plan->ops[i].dst);
        }
    for (int i = 0; i < 4; i++) {
        leave(plan, spec->inputs[i]);
        leave(plan, spec->outputs[i]);
    }
    for (int32_t i = 0; i < plan->op_count; i++)
        all = all && (plan->ops[i].skipped || !slides(&plan->ops[i]) || fits(plan, &plan->ops[i]));
    for (int32_t i = 0; i < plan->net->tensors && !all; i++)
        plan->blocked[i] = 0;
    return MOCO_OK;
}
