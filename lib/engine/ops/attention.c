/* Multi-head self-attention over the tokens of an image (arXiv 1706.03762): the source holds queries, keys and values
 * of every token side by side, [q | k | v], each cut into heads of width d = D/heads; y = softmax(q kᵀ / sqrt(d)) v,
 * the heads side by side. */
#include "engine/emit.h"
#include "engine/ops.h"

static int32_t listed(mo_net_t *net, int32_t src, int32_t heads, int32_t queries)
{
    if (net->failed || src < 0)
        return -1;
    mo_shape_t s = net->shapes[src];
    mo_op_t op = {.layer = &mo_layer_attention, .src = src, .other = -1, .weights = -1, .bias = -1, .bn = -1,
                  .heads = heads};
    op.dst = mo_net_tensor(net, s.c / 3, queries > 0 ? queries : s.h, 1);
    mo_net_op(net, &op);
    return op.dst;
}

int32_t mo_attention(mo_net_t *net, int32_t src, int32_t heads)
{
    return listed(net, src, heads, 0);
}

int32_t mo_class_attention(mo_net_t *net, int32_t src, int32_t heads)
{
    return listed(net, src, heads, 1);
}

const mo_layer_t mo_layer_attention = {"attention", mo_emit_attention, mo_emit_attention_backward, 0};
