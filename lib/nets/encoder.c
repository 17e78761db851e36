/* From a specification to a net. */
#include "nets/encoder.h"

#include "layers/layers.h"

static void build(const mo_encoder_spec_t *spec, mo_net_t *net)
{
    net->input = mo_net_tensor(net, 3, spec->image_size, spec->image_size);
    net->backbone = mo_resnet(net, spec, net->input);
    net->body_ops = net->op_count;
    net->body_params = net->params;
    net->projection = spec->head >= 0 ? mo_head(net, spec, net->backbone) : -1;
}

moco_status_t mo_encoder_build(const mo_encoder_spec_t *spec, mo_net_t *net)
{
    build(spec, net);
    return mo_net_done(net);
}

moco_status_t mo_encoder_build_unit(const mo_encoder_spec_t *spec, mo_net_t *net, int32_t *unit)
{
    build(spec, net);
    *unit = net->projection >= 0 ? mo_l2norm(net, net->projection) : -1;
    return mo_net_done(net);
}
