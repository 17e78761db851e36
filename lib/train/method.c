/* The shape of a step; see method.h. */
#include "train/method.h"

#include <math.h>

#include "nets/encoder.h"

int mo_backbone_has_batchnorm(const moco_trainer_options_t *o)
{
    return !mo_is_vit(o->arch) || o->vit_norm == MOCO_VIT_NORM_BATCH || o->arch == MOCO_ARCH_VIT_CONV_SMALL ||
           o->arch == MOCO_ARCH_VIT_CONV_BASE;
}

/* One pass keeps the activations of the whole batch and lets every batch norm see it; where the backbone's statistics
 * do not cross shards, that is not needed. */
static int two_pass(const moco_trainer_options_t *o)
{
    if (o->loss == MOCO_LOSS_QUEUE)
        return 0; /* no whole-batch loss: groups are independent anyway */
    if (o->execution == MOCO_EXECUTION_AUTO)
        return o->bn_groups > 1 || !mo_backbone_has_batchnorm(o);
    return o->execution == MOCO_EXECUTION_TWO_PASS;
}

static double chance(const moco_trainer_options_t *o)
{
    if (o->loss == MOCO_LOSS_QUEUE)
        return log1p((double)o->queue_length);
    return o->loss == MOCO_LOSS_BATCH ? log((double)o->batch_size) : log(2.0 * o->batch_size - 1.0);
}

mo_method_t mo_method_of(const moco_trainer_options_t *o)
{
    mo_method_t m = {.loss = o->loss, .two_pass = two_pass(o)};
    int both = o->symmetric || o->loss == MOCO_LOSS_NT_XENT;
    m.query_views = both ? 2 : 1;
    m.key_views = o->loss == MOCO_LOSS_NT_XENT ? 0 : m.query_views;
    m.first_key_view = both ? 0 : 1;
    m.mixed = o->loss == MOCO_LOSS_NT_XENT;
    m.rows = (int64_t)m.query_views * o->batch_size;
    m.mean_rows = m.mixed ? (double)m.rows : (double)o->batch_size;
    m.scale = o->loss_scale == MOCO_LOSS_SCALE_2T    ? 2.0 * o->temperature
              : o->loss_scale == MOCO_LOSS_SCALE_TWO ? 2.0
                                                     : 1.0;
    m.chance = m.scale * chance(o) * (o->symmetric ? 2.0 : 1.0);
    m.groups = m.mixed ? o->bn_groups : m.query_views * o->bn_groups;
    return m;
}
