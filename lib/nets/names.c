/* The tables of names.h. */
#include "nets/names.h"

#include <stddef.h>

const char *const mo_arch_names[MO_ARCHS + 1] = {
    "resnet18", "resnet34",  "resnet50", "resnet101",      "resnet152",     "vit_small",
    "vit_base", "vit_large", "vit_huge", "vit_conv_small", "vit_conv_base", NULL,
};
const char *const mo_stem_names[MO_STEMS + 1] = {"imagenet", "cifar", NULL};
const char *const mo_head_names[MO_HEADS + 1] = {"linear", "mlp", "mlp-v3", "mlp-simclr", "mlp-byol", NULL};
const char *const mo_vit_norm_names[MO_VIT_NORMS + 1] = {"layer", "batch", NULL};
