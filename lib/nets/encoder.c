/* From a specification to a net, and encoders with their numbers. */
#include "nets/encoder.h"

#include <string.h>

#include "engine/ops.h"
#include "util/alloc.h"
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

moco_status_t mo_encoder_net(const mo_encoder_spec_t *spec, mo_net_t *net)
{
    moco_status_t status = build(spec, net);
    return status == MOCO_OK ? mo_net_done(net) : status;
}

moco_status_t mo_encoder_build(mo_encoder_t *e, const mo_encoder_spec_t *spec)
{
    moco_status_t status = build(spec, &e->net);
    if (status != MOCO_OK)
        return status;
    e->spec = *spec;
    e->embedding = e->net.projection >= 0 ? mo_l2norm(&e->net, e->net.projection) : -1;
    return mo_net_done(&e->net);
}

moco_status_t mo_encoder_take(mo_encoder_t *e, moco_device_t *device)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_buffer_create(device, (size_t)e->net.params * sizeof(float), &e->params));
    TRY(mo_block_create((size_t)e->net.stats * sizeof(float), &e->running));
cleanup:
    return status;
}

moco_status_t mo_encoder_start(mo_encoder_t *e, uint64_t seed)
{
    float *params;
    const moco_status_t status = mo_buffer_map(e->params, MO_UPDATE, &params); /* padding stays 0 */
    if (status != MOCO_OK)
        return status;
    mo_init_params(&e->net, seed, params);
    mo_buffer_unmap(e->params, params);
    mo_init_stats(&e->net, e->running);
    return MOCO_OK;
}

moco_status_t mo_encoder_copy_numbers(const mo_encoder_t *from, mo_encoder_t *to)
{
    memcpy(to->running, from->running, (size_t)to->net.stats * sizeof(float));
    return mo_buffer_copy(to->params, from->params);
}

void mo_encoder_free(mo_encoder_t *e)
{
    mo_buffer_free(&e->params);
    mo_block_free(e->running, (size_t)e->net.stats * sizeof(float));
    mo_net_free(&e->net);
    *e = (mo_encoder_t){0};
}
