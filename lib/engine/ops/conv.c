/* Convolution: y[n,o,i,j] = bias[o] + sum w[o,c,a,b] x[n,c,i*stride+a-pad,j*stride+b-pad]. */
#include "engine/emit.h"
#include "engine/ops.h"

static int32_t out_size(int32_t size, int32_t kernel, int32_t stride, int32_t pad)
{
    return (size + 2 * pad - kernel) / stride + 1;
}

static int64_t fan_of(mo_init_t init, int64_t inputs, int64_t outputs, int64_t area)
{
    if (init == MO_INIT_KAIMING)
        return outputs * area;
    return inputs * area + (init == MO_INIT_XAVIER ? outputs : 0); /* a patch's convolution is a linear layer */
}

static mo_op_t described(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel,
                         int32_t stride, int32_t pad, mo_init_t init)
{
    mo_shape_t s = net->shapes[src];
    int64_t dims[4] = {channels, s.c, kernel, kernel}, area = (int64_t)kernel * kernel;
    mo_op_t op = {.layer = &mo_layer_conv, .src = src, .other = -1, .bias = -1, .bn = -1, .kernel = kernel,
                  .stride = stride, .pad = pad};
    op.weights = mo_net_parameter(net, name, "weight", 4, dims, init, fan_of(init, s.c, channels, area));
    return op;
}

static int32_t listed(mo_net_t *net, mo_op_t op, int32_t channels)
{
    mo_shape_t s = net->shapes[op.src];
    op.dst = mo_net_tensor(net, channels, out_size(s.h, op.kernel, op.stride, op.pad),
                           out_size(s.w, op.kernel, op.stride, op.pad));
    mo_net_op(net, &op);
    return op.dst;
}

int32_t mo_conv(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                int32_t pad, mo_init_t init)
{
    if (net->failed || src < 0)
        return -1;
    return listed(net, described(net, src, name, channels, kernel, stride, pad, init), channels);
}

int32_t mo_conv_bias(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                     mo_init_t init, mo_init_t bias_init, int frozen)
{
    if (net->failed || src < 0)
        return -1;
    mo_op_t op = described(net, src, name, channels, kernel, stride, 0, init);
    int64_t out[1] = {channels}, inputs = (int64_t)net->shapes[src].c * kernel * kernel;
    op.bias = mo_net_parameter(net, name, "bias", 1, out, bias_init, inputs);
    if (frozen) {
        mo_net_freeze(net, op.weights);
        mo_net_freeze(net, op.bias);
    }
    return listed(net, op, channels);
}

const mo_layer_t mo_layer_conv = {"convolution", mo_emit_product, mo_emit_product_backward, 0};
