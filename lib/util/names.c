/* Names of enumerations: see names.h. They are in files and may only be added to. */
#include "util/names.h"

#include <moco/trainer.h>
#include <moco/types.h>

const char *const mo_arch_names[] = {
    [MOCO_ARCH_RESNET18] = "resnet18",
    [MOCO_ARCH_RESNET34] = "resnet34",
    [MOCO_ARCH_RESNET50] = "resnet50",
    [MOCO_ARCH_RESNET101] = "resnet101",
    [MOCO_ARCH_RESNET152] = "resnet152",
    [MOCO_ARCH_VIT_SMALL] = "vit_small",
    [MOCO_ARCH_VIT_BASE] = "vit_base",
    [MOCO_ARCH_VIT_LARGE] = "vit_large",
    [MOCO_ARCH_VIT_HUGE] = "vit_huge",
    [MOCO_ARCH_VIT_CONV_SMALL] = "vit_conv_small",
    [MOCO_ARCH_VIT_CONV_BASE] = "vit_conv_base",
};
const char *const mo_stem_names[] = {[MOCO_STEM_IMAGENET] = "imagenet", [MOCO_STEM_CIFAR] = "cifar"};

const char *const mo_optimizer_names[] = {
    [MOCO_OPTIMIZER_SGD] = "sgd",
    [MOCO_OPTIMIZER_LARS] = "lars",
    [MOCO_OPTIMIZER_LARS_SIMCLR] = "lars-simclr",
    [MOCO_OPTIMIZER_ADAMW] = "adamw",
};
const char *const mo_lr_scaling_names[] = {
    [MOCO_LR_SCALING_NONE] = "none", [MOCO_LR_SCALING_LINEAR] = "linear", [MOCO_LR_SCALING_SQRT] = "sqrt"};
const char *const mo_schedule_names[] = {
    [MOCO_SCHEDULE_CONSTANT] = "constant", [MOCO_SCHEDULE_STEP] = "step", [MOCO_SCHEDULE_COSINE] = "cosine"};
const char *const mo_filter_names[] = {[MOCO_FILTER_BILINEAR] = "bilinear", [MOCO_FILTER_BICUBIC] = "bicubic"};
