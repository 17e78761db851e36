/* A run's options: typed calls of the table's, fields that must agree, and what follows from
 * them. */
#include "train/options.h"

#include "data/data.h"
#include "eval/model.h"
#include "train/learner.h"
#include "train/methods/method.h"
#include "util/status.h"

/* ---- the table's calls, typed ---- */

int32_t mo_recipe_for(int32_t recipe, int32_t arch)
{
    return recipe == MOCO_RECIPE_V3 && mo_is_vit(arch) ? MOCO_RECIPE_V3_VIT : recipe;
}

moco_status_t mo_options_defaults_for(int32_t recipe, int32_t arch, moco_trainer_options_t *out)
{
    if (arch < MOCO_ARCH_RECIPE || arch > MOCO_ARCH_VIT_CONV_BASE)
        return mo_fail(MOCO_ERR_ARGUMENT, "arch is %d, wanted %d to %d, or %d for the recipe's", arch,
                       MOCO_ARCH_RESNET18, MOCO_ARCH_VIT_CONV_BASE, MOCO_ARCH_RECIPE);
    moco_status_t status = mo_options_defaults(mo_recipe_for(recipe, arch), out);
    if (status == MOCO_OK && arch != MOCO_ARCH_RECIPE)
        out->arch = arch;
    return status;
}

moco_status_t mo_options_defaults(int32_t recipe, moco_trainer_options_t *out)
{
    return mo_option_defaults(&mo_trainer_options, recipe, out);
}

moco_status_t mo_options_overlay(const moco_trainer_options_t *caller, moco_trainer_options_t *full)
{
    return mo_option_overlay(&mo_trainer_options, caller, full);
}

moco_status_t mo_options_check(const moco_trainer_options_t *options)
{
    return mo_option_check(&mo_trainer_options, options);
}

moco_status_t mo_options_compare(const moco_trainer_options_t *saved, const moco_trainer_options_t *now)
{
    return mo_option_compare(&mo_trainer_options, saved, now);
}

moco_status_t mo_options_to_json(const moco_trainer_options_t *options, char **json)
{
    return mo_option_to_json(&mo_trainer_options, options, json);
}

moco_status_t mo_options_from_json(const char *json, moco_trainer_options_t *out)
{
    return mo_option_from_json(&mo_trainer_options, json, out);
}

/* ---- fields that must agree ---- */

moco_status_t mo_options_check_groups(int32_t batch, int32_t groups, int32_t shard)
{
    if (batch % groups != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "batch_size is %d, wanted a multiple of bn_groups %d", batch, groups);
    if (batch / groups < 2)
        return mo_fail(MOCO_ERR_ARGUMENT, "bn_groups is %d, wanted at least 2 images of batch_size %d in each", groups,
                       batch);
    if (shard != 0 && batch / groups % shard != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "shard is %d, wanted 0 or a divisor of the %d images of a batch-norm group",
                       shard, batch / groups);
    return MOCO_OK;
}

moco_status_t mo_options_check_vit(const moco_trainer_options_t *o)
{
    mo_encoder_spec_t spec = mo_encoder_spec_of(o);
    return mo_vit_check(&spec);
}

void mo_options_views(const moco_trainer_options_t *options, mo_view_spec_t *spec)
{
    const double blur = options->blur_probability, blur_2 = options->blur_probability_2;
    const double solarize = options->solarize_probability, solarize_2 = options->solarize_probability_2;
    *spec = (mo_view_spec_t){
        .order = options->views,
        .size = options->image_size,
        .resize_filter = options->resize_filter,
        .crop_tries = options->crop_tries,
        .blur_form = options->blur_form,
        .crop_min_area = options->crop_min_area,
        .crop_max_area = options->crop_max_area,
        .brightness = options->jitter_brightness,
        .contrast = options->jitter_contrast,
        .saturation = options->jitter_saturation,
        .hue = options->jitter_hue,
        .jitter_probability = options->jitter_probability,
        .gray_probability = options->gray_probability,
        .blur_sigma_min = options->blur_sigma_min,
        .blur_sigma_max = options->blur_sigma_max,
        .flip_probability = options->flip_probability,
        .blur_probability = {blur, blur_2 == -1 ? blur : blur_2},
        .solarize_probability = {solarize, solarize_2 == -1 ? solarize : solarize_2},
    };
}

static moco_status_t check_views(const moco_trainer_options_t *o)
{
    mo_view_spec_t spec;
    mo_options_views(o, &spec);
    return mo_view_spec_check(&spec);
}

moco_status_t mo_options_check_views(const moco_trainer_options_t *o)
{
    const moco_status_t status = mo_option_check_ranges(&mo_trainer_options, o);
    return status == MOCO_OK ? check_views(o) : status;
}

moco_status_t mo_options_agree(const void *options)
{
    const moco_trainer_options_t *o = options;
    moco_status_t status = MOCO_OK;
    TRY(check_views(o));
    TRY(mo_options_check_groups(o->batch_size, o->bn_groups, o->shard));
    if (o->schedule == MOCO_SCHEDULE_STEP)
        TRY(mo_option_at_least("milestone_2", o->milestone_2, "milestone_1", o->milestone_1));
    TRY(mo_options_check_vit(o));
    if (o->precision == MOCO_PRECISION_F16) /* the smallest f16 number is 6e-8 */
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "precision is f16, wanted float32 or bf16 to train: gradients would become 0");
    TRY(mo_method_check(o));
cleanup:
    return status;
}

/* ---- what follows from them ---- */

int32_t mo_options_shard(const moco_trainer_options_t *o)
{
    return mo_shard_size(o->batch_size, o->bn_groups, o->shard);
}
