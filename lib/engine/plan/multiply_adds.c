/* How much arithmetic a network is: the multiply-adds of its products, which is nearly all of it. Padding counts as
 * values do. */
#include "engine/ops.h"

/* Of the operation forward, per image. */
static int64_t forward(const mo_net_t *net, const mo_op_t *op)
{
    const mo_shape_t out = net->shapes[op->dst];
    if (op->layer == &mo_layer_attention) /* every query with every key, then every weight with every value */
        return 2 * (int64_t)out.c * out.h * net->shapes[op->src].h;
    if (op->layer == &mo_layer_conv || op->layer == &mo_layer_linear)
        return net->parameters[op->weights].count * out.h * out.w;
    return 0;
}

int64_t mo_net_multiply_adds(const mo_net_t *net, int32_t from_op, int32_t to_op, int backward)
{
    int64_t sum = 0;
    for (int32_t i = from_op; i < to_op; i++) {
        const mo_op_t *op = &net->ops[i];
        int gradients = (op->src != net->input) + !(op->weights >= 0 && net->parameters[op->weights].frozen);
        sum += forward(net, op) * (backward ? gradients : 1);
    }
    return sum;
}
