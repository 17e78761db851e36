/* Copies of parameters in the layouts that the primitives of a plan want. */
#include "engine/run/instance.h"

static moco_status_t make_packed(mo_lane_t *lane, void *ctx)
{
    mo_packed_t *packed = ctx;
    const mo_plan_t *plan = packed->plan;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int32_t i = 0; i < plan->pack_count; i++) {
        TRY(mo_slot_memory(plan, plan->packs[i].from, packed->params, &packed->memory[2 * i]));
        TRY(mo_slot_memory(plan, plan->packs[i].to, packed->block, &packed->memory[2 * i + 1]));
    }
cleanup:
    return status;
}

moco_status_t mo_packed_create(mo_plan_t *plan, mo_buffer_t params, mo_packed_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_packed_t *packed = NULL;
    TRY(mo_calloc(1, sizeof *packed, &packed));
    packed->plan = plan;
    packed->params = params;
    TRY(mo_buffer_create(plan->device, plan->packed_bytes, &packed->block));
    TRY(mo_calloc((size_t)plan->pack_count * 2, sizeof *packed->memory, &packed->memory));
    TRY(mo_device_call(plan->device, make_packed, packed));
    *out = packed;
    packed = NULL;
cleanup:
    mo_packed_free(packed);
    return status;
}

static moco_status_t refresh_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    mo_packed_t *packed = ctx;
    moco_status_t status = mo_lane_scratchpad(lane, packed->plan->scratchpad_bytes);
    if (status != MOCO_OK)
        return status;
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, packed->memory[2 * part]},
                              {DNNL_ARG_TO, packed->memory[2 * part + 1]},
                              {DNNL_ARG_SCRATCHPAD, lane->scratchpad}};
    const int first = !atomic_load_explicit(&packed->plan->packed, memory_order_relaxed);
    status = mo_gate_enter(lane, first ? MO_MAKING : MO_RUNNING);
    if (status != MOCO_OK)
        return status;
    mo_buffer_enter(packed->params);
    mo_buffer_enter(packed->block);
    const dnnl_primitive_t reorder = packed->plan->packs[part].reorder;
    const int count = lane->scratchpad != NULL ? 3 : 2;
    status = first ? mo_engine_make(mo_lane_submit(lane, reorder, count, args), "pack weights")
                   : mo_engine_status(mo_lane_submit(lane, reorder, count, args), "pack weights");
    if (status == MOCO_OK)
        status = mo_lane_end(lane);
    mo_buffer_leave(packed->block);
    mo_buffer_leave(packed->params);
    if (first)
        mo_gate_note(packed->plan->packs[part].kind_made + MO_RUNNING);
    mo_gate_leave(lane);
    return status;
}

moco_status_t mo_packed_refresh(mo_packed_t *packed)
{
    mo_work_t work = {.fn = refresh_part, .ctx = packed, .parts = packed->plan->pack_count};
    moco_status_t status = mo_work_run(packed->plan->device, &work);
    if (status == MOCO_OK)
        atomic_store_explicit(&packed->plan->packed, 1, memory_order_relaxed);
    return status;
}

void mo_packed_free(mo_packed_t *packed)
{
    if (packed == NULL)
        return;
    for (int32_t i = 0; packed->memory != NULL && i < 2 * packed->plan->pack_count; i++)
        if (packed->memory[i] != NULL)
            dnnl_memory_destroy(packed->memory[i]);
    mo_free(packed->memory);
    mo_buffer_free(&packed->block);
    mo_free(packed);
}
