/* Instances: memory objects of a plan bound to one arena, and running a stretch of instructions. */
#include <time.h>

#include "engine/run/instance.h"

moco_status_t mo_slot_memory(const mo_plan_t *plan, int32_t slot, uint8_t *base, dnnl_memory_t *memory)
{
    const mo_slot_t *s = &plan->slots[slot];
    return mo_engine_status(dnnl_memory_create(memory, s->md, mo_device_engine(plan->device),
                                               base != NULL ? base + s->offset : DNNL_MEMORY_NONE),
                            "create a memory object");
}

typedef struct binding {
    mo_instance_t *instance;
    const float *params;
    mo_packed_t *packed;
} binding_t;

static moco_status_t make_instance(mo_lane_t *lane, void *ctx)
{
    binding_t *b = ctx;
    mo_instance_t *instance = b->instance;
    const mo_plan_t *plan = instance->plan;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int32_t i = 0; i < plan->slot_count; i++) {
        uint8_t *bases[] = {instance->arena, (uint8_t *)b->params, b->packed != NULL ? b->packed->block : NULL,
                            NULL,            NULL,                 NULL};
        if (plan->slots[i].space == MO_IN_ARENA && plan->slots[plan->slots[i].root].last < 0)
            continue; /* nothing touches it */
        TRY(mo_slot_memory(plan, i, bases[plan->slots[i].space], &instance->memory[i]));
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

moco_status_t mo_instance_create(mo_plan_t *plan, void *arena, const float *params, mo_packed_t *packed,
                                 mo_instance_t **out)
{
    moco_status_t status = MOCO_OK;
    binding_t b = {.params = params, .packed = packed};
    TRY(mo_calloc(1, sizeof *b.instance, &b.instance));
    b.instance->plan = plan;
    b.instance->arena = arena;
    TRY(mo_calloc((size_t)plan->slot_count, sizeof *b.instance->memory, &b.instance->memory));
    TRY(mo_calloc((size_t)plan->total_args, sizeof *b.instance->args, &b.instance->args));
    TRY(mo_device_call(plan->device, make_instance, &b));
    *out = b.instance;
    b.instance = NULL;
cleanup:
    mo_instance_free(b.instance);
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

static moco_status_t map_slot(mo_instance_t *instance, int32_t slot, int32_t tensor, float **values)
{
    if (slot < 0 || instance->memory[slot] == NULL)
        return mo_fail(MOCO_ERR_ENGINE, "tensor %d is not in this plan", tensor);
    return mo_engine_status(dnnl_memory_map_data(instance->memory[slot], (void **)values), "map a tensor");
}

moco_status_t mo_instance_map(mo_instance_t *instance, int32_t tensor, float **values)
{
    return map_slot(instance, instance->plan->value[tensor], tensor, values);
}

void mo_instance_unmap(mo_instance_t *instance, int32_t tensor, float *values)
{
    dnnl_memory_unmap_data(instance->memory[instance->plan->value[tensor]], values);
}

moco_status_t mo_instance_map_gradient(mo_instance_t *instance, int32_t tensor, float **values)
{
    return map_slot(instance, instance->plan->gradient[tensor], tensor, values);
}

void mo_instance_unmap_gradient(mo_instance_t *instance, int32_t tensor, float *values)
{
    dnnl_memory_unmap_data(instance->memory[instance->plan->gradient[tensor]], values);
}

moco_status_t mo_instance_bind(mo_instance_t *instance, mo_space_t space, void *base)
{
    return mo_instance_bind_from(instance, space, base, 0);
}

moco_status_t mo_instance_bind_from(mo_instance_t *instance, mo_space_t space, void *base, int64_t skip)
{
    const mo_plan_t *plan = instance->plan;
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < plan->slot_count && status == MOCO_OK; i++)
        if (plan->slots[i].space == space)
            status = mo_engine_status(dnnl_memory_set_data_handle(instance->memory[i],
                                                                  (uint8_t *)base + (plan->slots[i].offset - skip)),
                                      "bind a tensor");
    return status;
}

/* ---- running ---- */

static moco_status_t run_primitive(mo_lane_t *lane, mo_instance_t *instance, const mo_instr_t *instr)
{
    dnnl_exec_arg_t *args = instance->args + instr->first_memory_arg;
    int count = instr->arg_count;
    if (lane->scratchpad != NULL)
        args[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, lane->scratchpad};
    return mo_engine_status(dnnl_primitive_execute(instr->primitive, lane->stream, count, args),
                            instr->op->kind->name);
}

static moco_status_t run_host(mo_lane_t *lane, mo_instance_t *instance, const mo_instr_t *instr)
{
    moco_status_t status = MOCO_OK;
    float *values[MO_MAX_ARGS] = {0};
    TRY(mo_engine_status(dnnl_stream_wait(lane->stream), "wait"));
    for (int i = 0; i < instr->arg_count; i++)
        TRY(mo_engine_status(dnnl_memory_map_data(instance->memory[instr->args[i].slot], (void **)&values[i]), "map"));
    status = instr->host(instr->op, instance->plan->net, instr->rows, values);
cleanup:
    for (int i = 0; i < instr->arg_count; i++)
        if (values[i] != NULL)
            dnnl_memory_unmap_data(instance->memory[instr->args[i].slot], values[i]);
    return status;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

moco_status_t mo_instance_execute(mo_lane_t *lane, mo_instance_t *instance, int32_t from, int32_t to)
{
    mo_plan_t *plan = instance->plan;
    moco_status_t status = mo_lane_scratchpad(lane, plan->scratchpad_bytes);
    for (int32_t i = from; i < to && status == MOCO_OK; i++) {
        const mo_instr_t *instr = &plan->instrs[i];
        double start = plan->seconds != NULL ? seconds_now() : 0;
        status = instr->kind == MO_RUN_HOST ? run_host(lane, instance, instr) : run_primitive(lane, instance, instr);
        if (plan->seconds != NULL)
            plan->seconds[i] += seconds_now() - start;
        mo_lane_yield(lane);
    }
    if (status == MOCO_OK)
        status = mo_engine_status(dnnl_stream_wait(lane->stream), "wait");
    return status;
}

moco_status_t mo_instance_run(mo_lane_t *lane, mo_instance_t *instance)
{
    return mo_instance_execute(lane, instance, 0, instance->plan->instr_count);
}
