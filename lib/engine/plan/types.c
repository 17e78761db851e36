/* Low precision: which tensors of a plan are bf16 or f16, and where they change their type.
 *
 * Products are where low precision pays, so those are what takes it: kinds with the trait MO_LOW
 * read it and make it, in the backbone. Sums of products stay float32 inside oneDNN, and biases
 * are float32. What other operations make, what a sum grows in where it is float32 (a ViT's
 * residual stream), and the plan's inputs and outputs stay float32. An operation never sees a
 * source in the other type: before its instructions stands a copy of the source in its own, made
 * once for all that read it.
 *
 * A plan that trains does the same; a batch norm in its own loops reads and makes either type, so
 * what lies between a convolution and the next one is bf16. Products read a low copy of the
 * gradient of their result too. Every gradient is float32 otherwise: a product writes its source's
 * as float32, so that sums over several readers round nothing, and its weights' into the float32
 * block. The low copies of sources are kept for backward in the place of the float32 tensors, which
 * most kinds do not read again (the ReLU of a residual sum does). There what pools, and what reads
 * the images, stays float32: the first gains little, and oneDNN's weight gradient of the second is
 * slower in bf16 with its three channels. */
#include <stdatomic.h>
#include <string.h>
#include <moco/types.h>

#include "engine/ops/emit_internal.h"
#include "engine/run/gpu.h"

mo_precision_t mo_precision_of(int32_t number)
{
    static const mo_precision_t precisions[] = {[MOCO_PRECISION_FLOAT32] = MO_PRECISION_FLOAT32,
                                                [MOCO_PRECISION_BF16] = MO_PRECISION_BF16,
                                                [MOCO_PRECISION_F16] = MO_PRECISION_F16};
    return precisions[number];
}

/* ---- what the device has ---- */

static const char *name_of(dnnl_data_type_t type)
{
    return type == dnnl_bf16 ? "bf16" : "f16";
}

/* On a processor not the plain loops with which oneDNN's lists end, which would take hours. On a
 * GPU they are kernels like others. */
static int is_fit(const mo_plan_t *plan, const_dnnl_primitive_desc_t pd)
{
    return mo_device_is_gpu(plan->device) || strstr(mo_pd_name(pd), "ref") == NULL;
}

/* The same of the convolution's gradients; a processor may have the one without the others. */
static dnnl_status_t ask_gradients(const mo_plan_t *plan, mo_cmd_t map, mo_cmd_t weights, const mo_window_t *window,
                                   const_dnnl_primitive_desc_t forward, mo_cattr_t attr, int *found)
{
    const dnnl_dims_t dims = {2, 32, 8, 8}, filter = {32, 32, 3, 3};
    const dnnl_engine_t engine = mo_device_engine(plan->device);
    dnnl_primitive_desc_t pd[2] = {NULL};
    mo_md_t d_map = NULL, d_weights = NULL;
    dnnl_status_t status = mo_md_tag(&d_map, 4, dims, dnnl_f32, dnnl_nhwc);
    if (status == dnnl_success)
        status = mo_md_tag(&d_weights, 4, filter, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = mo_pd_conv_bwd_data(&pd[0], engine, d_map, weights, map, window, forward, attr);
    if (status == dnnl_success)
        status = mo_pd_conv_bwd_weights(&pd[1], engine, map, d_weights, NULL, map, window, forward, attr);
    *found = status == dnnl_success;
    for (int i = 0; i < 2; i++) {
        *found = *found && is_fit(plan, pd[i]);
        if (pd[i] != NULL)
            dnnl_primitive_desc_destroy(pd[i]);
    }
    mo_md_free(d_map);
    mo_md_free(d_weights);
    return status;
}

/* The first implementation of a small convolution or matrix product. */
static dnnl_status_t ask_product(const mo_plan_t *plan, int rank, dnnl_format_tag_t tag, mo_cattr_t attr, int *found)
{
    const dnnl_dims_t matrix = {16, 32}, weights = {32, 32}, map = {2, 32, 8, 8}, filter = {32, 32, 3, 3};
    const mo_window_t window = {.kernel_h = 3, .kernel_w = 3, .stride = 1, .pad = 1};
    const dnnl_engine_t engine = mo_device_engine(plan->device);
    dnnl_primitive_desc_t pd = NULL;
    mo_md_t src = NULL, any = NULL;
    dnnl_status_t status = mo_md_tag(&src, rank, rank == 2 ? matrix : map, plan->low, tag);
    if (status == dnnl_success)
        status = mo_md_tag(&any, rank, rank == 2 ? weights : filter, plan->low, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = rank == 2 ? mo_pd_matmul(&pd, engine, src, any, NULL, src, attr)
                           : mo_pd_conv_fwd(&pd, engine, dnnl_forward_inference, src, any, NULL, src, &window, attr);
    *found = status == dnnl_success && is_fit(plan, pd);
    if (*found && rank == 4 && plan->mode == MO_MODE_TRAIN)
        status = ask_gradients(plan, src, any, &window, pd, attr, found);
    if (pd != NULL)
        dnnl_primitive_desc_destroy(pd);
    mo_md_free(src);
    mo_md_free(any);
    return status == dnnl_unimplemented ? dnnl_success : status;
}

/* Once for a process: it is the processor's. Lanes have no log. */
void mo_plan_warn(const mo_plan_t *plan)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    const char *isa = mo_isa_name();
    const int emulated = strcmp(isa, "AVX512_CORE") == 0 || strcmp(isa, "AVX512_CORE_VNNI") == 0;
    if (plan->low == dnnl_bf16 && !mo_device_is_gpu(plan->device) && emulated && !atomic_flag_test_and_set(&told))
        mo_log(MOCO_LOG_WARNING,
               "precision is bf16, which oneDNN emulates on this processor (%s): float32 is about three times as fast",
               isa);
}

static moco_status_t check_device(mo_plan_t *plan)
{
    const dnnl_version_t *v = dnnl_version();
    mo_attr_t attr = {0};
    int found[2] = {0};
    moco_status_t status = mo_gate_enter(plan->lane, MO_MAKING);
    if (status != MOCO_OK)
        return status;
    status = mo_attr_plain(&attr);
    if (status == MOCO_OK)
        status = mo_engine_make(ask_product(plan, 4, dnnl_nhwc, attr.attr, &found[0]), "ask for convolutions");
    if (status == MOCO_OK)
        status = mo_engine_make(ask_product(plan, 2, dnnl_ab, attr.attr, &found[1]), "ask for matrix products");
    const char *isa = mo_isa_name();
    mo_attr_free(&attr);
    mo_gate_note(mo_gate_kind("precision", "", MO_MAKING));
    mo_gate_leave(plan->lane);
    if (status != MOCO_OK || (found[0] && found[1]))
        return status;
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "oneDNN %d.%d.%d has no %s products for this %s (%s); wanted %s, or precision float32", v->major,
                   v->minor, v->patch, name_of(plan->low), mo_device_is_gpu(plan->device) ? "GPU" : "processor",
                   mo_device_is_gpu(plan->device) ? "OpenCL" : isa,
                   mo_device_is_gpu(plan->device) ? "another one"
                   : plan->low == dnnl_bf16       ? "AVX512_CORE or newer"
                                                  : "AVX512_CORE_FP16 and oneDNN 3");
}

/* ---- which tensors ---- */

int mo_plan_takes_low(const mo_plan_t *plan, const mo_op_t *op)
{
    if (plan->low == dnnl_f32 || !(op->kind->traits & MO_LOW) || op - plan->ops >= plan->net->body_ops)
        return 0;
    return plan->mode == MO_MODE_INFER || (op->kind->multiply_adds != NULL && op->src != plan->net->input);
}

/* Its result lies in the memory of what is added to it. */
static int grows(const mo_plan_t *plan, const mo_op_t *op)
{
    return plan->mode == MO_MODE_INFER && (op->kind->traits & MO_MULTIPLIES) && op->other >= 0;
}

static int is_kept(const mo_plan_spec_t *spec, int32_t tensor)
{
    for (int i = 0; i < 4; i++)
        if (spec->outputs[i] == tensor || spec->inputs[i] == tensor)
            return 1;
    return 0;
}

/* In plans that train: loops for both types, which spare copies on either side. */
static int takes_either(const mo_plan_t *plan, const mo_op_t *op)
{
    return plan->low == dnnl_bf16 && plan->mode != MO_MODE_INFER && op->kind->takes_either != NULL &&
           op->kind->takes_either(plan, op);
}

static int is_read_low(const mo_plan_t *plan, int32_t tensor)
{
    for (const mo_op_t *op = plan->ops; op < plan->ops + plan->op_count; op++)
        if (!op->skipped && op->src == tensor && (mo_plan_takes_low(plan, op) || takes_either(plan, op)))
            return 1;
    return 0;
}

/* Nobody wants it as float32. */
static int is_read_low_alone(const mo_plan_t *plan, int32_t tensor)
{
    int read = 0;
    for (const mo_op_t *op = plan->ops; op < plan->ops + plan->op_count; op++)
        if (!op->skipped && (op->src == tensor || op->other == tensor)) {
            read = 1;
            if (op->other == tensor || !mo_plan_takes_low(plan, op))
                return 0;
        }
    return read;
}

moco_status_t mo_plan_types(mo_plan_t *plan, const mo_plan_spec_t *spec)
{
    static const dnnl_data_type_t types[] = {
        [MO_PRECISION_FLOAT32] = dnnl_f32, [MO_PRECISION_BF16] = dnnl_bf16, [MO_PRECISION_F16] = dnnl_f16};
    plan->low = types[spec->precision];
    if (plan->low == dnnl_f32)
        return MOCO_OK;
    for (const mo_op_t *op = plan->ops; op < plan->ops + plan->op_count; op++)
        if (!op->skipped && !is_kept(spec, op->dst)) {
            if (mo_plan_takes_low(plan, op))
                plan->is_low[op->dst] = grows(plan, op) ? plan->is_low[op->other] : (uint8_t)is_read_low(plan, op->dst);
            else if (takes_either(plan, op))
                plan->is_low[op->dst] = (uint8_t)is_read_low_alone(plan, op->dst);
        }
    return check_device(plan);
}

/* ---- tensors in both types ---- */

/* Activations lie as N,H,W,C in every mode. */
moco_status_t mo_plan_tensor_md(const mo_plan_t *plan, int32_t tensor, dnnl_data_type_t type, mo_md_t *md)
{
    mo_shape_t s = plan->net->shapes[tensor];
    dnnl_dims_t dims = {plan->shard, s.c, s.h, s.w};
    return mo_engine_status(mo_md_tag(md, 4, dims, type, dnnl_nhwc), "describe a tensor");
}

static moco_status_t convert(mo_plan_t *plan, const mo_op_t *op, int32_t tensor, dnnl_data_type_t type, int32_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    int32_t made;
    if (plan->converted[tensor] < 0) {
        TRY(mo_value(plan, tensor, &made));
        TRY(mo_plan_tensor_md(plan, tensor, type, &md));
        TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
        TRY(mo_emit_copy(plan, op, made, *slot));
        plan->converted[tensor] = *slot;
    }
    *slot = plan->converted[tensor];
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_plan_sources(mo_plan_t *plan, const mo_op_t *op, mo_sources_t *kept)
{
    moco_status_t status = MOCO_OK;
    const int low = mo_plan_takes_low(plan, op);
    const int32_t sources[2] = {op->src, grows(plan, op) ? -1 : op->other};
    *kept = (mo_sources_t){.tensor = {-1, -1}};
    for (int i = 0; i < 2 && plan->low != dnnl_f32 && !takes_either(plan, op); i++) {
        int32_t converted;
        if (sources[i] < 0 || plan->is_low[sources[i]] == low || (i == 1 && sources[1] == sources[0]))
            continue;
        TRY(convert(plan, op, sources[i], low ? plan->low : dnnl_f32, &converted));
        kept->tensor[i] = sources[i];
        kept->slot[i] = plan->value[sources[i]];
        plan->value[sources[i]] = converted;
    }
cleanup:
    return status;
}

moco_status_t mo_plan_low_gradient(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    const mo_slot_id_t made = *slot;
    if (!mo_plan_takes_low(plan, op))
        return MOCO_OK;
    TRY(mo_plan_tensor_md(plan, op->dst, plan->low, &md));
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
    TRY(mo_emit_copy(plan, op, made, *slot));
cleanup:
    mo_md_free(md);
    return status;
}

void mo_plan_sources_back(mo_plan_t *plan, const mo_sources_t *kept)
{
    for (int i = 0; i < 2; i++)
        if (kept->tensor[i] >= 0)
            plan->value[kept->tensor[i]] = kept->slot[i];
}
