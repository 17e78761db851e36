/* ResNet-18/34/50/101/152 in torchvision's form (stride in the 3x3 convolution of bottlenecks),
 * with ImageNet or CIFAR stem and a width multiplier on every channel count. */
#include <stdio.h>
#include <string.h>

#include <moco/trainer.h>

#include "engine/ops.h"
#include "nets/encoder.h"

typedef struct form {
    int32_t blocks[4];
    int bottleneck;
} form_t;

static const form_t forms[] = {
    [MOCO_ARCH_RESNET18] = {{2, 2, 2, 2}, 0},   [MOCO_ARCH_RESNET34] = {{3, 4, 6, 3}, 0},
    [MOCO_ARCH_RESNET50] = {{3, 4, 6, 3}, 1},   [MOCO_ARCH_RESNET101] = {{3, 4, 23, 3}, 1},
    [MOCO_ARCH_RESNET152] = {{3, 8, 36, 3}, 1},
};

int mo_resnet_blocks(int32_t arch, int32_t blocks[4])
{
    if (arch < MOCO_ARCH_RESNET18 || arch > MOCO_ARCH_RESNET152)
        return -1;
    memcpy(blocks, forms[arch].blocks, sizeof forms[arch].blocks);
    return forms[arch].bottleneck;
}

int32_t mo_scaled_channels(int32_t base, double width)
{
    int32_t channels = (int32_t)(base * width / 16.0 + 0.5) * 16;
    return channels < 16 ? 16 : channels;
}

/* "layer2.0" + "." + part; the buffer outlives the call that copies it. */
static const char *join(char out[64], const char *block, const char *part)
{
    snprintf(out, 64, "%s.%s", block, part);
    return out;
}

static int32_t conv_bn(mo_net_t *net, int32_t src, const char *block, int number, int32_t channels, int32_t kernel,
                       int32_t stride, int relu, mo_init_t scale)
{
    char name[64], part[16];
    snprintf(part, sizeof part, "conv%d", number);
    int32_t t = mo_conv(net, src, join(name, block, part), channels, kernel, stride, kernel / 2, MO_INIT_KAIMING);
    snprintf(part, sizeof part, "bn%d", number);
    return mo_batchnorm(net, t, join(name, block, part), relu, scale);
}

/* The shortcut is listed before the block's last convolution, so that in infer plans that one can
 * add into it. */
static int32_t block(mo_net_t *net, int32_t src, const char *name, const form_t *form, int32_t planes, int32_t stride,
                     mo_init_t last, int drop)
{
    char part[64];
    int32_t out = form->bottleneck ? 4 * planes : planes, shortcut = src, t;
    if (form->bottleneck) {
        t = conv_bn(net, src, name, 1, planes, 1, 1, 1, MO_INIT_ONE);
        t = conv_bn(net, t, name, 2, planes, 3, stride, 1, MO_INIT_ONE);
    } else
        t = conv_bn(net, src, name, 1, planes, 3, stride, 1, MO_INIT_ONE);
    if (!net->failed && (stride != 1 || net->shapes[src].c != out)) {
        shortcut = mo_conv(net, src, join(part, name, "downsample.0"), out, 1, stride, 0, MO_INIT_KAIMING);
        shortcut = mo_batchnorm(net, shortcut, join(part, name, "downsample.1"), 0, MO_INIT_ONE);
    }
    t = form->bottleneck ? conv_bn(net, t, name, 3, out, 1, 1, 0, last) : conv_bn(net, t, name, 2, out, 3, 1, 0, last);
    if (drop)
        t = mo_drop_path(net, t, net->paths);
    return mo_residual(net, t, shortcut);
}

int32_t mo_resnet(mo_net_t *net, const mo_encoder_spec_t *spec, int32_t input)
{
    const form_t *form = &forms[spec->arch];
    mo_init_t last = spec->zero_init_residual ? MO_INIT_ZERO : MO_INIT_ONE;
    int32_t stem = mo_scaled_channels(64, spec->width), t;
    if (spec->stem == MOCO_STEM_CIFAR) /* the demo replaces this convolution after initialisation: default values */
        t = mo_conv(net, input, "conv1", stem, 3, 1, 1, MO_INIT_UNIFORM);
    else
        t = mo_conv(net, input, "conv1", stem, 7, 2, 3, MO_INIT_KAIMING);
    t = mo_batchnorm(net, t, "bn1", 1, MO_INIT_ONE);
    if (spec->stem != MOCO_STEM_CIFAR)
        t = mo_max_pool(net, t, 3, 2, 1);
    for (int stage = 0; stage < 4; stage++) {
        int32_t planes = mo_scaled_channels(64 << stage, spec->width);
        for (int b = 0; b < form->blocks[stage]; b++) {
            char name[32];
            snprintf(name, sizeof name, "layer%d.%d", stage + 1, b);
            t = block(net, t, name, form, planes, stage > 0 && b == 0 ? 2 : 1, last, spec->drop_path);
        }
    }
    return mo_mean_pool(net, t);
}
