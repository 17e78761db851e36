/* Linear layer on vectors: y = x · weightᵀ + bias, with bias or without. */
#include "engine/emit.h"
#include "layers/layers.h"

int32_t mo_linear(mo_net_t *net, int32_t src, const char *name, int32_t outputs)
{
    if (net->failed || src < 0)
        return -1;
    int32_t inputs = net->shapes[src].c;
    int64_t dims[2] = {outputs, inputs}, out[1] = {outputs};
    mo_op_t op = {.layer = &mo_layer_linear, .src = src, .other = -1, .bn = -1};
    op.weights = mo_net_span(net, name, "weight", 2, dims, MO_INIT_UNIFORM, inputs);
    op.bias = mo_net_span(net, name, "bias", 1, out, MO_INIT_UNIFORM, inputs);
    op.dst = mo_net_tensor(net, outputs, 1, 1);
    mo_net_op(net, &op);
    return op.dst;
}

int32_t mo_linear_plain(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init)
{
    if (net->failed || src < 0)
        return -1;
    int32_t inputs = net->shapes[src].c;
    int64_t dims[2] = {outputs, inputs};
    mo_op_t op = {.layer = &mo_layer_linear, .src = src, .other = -1, .bias = -1, .bn = -1};
    op.weights = mo_net_span(net, name, "weight", 2, dims, init, inputs);
    op.dst = mo_net_tensor(net, outputs, 1, 1);
    mo_net_op(net, &op);
    return op.dst;
}

const mo_layer_t mo_layer_linear = {"linear", mo_emit_product, mo_emit_product_backward};
