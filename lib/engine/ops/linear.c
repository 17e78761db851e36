/* Linear layer, with bias or without, on vectors or on every position of a tensor, as matrix
 * products: Y = X Wᵀ + b, dX = dY W, dW = dYᵀ X, db = column sums of dY. oneDNN's inner product
 * does the same; its gradients reach 25 to 40 % of a core's multiply-adds on the token matrices of
 * a ViT-S where these reach 65 to 80 %, and its weight gradient has a layout of its own. Which
 * implementation does what best was measured on AVX-512 with oneDNN 2.6.3: packed weights forward;
 * for gradients its gemm, which reads plain weights and writes plain gradients, except for the
 * input gradient of a few rows, where packed weights save a copy each time. In low precision every
 * product takes the first of oneDNN's list and packed weights. Plans made with `primitives` have
 * the inner product. */
#include "engine/kernels/rows.h"
#include "engine/ops.h"
#include "engine/ops/product.h"

#define GEMM "gemm"
#define MANY_ROWS 256

/* ---- listing ---- */

static mo_op_t *listed(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init, int64_t fan)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_linear, src, NULL, 0);
    if (op == NULL)
        return NULL;
    const mo_shape_t s = net->shapes[src];
    const int64_t dims[2] = {outputs, s.c};
    op->weights = mo_net_parameter(net, name, "weight", 2, dims, init, fan > 0 ? fan : s.c);
    mo_net_result(net, op, outputs, s.h, s.w);
    return op;
}

int32_t mo_linear_from(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init, int64_t fan,
                       mo_init_t bias_init)
{
    mo_op_t *op = listed(net, src, name, outputs, init, fan);
    if (op == NULL)
        return -1;
    const int64_t out[1] = {outputs};
    op->bias = mo_net_parameter(net, name, "bias", 1, out, bias_init, net->shapes[src].c);
    return op->dst;
}

int32_t mo_linear(mo_net_t *net, int32_t src, const char *name, int32_t outputs)
{
    return mo_linear_from(net, src, name, outputs, MO_INIT_UNIFORM, 0, MO_INIT_UNIFORM);
}

int32_t mo_linear_plain(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init)
{
    const mo_op_t *op = listed(net, src, name, outputs, init, 0);
    return op != NULL ? op->dst : -1;
}

/* ---- as matrix products ---- */

typedef struct shape {
    int64_t rows, inputs, outputs;
} shape_t;

static shape_t shape_of(const mo_plan_t *plan, const mo_op_t *op)
{
    const mo_parameter_t *weights = &plan->net->parameters[op->weights];
    mo_shape_t s = plan->net->shapes[op->src];
    return (shape_t){(int64_t)plan->shard * s.h * s.w, weights->dims[1], weights->dims[0]};
}

/* View of a slot as a matrix with these dims: row by row, or, transposed, column by column. */
static moco_status_t matrix(mo_plan_t *plan, int32_t of, int64_t rows, int64_t columns, int transposed, int32_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {rows, columns}, strides = {transposed ? 1 : columns, transposed ? rows : 1};
    ENGINE(mo_md_strides(&md, 2, dims, TYPE(plan, of), strides), "describe a matrix");
    TRY(mo_plan_view(plan, of, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

static moco_status_t any_layout(int64_t rows, int64_t columns, dnnl_data_type_t type, mo_md_t *md)
{
    dnnl_dims_t dims = {rows, columns};
    return mo_engine_status(mo_md_tag(md, 2, dims, type, dnnl_format_tag_any), "describe weights");
}

/* Takes over pd: packs the weights as it wants them and makes the primitive. */
static moco_status_t with_packed(mo_plan_t *plan, const mo_op_t *op, dnnl_primitive_desc_t pd, int32_t plain,
                                 const int32_t src_bias_dst[3], const char *what)
{
    int32_t weights = -1;
    moco_status_t status =
        mo_plan_packed(plan, plain, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &weights);
    if (status != MOCO_OK) {
        dnnl_primitive_desc_destroy(pd);
        return status;
    }
    mo_arg_t args[] = {{DNNL_ARG_SRC, src_bias_dst[0]},
                       {DNNL_ARG_WEIGHTS, weights},
                       {DNNL_ARG_BIAS, src_bias_dst[1]},
                       {DNNL_ARG_DST, src_bias_dst[2]}};
    return mo_plan_chosen(plan, op, pd, 4, args, what);
}

typedef struct operands {
    int32_t src, dst, plain, bias;
    mo_cmd_t any;
    mo_cattr_t attr;
} operands_t;

/* Rows [from, to) of the result. */
static moco_status_t product(mo_plan_t *plan, const mo_op_t *op, const operands_t *o, int64_t from, int64_t to)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    const shape_t s = shape_of(plan, op);
    const int64_t read[2] = {to - from, s.inputs}, made[2] = {to - from, s.outputs};
    const int64_t read_strides[2] = {s.inputs, 1}, made_strides[2] = {s.outputs, 1};
    int32_t src, dst;
    TRY(mo_view(plan, o->src, from * s.inputs, 2, read, read_strides, &src));
    TRY(mo_view(plan, o->dst, from * s.outputs, 2, made, made_strides, &dst));
    ENGINE(mo_pd_matmul(&pd, mo_device_engine(plan->device), MD(plan, src), o->any,
                        o->bias >= 0 ? MD(plan, o->bias) : NULL, MD(plan, dst), o->attr),
           "plan a linear layer");
    TRY(mo_plan_choose(plan, &pd, NULL, NULL, "make a linear layer"));
    const int32_t slots[] = {src, o->bias, dst};
    TRY(with_packed(plan, op, pd, o->plain, slots, "make a linear layer"));
cleanup:
    return status;
}

static moco_status_t products(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_md_t any = NULL;
    mo_attr_t attr = {0};
    shape_t s = shape_of(plan, op);
    const int32_t first = plan->instr_count, parts = mo_plan_parts(plan, op, s.rows);
    int32_t src, dst, plain, bias = -1;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_product_dst(plan, op, &dst));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->weights, &plain));
    TRY(matrix(plan, plain, s.inputs, s.outputs, 1, &plain));
    if (op->bias >= 0) {
        TRY(mo_parameter(plan, op->bias, &bias));
        TRY(matrix(plan, bias, 1, s.outputs, 0, &bias));
    }
    TRY(mo_product_attr(plan, op, &attr));
    TRY(any_layout(s.inputs, s.outputs, TYPE(plan, src), &any));
    const operands_t o = {src, dst, plain, bias, any, attr.attr};
    for (int32_t i = 0; i < parts; i++)
        TRY(product(plan, op, &o, s.rows * i / parts, s.rows * (i + 1) / parts));
    if (parts > 1)
        mo_plan_at_once(plan, first);
cleanup:
    mo_md_free(any);
    mo_attr_free(&attr);
    return status;
}

/* values: d_y, scratch, d_bias. */
static moco_status_t bias_gradient(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_shape_t s = net->shapes[op->dst];
    mo_column_sums(v[0], (int64_t)rows * s.h * s.w, s.c, (double *)v[1], v[2]);
    return MOCO_OK;
}

/* `read`: d_dst, or its copy of low precision. */
static moco_status_t d_weights(mo_plan_t *plan, const mo_op_t *op, int32_t src, int32_t d_dst, int32_t read,
                               mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    shape_t s = shape_of(plan, op);
    int32_t turned, d_weights;
    TRY(matrix(plan, read, s.outputs, s.rows, 1, &turned));
    TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->weights, &d_weights));
    TRY(matrix(plan, d_weights, s.outputs, s.inputs, 0, &d_weights));
    ENGINE(mo_pd_matmul(&pd, mo_device_engine(plan->device), MD(plan, turned), MD(plan, src), NULL, MD(plan, d_weights),
                        attr),
           "plan a weight gradient");
    TRY(mo_plan_choose(plan, &pd, NULL, read == d_dst ? GEMM : NULL, "make a weight gradient"));
    mo_arg_t args[] = {{DNNL_ARG_SRC, turned}, {DNNL_ARG_WEIGHTS, src}, {DNNL_ARG_DST, d_weights}};
    TRY(mo_plan_chosen(plan, op, pd, 3, args, "make a weight gradient"));
    if (op->bias >= 0) {
        mo_slot_id_t slots[3] = {d_dst};
        TRY(mo_temporary(plan, 2, (int32_t)s.outputs, &slots[1]));
        TRY(mo_plan_parameter(plan, MO_IN_GRADS, op->bias, &slots[2]));
        TRY(mo_emit_host(plan, op, bias_gradient, "rww", slots));
    }
cleanup:
    return status;
}

static moco_status_t d_source(mo_plan_t *plan, const mo_op_t *op, int32_t d_dst, mo_cattr_t attr)
{
    moco_status_t status = MOCO_OK;
    dnnl_engine_t engine = mo_device_engine(plan->device);
    dnnl_primitive_desc_t pd = NULL;
    mo_md_t any = NULL;
    shape_t s = shape_of(plan, op);
    int32_t d_src, view, plain;
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(matrix(plan, d_src, s.rows, s.inputs, 0, &view));
    TRY(mo_plan_parameter(plan, MO_IN_PARAMS, op->weights, &plain));
    TRY(matrix(plan, plain, s.outputs, s.inputs, 0, &plain));
    TRY(any_layout(s.outputs, s.inputs, TYPE(plan, d_dst), &any));
    const int packs = s.rows < MANY_ROWS || TYPE(plan, d_dst) != dnnl_f32;
    ENGINE(mo_pd_matmul(&pd, engine, MD(plan, d_dst), packs ? any : MD(plan, plain), NULL, MD(plan, view), attr),
           "plan an input gradient");
    TRY(mo_plan_choose(plan, &pd, NULL, packs ? NULL : GEMM, "make an input gradient"));
    const int32_t slots[] = {d_dst, -1, view};
    TRY(with_packed(plan, op, pd, plain, slots, "make an input gradient"));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    mo_md_free(any);
    return status;
}

moco_status_t mo_matrices_backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_attr_t attr = {0};
    shape_t s = shape_of(plan, op);
    int32_t src, d_dst, read;
    TRY(mo_value(plan, op->src, &src));
    TRY(mo_gradient(plan, op->dst, &d_dst));
    read = d_dst;
    TRY(mo_plan_low_gradient(plan, op, &read));
    TRY(matrix(plan, src, s.rows, s.inputs, 0, &src));
    TRY(matrix(plan, d_dst, s.rows, s.outputs, 0, &d_dst));
    TRY(matrix(plan, read, s.rows, s.outputs, 0, &read));
    TRY(mo_attr_plain(&attr));
    if (plan->net->parameters[op->weights].frozen)
        TRY(mo_emit_frozen(plan, op));
    else
        TRY(d_weights(plan, op, src, d_dst, read, attr.attr));
    if (mo_wants_gradient(plan, op->src))
        TRY(d_source(plan, op, read, attr.attr));
cleanup:
    mo_attr_free(&attr);
    return status;
}

/* ---- as inner products ---- */

static dnnl_status_t forward_pd(mo_plan_t *plan, const mo_op_t *op, const mo_product_part_t *part, mo_cmd_t weights,
                                mo_cmd_t bias, mo_cattr_t attr, dnnl_primitive_desc_t *pd)
{
    (void)op;
    return mo_pd_linear_fwd(pd, mo_device_engine(plan->device), mo_forward_kind(plan), MD(plan, part->src), weights,
                            bias, MD(plan, part->dst), attr);
}

static dnnl_status_t weights_pd(mo_plan_t *plan, const mo_op_t *op, mo_cmd_t src, mo_cmd_t d_weights, mo_cmd_t d_bias,
                                mo_cmd_t d_dst, mo_cattr_t attr, dnnl_primitive_desc_t *pd)
{
    return mo_pd_linear_bwd_weights(pd, mo_device_engine(plan->device), src, d_weights, d_bias, d_dst,
                                    *mo_hint(plan, op, 0), attr);
}

static dnnl_status_t source_pd(mo_plan_t *plan, const mo_op_t *op, mo_cmd_t d_src, mo_cmd_t weights, mo_cmd_t d_dst,
                               mo_cattr_t attr, dnnl_primitive_desc_t *pd)
{
    return mo_pd_linear_bwd_data(pd, mo_device_engine(plan->device), d_src, weights, d_dst, *mo_hint(plan, op, 0),
                                 attr);
}

static const mo_product_calls_t calls = {
    .forward = forward_pd, .d_weights = weights_pd, .d_source = source_pd, .matrices = 1};

/* ---- either ---- */

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    return plan->primitives ? mo_product_forward(plan, op, &calls) : products(plan, op);
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    return plan->primitives ? mo_product_backward(plan, op, &calls) : mo_matrices_backward(plan, op);
}

const mo_op_kind_t mo_kind_linear = {.name = "linear",
                                     .forward = forward,
                                     .backward = backward,
                                     .multiply_adds = mo_product_multiply_adds,
                                     .traits = MO_MULTIPLIES | MO_EACH_POSITION | MO_LOW};
