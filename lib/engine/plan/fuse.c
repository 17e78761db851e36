/* Inference: operations that a product with weights takes over; which ones they are is told by
 * their traits. A product without bias takes the batch norm behind it, a product of each position
 * with bias the one in front of it; then what adds or activates its result. The numbers of folded
 * batch norms change with the parameters: who packs them asks mo_fold_target where they go. */
#include "engine/plan/plan_internal.h"

static int is(const mo_op_t *op, unsigned traits)
{
    return (op->kind->traits & traits) == traits;
}

static int reads(const mo_op_t *op, int32_t tensor)
{
    return !op->skipped && (op->src == tensor || op->other == tensor);
}

/* The only operation behind `from` that reads a tensor; -1 if there is none or more than one. */
static int32_t only_reader(const mo_op_t *ops, int32_t count, int32_t from, int32_t tensor)
{
    int32_t found = -1;
    for (int32_t i = from + 1; i < count; i++) {
        if (reads(&ops[i], tensor) && found >= 0)
            return -1;
        if (reads(&ops[i], tensor))
            found = i;
    }
    return found;
}

int32_t mo_fold_target(const mo_op_t *ops, int32_t count, int32_t bn, int *behind)
{
    int32_t at = bn;
    *behind = 0;
    for (int32_t i = 0; i < bn; i++)
        if (!ops[i].skipped && ops[i].dst == ops[bn].src && is(&ops[i], MO_MULTIPLIES) && ops[i].bias < 0)
            return i;
    *behind = 1;
    do
        at = only_reader(ops, count, at, ops[at].dst);
    while (at >= 0 && is(&ops[at], MO_SELECTS));
    return at >= 0 && ops[bn].activation == MO_ACTIVATION_NONE && is(&ops[at], MO_MULTIPLIES | MO_EACH_POSITION) &&
                   ops[at].bias >= 0
               ? at
               : -1;
}

static void fold(mo_plan_t *plan, int32_t at)
{
    mo_op_t *op = &plan->ops[at];
    int behind;
    int32_t target = mo_fold_target(plan->ops, plan->op_count, at, &behind);
    if (target < 0)
        return;
    if (behind)
        plan->ops[only_reader(plan->ops, plan->op_count, at, op->dst)].src = op->src;
    else {
        mo_op_t *front = &plan->ops[target];
        front->bias = op->bias; /* the shift's parameter holds the folded bias */
        front->activation = op->activation;
        front->dst = op->dst;
    }
    op->skipped = 1;
}

static int is_output(const mo_plan_spec_t *spec, int32_t tensor)
{
    for (int i = 0; i < 4; i++)
        if (spec->outputs[i] == tensor || spec->inputs[i] == tensor)
            return 1;
    return 0;
}

/* The operation whose result `op` alone reads. */
static mo_op_t *producer(mo_plan_t *plan, const mo_plan_spec_t *spec, const mo_op_t *op)
{
    for (int32_t i = 0; i < plan->op_count; i++)
        if (!plan->ops[i].skipped && plan->ops[i].dst == op->src)
            return !is_output(spec, op->src) && only_reader(plan->ops, plan->op_count, i, op->src) == op - plan->ops
                       ? &plan->ops[i]
                       : NULL;
    return NULL;
}

/* A sum grows in the memory of what is added: nobody may want that afterwards. */
static int may_grow(const mo_plan_t *plan, const mo_plan_spec_t *spec, const mo_op_t *sum)
{
    for (const mo_op_t *op = sum + 1; op < plan->ops + plan->op_count; op++)
        if (reads(op, sum->other))
            return 0;
    return !is_output(spec, sum->other);
}

static void fuse(mo_plan_t *plan, const mo_plan_spec_t *spec, mo_op_t *op)
{
    mo_op_t *from = producer(plan, spec, op);
    if (from == NULL || !is(from, MO_MULTIPLIES) || from->bias < 0 || from->other >= 0 ||
        from->activation != MO_ACTIVATION_NONE || (op->other >= 0 && !may_grow(plan, spec, op)))
        return;
    from->other = op->other;
    from->activation = op->activation;
    from->dst = op->dst;
    op->skipped = 1;
}

void mo_plan_fuse(mo_plan_t *plan, const mo_plan_spec_t *spec)
{
    for (int32_t i = 0; i < plan->op_count; i++)
        if (is(&plan->ops[i], MO_FOLDS))
            fold(plan, i);
        else if (is(&plan->ops[i], MO_FUSABLE))
            fuse(plan, spec, &plan->ops[i]);
}
