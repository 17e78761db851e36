/* Where a plan's time goes, by kind of operation. */
#include <string.h>

#include "engine/plan/plan_internal.h"

int32_t mo_plan_profile(mo_plan_t *plan, int on, mo_plan_times_t *times, int32_t capacity)
{
    int32_t count = 0;
    for (int32_t i = 0; plan->seconds != NULL && i < plan->instr_count; i++) {
        const mo_instr_t *instr = &plan->instrs[i];
        int32_t at = 0;
        while (at < count && strcmp(times[at].kind, instr->op->kind->name) != 0)
            at++;
        if (at == capacity)
            continue;
        if (at == count)
            times[count++] = (mo_plan_times_t){.kind = instr->op->kind->name};
        double *sum = instr->backward ? &times[at].backward_seconds : &times[at].forward_seconds;
        *sum += plan->seconds[i];
    }
    mo_free(plan->seconds);
    plan->seconds = NULL;
    if (on && mo_calloc((size_t)plan->instr_count, sizeof *plan->seconds, &plan->seconds) != MOCO_OK)
        plan->seconds = NULL; /* no profile, no harm */
    return count;
}
