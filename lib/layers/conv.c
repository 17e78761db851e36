/* Convolution without bias: y[n,o,i,j] = sum w[o,c,a,b] x[n,c,i*stride+a-pad,j*stride+b-pad]. */
#include "engine/emit.h"
#include "layers/layers.h"

static int32_t out_size(int32_t size, int32_t kernel, int32_t stride, int32_t pad)
{
    return (size + 2 * pad - kernel) / stride + 1;
}

int32_t mo_conv(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                int32_t pad, mo_init_t init)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    int64_t dims[4] = {channels, s.c, kernel, kernel}, area = (int64_t)kernel * kernel;
    mo_op_t op = {.layer = &mo_layer_conv, .src = src, .other = -1, .bias = -1, .bn = -1, .kernel = kernel,
                  .stride = stride, .pad = pad};
    op.weights = mo_net_span(net, name, "weight", 4, dims, init,
                             init == MO_INIT_KAIMING ? channels * area : s.c * area);
    op.dst = mo_net_tensor(net, channels, out_size(s.h, kernel, stride, pad), out_size(s.w, kernel, stride, pad));
    mo_net_op(net, &op);
    return op.dst;
}

const mo_layer_t mo_layer_conv = {"convolution", mo_emit_product, mo_emit_product_backward};
