/* Projection heads and the predictor. Numbers in the names count the modules of the sequence, ReLU
 * included, as published checkpoints do. D is the embedding's width, W the hidden one.
 *
 *   linear      Linear(D), with bias
 *   mlp         Linear(W), ReLU, Linear(D), with biases
 *   mlp-v3      [Linear(W), BN, ReLU] (once for ResNet, twice for ViT), Linear(D), BN without scale
 *               and shift, no biases
 *   mlp-simclr  [Linear(W), BN, ReLU] (twice), Linear(D), BN without shift; no biases; weights N(0,
 *               0.01)
 *   mlp-byol    [Linear(W), BN, ReLU] (once), Linear(D); no biases
 *   predictor   Linear(W), BN, ReLU, Linear(D), for ViT then BN without scale and shift, but not
 *               with mlp-byol; no biases */
#include <stdio.h>

#include <moco/trainer.h>

#include "engine/ops.h"
#include "nets/encoder.h"

typedef struct mlp {
    const char *name;
    int32_t layers, hidden, outputs;
    mo_init_t init;
    int last_norm;
    mo_affine_t last;
} mlp_t;

/* Linear layers without bias, each but the last followed by batch norm and ReLU. */
static int32_t mlp(mo_net_t *net, int32_t t, const mlp_t *m)
{
    char name[32];
    for (int32_t layer = 0; layer < m->layers; layer++) {
        int last = layer == m->layers - 1;
        snprintf(name, sizeof name, "%s.%d", m->name, 3 * layer);
        t = mo_linear_plain(net, t, name, last ? m->outputs : m->hidden, m->init);
        snprintf(name, sizeof name, "%s.%d", m->name, 3 * layer + 1);
        if (!last)
            t = mo_batchnorm(net, t, name, 1, MO_INIT_ONE);
        else if (m->last_norm)
            t = mo_batchnorm_part(net, t, name, 0, m->last);
    }
    return t;
}

int32_t mo_head(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t backbone)
{
    const char *name = mo_is_vit(spec->arch) ? "head" : "fc";
    char part[16];
    if (net->failed)
        return -1;
    int32_t features = net->shapes[backbone].c, width = spec->head_width > 0 ? spec->head_width : features;
    mlp_t m = {.name = name, .layers = spec->head_layers, .hidden = width, .outputs = spec->dimension, .last_norm = 1};
    switch (spec->head) {
    case MOCO_HEAD_LINEAR: return mo_linear(net, backbone, name, spec->dimension);
    case MOCO_HEAD_MLP_V3:
        m.layers = m.layers > 0 ? m.layers : mo_is_vit(spec->arch) ? 3 : 2;
        m.init = MO_INIT_UNIFORM;
        m.last = MO_AFFINE_NONE;
        return mlp(net, backbone, &m);
    case MOCO_HEAD_MLP_SIMCLR:
        m.layers = m.layers > 0 ? m.layers : 3;
        m.init = MO_INIT_NORMAL;
        m.last = MO_AFFINE_SCALE;
        return mlp(net, backbone, &m);
    case MOCO_HEAD_MLP_BYOL:
        m.layers = m.layers > 0 ? m.layers : 2;
        m.init = MO_INIT_UNIFORM;
        m.last_norm = 0;
        return mlp(net, backbone, &m);
    default:
        snprintf(part, sizeof part, "%s.0", name);
        backbone = mo_relu(net, mo_linear(net, backbone, part, width));
        snprintf(part, sizeof part, "%s.2", name);
        return mo_linear(net, backbone, part, spec->dimension);
    }
}

int32_t mo_predictor(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t projection)
{
    if (net->failed)
        return -1;
    int32_t width = spec->head_width > 0 ? spec->head_width : net->shapes[projection].c;
    const int last_norm = mo_is_vit(spec->arch) && spec->head != MOCO_HEAD_MLP_BYOL;
    mlp_t m = {.name = "predictor",
               .layers = 2,
               .hidden = width,
               .outputs = spec->dimension,
               .init = MO_INIT_UNIFORM,
               .last_norm = last_norm,
               .last = MO_AFFINE_NONE};
    return mlp(net, projection, &m);
}
