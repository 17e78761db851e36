/* A run's options: typed calls of the table's, fields that must agree, and what follows from them. */
#include "train/options.h"

#include "data/data.h"
#include "eval/model.h"
#include "train/method.h"
#include "util/status.h"

/* ---- the table's calls, typed ---- */

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
                       "over the whole batch syncs all groups",
                       o->bn_groups);
    if (m.two_pass && o->bn_groups == 1 && mo_backbone_has_batchnorm(o) && group > mo_options_shard(o))
        return mo_fail(MOCO_ERR_ARGUMENT,
                       "execution is two-pass with bn_groups 1, wanted one-pass or more groups: the backbone's "
                       "batch norm would cross the %lld images of the group, which do not fit one shard of %d",
                       (long long)group, mo_options_shard(o));
    return MOCO_OK;
}

static moco_status_t check_views(const moco_trainer_options_t *o)
{
    mo_view_spec_t spec;
    mo_view_spec_from_options(o, &spec);
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
    TRY(check_method(o));
cleanup:
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
