/* The fields of moco_trainer_options_t and moco_run_options_t: name, type, default, range, unit,
 * meaning. The defaults are what most recipes share; recipe.c says what each of them changes. Pure
 * data, walked by util/options.c. */
#include <stddef.h>

#include "nets/names.h"
#include "train/options.h"
#include "util/names.h"

/* A new field goes to the end of the struct and of its table. */
_Static_assert(sizeof(moco_trainer_options_t) == 472, "every field has a row and there is no padding");
_Static_assert(offsetof(moco_trainer_options_t, queue_length) == 96, "fields keep their places");
_Static_assert(offsetof(moco_trainer_options_t, loader_threads) == 460, "fields keep their places");
_Static_assert(offsetof(moco_trainer_options_t, precision) == 464, "fields keep their places");
_Static_assert(sizeof(void *) != 8 || sizeof(moco_run_options_t) == 72,
               "every field has a row and there is no padding");

static const char *const membership_names[] = {"contiguous", "strided"};
static const char *const views_names[] = {"v1", "v2", "cifar", "v3", "simclr", "simclr-code"};
static const char *const running_names[] = {"mean", "first"};
static const char *const loss_names[] = {"queue", "batch", "nt-xent", "regression"};
static const char *const loss_scale_names[] = {"one", "two", "2t"};
static const char *const unit_names[] = {"epoch", "step"};
static const char *const momentum_names[] = {"constant", "cosine"};
static const char *const execution_names[] = {"auto", "one-pass", "two-pass"};
static const char *const blur_names[] = {"pillow", "gaussian"};

#define AT(field) MO_OPTION_AT(moco_trainer_options_t, field)
#define NAMES(list) MO_OPTION_NAMES(list), ""
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

/* name and place, type, default, min, max, flags, names, unit, meaning */
static const mo_option_row_t trainer_rows[] = {
    {AT(recipe), MO_OPTION_PRESET, 0, 0, 0, 0, NULL, "", "where the values came from; chosen first, not settable"},

    /* network */
    {AT(arch), ENUM, MOCO_ARCH_RESNET50, NAMES(mo_arch_names), "the backbone"},
    {AT(stem), ENUM, MOCO_STEM_IMAGENET, NAMES(mo_stem_names),
     "first layers: 7x7 stride 2 and max pooling, or 3x3 stride 1"},
    {AT(image_size), I32, 224, 16, 1024, 0, NULL, "pixels", "side of a view"},
    {AT(width), F64, 1, 0.0625, 8, 0, NULL, "", "channel multiplier: max(16, nearest multiple of 16)"},
    {AT(zero_init_residual), I32, 0, 0, 1, 0, NULL, "", "1: residual branches start at 0"},
    {AT(patch_size), I32, 0, 0, 1024, 0, NULL, "pixels", "of a ViT, divides image_size; 0 = as published"},
    {AT(vit_depth), I32, 0, 0, 1024, 0, NULL, "blocks", "of a ViT; 0 = as published"},
    {AT(vit_heads), I32, 0, 0, 1024, 0, NULL, "", "attention heads of a ViT; 0 = as published"},
    {AT(vit_norm), ENUM, MOCO_VIT_NORM_LAYER, NAMES(mo_vit_norm_names),
     "before a ViT's MLPs: layer norm, or batch norm (ViT-BN)"},
    {AT(freeze_patch), I32, 0, 0, 1, 0, NULL, "", "1: a ViT's patch projection keeps its first values"},

    /* method */
    {AT(loss), ENUM, MOCO_LOSS_QUEUE, NAMES(loss_names),
     "negatives: the queue, the other view's keys, all 2B views, none"},
    {AT(loss_scale), ENUM, MOCO_LOSS_SCALE_ONE, NAMES(loss_scale_names), "factor on the loss: 1, 2 or 2 temperature"},
    {AT(symmetric), I32, 0, 0, 1, 0, NULL, "", "1: both views are queries in turn, losses summed"},
    {AT(predictor), I32, 0, 0, 1, 0, NULL, "", "1: a predictor follows the query's projection"},
    {AT(temperature), F64, 0.2, 1e-3, 1e3, 0, NULL, "", "divides the logits"},
    {AT(key_momentum), F64, 0.999, 0, 1, 0, NULL, "", "m of k <- m k + (1-m) q"},
    {AT(momentum_schedule), ENUM, MOCO_MOMENTUM_CONSTANT, NAMES(momentum_names),
     "of key_momentum: stays, or rises to 1"},
    {AT(execution), ENUM, MOCO_EXECUTION_AUTO, NAMES(execution_names),
     "whole-batch losses; auto: two passes for a plain ViT"},
    {AT(queue_length), I64, 65536, 1, 16777216, 0, NULL, "keys", "K, keys in the queue"},

    /* projection head */
    {AT(head), ENUM, MOCO_HEAD_MLP, NAMES(mo_head_names), "projection head; docs/architecture.md lists their layers"},
    {AT(head_width), I32, 0, 0, 65536, 0, NULL, "", "hidden width of heads; 0 = the backbone's"},
    {AT(head_layers), I32, 0, 0, 3, 0, NULL, "", "linear layers of mlp-v3, -simclr and -byol; 0 = as published"},
    {AT(dimension), I32, 128, 1, 65536, 0, NULL, "", "D, width of the projection"},

    /* batch and batch-norm groups */
    {AT(batch_size), I32, 256, 2, 65536, 0, NULL, "images", "B, images per step"},
    {AT(bn_groups), I32, 1, 1, 32768, 0, NULL, "", "V, batch-norm groups; B mod V = 0 and B/V >= 2"},
    {AT(membership), ENUM, MOCO_MEMBERSHIP_CONTIGUOUS, NAMES(membership_names), "which images share a group"},
    {AT(shuffle), I32, 0, 0, 1, 0, NULL, "", "1: keys are shuffled over the groups"},
    {AT(bn_running), ENUM, MOCO_BN_RUNNING_MEAN, NAMES(running_names),
     "running statistics: mean over groups, or the first group's"},
    {AT(shard), I32, 0, 0, 65536, 0, NULL, "images", "per shard, divides B/V; 0 = largest s <= 32 with B/s >= 2"},

    /* optimizer and schedule */
    {AT(optimizer), ENUM, MOCO_OPTIMIZER_SGD, NAMES(mo_optimizer_names),
     "lars-simclr has the rate inside its momentum"},
    {AT(lr_scaling), ENUM, MOCO_LR_SCALING_LINEAR, NAMES(mo_lr_scaling_names),
     "rate = base_lr times 1, batch_size/256, or batch_size's root"},
    {AT(base_lr), F64, 0.03, 0, 1e3, 0, NULL, "", "learning rate before lr_scaling: at batch 256 with linear"},
    {AT(weight_decay), F64, 1e-4, 0, 10, 0, NULL, "", "on every parameter; LARS: not on vectors"},
    {AT(sgd_momentum), F64, 0.9, 0, 1, BELOW, NULL, "", "momentum of SGD and LARS"},
    {AT(lars_trust), F64, 0.001, 0, 1, ABOVE, NULL, "", "LARS: trust coefficient"},
    {AT(adam_beta1), F64, 0.9, 0, 1, BELOW, NULL, "", "AdamW: decay of the mean gradient"},
    {AT(adam_beta2), F64, 0.999, 0, 1, BELOW, NULL, "", "AdamW: decay of the mean squared gradient"},
    {AT(adam_epsilon), F64, 1e-8, 0, 1, ABOVE, NULL, "", "AdamW: added to the root"},
    {AT(epochs), I32, 200, 1, MILLION, 0, NULL, "", "E, passes over the data"},
    {AT(steps_per_epoch), I32, 0, 0, I32_MAX, 0, NULL, "steps", "push mode: of an epoch; 0 = constant rates"},
    {AT(warmup_epochs), I32, 0, 0, MILLION, 0, NULL, "epochs", "the rate rises linearly from 0"},
    {AT(schedule), ENUM, MOCO_SCHEDULE_COSINE, NAMES(mo_schedule_names), "of the learning rate"},
    {AT(schedule_unit), ENUM, MOCO_SCHEDULE_PER_EPOCH, NAMES(unit_names), "the rate changes every epoch or every step"},
    {AT(first_epoch), I32, 0, 0, 1, 0, NULL, "", "what the schedule counts the first epoch as"},
    {AT(milestone_1), I32, 120, 0, MILLION, 0, NULL, "epochs", "first factor of the step schedule"},
    {AT(milestone_2), I32, 160, 0, MILLION, 0, NULL, "epochs", "second factor; not before milestone_1"},
    {AT(lr_factor), F64, 0.1, 0, 1, ABOVE, NULL, "", "of the rate at each milestone of the step schedule"},

    /* views */
    {AT(views), ENUM, MOCO_VIEWS_V2, NAMES(views_names), "order of the view pipeline"},
    {AT(resize_filter), ENUM, MOCO_FILTER_BILINEAR, NAMES(mo_filter_names), "of crops"},
    {AT(crop_tries), I32, 10, 1, 1000, 0, NULL, "", "random boxes tried before the central one"},
    {AT(blur_form), ENUM, MOCO_BLUR_PILLOW, NAMES(blur_names),
     "three box blurs as Pillow's, or a true Gaussian kernel"},
    {AT(crop_min_area), F64, 0.2, 0, 1, ABOVE, NULL, "share", "smallest crop, of the image's area"},
    {AT(crop_max_area), F64, 1, 0, 1, ABOVE, NULL, "share", "largest crop; at least crop_min_area"},
    {AT(jitter_brightness), F64, 0.4, 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_contrast), F64, 0.4, 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_saturation), F64, 0.4, 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_hue), F64, 0.1, 0, 0.5, 0, NULL, "hue circles", "x of the shift U[-x,x]"},
    {AT(jitter_probability), F64, 0.8, 0, 1, 0, NULL, "", "of the colour jitter"},
    {AT(gray_probability), F64, 0.2, 0, 1, 0, NULL, "", "of turning gray"},
    {AT(blur_probability), F64, 0.5, 0, 1, 0, NULL, "",
     "of the Gaussian blur; views v2, v3 and both of simclr have one"},
    {AT(blur_probability_2), F64, -1, 0, 1, MO_OPTION_OR_MINUS_1, NULL, "", "of the second view; -1 = as the first"},
    {AT(blur_sigma_min), F64, 0.1, 0.01, 100, 0, NULL, "pixels", "smallest standard deviation of the blur"},
    {AT(blur_sigma_max), F64, 2, 0.01, 100, 0, NULL, "pixels", "largest; at least blur_sigma_min"},
    {AT(solarize_probability), F64, 0, 0, 1, 0, NULL, "", "of solarizing; above 0 only with views v3"},
    {AT(solarize_probability_2), F64, -1, 0, 1, MO_OPTION_OR_MINUS_1, NULL, "",
     "of the second view; -1 = as the first"},
    {AT(flip_probability), F64, 0.5, 0, 1, 0, NULL, "", "of the mirror image"},
    {AT(mean_r), F64, 0.485, -1e3, 1e3, 0, NULL, "", "subtracted from red in 0..1"},
    {AT(mean_g), F64, 0.456, -1e3, 1e3, 0, NULL, "", "subtracted from green in 0..1"},
    {AT(mean_b), F64, 0.406, -1e3, 1e3, 0, NULL, "", "subtracted from blue in 0..1"},
    {AT(std_r), F64, 0.229, 1e-6, 1e6, 0, NULL, "", "divides red"},
    {AT(std_g), F64, 0.224, 1e-6, 1e6, 0, NULL, "", "divides green"},
    {AT(std_b), F64, 0.225, 1e-6, 1e6, 0, NULL, "", "divides blue"},

    /* data and run */
    {AT(seed), U64, 0, 0, 0, 0, NULL, "", "fixes weights, queue, order, shuffles and views"},
    {AT(memory_cap), I64, 0, 0, WIDE_MAX, FREE, NULL, "bytes", "what the plan may take; 0 = what the machine has left"},
    {AT(max_broken), I64, 0, 0, WIDE_MAX, FREE, NULL, "images", "or past this number; 0 = only the share counts"},
    {AT(max_broken_percent), I32, 50, 0, 100, FREE, NULL, "%", "a run fails past this share of broken images"},
    {AT(loader_threads), I32, 0, 0, 256, FREE, NULL, "", "decoding threads; 0 = one per lane"},
    {AT(precision), ENUM, MOCO_PRECISION_FLOAT32, 0, MOCO_PRECISION_F16, FREE, mo_precision_names, "",
     "of products in the backbones; f16 is refused"},
    {AT(reserved), I32, 0, 0, 0, 0, NULL, "", "0"},
};

/* Names that options had in files of earlier versions. */
static const mo_option_alias_t aliases[] = {{"virtual_devices", "bn_groups"}, {NULL, NULL}};

const mo_option_table_t mo_trainer_options = {
    .name = "moco_trainer_options",
    .size = sizeof(moco_trainer_options_t),
    MO_OPTION_ROWS(trainer_rows),
    .presets = mo_recipes,
    .usual = -1,
    .aliases = aliases,
    .agree = mo_options_agree,
    .agreement = "`batch_size` is a multiple of `bn_groups` with at least 2 images for each; `shard` divides the\n"
                 "images of a batch-norm group; `crop_min_area` <= `crop_max_area`; `blur_sigma_min` <=\n"
                 "`blur_sigma_max`; with the step schedule `milestone_1` <= `milestone_2`; `blur_probability` is 0\n"
                 "unless `views` is v2, v3, simclr or simclr-code; `solarize_probability` is 0 unless `views` is v3;\n"
                 "`nt-xent` wants `symmetric` and `predictor` 0, `regression` wants `predictor` 1; a loss or heads\n"
                 "over the whole batch (`batch`, `nt-xent`, `regression`) are refused in one pass with more than one\n"
                 "batch-norm group, and in two passes with one where the backbone has batch norm and the images of\n"
                 "the group do not fit one shard.",
};

#undef AT
#define AT(field) MO_OPTION_AT(moco_run_options_t, field)

static const mo_option_row_t run_rows[] = {
    {AT(cancel), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "what stops the run from another thread"},
    {AT(progress), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "is told of each step"},
    {AT(user), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "handed to `progress`"},
    {AT(max_steps), I64, 0, 0, WIDE_MAX, 0, NULL, "steps", "stop when so many are done in all; 0 = to the end"},
    {AT(save_every), I64, 0, 0, WIDE_MAX, 0, NULL, "steps", "between saves inside an epoch; 0 = not by steps"},
    {AT(save_minutes), F64, 10, 0, 1e6, 0, NULL, "minutes",
     "between saves inside an epoch; 0 = not by time. Each epoch's end and any stop save, too"},
    {AT(eval_every), I32, 1, 1, I32_MAX, 0, NULL, "epochs", "between kNN evaluations, where a test set is given"},
    {AT(log_every), I32, 1, 1, I32_MAX, 0, NULL, "steps", "between lines of log.jsonl"},
    {AT(overwrite), I32, 0, 0, 1, 0, NULL, "", "1: a new trainer may replace the files of another run"},
    {AT(reserved), I32, 0, 0, 0, 0, NULL, "", "0"},
};

const mo_option_table_t mo_run_options = {
    .name = "moco_run_options",
    .size = sizeof(moco_run_options_t),
    MO_OPTION_ROWS(run_rows),
    .agreement = "",
};

#undef AT
#define AT(field) MO_OPTION_AT(moco_snapshot_options_t, field)

static const char *const encoder_names[] = {"query", "key"};

static const mo_option_row_t snapshot_rows[] = {
    {AT(encoder), ENUM, MOCO_ENCODER_QUERY, NAMES(encoder_names), "which one becomes the model"},
    {AT(drop_head), I32, 0, 0, 1, 0, NULL, "", "1: the backbone alone; 0: with the projection head"},
};

const mo_option_table_t mo_snapshot_options = {
    .name = "moco_snapshot_options",
    .size = sizeof(moco_snapshot_options_t),
    MO_OPTION_ROWS(snapshot_rows),
    .agreement = "",
};
