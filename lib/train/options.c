/* Defaults, checks and comparisons of a run's options, by walking the table in recipe.c. */
#include "train/options.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "eval/model.h"
#include "train/method.h"
#include "util/status.h"
#include "util/structsize.h"

/* ---- fields as numbers ---- */

static void *field(moco_trainer_options_t *options, const mo_option_row_t *row)
{
    return (uint8_t *)options + row->offset;
}

double mo_option_get(const moco_trainer_options_t *options, const mo_option_row_t *row)
{
    const void *at = (const uint8_t *)options + row->offset;
    switch (row->type) {
    case MO_OPTION_U64:
        return (double)*(const uint64_t *)at;
    case MO_OPTION_I64:
        return (double)*(const int64_t *)at;
    case MO_OPTION_F64:
        return *(const double *)at;
    default:
        return *(const int32_t *)at;
    }
}

void mo_option_put(moco_trainer_options_t *options, const mo_option_row_t *row, double value)
{
    switch (row->type) {
    case MO_OPTION_U64:
        *(uint64_t *)field(options, row) = (uint64_t)value;
        break;
    case MO_OPTION_I64:
        *(int64_t *)field(options, row) = (int64_t)value;
        break;
    case MO_OPTION_F64:
        *(double *)field(options, row) = value;
        break;
    default:
        *(int32_t *)field(options, row) = (int32_t)value;
    }
}

static uint64_t field_size(const mo_option_row_t *row)
{
    return row->type == MO_OPTION_I32 || row->type == MO_OPTION_ENUM ? 4 : 8;
}

/* ---- defaults ---- */

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
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    moco_status_t status = mo_recipe_check(recipe);
    if (status != MOCO_OK)
        return status;
    *out = (moco_trainer_options_t){.struct_size = sizeof *out};
    for (int32_t i = 0; i < count; i++)
        mo_option_put(out, &rows[i], rows[i].recipe[recipe]);
    return MOCO_OK;
}

moco_status_t mo_options_overlay(const moco_trainer_options_t *caller, moco_trainer_options_t *full)
{
    moco_trainer_options_t defaults;
    if (caller == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "options is NULL");
    /* Without it nobody knows which defaults the missing fields should have. */
    if (caller->struct_size < offsetof(moco_trainer_options_t, recipe) + sizeof caller->recipe)
        return mo_fail(MOCO_ERR_ARGUMENT, "struct_size is %llu: fill options with moco_trainer_options_init first",
                       (unsigned long long)caller->struct_size);
    moco_status_t status = mo_options_defaults(caller->recipe, &defaults);
    if (status != MOCO_OK)
        return status;
    return mo_struct_overlay(caller, full, &defaults, sizeof defaults);
}

/* ---- checks ---- */

static moco_status_t check_range(const moco_trainer_options_t *options, const mo_option_row_t *row)
{
    double value = mo_option_get(options, row);
    int low = row->flags & MO_OPTION_ABOVE_MIN ? value <= row->min : value < row->min;
    int high = row->flags & MO_OPTION_BELOW_MAX ? value >= row->max : value > row->max;
    if (row->type == MO_OPTION_U64 || (!low && !high && isfinite(value)))
        return MOCO_OK;
    char found[MO_OPTION_TEXT], wanted[160];
    mo_option_text(options, row, found);
    mo_option_range(row, wanted, sizeof wanted);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %s, wanted %s", row->name, found, wanted);
}

static moco_status_t check_batch(const moco_trainer_options_t *o)
{
    int batch = o->batch_size, devices = o->bn_groups, shard = o->shard;
    if (batch % devices != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "batch_size is %d, wanted a multiple of bn_groups %d", batch, devices);
    if (batch / devices < 2)
        return mo_fail(MOCO_ERR_ARGUMENT, "bn_groups is %d, wanted at least 2 images of batch_size %d in each",
                       devices, batch);
    if (shard != 0 && batch / devices % shard != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "shard is %d, wanted 0 or a divisor of the %d images of a batch-norm group",
                       shard, batch / devices);
    return MOCO_OK;
}

static moco_status_t check_order(const char *low_name, double low, const char *high_name, double high)
{
    if (low <= high)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %g, wanted at least %s %g", high_name, high, low_name, low);
}

/* Of a second view: a probability, or -1 for that of the first. */
static moco_status_t check_second(const char *name, double value)
{
    if (value == -1 || value >= 0)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %g, wanted 0 to 1, or -1 for that of the first view", name, value);
}

static moco_status_t check_operations(const moco_trainer_options_t *o)
{
    int has_blur = o->views != MOCO_VIEWS_V1 && o->views != MOCO_VIEWS_CIFAR;
    if (!has_blur && (o->blur_probability > 0 || o->blur_probability_2 > 0))
        return mo_fail(MOCO_ERR_ARGUMENT, "blur_probability is %g, wanted 0: views v2, v3 and simclr have a blur",
                       o->blur_probability > 0 ? o->blur_probability : o->blur_probability_2);
    if (o->views != MOCO_VIEWS_V3 && (o->solarize_probability > 0 || o->solarize_probability_2 > 0))
        return mo_fail(MOCO_ERR_ARGUMENT, "solarize_probability is %g, wanted 0: only views v3 solarizes",
                       o->solarize_probability > 0 ? o->solarize_probability : o->solarize_probability_2);
    return MOCO_OK;
}

moco_status_t mo_options_check_vit(const moco_trainer_options_t *o)
{
    mo_encoder_spec_t spec = mo_encoder_spec_of(o);
    return mo_vit_check(&spec);
}

/* What a method needs of its other fields. */
static moco_status_t check_method(const moco_trainer_options_t *o)
{
    mo_method_t m = mo_method_of(o);
    int64_t group = m.rows / m.groups;
    if (o->loss == MOCO_LOSS_NT_XENT && (o->symmetric || o->predictor))
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is 1, wanted 0: nt-xent takes both views in one loss",
                       o->symmetric ? "symmetric" : "predictor");
    if (o->loss != MOCO_LOSS_QUEUE && !m.two_pass && o->bn_groups > 1)
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "execution is one-pass with bn_groups %d, wanted 1 or two passes: a loss "
                       "over the whole batch syncs all devices",
                       o->bn_groups);
    if (m.two_pass && o->bn_groups == 1 && mo_backbone_has_batchnorm(o) && group > mo_options_shard(o))
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "execution is two-pass with bn_groups 1, wanted one-pass or more devices: the backbone's "
                       "batch norm would cross the %lld images of the device, which do not fit one shard of %d",
                       (long long)group, mo_options_shard(o));
    return MOCO_OK;
}

moco_status_t mo_options_check_views(const moco_trainer_options_t *o)
{
    moco_status_t status = MOCO_OK;
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    for (int32_t i = 0; i < count; i++)
        TRY(check_range(o, &rows[i]));
    TRY(mo_recipe_check(o->recipe));
    TRY(check_order("crop_min_area", o->crop_min_area, "crop_max_area", o->crop_max_area));
    TRY(check_order("blur_sigma_min", o->blur_sigma_min, "blur_sigma_max", o->blur_sigma_max));
    TRY(check_second("blur_probability_2", o->blur_probability_2));
    TRY(check_second("solarize_probability_2", o->solarize_probability_2));
    TRY(check_operations(o));
cleanup:
    return status;
}

moco_status_t mo_options_check(const moco_trainer_options_t *o)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_options_check_views(o));
    TRY(check_batch(o));
    if (o->schedule == MOCO_SCHEDULE_STEP)
        TRY(check_order("milestone_1", o->milestone_1, "milestone_2", o->milestone_2));
    TRY(mo_options_check_vit(o));
    TRY(check_method(o));
cleanup:
    return status;
}

moco_status_t mo_options_set(moco_trainer_options_t *options, const char *name, const char *value)
{
    const mo_option_row_t *row = mo_option_find(name);
    moco_trainer_options_t trial;
    if (row == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "there is no option '%.64s'; docs/options.md lists them", name);
    if (row->offset == offsetof(moco_trainer_options_t, recipe))
        return mo_fail(MOCO_ERR_ARGUMENT, "recipe is chosen by moco_trainer_options_init and cannot be set to '%.64s'",
                       value);
    if (row->offset + field_size(row) > options->struct_size)
        return mo_fail(MOCO_ERR_VERSION, "option %s is newer than your header, whose struct_size is %llu", name,
                       (unsigned long long)options->struct_size);
    moco_status_t status = mo_option_parse(&trial, row, value);
    if (status == MOCO_OK)
        status = check_range(&trial, row);
    if (status == MOCO_OK)
        memcpy(field(options, row), field(&trial, row), field_size(row));
    return status;
}

/* ---- what follows from them ---- */

/* The largest s <= 32 that divides the group, with at least two shards in a batch for two lanes to share. */
int32_t mo_options_shard(const moco_trainer_options_t *options)
{
    int32_t group = options->batch_size / options->bn_groups;
    if (options->shard > 0)
        return options->shard;
    int32_t shard = group < 32 ? group : 32;
    while (shard > 1 && (group % shard != 0 || options->batch_size / shard < 2))
        shard--;
    return shard;
}

moco_status_t mo_options_compare(const moco_trainer_options_t *saved, const moco_trainer_options_t *now)
{
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    for (int32_t i = 0; i < count; i++) {
        const void *a = (const uint8_t *)saved + rows[i].offset, *b = (const uint8_t *)now + rows[i].offset;
        if (rows[i].flags & MO_OPTION_FREE || memcmp(a, b, field_size(&rows[i])) == 0)
            continue;
        char was[MO_OPTION_TEXT], is[MO_OPTION_TEXT];
        mo_option_text(saved, &rows[i], was);
        mo_option_text(now, &rows[i], is);
        return mo_fail(MOCO_ERR_MISMATCH, "%s is %s in the checkpoint, %s now", rows[i].name, was, is);
    }
    return MOCO_OK;
}

/* ---- options of a run ---- */

_Static_assert(sizeof(void *) != 8 || sizeof(moco_run_options_t) == 64, "no padding");

const moco_run_options_t mo_run_options_defaults = {
    .struct_size = sizeof(moco_run_options_t), .max_steps = 0, .save_every = 0, .eval_every = 1, .log_every = 1};

moco_status_t mo_run_options_overlay(const moco_run_options_t *caller, moco_run_options_t *full)
{
    moco_run_options_t made;
    moco_status_t status = mo_struct_overlay(caller, &made, &mo_run_options_defaults, sizeof made);
    if (status != MOCO_OK)
        return status;
    if (made.max_steps < 0 || made.save_every < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "max_steps is %lld and save_every %lld, wanted 0 or more",
                       (long long)made.max_steps, (long long)made.save_every);
    if (made.eval_every < 1 || made.log_every < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "eval_every is %d and log_every %d, wanted 1 or more", (int)made.eval_every,
                       (int)made.log_every);
    *full = made;
    return MOCO_OK;
}
