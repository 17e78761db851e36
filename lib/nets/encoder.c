/* From a specification to a net. */
#include "nets/encoder.h"

#include "engine/ops.h"
#include "util/status.h"

static moco_status_t build(const mo_encoder_spec_t *spec, mo_net_t *net)
{
    moco_status_t status = mo_vit_check(spec);
    if (status != MOCO_OK)
        return status;
    net->input = mo_net_tensor(net, 3, spec->image_size, spec->image_size);
    net->paths = spec->drop_path ? mo_net_tensor(net, 0, 1, 1) : -1; /* grows by every branch */
    net->backbone = mo_is_vit(spec->arch) ? mo_vit(net, spec, net->input) : mo_resnet(net, spec, net->input);
    net->body_ops = net->op_count;
    net->body_params = net->params;
    net->projection = spec->head >= 0 ? mo_head(net, spec, net->backbone) : -1;
    return MOCO_OK;
}

moco_status_t mo_encoder_build(const mo_encoder_spec_t *spec, mo_net_t *net)
{
    moco_status_t status = build(spec, net);
    return status == MOCO_OK ? mo_net_done(net) : status;
}

moco_status_t mo_encoder_build_embedding(const mo_encoder_spec_t *spec, mo_net_t *net, int32_t *embedding)
{
    moco_status_t status = build(spec, net);
    if (status != MOCO_OK)
        return status;
    *embedding = net->projection >= 0 ? mo_l2norm(net, net->projection) : -1;
    return mo_net_done(net);
}
