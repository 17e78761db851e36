/* The table of methods, and the shape of a step; see method.h. */
#include "train/methods/method.h"

#include <math.h>

#include "nets/encoder.h"
#include "train/options.h"
#include "util/status.h"

static const mo_loss_t *const losses[] = {[MOCO_LOSS_QUEUE] = &mo_loss_queue,
                                          [MOCO_LOSS_BATCH] = &mo_loss_batch,
                                          [MOCO_LOSS_NT_XENT] = &mo_loss_nt_xent,
                                          [MOCO_LOSS_REGRESSION] = &mo_loss_regression};

const mo_loss_t *mo_loss_of(int32_t loss)
{
    return losses[loss];
}

int mo_backbone_has_batchnorm(const moco_trainer_options_t *o)
{
    return !mo_is_vit(o->arch) || o->vit_norm == MOCO_VIT_NORM_BATCH || o->arch == MOCO_ARCH_VIT_CONV_SMALL ||
           o->arch == MOCO_ARCH_VIT_CONV_BASE;
}

/* One pass keeps the activations of the whole batch and lets every batch norm see it; where the
 * backbone's statistics do not cross shards, that is not needed. */
static int two_pass(const moco_trainer_options_t *o, const mo_loss_t *loss)
{
    if (!loss->joins_batch)
        return 0; /* groups are independent anyway */
    if (o->execution == MOCO_EXECUTION_AUTO)
        return o->bn_groups > 1 || !mo_backbone_has_batchnorm(o);
    return o->execution == MOCO_EXECUTION_TWO_PASS;
}

mo_method_t mo_method_of(const moco_trainer_options_t *o)
{
    const mo_loss_t *loss = mo_loss_of(o->loss);
    mo_method_t m = {.loss = loss, .two_pass = two_pass(o, loss)};
    int both = o->symmetric || loss->joins_views;
    m.query_views = both ? 2 : 1;
    m.key_views = loss->key_prefix != NULL ? m.query_views : 0;
    m.first_key_view = both ? 0 : 1;
    m.mixed = loss->joins_views;
    m.rows = (int64_t)m.query_views * o->batch_size;
    m.mean_rows = m.mixed ? (double)m.rows : (double)o->batch_size;
    m.scale = o->loss_scale == MOCO_LOSS_SCALE_2T    ? 2.0 * o->temperature
              : o->loss_scale == MOCO_LOSS_SCALE_TWO ? 2.0
                                                     : 1.0;
    m.chance = loss->chance != NULL ? m.scale * loss->chance(o) * (o->symmetric ? 2.0 : 1.0) : NAN;
    m.groups = m.mixed ? o->bn_groups : m.query_views * o->bn_groups;
    return m;
}

moco_status_t mo_method_check(const moco_trainer_options_t *o)
{
    const mo_method_t m = mo_method_of(o);
    const int64_t group = m.rows / m.groups;
    moco_status_t status = m.loss->check != NULL ? m.loss->check(o) : MOCO_OK;
    if (status != MOCO_OK)
        return status;
    if (m.loss->joins_batch && !m.two_pass && o->bn_groups > 1)
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
