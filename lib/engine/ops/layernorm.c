/* Layer norm of every position over its channels: y = scale * (x - mean) / sqrt(variance + 1e-6) + shift with the
 * biased variance. */
#include "engine/emit.h"
#include "engine/ops.h"

int32_t mo_layernorm(mo_net_t *net, int32_t src, const char *name)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    int64_t dims[1] = {s.c};
    mo_op_t op = {.layer = &mo_layer_layernorm, .src = src, .other = -1, .bn = -1};
    op.weights = mo_net_parameter(net, name, "weight", 1, dims, MO_INIT_ONE, 0);
    op.bias = mo_net_parameter(net, name, "bias", 1, dims, MO_INIT_ZERO, 0);
    op.dst = mo_net_tensor(net, s.c, s.h, s.w);
    mo_net_op(net, &op);
    return op.dst;
}

const mo_layer_t mo_layer_layernorm = {"layer norm", mo_emit_layernorm, mo_emit_layernorm_backward, 0};
