/* Projection heads: v1 one linear layer, v2 linear, ReLU, linear; both with bias, without batch norm. */
#include <moco/trainer.h>

#include "layers/layers.h"
#include "nets/encoder.h"

int32_t mo_head(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t backbone)
{
    if (net->failed)
        return -1;
    if (spec->head == MOCO_HEAD_LINEAR)
        return mo_linear(net, backbone, "fc", spec->dimension);
    int32_t t = mo_linear(net, backbone, "fc.0", net->shapes[backbone].c);
    return mo_linear(net, mo_relu(net, t), "fc.2", spec->dimension);
}
