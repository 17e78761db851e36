/* Making a plan: the walk through the operations, which put slots and instructions on its lists. */
#include "engine/plan/plan_internal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/run/gpu.h"

int mo_plan_syncs(const mo_plan_t *plan)
{
    return plan->shards_per_group > 1;
}

int32_t mo_plan_shards(const mo_plan_t *plan)
{
    return plan->shards_per_group;
}

int32_t mo_plan_shard(const mo_plan_t *plan)
{
    return plan->shard;
}

size_t mo_plan_arena_bytes(const mo_plan_t *plan)
{
    return plan->arena_bytes;
}

size_t mo_plan_packed_bytes(const mo_plan_t *plan)
{
    return plan->packed_bytes + plan->constant_bytes;
}

size_t mo_plan_scratchpad_bytes(const mo_plan_t *plan)
{
    return plan->scratchpad_bytes;
}

/* ---- lists ---- */

static moco_status_t slot_new(mo_plan_t *plan, mo_space_t space, int64_t offset, int32_t root, mo_cmd_t md,
                              int32_t *slot)
{
    moco_status_t status = mo_grow_by_one(&plan->slots, plan->slot_count, sizeof *plan->slots);
    if (status != MOCO_OK)
        return status;
    mo_slot_t *s = &plan->slots[plan->slot_count];
    *s = (mo_slot_t){
        .space = space, .offset = offset, .bytes = mo_md_size(md), .root = root, .next = -1, .first = -1, .last = -1};
    status = mo_engine_status(mo_md_clone(&s->md, md), "copy a memory descriptor");
    if (status != MOCO_OK)
        return status;
    if (root < 0)
        s->root = plan->slot_count;
    else {
        s->next = plan->slots[root].next;
        plan->slots[root].next = plan->slot_count;
    }
    *slot = plan->slot_count++;
    return MOCO_OK;
}

moco_status_t mo_plan_slot(mo_plan_t *plan, mo_space_t space, int64_t offset, mo_cmd_t md, int32_t *slot)
{
    return slot_new(plan, space, offset, -1, md, slot);
}

moco_status_t mo_plan_view_at(mo_plan_t *plan, int32_t of, int64_t bytes, mo_cmd_t md, int32_t *slot)
{
    const int32_t root = plan->slots[of].root;
    const int64_t within = plan->slots[of].within + bytes;
    for (int32_t i = root; i >= 0; i = plan->slots[i].next)
        if (plan->slots[i].within == within && mo_md_equal(plan->slots[i].md, md)) {
            *slot = i;
            return MOCO_OK;
        }
    /* The size of columns beside others counts the others of the last row too, so `bytes` cannot be
     * added to it. */
    if (mo_md_size(md) > plan->slots[of].bytes || (size_t)bytes >= plan->slots[of].bytes)
        return mo_fail(MOCO_ERR_ENGINE, "a view of %zu bytes from %lld does not fit a tensor of %zu", mo_md_size(md),
                       (long long)bytes, plan->slots[of].bytes);
    moco_status_t status = slot_new(plan, plan->slots[of].space, plan->slots[of].offset + bytes, root, md, slot);
    if (status == MOCO_OK)
        plan->slots[*slot].within = within;
    return status;
}

moco_status_t mo_plan_view(mo_plan_t *plan, int32_t of, mo_cmd_t md, int32_t *slot)
{
    return mo_plan_view_at(plan, of, 0, md, slot);
}

moco_status_t mo_plan_instr(mo_plan_t *plan, const mo_instr_t *instr)
{
    moco_status_t status = mo_grow_by_one(&plan->instrs, plan->instr_count, sizeof *plan->instrs);
    if (status != MOCO_OK)
        return status;
    plan->instrs[plan->instr_count] = *instr;
    plan->instrs[plan->instr_count].backward = plan->emitting_backward;
    plan->instrs[plan->instr_count].first_memory_arg = plan->total_args;
    plan->total_args += instr->arg_count + 1; /* one more for the scratchpad */
    for (int i = 0; i < instr->arg_count; i++) {
        mo_slot_t *root = &plan->slots[plan->slots[instr->args[i].slot].root];
        if (root->first < 0)
            root->first = plan->instr_count;
        root->last = plan->instr_count;
    }
    plan->instr_count++;
    return MOCO_OK;
}

/* Create the primitive of pd and note the scratchpad it wants. */
static moco_status_t make_primitive(mo_plan_t *plan, dnnl_primitive_desc_t pd, const char *what,
                                    dnnl_primitive_t *primitive)
{
    moco_status_t status = mo_engine_make(dnnl_primitive_create(primitive, pd), what);
    if (status != MOCO_OK)
        return status;
    size_t bytes = mo_md_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    if (bytes > plan->scratchpad_bytes)
        plan->scratchpad_bytes = bytes;
    return MOCO_OK;
}

/* What kind of primitive it is, for process.c. */
static uint64_t kind_of(const char *operation, dnnl_primitive_desc_t pd)
{
    const char *implementation = NULL;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &implementation);
    return mo_gate_kind(operation, implementation != NULL ? implementation : "", MO_MAKING);
}

moco_status_t mo_plan_primitive(mo_plan_t *plan, const mo_op_t *op, dnnl_primitive_desc_t pd, int count,
                                const mo_arg_t *args, const char *what)
{
    const moco_status_t status = mo_plan_choose(plan, &pd, NULL, NULL, what);
    return status == MOCO_OK ? mo_plan_chosen(plan, op, pd, count, args, what) : status;
}

moco_status_t mo_plan_chosen(mo_plan_t *plan, const mo_op_t *op, dnnl_primitive_desc_t pd, int count,
                             const mo_arg_t *args, const char *what)
{
    mo_instr_t instr = {.kind = MO_RUN_PRIMITIVE, .op = op};
    moco_status_t status = make_primitive(plan, pd, what, &instr.primitive);
    instr.kind_made = kind_of(what, pd);
    mo_gate_note(instr.kind_made);
    dnnl_primitive_desc_destroy(pd);
    if (status != MOCO_OK)
        return status;
    for (int i = 0; i < count; i++)
        if (args[i].slot >= 0)
            instr.args[instr.arg_count++] = args[i];
    status = mo_plan_instr(plan, &instr);
    if (status != MOCO_OK)
        dnnl_primitive_destroy(instr.primitive);
    return status;
}

/* ---- parameters ---- */

static moco_status_t parameter_md(const mo_parameter_t *parameter, mo_md_t *md)
{
    static const dnnl_format_tag_t tags[] = {dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd};
    dnnl_dims_t dims;
    for (int i = 0; i < parameter->rank; i++)
        dims[i] = parameter->dims[i];
    return mo_engine_status(mo_md_tag(md, parameter->rank, dims, dnnl_f32, tags[parameter->rank]),
                            "describe a parameter");
}

moco_status_t mo_plan_parameter(mo_plan_t *plan, mo_space_t space, int32_t parameter, int32_t *slot)
{
    mo_md_t md = NULL;
    const mo_parameter_t *s = &plan->net->parameters[parameter];
    int32_t *known = &plan->plain[space == MO_IN_GRADS][parameter];
    moco_status_t status = MOCO_OK;
    if (*known < 0) {
        TRY(parameter_md(s, &md));
        TRY(mo_plan_slot(plan, space, s->offset * (int64_t)sizeof(float), md, known));
    }
    *slot = *known;
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_plan_weights(mo_plan_t *plan, int32_t parameter, mo_cmd_t md, int32_t *slot)
{
    int32_t plain;
    moco_status_t status = mo_plan_parameter(plan, MO_IN_PARAMS, parameter, &plain);
    return status == MOCO_OK ? mo_plan_packed(plan, plain, md, slot) : status;
}

moco_status_t mo_plan_packed(mo_plan_t *plan, int32_t plain, mo_cmd_t md, int32_t *slot)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    if (mo_md_equal(plan->slots[plain].md, md) && plan->mode != MO_MODE_INFER) {
        *slot = plain;
        return MOCO_OK;
    }
    for (int32_t i = 0; i < plan->pack_count; i++)
        if (plan->packs[i].from == plain && mo_md_equal(plan->slots[plan->packs[i].to].md, md)) {
            *slot = plan->packs[i].to;
            return MOCO_OK;
        }
    TRY(mo_grow_by_one(&plan->packs, plan->pack_count, sizeof *plan->packs));
    TRY(mo_plan_slot(plan, MO_IN_PACKED, (int64_t)plan->packed_bytes, md, slot));
    mo_pack_t pack = {.from = plain, .to = *slot};
    TRY(mo_engine_make(mo_attr_begin(&attr), "make attributes"));
    TRY(mo_engine_make(mo_attr_end(&attr), "make attributes"));
    TRY(mo_engine_make(mo_pd_reorder(&pd, mo_device_engine(plan->device), plan->slots[plain].md, md, attr.attr),
                       "plan a weight reorder"));
    TRY(mo_plan_choose(plan, &pd, NULL, NULL, "make a weight reorder"));
    TRY(make_primitive(plan, pd, "make a weight reorder", &pack.reorder));
    pack.kind_made = kind_of("reorder", pd);
    mo_gate_note(pack.kind_made);
    plan->packs[plan->pack_count++] = pack;
    plan->packed_bytes += MO_ALIGNED(mo_md_size(md));
cleanup:
    if (pd != NULL)
        dnnl_primitive_desc_destroy(pd);
    mo_attr_free(&attr);
    return status;
}

static moco_status_t keep(mo_plan_t *plan, int32_t tensor, int from_begin, int to_end)
{
    int32_t slot;
    if (tensor < 0)
        return MOCO_OK;
    moco_status_t status = mo_value(plan, tensor, &slot);
    if (status != MOCO_OK)
        return status;
    mo_slot_t *root = &plan->slots[plan->slots[slot].root];
    if (from_begin || root->first < 0)
        root->first = 0;
    if (to_end || root->last < 0)
        root->last = plan->instr_count;
    if (to_end && plan->gradient[tensor] >= 0)
        plan->slots[plan->slots[plan->gradient[tensor]].root].last = plan->instr_count;
    return MOCO_OK;
}

/* ---- making ---- */

typedef struct making {
    const mo_plan_spec_t *spec;
    mo_plan_t *plan;
} making_t;

/* One operation's instructions. The gate is passed for each, so that a fork or an exit never waits
 * for a whole plan. */
static moco_status_t emit(mo_plan_t *plan, const mo_op_t *op)
{
    mo_sources_t kept;
    moco_status_t status = mo_gate_enter(plan->lane, MO_MAKING);
    if (status != MOCO_OK)
        return status;
    status = mo_plan_sources(plan, op, &kept);
    if (status == MOCO_OK)
        status = plan->emitting_backward ? op->kind->backward(plan, op) : op->kind->forward(plan, op);
    mo_plan_sources_back(plan, &kept);
    mo_gate_note(mo_gate_kind(op->kind->name, "", MO_MAKING + plan->emitting_backward));
    mo_gate_leave(plan->lane);
    return status;
}

static moco_status_t make_on_lane(mo_lane_t *lane, void *ctx)
{
    const mo_plan_spec_t *spec = ((making_t *)ctx)->spec;
    mo_plan_t *plan = ((making_t *)ctx)->plan;
    const mo_net_t *net = spec->net;
    moco_status_t status = MOCO_OK;
    plan->lane = lane;
    TRY(mo_calloc((size_t)net->op_count, sizeof *plan->ops, &plan->ops));
    for (int i = 0; i < 2; i++) {
        TRY(mo_calloc((size_t)net->parameter_count, sizeof *plan->plain[i], &plan->plain[i]));
        for (int32_t p = 0; p < net->parameter_count; p++)
            plan->plain[i][p] = -1;
    }
    TRY(mo_calloc((size_t)net->tensors, sizeof *plan->value, &plan->value));
    TRY(mo_calloc((size_t)net->tensors, sizeof *plan->gradient, &plan->gradient));
    TRY(mo_calloc((size_t)net->tensors, sizeof *plan->converted, &plan->converted));
    TRY(mo_calloc((size_t)net->tensors, 1, &plan->is_low));
    TRY(mo_calloc((size_t)net->tensors, 1, &plan->shared));
    TRY(mo_calloc((size_t)net->tensors, 1, &plan->blocked));
    TRY(mo_calloc((size_t)net->tensors, 1, &plan->no_grad));
    TRY(mo_calloc((size_t)net->op_count * MO_MEMO, sizeof *plan->memo, &plan->memo));
    TRY(mo_calloc((size_t)net->op_count * MO_MEMO, sizeof *plan->hints, &plan->hints));
    memcpy(plan->ops, net->ops, (size_t)net->op_count * sizeof *plan->ops);
    plan->op_count = net->op_count;
    for (int32_t i = 0; i < net->tensors; i++)
        plan->value[i] = plan->gradient[i] = plan->converted[i] = -1;
    for (int i = 0; i < 4; i++)
        if (spec->inputs[i] >= 0)
            plan->no_grad[spec->inputs[i]] = 1;
    for (int32_t i = 0; i < plan->op_count && spec->to_op > 0; i++)
        plan->ops[i].skipped = i < spec->from_op || i >= spec->to_op;
    if (plan->mode == MO_MODE_INFER)
        mo_plan_fuse(plan, spec);
    TRY(mo_plan_types(plan, spec));
    if (plan->mode == MO_MODE_INFER)
        TRY(mo_plan_layouts(plan, spec));
    for (int32_t i = 0; i < plan->op_count; i++)
        if (!plan->ops[i].skipped)
            TRY(emit(plan, &plan->ops[i]));
    plan->emitting_backward = 1;
    if (spec->seeded)
        TRY(mo_gradient_slot(plan, spec->outputs[0], &plan->gradient[spec->outputs[0]]));
    for (int32_t i = plan->op_count - 1; i >= 0 && plan->mode == MO_MODE_TRAIN; i--)
        if (!plan->ops[i].skipped)
            TRY(emit(plan, &plan->ops[i]));
    for (int i = 0; i < 4; i++) {
        TRY(keep(plan, spec->inputs[i], 1, 0));
        TRY(keep(plan, spec->outputs[i], 0, 1));
    }
    if (spec->has_given)
        TRY(keep(plan, spec->given, 1, 0));
    if (spec->seeded)
        plan->slots[plan->gradient[spec->outputs[0]]].first = 0;
    TRY(mo_plan_place(plan));
cleanup:
    return status;
}

static moco_status_t keep_constants(mo_plan_t *plan)
{
    moco_status_t status = MOCO_OK;
    if (plan->constant_bytes == 0)
        return MOCO_OK;
    TRY(mo_buffer_create(plan->device, plan->constant_bytes, &plan->constants));
    TRY(mo_buffer_write(plan->constants, plan->constant_values));
    mo_free(plan->constant_values);
    plan->constant_values = NULL;
cleanup:
    return status;
}

moco_status_t mo_plan_create(moco_device_t *device, const mo_plan_spec_t *spec, mo_plan_t **out)
{
    moco_status_t status = MOCO_OK;
    making_t making = {.spec = spec};
    TRY(mo_calloc(1, sizeof *making.plan, &making.plan));
    making.plan->device = mo_device_retain(device);
    making.plan->net = spec->net;
    making.plan->mode = spec->mode;
    making.plan->shard = spec->shard;
    making.plan->shards_per_group = spec->shards_per_group;
    making.plan->cut = spec->cut && spec->shard == 1 && spec->precision == MO_PRECISION_FLOAT32 &&
                       !mo_device_is_gpu(device);
    making.plan->primitives = spec->primitives || mo_device_is_gpu(device); /* loops are the host's */
    TRY(mo_device_call(device, make_on_lane, &making));
    TRY(keep_constants(making.plan));
    mo_plan_warn(making.plan);
    *out = making.plan;
    making.plan = NULL;
cleanup:
    mo_plan_free(making.plan);
    return status;
}

void mo_plan_free(mo_plan_t *plan)
{
    if (plan == NULL)
        return;
    for (int32_t i = 0; i < plan->slot_count; i++)
        mo_md_free(plan->slots[i].md);
    for (int32_t i = 0; i < plan->instr_count; i++)
        if (plan->instrs[i].primitive != NULL)
            dnnl_primitive_destroy(plan->instrs[i].primitive);
    for (int32_t i = 0; i < plan->pack_count; i++)
        dnnl_primitive_destroy(plan->packs[i].reorder);
    for (int32_t i = 0; plan->hints != NULL && i < plan->op_count * MO_MEMO; i++)
        if (plan->hints[i] != NULL)
            dnnl_primitive_desc_destroy(plan->hints[i]);
    mo_free(plan->ops);
    mo_free(plan->slots);
    mo_free(plan->instrs);
    mo_free(plan->packs);
    mo_free(plan->plain[0]);
    mo_free(plan->plain[1]);
    mo_free(plan->value);
    mo_free(plan->gradient);
    mo_free(plan->converted);
    mo_free(plan->is_low);
    mo_free(plan->shared);
    mo_free(plan->blocked);
    mo_free(plan->no_grad);
    mo_free(plan->memo);
    mo_free(plan->hints);
    mo_free(plan->seconds);
    mo_free(plan->constant_values);
    mo_buffer_free(&plan->constants);
    mo_device_release(plan->device);
    mo_free(plan);
}
