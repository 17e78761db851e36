/* Layer norm of every position over its channels: y = scale * (x - mean) / sqrt(variance + 1e-6) +
 * shift with the biased variance. By the loops of kernels/layernorm.c for channels in multiples of
 * 16, else, and in plans made with `primitives`, as oneDNN primitives. */
#include "engine/kernels/epsilon.h"
#include "engine/kernels/rows.h"
#include "engine/ops.h"
#include "engine/ops/emit_internal.h"

enum { MEMO_STATS = 0 }; /* loops: [rows, 2]; primitives: MEMO_MEAN and MEMO_VARIANCE */

int32_t mo_layernorm(mo_net_t *net, int32_t src, const char *name)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_layernorm, src, NULL, 0);
    if (op == NULL)
        return -1;
    const int64_t dims[1] = {net->shapes[src].c};
    op->weights = mo_net_parameter(net, name, "weight", 1, dims, MO_INIT_ONE, 0);
    op->bias = mo_net_parameter(net, name, "bias", 1, dims, MO_INIT_ZERO, 0);
    return mo_net_result_like_src(net, op);
}

static int takes_loops(const mo_plan_t *plan, const mo_op_t *op)
{
    return !plan->primitives && plan->net->shapes[op->src].c % 16 == 0;
}

static int64_t positions(const mo_op_t *op, const mo_net_t *net, int64_t images)
{
    mo_shape_t s = net->shapes[op->src];
    return images * s.h * s.w;
}

/* ---- loops ---- */

/* values: x, y, scale, shift, stats. */
static moco_status_t normalise(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_layernorm_forward(v[0], positions(op, net, rows), net->shapes[op->src].c, v[2], v[3], v[4], v[1]);
    return MOCO_OK;
}

static void differentiate(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v, int add)
{
    mo_layernorm_t n = {.x = v[0],
                        .d_y = v[1],
                        .scale = v[3],
                        .stats = v[4],
                        .rows = positions(op, net, rows),
                        .width = net->shapes[op->src].c,
                        .add = add};
    mo_layernorm_backward(&n, v[5], v[2], v[6], v[7]);
}

/* values: x, d_y, d_x, scale, stats, scratch, d_scale, d_shift. */
static moco_status_t gradient(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    differentiate(op, net, rows, v, 0);
    return MOCO_OK;
}

/* The same on top of the gradient that the residual sum has left there. */
static moco_status_t gradient_on_top(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    differentiate(op, net, rows, v, 1);
    return MOCO_OK;
}

static moco_status_t loops(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t dst, int32_t scale, int32_t shift)
{
    moco_status_t status = MOCO_OK;
    int32_t stats;
    TRY(mo_temporary(plan, (int32_t)positions(op, plan->net, plan->shard), 2, &stats));
    mo_slot_id_t slots[] = {src, dst, scale, shift, stats};
    TRY(mo_emit_host(plan, op, normalise, "rwrrw", slots));
    *mo_memo(plan, op, MEMO_STATS) = stats;
cleanup:
    return status;
}

static moco_status_t loops_backward(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t d_dst, int32_t scale,
                                    int32_t d_scale, int32_t d_shift)
{
    moco_status_t status = MOCO_OK;
    int32_t d_src, scratch;
    int add = mo_has_gradient(plan, op->src);
    TRY(mo_temporary(plan, 4, plan->net->shapes[op->src].c, &scratch));
    if (add)
        TRY(mo_gradient(plan, op->src, &d_src));
    else if (mo_gradient_owned(plan, op->dst))
        d_src = d_dst; /* over the incoming gradient: nobody reads it again */
    else
        TRY(mo_gradient_slot(plan, op->src, &d_src));
    mo_slot_id_t slots[] = {src, d_dst, d_src, scale, *mo_memo(plan, op, MEMO_STATS), scratch, d_scale, d_shift};
    TRY(add ? mo_emit_host(plan, op, gradient_on_top, "rrurrwww", slots)
            : mo_emit_host(plan, op, gradient, "rrwrrwww", slots));
    if (!add)
        TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

/* ---- primitives ---- */

/* Mean or variance of every position. */
static moco_status_t row_values(mo_plan_t *plan, const mo_op_t *op, int32_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {positions(op, plan->net, plan->shard)};
    ENGINE(mo_md_tag(&md, 1, dims, dnnl_f32, dnnl_a), "describe a layer norm's statistics");
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

static moco_status_t primitives(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t dst, int32_t scale,
                                int32_t shift)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL, given;
    mo_attr_t attr = {0};
    int32_t mean, variance;
    int train = plan->mode == MO_MODE_TRAIN;
    TRY(mo_positions(plan, op->src, src, &src));
    TRY(mo_positions(plan, op->dst, dst, &dst));
    TRY(row_values(plan, op, &mean));
    TRY(row_values(plan, op, &variance));
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_ln_fwd(&pd, mo_device_engine(plan->device), dnnl_forward_training, MD(plan, src), MD(plan, mean),
                        (float)MO_LAYERNORM_EPSILON, dnnl_use_scale | dnnl_use_shift, attr.attr),
           "plan a layer norm");
    TRY(mo_plan_choose(plan, &pd, NULL, NULL, "make a layer norm"));
    if (train)
        TRY(mo_keep_hint(plan, op, 0, pd));
    *mo_memo(plan, op, MEMO_MEAN) = mean;
    *mo_memo(plan, op, MEMO_VARIANCE) = variance;
    mo_arg_t args[] = {{DNNL_ARG_SRC, src},     {DNNL_ARG_DST, dst},   {DNNL_ARG_SCALE, scale},
                       {DNNL_ARG_SHIFT, shift}, {DNNL_ARG_MEAN, mean}, {DNNL_ARG_VARIANCE, variance}};
    given = pd;
    pd = NULL;
    TRY(mo_plan_chosen(plan, op, given, 6, args, "make a layer norm"));
cleanup:
    if (pd != NULL)
        dnnl_primitive_desc_destroy(pd);
    mo_attr_free(&attr);
    return status;
}

static moco_status_t primitives_backward(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t d_dst, int32_t scale,
                                         int32_t d_scale, int32_t d_shift)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    int32_t d_src, view, shift, mean = *mo_memo(plan, op, MEMO_MEAN), variance = *mo_memo(plan, op, MEMO_VARIANCE);
    TRY(mo_parameter(plan, op->bias, &shift));
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(mo_positions(plan, op->src, d_src, &view));
    TRY(mo_positions(plan, op->src, src, &src));
    TRY(mo_positions(plan, op->dst, d_dst, &d_dst));
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_ln_bwd(&pd, mo_device_engine(plan->device), MD(plan, src), MD(plan, mean), (float)MO_LAYERNORM_EPSILON,
                        dnnl_use_scale | dnnl_use_shift, *mo_hint(plan, op, 0), attr.attr),
           "plan a layer norm's gradient");
    TRY(mo_plan_choose(plan, &pd, *mo_hint(plan, op, 0), NULL, "make a layer norm's gradient"));
    mo_arg_t args[] = {{DNNL_ARG_SRC, src},           {DNNL_ARG_DIFF_DST, d_dst},     {DNNL_ARG_MEAN, mean},
                       {DNNL_ARG_VARIANCE, variance}, {DNNL_ARG_SCALE, scale},        {DNNL_ARG_SHIFT, shift},
                       {DNNL_ARG_DIFF_SRC, view},     {DNNL_ARG_DIFF_SCALE, d_scale}, {DNNL_ARG_DIFF_SHIFT, d_shift}};
    TRY(mo_plan_chosen(plan, op, pd, 9, args, "make a layer norm's gradient"));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    mo_attr_free(&attr);
    return status;
}

/* ---- either ---- */

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    int32_t src, dst, scale, shift;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    TRY(mo_parameter(plan, op->weights, &scale));
    TRY(mo_parameter(plan, op->bias, &shift));
    TRY(takes_loops(plan, op) ? loops(plan, op, src, dst, scale, shift) : primitives(plan, op, src, dst, scale, shift));
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    int32_t src, d_dst, scale, d_scale, d_shift;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_parameter(plan, op->weights, &scale));
    TRY(mo_parameter_gradient(plan, op->weights, &d_scale));
    TRY(mo_parameter_gradient(plan, op->bias, &d_shift));
    TRY(takes_loops(plan, op) ? loops_backward(plan, op, src, d_dst, scale, d_scale, d_shift)
                              : primitives_backward(plan, op, src, d_dst, scale, d_scale, d_shift));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_layernorm = {.name = "layer norm", .forward = forward, .backward = backward};
