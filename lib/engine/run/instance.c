/* Instances: memory objects of a plan bound to one arena, and running a stretch of instructions. */
#include "engine/run/instance.h"

#include "engine/run/gpu.h"

#include "util/clock.h"

#define RUN_ROOM ((size_t)4 << 20) /* bytes; a product that packs takes a few megabytes */

/* ---- memory ---- */

moco_status_t mo_slot_memory(const mo_plan_t *plan, int32_t slot, mo_buffer_t base, dnnl_memory_t *memory)
{
    const mo_slot_t *s = &plan->slots[slot];
    uint8_t *at = mo_buffer_address(base);
    return mo_engine_make(mo_memory_create(plan->device, s->md, at != NULL ? at + s->offset : NULL, memory),
                          "create a memory object");
}

static moco_status_t check_base(const mo_plan_t *plan, mo_buffer_t base, size_t bytes, const char *what)
{
    if (base.memory != NULL && mo_device_is_gpu(plan->device) && base.memory->device != plan->device)
        return mo_fail(MOCO_ERR_ENGINE, "%s is not in the memory of the GPU that the plan was made for", what);
    if (base.memory != NULL && base.offset % MO_BUFFER_ALIGN != 0)
        return mo_fail(MOCO_ERR_ENGINE, "%s begins at byte %zu of its memory, wanted a multiple of %d", what,
                       base.offset, MO_BUFFER_ALIGN);
    if (base.bytes < bytes)
        return mo_fail(MOCO_ERR_ENGINE, "%s has %zu bytes, wanted %zu", what, base.bytes, bytes);
    return MOCO_OK;
}

static moco_status_t make_instance(mo_lane_t *lane, void *ctx)
{
    mo_instance_t *instance = ctx;
    const mo_plan_t *plan = instance->plan;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int32_t i = 0; i < plan->slot_count; i++) {
        const mo_slot_t *slot = &plan->slots[i];
        if (slot->space != MO_IN_ARENA || plan->slots[slot->root].last >= 0) /* else nothing touches it */
            TRY(mo_slot_memory(plan, i, instance->space[slot->space].buffer, &instance->memory[i]));
    }
    for (int32_t i = 0; i < plan->instr_count; i++) {
        const mo_instr_t *instr = &plan->instrs[i];
        for (int a = 0; a < instr->arg_count; a++)
            instance->args[instr->first_memory_arg + a] =
                (dnnl_exec_arg_t){instr->args[a].id, instance->memory[instr->args[a].slot]};
    }
cleanup:
    return status;
}

moco_status_t mo_instance_create(mo_plan_t *plan, mo_buffer_t arena, mo_buffer_t params, mo_packed_t *packed,
                                 mo_instance_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_instance_t *instance = NULL;
    TRY(check_base(plan, arena, plan->arena_bytes, "an arena"));
    TRY(mo_calloc(1, sizeof *instance, &instance));
    instance->plan = plan;
    TRY(check_base(plan, params, 0, "a block of parameters"));
    instance->space[MO_IN_ARENA].buffer = arena;
    instance->space[MO_IN_PARAMS].buffer = params;
    instance->space[MO_IN_CONSTANTS].buffer = plan->constants;
    if (packed != NULL)
        instance->space[MO_IN_PACKED].buffer = packed->block;
    TRY(mo_calloc((size_t)plan->slot_count, sizeof *instance->memory, &instance->memory));
    TRY(mo_calloc((size_t)plan->total_args, sizeof *instance->args, &instance->args));
    TRY(mo_device_call(plan->device, make_instance, instance));
    *out = instance;
    instance = NULL;
cleanup:
    mo_instance_free(instance);
    return status;
}

void mo_instance_free(mo_instance_t *instance)
{
    if (instance == NULL)
        return;
    for (int32_t i = 0; instance->memory != NULL && i < instance->plan->slot_count; i++)
        if (instance->memory[i] != NULL)
            dnnl_memory_destroy(instance->memory[i]);
    mo_free(instance->memory);
    mo_free(instance->args);
    mo_free(instance);
}

moco_status_t mo_instance_bind(mo_instance_t *instance, mo_space_t space, mo_buffer_t base)
{
    return mo_instance_bind_from(instance, space, base, 0);
}

/* Where the last slot of a space ends, in a buffer that begins `skip` bytes into it. */
static size_t bound_bytes(const mo_plan_t *plan, mo_space_t space, int64_t skip)
{
    int64_t end = 0;
    for (int32_t i = 0; i < plan->slot_count; i++) {
        const mo_slot_t *s = &plan->slots[i];
        if (s->space == space && s->offset - skip + (int64_t)s->bytes > end)
            end = s->offset - skip + (int64_t)s->bytes;
    }
    return (size_t)end;
}

moco_status_t mo_instance_bind_from(mo_instance_t *instance, mo_space_t space, mo_buffer_t base, int64_t skip)
{
    const mo_plan_t *plan = instance->plan;
    uint8_t *at = mo_buffer_address(base);
    moco_status_t status = check_base(plan, base, bound_bytes(plan, space, skip), "what an instance is bound to");
    if (status != MOCO_OK)
        return status;
    instance->space[space] = (mo_bound_t){base, skip};
    for (int32_t i = 0; i < plan->slot_count && status == MOCO_OK; i++)
        if (plan->slots[i].space == space)
            status =
                mo_engine_status(dnnl_memory_set_data_handle(instance->memory[i], at + (plan->slots[i].offset - skip)),
                                 "bind a tensor");
    return status;
}

/* ---- maps ---- */

mo_buffer_t mo_instance_slot(const mo_instance_t *instance, int32_t slot)
{
    const mo_slot_t *s = &instance->plan->slots[slot];
    const mo_bound_t *b = &instance->space[s->space];
    return mo_buffer_part(b->buffer, (size_t)(s->offset - b->skip), s->bytes);
}

static moco_status_t find_slot(const mo_instance_t *instance, int32_t slot, int32_t tensor, mo_buffer_t *buffer)
{
    if (slot < 0 || instance->memory[slot] == NULL)
        return mo_fail(MOCO_ERR_ENGINE, "tensor %d is not in this plan", tensor);
    *buffer = mo_instance_slot(instance, slot);
    return MOCO_OK;
}

moco_status_t mo_instance_value(const mo_instance_t *instance, int32_t tensor, mo_buffer_t *buffer)
{
    return find_slot(instance, instance->plan->value[tensor], tensor, buffer);
}

moco_status_t mo_instance_gradient(const mo_instance_t *instance, int32_t tensor, mo_buffer_t *buffer)
{
    return find_slot(instance, instance->plan->gradient[tensor], tensor, buffer);
}

static moco_status_t map_slot(mo_instance_t *instance, int32_t slot, int32_t tensor, mo_access_t access, float **values)
{
    mo_buffer_t buffer;
    const moco_status_t status = find_slot(instance, slot, tensor, &buffer);
    return status == MOCO_OK ? mo_buffer_map(buffer, access, values) : status;
}

moco_status_t mo_instance_map(mo_instance_t *instance, int32_t tensor, mo_access_t access, float **values)
{
    return map_slot(instance, instance->plan->value[tensor], tensor, access, values);
}

void mo_instance_unmap(mo_instance_t *instance, int32_t tensor, float *values)
{
    mo_buffer_unmap(mo_instance_slot(instance, instance->plan->value[tensor]), values);
}

moco_status_t mo_instance_map_gradient(mo_instance_t *instance, int32_t tensor, mo_access_t access, float **values)
{
    return map_slot(instance, instance->plan->gradient[tensor], tensor, access, values);
}

void mo_instance_unmap_gradient(mo_instance_t *instance, int32_t tensor, float *values)
{
    mo_buffer_unmap(mo_instance_slot(instance, instance->plan->gradient[tensor]), values);
}

/* ---- running ---- */

static moco_status_t run_primitive(mo_lane_t *lane, mo_instance_t *instance, const mo_instr_t *instr)
{
    dnnl_exec_arg_t *args = instance->args + instr->first_memory_arg;
    int count = instr->arg_count;
    if (lane->scratchpad != NULL)
        args[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, lane->scratchpad};
    const int first = !atomic_load_explicit(&instance->plan->ran, memory_order_relaxed);
    moco_status_t status = mo_gate_enter(lane, first ? MO_MAKING : MO_RUNNING);
    if (status != MOCO_OK)
        return status;
    /* Some kernels are compiled when they run for the first time. */
    status = first ? mo_engine_make(mo_lane_submit(lane, instr->primitive, count, args), instr->op->kind->name)
                   : mo_engine_status(mo_lane_submit(lane, instr->primitive, count, args), instr->op->kind->name);
    if (first)
        mo_gate_note(instr->kind_made + MO_RUNNING);
    mo_gate_leave(lane);
    return status;
}

static moco_status_t run_host(mo_lane_t *lane, mo_instance_t *instance, const mo_instr_t *instr)
{
    moco_status_t status = MOCO_OK;
    const mo_plan_t *plan = instance->plan;
    mo_buffer_t slots[MO_MAX_ARGS];
    float *values[MO_MAX_ARGS] = {0};
    for (int i = 0; i < instr->arg_count; i++)
        slots[i] = mo_instance_slot(instance, instr->args[i].slot);
    if (instr->queue != NULL && mo_device_is_gpu(plan->device))
        return instr->queue(plan->device, instr->op, plan->net, instr->rows, 1, slots);
    TRY(mo_lane_wait(lane));
    TRY(mo_buffers_map(slots, instr->access, instr->arg_count, values));
    status = instr->host(instr->op, plan->net, instr->rows, values);
cleanup:
    mo_buffers_unmap(slots, instr->arg_count, values);
    return status;
}

moco_status_t mo_instance_execute(mo_lane_t *lane, mo_instance_t *instance, int32_t from, int32_t to,
                                  const moco_cancel_t *cancel)
{
    mo_plan_t *plan = instance->plan;
    moco_status_t status = mo_lane_scratchpad(lane, plan->scratchpad_bytes);
    if (status == MOCO_OK && !mo_headroom_probe(RUN_ROOM))
        status = mo_fail(MOCO_ERR_MEMORY, "no memory is left for the small buffers that oneDNN takes while it runs");
    for (int i = 0; i < MO_SPACES; i++)
        mo_buffer_enter(instance->space[i].buffer);
    for (int32_t i = from; i < to && status == MOCO_OK; i++) {
        const mo_instr_t *instr = &plan->instrs[i];
        double start = plan->seconds != NULL ? mo_seconds() : 0;
        status = instr->kind == MO_RUN_HOST ? run_host(lane, instance, instr) : run_primitive(lane, instance, instr);
        if (plan->seconds != NULL)
            plan->seconds[i] += mo_seconds() - start;
        mo_lane_yield(lane);
        if (status == MOCO_OK)
            status = mo_cancel_check(cancel);
    }
    if (to == plan->instr_count && status == MOCO_OK)
        atomic_store_explicit(&plan->ran, 1, memory_order_relaxed);
    if (status == MOCO_OK)
        status = mo_lane_end(lane);
    else
        dnnl_stream_wait(lane->stream); /* what was queued before must not outlive the buffers' maps */
    for (int i = 0; i < MO_SPACES; i++)
        mo_buffer_leave(instance->space[i].buffer);
    return status;
}

moco_status_t mo_instance_run(mo_lane_t *lane, mo_instance_t *instance)
{
    return mo_instance_execute(lane, instance, 0, instance->plan->instr_count, NULL);
}
