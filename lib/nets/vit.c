/* Vision transformers of MoCo v3 (arXiv 2104.02057, table 2): patches, a class token, fixed
 * two-dimensional sine-cosine positions, blocks that normalise first, the class token normalised at
 * the end. Conv-stem variants put four 3x3 convolutions and a 1x1 one in place of the patch
 * projection and have a block less (arXiv 2106.14881).
 *
 * Only the class token leaves the encoder, so from the last block's attention on it alone is
 * computed: its query against all keys, its MLP. The results are those of the whole block. */
#include <stdio.h>

#include <moco/trainer.h>

#include "engine/ops.h"
#include "nets/encoder.h"
#include "util/status.h"

#define MAX_TOKENS 65537 /* 256 x 256 patches */
#define MIN_HEAD 4       /* channels of an attention head */

static const mo_vit_form_t published[] = {
    [MOCO_ARCH_VIT_SMALL] = {.patch = 16, .depth = 12, .heads = 12, .channels = 384},
    [MOCO_ARCH_VIT_BASE] = {.patch = 16, .depth = 12, .heads = 12, .channels = 768},
    [MOCO_ARCH_VIT_LARGE] = {.patch = 16, .depth = 24, .heads = 16, .channels = 1024},
    [MOCO_ARCH_VIT_HUGE] = {.patch = 14, .depth = 32, .heads = 16, .channels = 1280},
    [MOCO_ARCH_VIT_CONV_SMALL] = {.patch = 16, .depth = 11, .heads = 12, .channels = 384, .conv_stem = 1},
    [MOCO_ARCH_VIT_CONV_BASE] = {.patch = 16, .depth = 11, .heads = 12, .channels = 768, .conv_stem = 1},
};

int mo_is_vit(int32_t arch)
{
    return arch >= MOCO_ARCH_VIT_SMALL && arch <= MOCO_ARCH_VIT_CONV_BASE;
}

/* The nearest number of channels that 16 and the heads divide, with heads of at least MIN_HEAD. */
static int32_t scaled_channels(int32_t base, double width, int32_t heads)
{
    int32_t step = heads, least = MIN_HEAD * heads;
    while (step % 16 != 0)
        step += heads;
    int64_t channels = (int64_t)(base * width / step + 0.5) * step;
    least = (least + step - 1) / step * step;
    return channels < least ? least : (int32_t)channels;
}

mo_vit_form_t mo_vit_form(const mo_encoder_spec_t *spec)
{
    mo_vit_form_t f = published[spec->arch];
    if (spec->patch_size > 0)
        f.patch = spec->patch_size;
    if (spec->depth > 0)
        f.depth = spec->depth;
    if (spec->heads > 0)
        f.heads = spec->heads;
    f.channels = scaled_channels(f.channels, spec->width, f.heads);
    f.tokens = 1 + (spec->image_size / f.patch) * (spec->image_size / f.patch);
    return f;
}

moco_status_t mo_vit_check(const mo_encoder_spec_t *spec)
{
    if (!mo_is_vit(spec->arch))
        return MOCO_OK;
    mo_vit_form_t f = mo_vit_form(spec);
    if (f.conv_stem && f.patch != 16)
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "patch_size is %d, wanted 16 or 0: four convolutions of stride 2 make the "
                       "patches of this arch",
                       f.patch);
    if (spec->image_size % f.patch != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "patch_size is %d, wanted a divisor of image_size %d", f.patch,
                       spec->image_size);
    if (f.tokens > MAX_TOKENS)
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "patch_size is %d, wanted at least %d for images of %d pixels: at most 256 "
                       "patches a side",
                       f.patch, (spec->image_size + 255) / 256, spec->image_size);
    return MOCO_OK;
}

/* "blocks.3." + part; the buffer outlives the call that copies it. */
static const char *name_of(char out[48], int block, const char *part)
{
    snprintf(out, 48, "blocks.%d.%s", block, part);
    return out;
}

/* A linear layer of a block: uniform by inputs and outputs, bias 0. */
static int32_t linear(mo_net_t *net, int32_t src, const char *name, int32_t outputs, int64_t fan)
{
    return mo_linear_from(net, src, name, outputs, MO_INIT_XAVIER, fan, MO_INIT_ZERO);
}

/* With drop path, a factor per image on what a block adds. */
static int32_t branch(mo_net_t *net, int32_t t, int drop)
{
    return drop ? mo_drop_path(net, t, net->paths) : t;
}

/* x + proj(attention(norm1(x))), then x + fc2(gelu(fc1(norm2(x)))); `last`: for the class token
 * alone. */
static int32_t block(mo_net_t *net, int32_t x, int number, const mo_encoder_spec_t *spec, const mo_vit_form_t *f)
{
    const int last = number == f->depth - 1, vit_norm = spec->vit_norm;
    char name[48];
    const int32_t d = f->channels;
    /* A batch norm needs every token behind the attention too. */
    const int early = last && vit_norm == MOCO_VIT_NORM_LAYER, late = last && !early;
    int32_t shortcut = early ? mo_class_token(net, x) : x, t;
    t = mo_layernorm(net, x, name_of(name, number, "norm1"));
    t = linear(net, t, name_of(name, number, "attn.qkv"), 3 * d, 2 * d); /* three maps of their own */
    t = early ? mo_class_attention(net, t, f->heads) : mo_attention(net, t, f->heads);
    t = linear(net, t, name_of(name, number, "attn.proj"), d, 2 * d);
    shortcut = x = mo_sum(net, branch(net, t, spec->drop_path), shortcut);
    if (late)
        shortcut = mo_class_token(net, x);
    name_of(name, number, "norm2");
    t = vit_norm == MOCO_VIT_NORM_BATCH ? mo_batchnorm(net, x, name, 0, MO_INIT_ONE) : mo_layernorm(net, x, name);
    if (late)
        t = mo_class_token(net, t);
    t = mo_gelu(net, linear(net, t, name_of(name, number, "mlp.fc1"), 4 * d, 5 * d));
    t = linear(net, t, name_of(name, number, "mlp.fc2"), d, 5 * d);
    return mo_sum(net, branch(net, t, spec->drop_path), shortcut);
}

static int32_t conv_stem(mo_net_t *net, int32_t t, int32_t channels)
{
    for (int i = 0; i < 4; i++) {
        char conv[32], norm[32];
        snprintf(conv, sizeof conv, "patch_embed.proj.%d", 3 * i);
        snprintf(norm, sizeof norm, "patch_embed.proj.%d", 3 * i + 1);
        t = mo_conv(net, t, conv, channels >> (3 - i), 3, 2, 1, MO_INIT_UNIFORM);
        t = mo_batchnorm(net, t, norm, 1, MO_INIT_ONE);
    }
    return mo_conv_bias(net, t, "patch_embed.proj.12", channels, 1, 1, MO_INIT_UNIFORM, MO_INIT_UNIFORM, 0);
}

int32_t mo_vit(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t input)
{
    const mo_vit_form_t f = mo_vit_form(spec);
    int32_t class_token = mo_token_parameters(net, f.tokens, f.channels, !spec->train_positions), t;
    if (f.conv_stem)
        t = conv_stem(net, input, f.channels);
    else
        t = mo_conv_bias(net, input, "patch_embed.proj", f.channels, f.patch, f.patch, MO_INIT_XAVIER, MO_INIT_ZERO,
                         spec->freeze_patch);
    t = mo_tokens(net, t, class_token);
    for (int i = 0; i < f.depth; i++)
        t = block(net, t, i, spec, &f);
    return mo_layernorm(net, t, "norm");
}
