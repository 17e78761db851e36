/* Linear layer, with bias or without, on vectors or on every position of a tensor: y = x · weightᵀ + bias. */
#include "engine/emit.h"
#include "engine/ops.h"

int32_t mo_linear_from(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init, int64_t fan,
                       mo_init_t bias_init)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    int64_t dims[2] = {outputs, s.c}, out[1] = {outputs};
    mo_op_t op = {.layer = &mo_layer_linear, .src = src, .other = -1, .bn = -1};
    op.weights = mo_net_parameter(net, name, "weight", 2, dims, init, fan);
    op.bias = mo_net_parameter(net, name, "bias", 1, out, bias_init, s.c);
    op.dst = mo_net_tensor(net, outputs, s.h, s.w);
    mo_net_op(net, &op);
    return op.dst;
}

int32_t mo_linear(mo_net_t *net, int32_t src, const char *name, int32_t outputs)
{
    int64_t inputs = net->failed || src < 0 ? 0 : net->shapes[src].c;
    return mo_linear_from(net, src, name, outputs, MO_INIT_UNIFORM, inputs, MO_INIT_UNIFORM);
}

int32_t mo_linear_plain(mo_net_t *net, int32_t src, const char *name, int32_t outputs, mo_init_t init)
{
    if (net->failed || src < 0)
        return -1;
    int32_t inputs = net->shapes[src].c;
    int64_t dims[2] = {outputs, inputs};
    mo_op_t op = {.layer = &mo_layer_linear, .src = src, .other = -1, .bias = -1, .bn = -1};
    op.weights = mo_net_parameter(net, name, "weight", 2, dims, init, inputs);
    op.dst = mo_net_tensor(net, outputs, net->shapes[src].h, net->shapes[src].w);
    mo_net_op(net, &op);
    return op.dst;
}

const mo_layer_t mo_layer_linear = {"linear", mo_emit_product, mo_emit_product_backward, 0};
