/* Convolution: y[n,o,i,j] = bias[o] + sum w[o,c,a,b] x[n,c,i*stride+a-pad,j*stride+b-pad]. oneDNN's
 * primitives. */
#include "engine/ops.h"
#include "engine/ops/product.h"

/* ---- listing ---- */

static int64_t fan_of(mo_init_t init, int64_t inputs, int64_t outputs, int64_t area)
{
    if (init == MO_INIT_KAIMING)
        return outputs * area;
    return inputs * area + (init == MO_INIT_XAVIER ? outputs : 0); /* a patch's convolution is a linear layer */
}

static mo_op_t *listed(mo_net_t *net, int32_t src, const char *name, int32_t channels, mo_sliding_form_t form,
                       mo_init_t init)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_conv, src, &form, sizeof form);
    if (op == NULL)
        return NULL;
    const mo_shape_t s = net->shapes[src];
    const int64_t dims[4] = {channels, s.c, form.kernel, form.kernel}, area = (int64_t)form.kernel * form.kernel;
    op->weights = mo_net_parameter(net, name, "weight", 4, dims, init, fan_of(init, s.c, channels, area));
    mo_net_result(net, op, channels, mo_sliding_places(&form, s.h), mo_sliding_places(&form, s.w));
    return op;
}

int32_t mo_conv(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                int32_t pad, mo_init_t init)
{
    const mo_op_t *op = listed(net, src, name, channels, (mo_sliding_form_t){kernel, stride, pad}, init);
    return op != NULL ? op->dst : -1;
}

int32_t mo_conv_bias(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                     mo_init_t init, mo_init_t bias_init, int frozen)
{
    mo_op_t *op = listed(net, src, name, channels, (mo_sliding_form_t){kernel, stride, 0}, init);
    if (op == NULL)
        return -1;
    const int64_t out[1] = {channels}, inputs = (int64_t)net->shapes[src].c * kernel * kernel;
    op->bias = mo_net_parameter(net, name, "bias", 1, out, bias_init, inputs);
    if (frozen) {
        mo_net_freeze(net, op->weights);
        mo_net_freeze(net, op->bias);
    }
    return op->dst;
}

/* ---- primitives ---- */

static mo_window_t window_of(const mo_op_t *op)
{
    const mo_sliding_form_t *f = op->form;
    return (mo_window_t){.kernel_h = f->kernel, .kernel_w = f->kernel, .stride = f->stride, .pad = f->pad};
}

static dnnl_status_t forward_pd(mo_plan_t *plan, const mo_op_t *op, const mo_product_part_t *part, mo_cmd_t weights,
                                mo_cmd_t bias, mo_cattr_t attr, dnnl_primitive_desc_t *pd)
{
    mo_window_t w = window_of(op);
    w.inside_above = part->inside_above;
    w.inside_below = part->inside_below;
    if (w.kernel_h == 3 && w.stride == 1 && plan->blocked[op->src]) {
        const dnnl_status_t status = mo_pd_winograd(pd, mo_device_engine(plan->device), MD(plan, part->src), weights,
                                                    bias, MD(plan, part->dst), &w, attr);
        if (status != dnnl_unimplemented)
            return status;
    }
    return mo_pd_conv_fwd(pd, mo_device_engine(plan->device), mo_forward_kind(plan), MD(plan, part->src), weights, bias,
                          MD(plan, part->dst), &w, attr);
}

/* Rows [from, from + rows) of a tensor of one image, each of `width` positions. */
static moco_status_t rows_of(mo_plan_t *plan, mo_shape_t s, int64_t from, int64_t rows, int64_t width,
                             mo_slot_id_t *slot)
{
    const int64_t c = s.c, row = width * c, extents[4] = {1, c, rows, width}, strides[4] = {rows * row, 1, row, c};
    return mo_view(plan, *slot, from * row, 4, extents, strides, slot);
}

/* Each position by itself: the image is a column of positions, and may be cut behind each of
 * them. */
static int is_each_position(const mo_op_t *op)
{
    const mo_sliding_form_t *f = op->form;
    return f->kernel == 1 && f->stride == 1 && f->pad == 0;
}

static int32_t parts_of(const mo_plan_t *plan, const mo_op_t *op)
{
    const mo_shape_t out = plan->net->shapes[op->dst];
    return mo_plan_parts(plan, op, is_each_position(op) ? (int64_t)out.h * out.w : out.h);
}

static moco_status_t part_of(mo_plan_t *plan, const mo_op_t *op, int32_t number, int32_t parts, mo_product_part_t *part)
{
    moco_status_t status = MOCO_OK;
    const mo_shape_t in = plan->net->shapes[op->src], out = plan->net->shapes[op->dst];
    const mo_sliding_form_t *f = op->form;
    const int alone = is_each_position(op);
    const int64_t units = alone ? (int64_t)out.h * out.w : out.h;
    const int64_t from = units * number / parts, to = units * (number + 1) / parts;
    const int64_t above = from * f->stride - f->pad, below = (to - 1) * f->stride - f->pad + f->kernel;
    const int64_t top = above < 0 ? 0 : above, bottom = below > in.h && !alone ? in.h : below;
    part->inside_above = f->pad - (top - above);
    part->inside_below = f->pad - (below - bottom);
    TRY(rows_of(plan, in, top, bottom - top, alone ? 1 : in.w, &part->src));
    TRY(rows_of(plan, out, from, to - from, alone ? 1 : out.w, &part->dst));
cleanup:
    return status;
}

static dnnl_status_t weights_pd(mo_plan_t *plan, const mo_op_t *op, mo_cmd_t src, mo_cmd_t d_weights, mo_cmd_t d_bias,
                                mo_cmd_t d_dst, mo_cattr_t attr, dnnl_primitive_desc_t *pd)
{
    const mo_window_t w = window_of(op);
    return mo_pd_conv_bwd_weights(pd, mo_device_engine(plan->device), src, d_weights, d_bias, d_dst, &w,
                                  *mo_hint(plan, op, 0), attr);
}

static dnnl_status_t source_pd(mo_plan_t *plan, const mo_op_t *op, mo_cmd_t d_src, mo_cmd_t weights, mo_cmd_t d_dst,
                               mo_cattr_t attr, dnnl_primitive_desc_t *pd)
{
    const mo_window_t w = window_of(op);
    return mo_pd_conv_bwd_data(pd, mo_device_engine(plan->device), d_src, weights, d_dst, &w, *mo_hint(plan, op, 0),
                               attr);
}

static const mo_product_calls_t calls = {
    .parts = parts_of, .part = part_of, .forward = forward_pd, .d_weights = weights_pd, .d_source = source_pd};

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    return mo_product_forward(plan, op, &calls);
}

/* With AMX, oneDNN's bf16 weight gradient of a 1x1 convolution reaches a third of what the same
 * matrix product does. */
static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    if (is_each_position(op) && mo_plan_takes_low(plan, op) && !plan->primitives)
        return mo_matrices_backward(plan, op);
    return mo_product_backward(plan, op, &calls);
}

const mo_op_kind_t mo_kind_conv = {.name = "convolution",
                                   .forward = forward,
                                   .backward = backward,
                                   .multiply_adds = mo_product_multiply_adds,
                                   .traits = MO_MULTIPLIES | MO_SLIDES | MO_LOW};
