/* The table of options and the recipes in it: MoCo v1 (arXiv 1911.05722), v2 (arXiv 2003.04297), the CIFAR-10
 * demonstration at batch 256, v3 (arXiv 2104.02057) for ResNet-50 and for ViT, SimCLR (arXiv 2002.05709). Pure data;
 * options.c and options_text.c walk it. */
#include "train/options.h"

#include <stddef.h>
#include <string.h>

#include "util/status.h"

/* Fields only ever get appended. A new field changes this number and adds a row. */
_Static_assert(sizeof(moco_trainer_options_t) == 464, "every field has a table row and there is no padding");
_Static_assert(offsetof(moco_trainer_options_t, queue_length) == 96, "fields keep their places");
_Static_assert(offsetof(moco_trainer_options_t, loader_threads) == 460, "fields keep their places");

static const char *const recipe_names[] = {"moco-v1", "moco-v2", "moco-cifar", "moco-v3", "simclr",
                                           "moco-v3-vit", NULL};
static const char *const arch_names[] = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
                                         "vit_small", "vit_base", "vit_large", "vit_huge",
                                         "vit_conv_small", "vit_conv_base", NULL};
static const char *const stem_names[] = {"imagenet", "cifar", NULL};
static const char *const head_names[] = {"linear", "mlp", "mlp-v3", "mlp-simclr", NULL};
static const char *const membership_names[] = {"contiguous", "strided", NULL};
static const char *const schedule_names[] = {"constant", "step", "cosine", NULL};
static const char *const views_names[] = {"v1", "v2", "cifar", "v3", "simclr", NULL};
static const char *const running_names[] = {"mean", "first", NULL};
static const char *const loss_names[] = {"queue", "batch", "nt-xent", NULL};
static const char *const loss_scale_names[] = {"one", "two", "2t", NULL};
static const char *const optimizer_names[] = {"sgd", "lars", "lars-simclr", "adamw", NULL};
static const char *const scaling_names[] = {"none", "linear", "sqrt", NULL};
static const char *const unit_names[] = {"epoch", "step", NULL};
static const char *const momentum_names[] = {"constant", "cosine", NULL};
static const char *const execution_names[] = {"auto", "one-pass", "two-pass", NULL};
static const char *const vit_norm_names[] = {"layer", "batch", NULL};
static const char *const filter_names[] = {"bilinear", "bicubic", NULL};
static const char *const blur_names[] = {"pillow", "gaussian", NULL};

#define AT(field) #field, offsetof(moco_trainer_options_t, field)
#define SAME(x) {x, x, x, x, x, x}
#define NAMES(list) 0, sizeof(list) / sizeof(list[0]) - 2, 0, list, ""
#define MILLION 1000000
#define I32_MAX 2147483647
#define WIDE_MAX 1152921504606846976.0 /* 2^60: far beyond use, and exact in a double */
#define U64 MO_OPTION_U64
#define I64 MO_OPTION_I64
#define I32 MO_OPTION_I32
#define ENUM MO_OPTION_ENUM
#define F64 MO_OPTION_F64
#define FREE MO_OPTION_FREE
#define ABOVE MO_OPTION_ABOVE_MIN
#define BELOW MO_OPTION_BELOW_MAX

/* name and place, type, defaults of v1, v2, cifar, v3, simclr, v3 for ViT, min, max, flags, names, unit, meaning */
static const mo_option_row_t rows[] = {
    {AT(recipe), ENUM, {0, 1, 2, 3, 4, 5}, NAMES(recipe_names),
     "where the values came from; chosen first, not settable"},
    {AT(arch), ENUM, {2, 2, 0, 2, 2, 5}, NAMES(arch_names), "the backbone"},
    {AT(stem), ENUM, {0, 0, 1, 0, 0, 0}, NAMES(stem_names),
     "first layers: 7x7 stride 2 and max pooling, or 3x3 stride 1"},
    {AT(image_size), I32, {224, 224, 32, 224, 224, 224}, 16, 1024, 0, NULL, "pixels", "side of a view"},
    {AT(width), F64, SAME(1), 0.0625, 8, 0, NULL, "", "channel multiplier: max(16, nearest multiple of 16)"},
    {AT(zero_init_residual), I32, {0, 0, 0, 1, 1, 0}, 0, 1, 0, NULL, "", "1: residual branches start at 0"},
    {AT(patch_size), I32, SAME(0), 0, 1024, 0, NULL, "pixels", "of a ViT, divides image_size; 0 = as published"},
    {AT(vit_depth), I32, SAME(0), 0, 1024, 0, NULL, "blocks", "of a ViT; 0 = as published"},
    {AT(vit_heads), I32, SAME(0), 0, 1024, 0, NULL, "", "attention heads of a ViT; 0 = as published"},
    {AT(vit_norm), ENUM, SAME(0), NAMES(vit_norm_names), "before a ViT's MLPs: layer norm, or batch norm (ViT-BN)"},
    {AT(freeze_patch), I32, {0, 0, 0, 1, 0, 1}, 0, 1, 0, NULL, "",
     "1: a ViT's patch projection keeps its first values"},
    {AT(loss), ENUM, {0, 0, 0, 1, 2, 1}, NAMES(loss_names),
     "negatives: the queue, the other view's keys, all 2B views"},
    {AT(loss_scale), ENUM, {0, 0, 0, 2, 0, 2}, NAMES(loss_scale_names), "factor on the loss: 1, 2 or 2 temperature"},
    {AT(symmetric), I32, {0, 0, 0, 1, 0, 1}, 0, 1, 0, NULL, "", "1: both views are queries in turn, losses summed"},
    {AT(predictor), I32, {0, 0, 0, 1, 0, 1}, 0, 1, 0, NULL, "", "1: a predictor follows the query's projection"},
    {AT(temperature), F64, {0.07, 0.2, 0.1, 1, 0.1, 0.2}, 1e-3, 1e3, 0, NULL, "", "divides the logits"},
    {AT(key_momentum), F64, {0.999, 0.999, 0.99, 0.99, 0, 0.99}, 0, 1, 0, NULL, "", "m of k <- m k + (1-m) q"},
    {AT(momentum_schedule), ENUM, {0, 0, 0, 1, 0, 1}, NAMES(momentum_names), "of key_momentum: stays, or rises to 1"},
    {AT(execution), ENUM, SAME(0), NAMES(execution_names), "whole-batch losses; auto: two passes for a plain ViT"},
    {AT(queue_length), I64, {65536, 65536, 4096, 65536, 65536, 65536}, 1, 16777216, 0, NULL, "keys",
     "K, keys in the queue"},
    {AT(head), ENUM, {0, 1, 0, 2, 3, 2}, NAMES(head_names), "projection head; docs/architecture.md lists their layers"},
    {AT(head_width), I32, {0, 0, 0, 4096, 0, 4096}, 0, 65536, 0, NULL, "", "hidden width of heads; 0 = the backbone's"},
    {AT(head_layers), I32, SAME(0), 0, 3, 0, NULL, "", "linear layers of mlp-v3 and mlp-simclr; 0 = as published"},
    {AT(dimension), I32, {128, 128, 128, 256, 128, 256}, 1, 65536, 0, NULL, "", "D, width of the projection"},
    {AT(batch_size), I32, {256, 256, 256, 4096, 4096, 4096}, 2, 65536, 0, NULL, "images", "B, images per step"},
    {AT(bn_groups), I32, {8, 8, 8, 1, 1, 1}, 1, 32768, 0, NULL, "",
     "V, batch-norm groups; B mod V = 0 and B/V >= 2"},
    {AT(membership), ENUM, {0, 0, 1, 0, 0, 0}, NAMES(membership_names), "which images share a group"},
    {AT(shuffle), I32, {1, 1, 1, 0, 0, 0}, 0, 1, 0, NULL, "", "1: keys are shuffled over the groups"},
    {AT(bn_running), ENUM, SAME(0), NAMES(running_names), "running statistics: mean over groups, or the first group's"},
    {AT(shard), I32, SAME(0), 0, 65536, 0, NULL, "images", "per shard, divides B/V; 0 = largest s <= 32 with B/s >= 2"},
    {AT(optimizer), ENUM, {0, 0, 0, 1, 2, 3}, NAMES(optimizer_names), "lars-simclr has the rate inside its momentum"},
    {AT(lr_scaling), ENUM, SAME(1), NAMES(scaling_names), "rate = base_lr times 1, batch_size/256, or batch_size's root"},
    {AT(base_lr), F64, {0.03, 0.03, 0.03, 0.6, 0.3, 1.5e-4}, 0, 1e3, 0, NULL, "",
     "learning rate before lr_scaling: at batch 256 with linear"},
    {AT(weight_decay), F64, {1e-4, 1e-4, 5e-4, 1e-6, 1e-6, 0.1}, 0, 10, 0, NULL, "",
     "on every parameter; LARS: not on vectors"},
    {AT(sgd_momentum), F64, SAME(0.9), 0, 1, BELOW, NULL, "", "momentum of SGD and LARS"},
    {AT(lars_trust), F64, SAME(0.001), 0, 1, ABOVE, NULL, "", "LARS: trust coefficient"},
    {AT(adam_beta1), F64, SAME(0.9), 0, 1, BELOW, NULL, "", "AdamW: decay of the mean gradient"},
    {AT(adam_beta2), F64, SAME(0.999), 0, 1, BELOW, NULL, "", "AdamW: decay of the mean squared gradient"},
    {AT(adam_epsilon), F64, SAME(1e-8), 0, 1, ABOVE, NULL, "", "AdamW: added to the root"},
    {AT(epochs), I32, {200, 200, 200, 100, 100, 300}, 1, MILLION, 0, NULL, "", "E, passes over the data"},
    {AT(steps_per_epoch), I32, SAME(0), 0, I32_MAX, 0, NULL, "steps", "push mode: of an epoch; 0 = constant rates"},
    {AT(warmup_epochs), I32, {0, 0, 0, 10, 10, 40}, 0, MILLION, 0, NULL, "epochs", "the rate rises linearly from 0"},
    {AT(schedule), ENUM, {1, 2, 2, 2, 2, 2}, NAMES(schedule_names), "of the learning rate"},
    {AT(schedule_unit), ENUM, {0, 0, 0, 1, 1, 1}, NAMES(unit_names), "the rate changes every epoch or every step"},
    {AT(first_epoch), I32, {0, 0, 1, 0, 0, 0}, 0, 1, 0, NULL, "", "what the schedule counts the first epoch as"},
    {AT(milestone_1), I32, SAME(120), 0, MILLION, 0, NULL, "epochs", "first factor of the step schedule"},
    {AT(milestone_2), I32, SAME(160), 0, MILLION, 0, NULL, "epochs", "second factor; not before milestone_1"},
    {AT(lr_factor), F64, SAME(0.1), 0, 1, ABOVE, NULL, "", "of the rate at each milestone of the step schedule"},
    {AT(views), ENUM, {0, 1, 2, 3, 4, 3}, NAMES(views_names), "order of the view pipeline"},
    {AT(resize_filter), ENUM, {0, 0, 0, 0, 1, 0}, NAMES(filter_names), "of crops"},
    {AT(crop_tries), I32, {10, 10, 10, 10, 100, 10}, 1, 1000, 0, NULL, "", "random boxes tried before the central one"},
    {AT(blur_form), ENUM, {0, 0, 0, 0, 1, 0}, NAMES(blur_names),
     "three box blurs as Pillow's, or a true Gaussian kernel"},
    {AT(crop_min_area), F64, {0.2, 0.2, 0.08, 0.2, 0.08, 0.08}, 0, 1, ABOVE, NULL, "share",
     "smallest crop, of the image's area"},
    {AT(crop_max_area), F64, SAME(1), 0, 1, ABOVE, NULL, "share", "largest crop; at least crop_min_area"},
    {AT(jitter_brightness), F64, {0.4, 0.4, 0.4, 0.4, 0.8, 0.4}, 0, 10, 0, NULL, "",
     "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_contrast), F64, {0.4, 0.4, 0.4, 0.4, 0.8, 0.4}, 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_saturation), F64, {0.4, 0.4, 0.4, 0.2, 0.8, 0.2}, 0, 10, 0, NULL, "",
     "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_hue), F64, {0.4, 0.1, 0.1, 0.1, 0.2, 0.1}, 0, 0.5, 0, NULL, "hue circles", "x of the shift U[-x,x]"},
    {AT(jitter_probability), F64, {1, 0.8, 0.8, 0.8, 0.8, 0.8}, 0, 1, 0, NULL, "", "of the colour jitter"},
    {AT(gray_probability), F64, SAME(0.2), 0, 1, 0, NULL, "", "of turning gray"},
    {AT(blur_probability), F64, {0, 0.5, 0, 1, 0.5, 1}, 0, 1, 0, NULL, "",
     "of the Gaussian blur; views v2, v3 and simclr have one"},
    {AT(blur_probability_2), F64, {-1, -1, -1, 0.1, -1, 0.1}, -1, 1, 0, NULL, "",
     "of the second view; -1 = as the first"},
    {AT(blur_sigma_min), F64, SAME(0.1), 0.01, 100, 0, NULL, "pixels", "smallest standard deviation of the blur"},
    {AT(blur_sigma_max), F64, SAME(2), 0.01, 100, 0, NULL, "pixels", "largest; at least blur_sigma_min"},
    {AT(solarize_probability), F64, SAME(0), 0, 1, 0, NULL, "", "of solarizing; above 0 only with views v3"},
    {AT(solarize_probability_2), F64, {-1, -1, -1, 0.2, -1, 0.2}, -1, 1, 0, NULL, "",
     "of the second view; -1 = as the first"},
    {AT(flip_probability), F64, SAME(0.5), 0, 1, 0, NULL, "", "of the mirror image"},
    {AT(mean_r), F64, {0.485, 0.485, 0.4914, 0.485, 0, 0.485}, -1e3, 1e3, 0, NULL, "", "subtracted from red in 0..1"},
    {AT(mean_g), F64, {0.456, 0.456, 0.4822, 0.456, 0, 0.456}, -1e3, 1e3, 0, NULL, "", "subtracted from green in 0..1"},
    {AT(mean_b), F64, {0.406, 0.406, 0.4465, 0.406, 0, 0.406}, -1e3, 1e3, 0, NULL, "", "subtracted from blue in 0..1"},
    {AT(std_r), F64, {0.229, 0.229, 0.2023, 0.229, 1, 0.229}, 1e-6, 1e6, 0, NULL, "", "divides red"},
    {AT(std_g), F64, {0.224, 0.224, 0.1994, 0.224, 1, 0.224}, 1e-6, 1e6, 0, NULL, "", "divides green"},
    {AT(std_b), F64, {0.225, 0.225, 0.2010, 0.225, 1, 0.225}, 1e-6, 1e6, 0, NULL, "", "divides blue"},
    {AT(seed), U64, SAME(0), 0, 0, 0, NULL, "", "fixes weights, queue, order, shuffles and views"},
    {AT(memory_cap), I64, SAME(0), 0, WIDE_MAX, FREE, NULL, "bytes", "what the plan may take; 0 = no cap"},
    {AT(max_broken), I64, SAME(0), 0, WIDE_MAX, FREE, NULL, "images", "or past this number; 0 = only the share counts"},
    {AT(max_broken_percent), I32, SAME(50), 0, 100, FREE, NULL, "%", "a run fails past this share of broken images"},
    {AT(loader_threads), I32, SAME(0), 0, 256, FREE, NULL, "", "decoding threads; 0 = one per lane"},
};

const mo_option_row_t *mo_option_rows(int32_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

/* Names that options had in files of earlier versions. */
static const struct alias {
    const char *old, *name;
} aliases[] = {{"virtual_devices", "bn_groups"}};

const mo_option_row_t *mo_option_find(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (strcmp(aliases[i].old, name) == 0)
            name = aliases[i].name;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

const char *mo_recipe_name(int32_t recipe)
{
    return recipe >= 0 && recipe < MO_RECIPES ? recipe_names[recipe] : NULL;
}

int32_t mo_recipe_number(const char *name)
{
    for (int32_t i = 0; recipe_names[i] != NULL; i++) {
        if (strcmp(recipe_names[i], name) == 0)
            return i;
    }
    return -1;
}

moco_status_t mo_recipe_check(int32_t recipe)
{
    if (recipe >= 0 && recipe < MO_RECIPES)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT,
                   "recipe is %d, wanted moco-v1 (0), moco-v2 (1), moco-cifar (2), moco-v3 (3), simclr (4) or "
                   "moco-v3-vit (5)",
                   (int)recipe);
}
