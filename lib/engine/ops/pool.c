/* Max pooling (padding counts as minus infinity) and global mean pooling. */
#include "engine/ops.h"
#include "engine/ops/emit_internal.h"

int32_t mo_max_pool(mo_net_t *net, int32_t src, int32_t kernel, int32_t stride, int32_t pad)
{
    const mo_sliding_form_t form = {kernel, stride, pad};
    mo_op_t *op = mo_net_op(net, &mo_kind_max_pool, src, &form, sizeof form);
    if (op == NULL)
        return -1;
    const mo_shape_t s = net->shapes[src];
    return mo_net_result(net, op, s.c, mo_sliding_places(&form, s.h), mo_sliding_places(&form, s.w));
}

int32_t mo_mean_pool(mo_net_t *net, int32_t src)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_mean_pool, src, NULL, 0);
    return op != NULL ? mo_net_result(net, op, net->shapes[src].c, 1, 1) : -1;
}

static mo_window_t window_of(const mo_plan_t *plan, const mo_op_t *op)
{
    const mo_shape_t s = plan->net->shapes[op->src];
    const mo_sliding_form_t *f = op->form;
    if (f == NULL)
        return (mo_window_t){.kernel_h = s.h, .kernel_w = s.w, .stride = 1};
    return (mo_window_t){.kernel_h = f->kernel, .kernel_w = f->kernel, .stride = f->stride, .pad = f->pad};
}

static dnnl_alg_kind_t algorithm(const mo_op_t *op)
{
    return op->kind == &mo_kind_max_pool ? dnnl_pooling_max : dnnl_pooling_avg_exclude_padding;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    mo_window_t w = window_of(plan, op);
    int32_t src, dst, workspace = -1;
    int train = plan->mode == MO_MODE_TRAIN;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_value(plan, op->dst, &dst));
    const mo_slot_id_t result = dst;
    if (plan->blocked[op->dst] && !plan->blocked[op->src])
        TRY(mo_plan_plain(plan, op->dst, &dst));
    else if (plan->blocked[op->dst] != plan->blocked[op->src])
        TRY(mo_plan_like(plan, op->dst, op->src, &dst));
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_pool_fwd(&pd, mo_device_engine(plan->device), train ? dnnl_forward_training : dnnl_forward_inference,
                          algorithm(op), MD(plan, src), MD(plan, dst), &w, attr.attr),
           "plan a pooling");
    TRY(mo_plan_choose(plan, &pd, NULL, NULL, "make a pooling"));
    mo_cmd_t ws = dnnl_primitive_desc_query_md(pd, dnnl_query_workspace_md, 0);
    if (mo_md_size(ws) > 0)
        TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, ws, &workspace));
    if (train)
        TRY(mo_keep_hint(plan, op, 0, pd));
    *mo_memo(plan, op, MEMO_WORKSPACE) = workspace;
    mo_arg_t args[] = {{DNNL_ARG_SRC, src}, {DNNL_ARG_DST, dst}, {DNNL_ARG_WORKSPACE, workspace}};
    dnnl_primitive_desc_t given = pd;
    pd = NULL;
    TRY(mo_plan_chosen(plan, op, given, 3, args, "make a pooling"));
    if (plan->blocked[op->dst] && !plan->blocked[op->src])
        TRY(mo_emit_copy(plan, op, dst, result));
cleanup:
    if (pd != NULL)
        dnnl_primitive_desc_destroy(pd);
    mo_attr_free(&attr);
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    mo_window_t w = window_of(plan, op);
    int32_t d_dst, d_src;
    TRY(mo_gradient(plan, op->dst, &d_dst));
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_pool_bwd(&pd, mo_device_engine(plan->device), algorithm(op), MD(plan, d_src), MD(plan, d_dst), &w,
                          *mo_hint(plan, op, 0), attr.attr),
           "plan a pooling's gradient");
    TRY(mo_plan_choose(plan, &pd, *mo_hint(plan, op, 0), NULL, "make a pooling's gradient"));
    mo_arg_t args[] = {{DNNL_ARG_DIFF_DST, d_dst},
                       {DNNL_ARG_WORKSPACE, *mo_memo(plan, op, MEMO_WORKSPACE)},
                       {DNNL_ARG_DIFF_SRC, d_src}};
    TRY(mo_plan_chosen(plan, op, pd, 3, args, "make a pooling's gradient"));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    mo_attr_free(&attr);
    return status;
}

const mo_op_kind_t mo_kind_max_pool = {
    .name = "max pool", .forward = forward, .backward = backward, .traits = MO_SLIDES | MO_LOW};
const mo_op_kind_t mo_kind_mean_pool = {
    .name = "mean pool", .forward = forward, .backward = backward, .traits = MO_SLIDES};
