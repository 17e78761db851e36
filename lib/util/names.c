/* Names of enumerations: see names.h. They are in files and may only be added to. */
#include "util/names.h"

#include <moco/types.h>

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
const char *const mo_precision_names[] = {
    [MOCO_PRECISION_FLOAT32] = "float32", [MOCO_PRECISION_BF16] = "bf16", [MOCO_PRECISION_F16] = "f16"};
