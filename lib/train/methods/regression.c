/* BYOL (arXiv 2006.07733): the online network's prediction of one view against the target network's
 * projection of the other. No negatives: what keeps the embeddings apart is the predictor and that
 * the target follows slowly. */
#include "train/trainer.h"
#include "util/status.h"

static moco_status_t check(const moco_trainer_options_t *o)
{
    if (o->predictor)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "predictor is 0, wanted 1: without one, and without negatives, all embeddings "
                                      "become the same");
}

static void build(mo_net_t *net, int32_t embedding, const moco_trainer_options_t *o, const mo_method_t *m,
                  mo_loss_tensors_t *tensors)
{
    tensors->keys = mo_net_tensor(net, o->dimension, 1, 1);
    tensors->place = -1;
    tensors->result = mo_regression(net, embedding, tensors->keys, m->mean_rows, m->scale);
}

const mo_loss_t mo_loss_regression = {
    .query_prefix = "online_encoder.",
    .key_prefix = "target_encoder.",
    .joins_batch = 1, /* by the heads' batch norm, which the published code takes over the whole batch */
    .check = check,
    .build = build,
};
