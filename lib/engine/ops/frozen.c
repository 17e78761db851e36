/* Frozen parameters: they have a place in the gradient block, which is to hold zeros. */
#include <string.h>

#include "engine/ops/emit_internal.h"

static moco_status_t zero(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const int32_t parameters[] = {op->weights, op->bias};
    int at = 0;
    (void)rows;
    for (int i = 0; i < 2; i++)
        if (parameters[i] >= 0 && net->parameters[parameters[i]].frozen)
            memset(values[at++], 0, (size_t)net->parameters[parameters[i]].count * sizeof(float));
    return MOCO_OK;
}

int mo_parameter_frozen(const mo_plan_t *plan, int32_t parameter)
{
    return plan->net->parameters[parameter].frozen;
}

moco_status_t mo_emit_frozen(mo_plan_t *plan, const mo_op_t *op)
{
    const int32_t parameters[] = {op->weights, op->bias};
    mo_slot_id_t slots[2], value;
    moco_status_t status = MOCO_OK;
    int count = 0;
    for (int i = 0; i < 2; i++)
        if (parameters[i] >= 0 && plan->net->parameters[parameters[i]].frozen)
            TRY(mo_plan_parameter(plan, MO_IN_GRADS, parameters[i], &slots[count++]));
    if (!plan->primitives)
        return mo_emit_host(plan, op, zero, count == 2 ? "ww" : "w", slots);
    for (int i = 0, at = 0; i < 2; i++)
        if (parameters[i] >= 0 && plan->net->parameters[parameters[i]].frozen) {
            TRY(mo_plan_parameter(plan, MO_IN_PARAMS, parameters[i], &value));
            TRY(mo_emit_zeros(plan, op, value, slots[at++]));
        }
cleanup:
    return status;
}
