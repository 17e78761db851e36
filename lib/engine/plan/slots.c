/* Slots of tensors and of their gradients, and the instructions that are not oneDNN's. */
#include <string.h>

#include "engine/ops/emit_internal.h"

static moco_status_t md_of(const mo_plan_t *plan, int32_t tensor, int blocked, mo_md_t *md)
{
    mo_shape_t s = plan->net->shapes[tensor];
    dnnl_dims_t dims = {plan->shard, s.c, s.h, s.w};
    if (!blocked)
        return mo_plan_tensor_md(plan, tensor, plan->is_low[tensor] ? plan->low : dnnl_f32, md);
    return mo_engine_status(mo_md_tag(md, 4, dims, dnnl_f32, dnnl_nChw16c), "describe a tensor");
}

static moco_status_t tensor_md(const mo_plan_t *plan, int32_t tensor, mo_md_t *md)
{
    return md_of(plan, tensor, plan->blocked[tensor], md);
}

moco_status_t mo_plan_plain(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    TRY(md_of(plan, tensor, 0, &md));
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_plan_like(mo_plan_t *plan, int32_t tensor, int32_t like, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    TRY(md_of(plan, tensor, plan->blocked[like], &md));
    TRY(mo_plan_view(plan, *slot, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_value(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    if (plan->value[tensor] < 0) {
        TRY(tensor_md(plan, tensor, &md));
        TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, &plan->value[tensor]));
    }
    *slot = plan->value[tensor];
cleanup:
    mo_md_free(md);
    return status;
}

int32_t mo_tensor_channels(const mo_plan_t *plan, int32_t tensor)
{
    return plan->net->shapes[tensor].c;
}

int32_t mo_tensor_tokens(const mo_plan_t *plan, int32_t tensor)
{
    return plan->net->shapes[tensor].h;
}

int mo_wants_gradient(const mo_plan_t *plan, int32_t tensor)
{
    return !plan->no_grad[tensor];
}

int mo_has_gradient(const mo_plan_t *plan, int32_t tensor)
{
    return plan->gradient[tensor] >= 0;
}

moco_status_t mo_gradient(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot)
{
    *slot = plan->gradient[tensor];
    return *slot >= 0 ? MOCO_OK : mo_fail(MOCO_ERR_ENGINE, "tensor %d has no gradient yet", tensor);
}

moco_status_t mo_gradient_slot(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    TRY(mo_plan_tensor_md(plan, tensor, dnnl_f32, &md)); /* in every precision */
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_gradient_add(mo_plan_t *plan, const mo_op_t *op, int32_t tensor, mo_slot_id_t slot)
{
    if (plan->gradient[tensor] >= 0)
        return mo_emit_binary(plan, op, MO_ADD, plan->gradient[tensor], slot, plan->gradient[tensor], 0);
    plan->gradient[tensor] = slot;
    return MOCO_OK;
}

moco_status_t mo_gradient_share(mo_plan_t *plan, const mo_op_t *op, int32_t tensor, mo_slot_id_t slot)
{
    plan->shared[tensor] = 1;
    return mo_gradient_add(plan, op, tensor, slot);
}

int mo_gradient_owned(const mo_plan_t *plan, int32_t tensor)
{
    return !plan->shared[tensor];
}

moco_status_t mo_temporary(mo_plan_t *plan, int32_t rows, int32_t columns, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {rows, columns};
    TRY(mo_engine_status(mo_md_tag(&md, 2, dims, dnnl_f32, dnnl_ab), "describe a matrix"));
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_positions(mo_plan_t *plan, int32_t tensor, mo_slot_id_t of, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    mo_shape_t s = plan->net->shapes[tensor];
    dnnl_dims_t dims = {(int64_t)plan->shard * s.h * s.w, s.c};
    TRY(mo_engine_status(mo_md_tag(&md, 2, dims, TYPE(plan, of), dnnl_ab), "describe a matrix"));
    TRY(mo_plan_view(plan, of, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_parameter(mo_plan_t *plan, int32_t parameter, mo_slot_id_t *slot)
{
    int32_t plain;
    moco_status_t status = mo_plan_parameter(plan, MO_IN_PARAMS, parameter, &plain);
    return status == MOCO_OK ? mo_plan_weights(plan, parameter, MD(plan, plain), slot) : status;
}

moco_status_t mo_parameter_gradient(mo_plan_t *plan, int32_t parameter, mo_slot_id_t *slot)
{
    return mo_plan_parameter(plan, MO_IN_GRADS, parameter, slot);
}

moco_status_t mo_matrix(mo_plan_t *plan, mo_slot_id_t of, int32_t columns, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {plan->shard, columns};
    TRY(mo_engine_status(mo_md_tag(&md, 2, dims, TYPE(plan, of), dnnl_ab), "describe a matrix"));
    TRY(mo_plan_view(plan, of, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_dictionary_slot(mo_plan_t *plan, int64_t from, int64_t rows, int32_t columns, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {rows, columns};
    TRY(mo_engine_status(mo_md_tag(&md, 2, dims, dnnl_f32, dnnl_ab), "describe the queue"));
    TRY(mo_plan_slot(plan, MO_IN_DICTIONARY, from * (int64_t)sizeof(float), md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_view(mo_plan_t *plan, mo_slot_id_t of, int64_t from, int rank, const int64_t *extents,
                      const int64_t *strides, mo_slot_id_t *view)
{
    moco_status_t status = MOCO_OK;
    const dnnl_data_type_t type = TYPE(plan, of);
    mo_md_t md = NULL;
    TRY(mo_engine_status(mo_md_strides(&md, rank, extents, type, strides), "describe a part of a tensor"));
    TRY(mo_plan_view_at(plan, of, from * (int64_t)dnnl_data_type_size(type), md, view));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_constant(mo_plan_t *plan, int64_t rows, int64_t columns, const float *values, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    float *grown = NULL;
    dnnl_dims_t dims = {rows, columns};
    const size_t bytes = (size_t)(rows * columns) * sizeof *values, more = MO_ALIGNED(bytes);
    TRY(mo_engine_status(mo_md_tag(&md, 2, dims, dnnl_f32, dnnl_ab), "describe a constant"));
    TRY(mo_calloc(plan->constant_bytes + more, 1, &grown));
    if (plan->constant_bytes > 0)
        memcpy(grown, plan->constant_values, plan->constant_bytes);
    memcpy((uint8_t *)grown + plan->constant_bytes, values, bytes);
    TRY(mo_plan_slot(plan, MO_IN_CONSTANTS, (int64_t)plan->constant_bytes, md, slot));
    mo_free(plan->constant_values);
    plan->constant_values = grown;
    plan->constant_bytes += more;
    grown = NULL;
cleanup:
    mo_free(grown);
    mo_md_free(md);
    return status;
}

int mo_takes_primitives(const mo_plan_t *plan)
{
    return plan->primitives;
}

void mo_remember(mo_plan_t *plan, const mo_op_t *op, int cell, mo_slot_id_t slot)
{
    *mo_memo(plan, op, cell) = slot;
}

mo_slot_id_t mo_recall(const mo_plan_t *plan, const mo_op_t *op, int cell)
{
    return plan->memo[(op - plan->ops) * MO_MEMO + cell];
}

static void slot_args(mo_instr_t *instr, const char *access, const mo_slot_id_t *slots)
{
    for (; access[instr->arg_count] != '\0'; instr->arg_count++) {
        const int i = instr->arg_count;
        instr->args[i] = (mo_arg_t){.id = i, .slot = slots[i]};
        instr->access[i] = access[i] == 'r' ? MO_READ : access[i] == 'w' ? MO_WRITE : MO_UPDATE;
    }
}

moco_status_t mo_emit_host_rows(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn, int32_t rows, const char *access,
                                const mo_slot_id_t *slots)
{
    mo_instr_t instr = {.kind = MO_RUN_HOST, .op = op, .host = fn, .rows = rows};
    slot_args(&instr, access, slots);
    return mo_plan_instr(plan, &instr);
}

moco_status_t mo_emit_host(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn, const char *access,
                           const mo_slot_id_t *slots)
{
    return mo_emit_host_rows(plan, op, fn, plan->shard, access, slots);
}

moco_status_t mo_emit_either(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn, mo_queue_fn queue, const char *access,
                             const mo_slot_id_t *slots)
{
    mo_instr_t instr = {.kind = MO_RUN_HOST, .op = op, .host = fn, .queue = queue, .rows = plan->shard};
    slot_args(&instr, access, slots);
    return mo_plan_instr(plan, &instr);
}

moco_status_t mo_emit_host_pair(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[3];
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->other, &slots[1]));
    TRY(mo_value(plan, op->dst, &slots[2]));
    TRY(mo_emit_host(plan, op, fn, "rrw", slots));
cleanup:
    return status;
}

moco_status_t mo_emit_host_pair_backward(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t first, mo_host_fn fn)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[3] = {first};
    TRY(mo_value(plan, op->other, &slots[1]));
    TRY(mo_gradient_slot(plan, op->src, &slots[2]));
    TRY(mo_emit_host(plan, op, fn, "rrw", slots));
    TRY(mo_gradient_add(plan, op, op->src, slots[2]));
cleanup:
    return status;
}

moco_status_t mo_emit_sync(mo_plan_t *plan, const mo_op_t *op, mo_sync_fn fn, mo_queue_fn queue, const char *access,
                           const mo_slot_id_t *slots)
{
    mo_instr_t instr = {.kind = MO_RUN_SYNC, .op = op, .sync = fn, .queue = queue};
    slot_args(&instr, access, slots);
    return mo_plan_instr(plan, &instr);
}
