/* Inference: operations that others take over. A convolution or linear layer without bias takes the batch norm behind
 * it and its ReLU, then the shortcut sum with its ReLU; a linear layer with bias the batch norm in front of it, and
 * GELU or the shortcut sum behind it. The numbers of folded batch norms change with the parameters: who packs them asks
 * mo_fold_target where they go. */
#include "engine/plan/plan_internal.h"

extern const mo_layer_t mo_layer_conv, mo_layer_linear, mo_layer_batchnorm, mo_layer_residual, mo_layer_sum,
    mo_layer_gelu, mo_layer_class_token;

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

static int multiplies(const mo_op_t *op)
{
    return op->layer == &mo_layer_conv || op->layer == &mo_layer_linear;
}

int32_t mo_fold_target(const mo_op_t *ops, int32_t count, int32_t bn, int *behind)
{
    int32_t at = bn;
    *behind = 0;
    for (int32_t i = 0; i < bn; i++)
        if (!ops[i].skipped && ops[i].dst == ops[bn].src && multiplies(&ops[i]) && ops[i].bias < 0)
            return i;
    *behind = 1;
    do
        at = only_reader(ops, count, at, ops[at].dst);
    while (at >= 0 && ops[at].layer == &mo_layer_class_token);
    return at >= 0 && !ops[bn].relu && ops[at].layer == &mo_layer_linear && ops[at].bias >= 0 ? at : -1;
}

static void fuse_batchnorm(mo_plan_t *plan, int32_t at)
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
        front->fused_bn = op->bn;
        front->bias = op->bias; /* the shift's parameter holds the folded bias */
        front->fused_relu = op->relu;
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

/* The sum grows in the shortcut's memory: nobody may want that afterwards. */
static int may_grow(const mo_plan_t *plan, const mo_plan_spec_t *spec, const mo_op_t *sum)
{
    for (const mo_op_t *op = sum + 1; op < plan->ops + plan->op_count; op++)
        if (reads(op, sum->other))
            return 0;
    return !is_output(spec, sum->other);
}

void mo_plan_fuse(mo_plan_t *plan, const mo_plan_spec_t *spec)
{
    for (int32_t i = 0; i < plan->op_count; i++) {
        mo_op_t *op = &plan->ops[i], *from;
        if (op->layer == &mo_layer_batchnorm) {
            fuse_batchnorm(plan, i);
            continue;
        }
        if (op->layer != &mo_layer_residual && op->layer != &mo_layer_sum && op->layer != &mo_layer_gelu)
            continue;
        from = producer(plan, spec, op);
        if (from == NULL || from->fused_relu || from->fused_gelu || from->fused_sum >= 0)
            continue;
        if (op->layer == &mo_layer_gelu && from->layer == &mo_layer_linear)
            from->fused_gelu = 1;
        else if (op->layer == &mo_layer_sum && from->layer == &mo_layer_linear && may_grow(plan, spec, op))
            from->fused_sum = op->other;
        else if (op->layer == &mo_layer_residual && from->fused_bn >= 0 && may_grow(plan, spec, op)) {
            from->fused_sum = op->other;
            from->fused_relu = 1;
        } else
            continue;
        from->dst = op->dst;
        op->skipped = 1;
    }
}
