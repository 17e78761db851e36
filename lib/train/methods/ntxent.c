/* SimCLR (arXiv 2002.05709): every one of the 2B views of a batch against all others, through one
 * encoder. */
#include <math.h>

#include "train/trainer.h"
#include "util/status.h"

static double chance(const moco_trainer_options_t *o)
{
    return log(2.0 * o->batch_size - 1.0);
}

static moco_status_t check(const moco_trainer_options_t *o)
{
    if (!o->symmetric && !o->predictor)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is 1, wanted 0: nt-xent takes both views in one loss",
                   o->symmetric ? "symmetric" : "predictor");
}

static void build(mo_net_t *net, int32_t embedding, const moco_trainer_options_t *o, const mo_method_t *m,
                  mo_loss_tensors_t *tensors)
{
    tensors->keys = -1;
    tensors->place = mo_net_tensor(net, 1, 1, 1);
    tensors->result = mo_nt_xent(net, embedding, tensors->place, m->rows, o->temperature, m->scale);
}

/* The loss itself gathers all rows there. */
static mo_buffer_t dictionary(const moco_trainer_t *t, int32_t view)
{
    (void)view;
    return t->keys;
}

const mo_loss_t mo_loss_nt_xent = {
    .query_prefix = "encoder_q.",
    .joins_views = 1,
    .joins_batch = 1,
    .chance = chance,
    .check = check,
    .build = build,
    .dictionary = dictionary,
};
