/* What products with weights share. Activations N,H,W,C; weights in whatever layout the primitive
 * prefers, packed from the plain parameter; weight gradients brought back to the plain layout of
 * the gradient block. */
#include "engine/ops/product.h"

/* Descriptor of a parameter's dims in any layout (rank 4 or 2), or plain for a vector. */
static moco_status_t parameter_any(const mo_plan_t *plan, int32_t parameter, dnnl_data_type_t type, mo_md_t *md)
{
    const mo_parameter_t *s = &plan->net->parameters[parameter];
    dnnl_dims_t dims;
    for (int i = 0; i < s->rank; i++)
        dims[i] = s->dims[i];
    return mo_engine_status(mo_md_tag(md, s->rank, dims, type, s->rank == 1 ? dnnl_a : dnnl_format_tag_any),
                            "describe weights");
}

/* Weight gradient: the primitive writes its own layout; a reorder brings it to the gradient block
 * unless that is it. */
static moco_status_t weight_gradient_slots(mo_plan_t *plan, int32_t parameter, mo_cmd_t chosen, int32_t *target,
                                           int32_t *block)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_plan_parameter(plan, MO_IN_GRADS, parameter, block));
    if (mo_md_equal(MD(plan, *block), chosen))
        *target = *block;
    else
        TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, chosen, target));
cleanup:
    return status;
}

static moco_status_t bring_back(mo_plan_t *plan, const mo_op_t *op, int32_t from, int32_t to, mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    if (from == to)
        return MOCO_OK;
    ENGINE(mo_pd_reorder(&pd, mo_device_engine(plan->device), MD(plan, from), MD(plan, to), attr),
           "plan a gradient reorder");
    mo_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, "make a gradient reorder"));
cleanup:
    return status;
}

/* Post-ops in infer mode: add what lies in the destination, then the activation. */
moco_status_t mo_product_attr(const mo_plan_t *plan, const mo_op_t *op, mo_attr_t *attr)
{
    moco_status_t status = MOCO_OK;
    if (plan->mode != MO_MODE_INFER)
        return mo_attr_plain(attr);
    ENGINE(mo_attr_begin(attr), "make attributes");
    if (op->other >= 0)
        ENGINE(mo_attr_sum(attr, 1.0f), "fuse a sum");
    if (op->activation == MO_ACTIVATION_RELU)
        ENGINE(mo_attr_eltwise(attr, dnnl_eltwise_relu, 0.0f, 0.0f), "fuse a ReLU");
    if (op->activation == MO_ACTIVATION_GELU)
        ENGINE(mo_attr_eltwise(attr, dnnl_eltwise_gelu_erf, 0.0f, 0.0f), "fuse a GELU");
    ENGINE(mo_attr_end(attr), "make attributes");
cleanup:
    return status;
}

moco_status_t mo_product_dst(mo_plan_t *plan, const mo_op_t *op, int32_t *dst)
{
    moco_status_t status = MOCO_OK;
    if (op->other >= 0) { /* the result grows in the memory of what is added */
        TRY(mo_value(plan, op->other, dst));
        plan->value[op->dst] = *dst;
    } else
        TRY(mo_value(plan, op->dst, dst));
cleanup:
    return status;
}

int64_t mo_product_multiply_adds(const mo_net_t *net, const mo_op_t *op)
{
    const mo_shape_t out = net->shapes[op->dst];
    return net->parameters[op->weights].count * out.h * out.w;
}

/* The slot as the primitive takes it. */
static moco_status_t operand(mo_plan_t *plan, const mo_product_calls_t *calls, int32_t tensor, int32_t *slot)
{
    return calls->matrices ? mo_positions(plan, tensor, *slot, slot) : MOCO_OK;
}

/* Take over `pd`: make the primitive, or drop the descriptor after a failure before that. */
static moco_status_t finish(mo_plan_t *plan, const mo_op_t *op, dnnl_primitive_desc_t pd, moco_status_t status,
                            int count, const mo_arg_t *args, const char *what)
{
    if (status == MOCO_OK)
        return mo_plan_chosen(plan, op, pd, count, args, what);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

static moco_status_t forward_part(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls,
                                  const mo_product_part_t *part, int32_t bias, mo_cmd_t any, mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    int32_t weights = -1;
    ENGINE(calls->forward(plan, op, part, any, bias >= 0 ? MD(plan, bias) : NULL, attr, &pd),
           "plan a product with weights");
    TRY(mo_plan_choose(plan, &pd, NULL, NULL, "make a product with weights"));
    if (plan->mode == MO_MODE_TRAIN)
        status = mo_keep_hint(plan, op, 0, pd);
    if (status == MOCO_OK)
        status =
            mo_plan_weights(plan, op->weights, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &weights);
    mo_arg_t args[] = {
        {DNNL_ARG_SRC, part->src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, part->dst}};
    TRY(finish(plan, op, pd, status, 4, args, "make a product with weights"));
cleanup:
    return status;
}

moco_status_t mo_product_forward(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls)
{
    moco_status_t status = MOCO_OK;
    mo_md_t any = NULL, vector = NULL;
    mo_attr_t attr = {0};
    int32_t bias = -1;
    const int32_t first = plan->instr_count, parts = calls->parts != NULL ? calls->parts(plan, op) : 1;
    mo_product_part_t whole = {0};
    TRY(mo_value(plan, op->src, &whole.src));
    TRY(mo_product_dst(plan, op, &whole.dst));
    TRY(operand(plan, calls, op->src, &whole.src));
    TRY(operand(plan, calls, op->dst, &whole.dst));
    const mo_slot_id_t result = whole.dst;
    if (plan->blocked[op->dst] && !plan->blocked[op->src])
        TRY(mo_plan_plain(plan, op->dst, &whole.dst));
    TRY(mo_product_attr(plan, op, &attr));
    TRY(parameter_any(plan, op->weights, TYPE(plan, whole.src), &any));
    if (op->bias >= 0) {
        TRY(parameter_any(plan, op->bias, dnnl_f32, &vector));
        TRY(mo_plan_weights(plan, op->bias, vector, &bias));
    }
    for (int32_t i = 0; i < parts; i++) {
        mo_product_part_t part = whole;
        if (parts > 1)
            TRY(calls->part(plan, op, i, parts, &part));
        TRY(forward_part(plan, op, calls, &part, bias, any, attr.attr));
    }
    if (parts > 1)
        mo_plan_at_once(plan, first);
    if (result != whole.dst)
        TRY(mo_emit_copy(plan, op, whole.dst, result));
cleanup:
    mo_md_free(any);
    mo_md_free(vector);
    mo_attr_free(&attr);
    return status;
}

static moco_status_t d_weights(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls, int32_t src,
                               int32_t d_dst, mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_md_t any = NULL;
    int32_t target = -1, block = -1, d_bias = -1;
    TRY(parameter_any(plan, op->weights, dnnl_f32, &any));
    if (op->bias >= 0)
        TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->bias, &d_bias));
    ENGINE(calls->d_weights(plan, op, MD(plan, src), any, d_bias >= 0 ? MD(plan, d_bias) : NULL, MD(plan, d_dst), attr,
                            &pd),
           "plan a weight gradient");
    TRY(mo_plan_choose(plan, &pd, *mo_hint(plan, op, 0), NULL, "make a weight gradient"));
    status = weight_gradient_slots(plan, op->weights, dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 0),
                                   &target, &block);
    mo_arg_t args[] = {
        {DNNL_ARG_SRC, src}, {DNNL_ARG_DIFF_DST, d_dst}, {DNNL_ARG_DIFF_WEIGHTS, target}, {DNNL_ARG_DIFF_BIAS, d_bias}};
    TRY(finish(plan, op, pd, status, 4, args, "make a weight gradient"));
    TRY(bring_back(plan, op, target, block, attr));
cleanup:
    mo_md_free(any);
    return status;
}

static moco_status_t d_source(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls, int32_t d_dst,
                              mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_md_t any = NULL;
    int32_t d_src, view, weights = -1;
    TRY(parameter_any(plan, op->weights, TYPE(plan, d_dst), &any));
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    view = d_src;
    TRY(operand(plan, calls, op->src, &view));
    ENGINE(calls->d_source(plan, op, MD(plan, view), any, MD(plan, d_dst), attr, &pd), "plan an input gradient");
    TRY(mo_plan_choose(plan, &pd, *mo_hint(plan, op, 0), NULL, "make an input gradient"));
    status = mo_plan_weights(plan, op->weights, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &weights);
    mo_arg_t args[] = {{DNNL_ARG_DIFF_DST, d_dst}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DIFF_SRC, view}};
    TRY(finish(plan, op, pd, status, 3, args, "make an input gradient"));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    mo_md_free(any);
    return status;
}

moco_status_t mo_product_backward(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls)
{
    moco_status_t status = MOCO_OK;
    mo_attr_t attr = {0};
    int32_t src, d_dst;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_plan_low_gradient(plan, op, &d_dst));
    TRY(operand(plan, calls, op->src, &src));
    TRY(operand(plan, calls, op->dst, &d_dst));
    TRY(mo_attr_plain(&attr));
    if (plan->net->parameters[op->weights].frozen)
        TRY(mo_emit_frozen(plan, op));
    else
        TRY(d_weights(plan, op, calls, src, d_dst, attr.attr));
    if (mo_wants_gradient(plan, op->src))
        TRY(d_source(plan, op, calls, d_dst, attr.attr));
cleanup:
    mo_attr_free(&attr);
    return status;
}
