/* Batch norm over the images of a group, per channel: y = scale * (x - mean) / sqrt(variance + 1e-5) + shift with the
 * biased variance of the batch, then ReLU if asked. In infer plans the convolution or linear layer before it, or
 * the linear layer behind it, takes it over. */
#include "engine/emit.h"
#include "engine/ops.h"

static int32_t batchnorm(mo_net_t *net, int32_t src, const char *name, int relu, mo_init_t scale_init,
                         mo_affine_t affine)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    int64_t dims[1] = {s.c};
    mo_op_t op = {.layer = &mo_layer_batchnorm, .src = src, .other = -1, .relu = relu};
    op.weights = mo_net_parameter(net, name, "weight", 1, dims, scale_init, 0);
    op.bias = mo_net_parameter(net, name, "bias", 1, dims, MO_INIT_ZERO, 0);
    if (net->failed)
        return -1;
    net->parameters[op.weights].hidden = net->parameters[op.weights].frozen = affine == MO_AFFINE_NONE;
    net->parameters[op.bias].hidden = net->parameters[op.bias].frozen = affine != MO_AFFINE_BOTH;
    op.bn = mo_net_bn(net, name, s.c);
    op.dst = mo_net_tensor(net, s.c, s.h, s.w);
    mo_net_op(net, &op);
    return op.dst;
}

int32_t mo_batchnorm(mo_net_t *net, int32_t src, const char *name, int relu, mo_init_t scale_init)
{
    return batchnorm(net, src, name, relu, scale_init, MO_AFFINE_BOTH);
}

int32_t mo_batchnorm_part(mo_net_t *net, int32_t src, const char *name, int relu, mo_affine_t affine)
{
    return batchnorm(net, src, name, relu, MO_INIT_ONE, affine);
}

const mo_layer_t mo_layer_batchnorm = {"batch norm", mo_emit_batchnorm, mo_emit_batchnorm_backward, 1};
