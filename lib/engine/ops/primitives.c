/* Elementwise and matrix primitives that several operations use. */
#include "engine/ops/emit_internal.h"

moco_status_t mo_keep_hint(mo_plan_t *plan, const mo_op_t *op, int cell, dnnl_primitive_desc_t pd)
{
    return mo_engine_make(dnnl_primitive_desc_clone(mo_hint(plan, op, cell), pd), "keep a descriptor");
}

/* ---- elementwise ---- */

moco_status_t mo_emit_function(mo_plan_t *plan, const mo_op_t *op, mo_function_t kind, float alpha, float beta,
                               mo_slot_id_t src, mo_slot_id_t dst)
{
    static const dnnl_alg_kind_t algs[] = {
        [MO_POWER] = dnnl_eltwise_pow,         [MO_CLIP] = dnnl_eltwise_clip, [MO_LINEAR] = dnnl_eltwise_linear,
        [MO_EXP] = dnnl_eltwise_exp,           [MO_LOG] = dnnl_eltwise_log,   [MO_LOGISTIC] = dnnl_eltwise_logistic,
        [MO_SOFTPLUS] = dnnl_eltwise_soft_relu};
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_eltwise_fwd(&pd, mo_device_engine(plan->device), algs[kind], MD(plan, src), alpha, beta, attr.attr),
           "plan an elementwise function");
    mo_arg_t args[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, "make an elementwise function"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

/* ReLU is cut again from its result, GELU from its source. */
static dnnl_alg_kind_t algorithm(const mo_op_t *op)
{
    return op->activation == MO_ACTIVATION_GELU ? dnnl_eltwise_gelu_erf : dnnl_eltwise_relu_use_dst_for_bwd;
}

moco_status_t mo_emit_activation(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_eltwise_fwd(&pd, mo_device_engine(plan->device), algorithm(op), MD(plan, src), 0.0f, 0.0f, attr.attr),
           "plan an activation");
    mo_arg_t args[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, "make an activation"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

moco_status_t mo_emit_activation_backward(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t kept, mo_slot_id_t d_dst,
                                          mo_slot_id_t d_src)
{
    moco_status_t status = MOCO_OK;
    dnnl_engine_t engine = mo_device_engine(plan->device);
    dnnl_primitive_desc_t pd = NULL, hint = NULL;
    mo_attr_t attr = {0};
    const int id = op->activation == MO_ACTIVATION_GELU ? DNNL_ARG_SRC : DNNL_ARG_DST;
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_eltwise_fwd(&hint, engine, algorithm(op), MD(plan, kept), 0.0f, 0.0f, attr.attr),
           "plan an activation");
    ENGINE(mo_pd_eltwise_bwd(&pd, engine, algorithm(op), MD(plan, kept), 0.0f, 0.0f, hint, attr.attr),
           "plan an activation's gradient");
    TRY(mo_plan_choose(plan, &pd, hint, NULL, "make an activation's gradient"));
    mo_arg_t args[] = {{id, kept}, {DNNL_ARG_DIFF_DST, d_dst}, {DNNL_ARG_DIFF_SRC, d_src}};
    TRY(mo_plan_chosen(plan, op, pd, 3, args, "make an activation's gradient"));
cleanup:
    if (hint != NULL)
        dnnl_primitive_desc_destroy(hint);
    mo_attr_free(&attr);
    return status;
}

moco_status_t mo_emit_binary(mo_plan_t *plan, const mo_op_t *op, mo_binary_t kind, mo_slot_id_t a, mo_slot_id_t b,
                             mo_slot_id_t dst, int relu)
{
    static const dnnl_alg_kind_t algs[] = {[MO_ADD] = dnnl_binary_add,
                                           [MO_SUB] = dnnl_binary_sub,
                                           [MO_MUL] = dnnl_binary_mul,
                                           [MO_EQUAL] = dnnl_binary_eq,
                                           [MO_GREATER] = dnnl_binary_gt};
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    ENGINE(mo_attr_begin(&attr), "make attributes");
    if (relu)
        ENGINE(mo_attr_eltwise(&attr, dnnl_eltwise_relu, 0.0f, 0.0f), "fuse a ReLU");
    ENGINE(mo_attr_end(&attr), "make attributes");
    ENGINE(mo_pd_binary(&pd, mo_device_engine(plan->device), algs[kind], MD(plan, a), MD(plan, b), MD(plan, dst),
                        attr.attr),
           "plan an elementwise operation");
    mo_arg_t args[] = {{DNNL_ARG_SRC_0, a}, {DNNL_ARG_SRC_1, b}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 3, args, "make an elementwise operation"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

/* ---- matrices ---- */

static moco_status_t reduction(mo_plan_t *plan, const mo_op_t *op, dnnl_alg_kind_t alg, mo_slot_id_t src,
                               mo_slot_id_t dst, const char *what)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    if (mo_md_equal(MD(plan, src), MD(plan, dst))) /* one column: oneDNN has no reduction that reduces nothing */
        return mo_emit_function(plan, op, MO_LINEAR, 1.0f, 0.0f, src, dst);
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_reduction(&pd, mo_device_engine(plan->device), alg, MD(plan, src), MD(plan, dst), attr.attr),
           "plan a reduction");
    mo_arg_t args[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, what));
cleanup:
    mo_attr_free(&attr);
    return status;
}

moco_status_t mo_emit_row_sums(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst)
{
    return reduction(plan, op, dnnl_reduction_sum, src, dst, "make row sums");
}

moco_status_t mo_emit_row_maxima(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst)
{
    return reduction(plan, op, dnnl_reduction_max, src, dst, "make row maxima");
}

/* From the largest term, whose softmax is at least 1/columns: the rest of a row adds only to it. */
moco_status_t mo_emit_log_sums(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t softmax,
                               mo_slot_id_t dst)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t share;
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, MD(plan, dst), &share));
    TRY(mo_emit_row_maxima(plan, op, src, dst));
    TRY(mo_emit_row_maxima(plan, op, softmax, share));
    TRY(mo_emit_function(plan, op, MO_LOG, 0.0f, 0.0f, share, share));
    TRY(mo_emit_binary(plan, op, MO_SUB, dst, share, dst, 0));
cleanup:
    return status;
}

moco_status_t mo_emit_copy(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_reorder(&pd, mo_device_engine(plan->device), MD(plan, src), MD(plan, dst), attr.attr),
           "plan a copy of a tensor");
    mo_arg_t args[] = {{DNNL_ARG_FROM, src}, {DNNL_ARG_TO, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, "make a copy of a tensor"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

moco_status_t mo_emit_zeros(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t like, mo_slot_id_t dst)
{
    return mo_emit_binary(plan, op, MO_SUB, like, like, dst, 0);
}

moco_status_t mo_emit_softmax(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_softmax_fwd(&pd, mo_device_engine(plan->device), dnnl_forward_inference, MD(plan, src), 1, attr.attr),
           "plan a softmax");
    mo_arg_t args[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, "make a softmax"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

/* Dims of a matrix slot, through its plan: rows and columns are asked for where the md is
 * opaque. */
static moco_status_t transposed(mo_plan_t *plan, mo_slot_id_t of, int64_t rows, int64_t columns, mo_slot_id_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {columns, rows}, strides = {1, columns};
    ENGINE(mo_md_strides(&md, 2, dims, dnnl_f32, strides), "describe a transposed matrix");
    TRY(mo_plan_view(plan, of, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

moco_status_t mo_emit_matmul(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t a, mo_slot_id_t b, int64_t b_rows,
                             int64_t b_columns, int transpose_b, float scale, mo_slot_id_t dst)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    if (transpose_b)
        TRY(transposed(plan, b, b_rows, b_columns, &b));
    ENGINE(mo_attr_begin(&attr), "make attributes");
    if (scale != 1.0f)
        ENGINE(mo_attr_eltwise(&attr, dnnl_eltwise_linear, scale, 0.0f), "fuse a scale");
    ENGINE(mo_attr_end(&attr), "make attributes");
    ENGINE(mo_pd_matmul(&pd, mo_device_engine(plan->device), MD(plan, a), MD(plan, b), NULL, MD(plan, dst), attr.attr),
           "plan a matrix product");
    mo_arg_t args[] = {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 3, args, "make a matrix product"));
cleanup:
    mo_attr_free(&attr);
    return status;
}
