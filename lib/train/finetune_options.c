/* The fields of moco_finetune_options_t, and the values for each optimizer. */
#include <stddef.h>

#include "train/finetune.h"
#include "train/options.h"
#include "util/names.h"
#include "util/status.h"

#define AT(field) MO_OPTION_AT(moco_finetune_options_t, field)
#define NAMES(list) MO_OPTION_NAMES(list), ""
#define MILLION 1000000
#define U64 MO_OPTION_U64
#define I32 MO_OPTION_I32
#define ENUM MO_OPTION_ENUM
#define F64 MO_OPTION_F64
#define ABOVE MO_OPTION_ABOVE_MIN
#define BELOW MO_OPTION_BELOW_MAX

_Static_assert(sizeof(moco_finetune_options_t) == 192, "every field has a row and there is no padding");
_Static_assert(offsetof(moco_finetune_options_t, loader_threads) == 188, "fields keep their places");

static const char *const schedule_names[] = {[MOCO_SCHEDULE_CONSTANT] = "constant", [MOCO_SCHEDULE_COSINE] = "cosine"};

/* name and place, type, default, min, max, flags, names, unit, meaning */
static const mo_option_row_t rows[] = {
    {AT(cancel), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "what stops the call from another thread"},
    {AT(progress), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "is told of each step"},
    {AT(user), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "handed to `progress`"},
    {AT(seed), U64, 0, 0, 0, 0, NULL, "", "fixes the classifier's first weights, order, crops, mixes, dropped paths"},
    {AT(optimizer), MO_OPTION_PRESET, 0, 0, 0, 0, NULL, "",
     "and where the values came from; chosen first, not settable"},
    {AT(lr_scaling), ENUM, MOCO_LR_SCALING_LINEAR, NAMES(mo_lr_scaling_names),
     "rate = base_lr times 1, batch_size/256, or batch_size's root"},
    {AT(base_lr), F64, 2.5e-4, 0, 1000, 0, NULL, "", "learning rate after warm-up, before lr_scaling"},
    {AT(schedule), ENUM, MOCO_SCHEDULE_COSINE, NAMES(schedule_names), "of the rate after warm-up, step by step"},
    {AT(warmup_epochs), I32, 0, 0, MILLION, 0, NULL, "epochs", "the rate rises from 0 step by step; at most epochs"},
    {AT(epochs), I32, 100, 1, MILLION, 0, NULL, "", "passes over the data"},
    {AT(batch_size), I32, 128, 2, 65536, 0, NULL, "images", "per step; the last ones that fill no batch are left out"},
    {AT(bn_groups), I32, 1, 1, 65536, 0, NULL, "", "V, batch-norm groups of batch_size/V >= 2 images"},
    {AT(shard), I32, 0, 0, 65536, 0, NULL, "images",
     "that a lane works on at a time, divides batch_size/V; 0 = chosen"},
    {AT(sgd_momentum), F64, 0.9, 0, 1, BELOW, NULL, "", "of SGD"},
    {AT(adam_beta1), F64, 0.9, 0, 1, BELOW, NULL, "", "AdamW: decay of the mean gradient"},
    {AT(adam_beta2), F64, 0.999, 0, 1, BELOW, NULL, "", "AdamW: decay of the mean squared gradient"},
    {AT(adam_epsilon), F64, 1e-8, 0, 1, ABOVE, NULL, "", "AdamW: added to the root"},
    {AT(weight_decay), F64, 0.05, 0, 10, 0, NULL, "", "see decay_vectors"},
    {AT(decay_vectors), I32, 0, 0, 1, 0, NULL, "", "1: weight decay also on biases, norms, class token, positions"},
    {AT(resize_filter), ENUM, MOCO_FILTER_BILINEAR, NAMES(mo_filter_names), "of crops"},
    {AT(crop_min_area), F64, 0.08, 0, 1, ABOVE, NULL, "share", "smallest crop, of the image's area"},
    {AT(crop_max_area), F64, 1, 0, 1, ABOVE, NULL, "share", "largest crop; at least crop_min_area"},
    {AT(flip_probability), F64, 0.5, 0, 1, 0, NULL, "", "of the mirror image"},
    {AT(label_smoothing), F64, 0.1, 0, 1, BELOW, NULL, "share", "of a target that is spread over all classes"},
    {AT(mixup), F64, 0, 0, 100, 0, NULL, "", "alpha of Beta(alpha, alpha), arXiv 1710.09412; 0 = no mixup"},
    {AT(drop_path), F64, 0, 0, 1, BELOW, NULL, "", "probability at the last residual branch, arXiv 1603.09382"},
    {AT(init_std), F64, 0.01, 0, 10, 0, NULL, "", "standard deviation of the classifier's first weights"},
    {AT(eval_every), I32, 0, 0, MILLION, 0, NULL, "epochs",
     "between measurements on the test set; 0 = after the last only"},
    {AT(loader_threads), I32, 0, 0, 256, 0, NULL, "", "decoding threads; 0 = one per lane"},
};

/* A value a line. */
/* clang-format off */

/* Fine-tuning of convolutional networks: no regularisation beyond weight decay and smoothing. */
static const mo_override_t sgd[] = {
    {"base_lr", 0.01},
    {"weight_decay", 1e-4},
    {"sgd_momentum", 0.9},
    {"decay_vectors", 1},
    {NULL, 0},
};

/* DeiT (arXiv 2012.12877), whose values MoCo v3 fine-tunes ViTs with. */
static const mo_override_t adamw[] = {
    {"base_lr", 2.5e-4},
    {"weight_decay", 0.05},
    {"warmup_epochs", 5},
    {"mixup", 0.8},
    {"drop_path", 0.1},
    {NULL, 0},
};

/* clang-format on */

static const mo_preset_t presets[] = {
    {MOCO_OPTIMIZER_SGD, "sgd", "for convolutional networks", NULL, sgd},
    {MOCO_OPTIMIZER_ADAMW, "adamw", "arXiv 2012.12877", NULL, adamw},
    {.name = NULL},
};

static moco_status_t agree(const void *options)
{
    const moco_finetune_options_t *o = options;
    moco_status_t status = MOCO_OK;
    TRY(mo_option_at_least("crop_max_area", o->crop_max_area, "crop_min_area", o->crop_min_area));
    if (o->warmup_epochs > o->epochs)
        return mo_fail(MOCO_ERR_ARGUMENT, "warmup_epochs is %d, wanted at most epochs %d", o->warmup_epochs, o->epochs);
    TRY(mo_options_check_groups(o->batch_size, o->bn_groups, o->shard));
cleanup:
    return status;
}

const mo_option_table_t mo_finetune_options = {
    .name = "moco_finetune_options",
    .size = sizeof(moco_finetune_options_t),
    MO_OPTION_ROWS(rows),
    .presets = presets,
    .usual = MOCO_OPTIMIZER_ADAMW,
    .agree = agree,
    .agreement = "`crop_min_area` <= `crop_max_area`; `warmup_epochs` <= `epochs`; `batch_size` is a multiple of\n"
                 "`bn_groups` with at least 2 images for each; `shard` divides the images of a batch-norm group.",
};
