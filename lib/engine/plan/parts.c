/* Cutting products of one image into parts that run at once, so that one image uses more than one
 * lane. A part makes some rows of the result from the rows of the source that it needs. Rows lie
 * one behind the other, so a part is a product like any other. */
#include "engine/plan/plan_internal.h"

#define MOST 4
#define LEAST ((int64_t)3 << 20) /* multiply-adds of a part: some 50 microseconds, against five of handing it over */

int32_t mo_plan_parts(const mo_plan_t *plan, const mo_op_t *op, int64_t units)
{
    const int64_t work = op->kind->multiply_adds(plan->net, op) / LEAST;
    const int64_t most = work < units ? work : units;
    if (!plan->cut || most < 2)
        return 1;
    return (int32_t)(most < MOST ? most : MOST);
}

void mo_plan_at_once(mo_plan_t *plan, int32_t first)
{
    plan->instrs[first].parts = plan->instr_count - first;
}

int mo_plan_is_cut(const mo_plan_t *plan)
{
    for (int32_t i = 0; i < plan->instr_count; i++)
        if (plan->instrs[i].parts > 1)
            return 1;
    return 0;
}
