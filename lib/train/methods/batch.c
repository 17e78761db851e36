/* MoCo v3 (arXiv 2104.02057): a query against the keys of the batch's other view, of which one is
 * its own. */
#include <math.h>

#include "train/trainer.h"

static double chance(const moco_trainer_options_t *o)
{
    return log((double)o->batch_size);
}

static void build(mo_net_t *net, int32_t embedding, const moco_trainer_options_t *o, const mo_method_t *m,
                  mo_loss_tensors_t *tensors)
{
    tensors->keys = mo_net_tensor(net, o->dimension, 1, 1);
    tensors->place = mo_net_tensor(net, 1, 1, 1);
    const mo_infonce_spec_t spec = {.queries = embedding,
                                    .keys = tensors->keys,
                                    .place = tensors->place,
                                    .count = o->batch_size,
                                    .temperature = o->temperature,
                                    .batch = m->mean_rows,
                                    .scale = m->scale};
    tensors->result = mo_infonce(net, &spec);
}

const mo_loss_t mo_loss_batch = {
    .query_prefix = "base_encoder.",
    .key_prefix = "momentum_encoder.",
    .joins_batch = 1,
    .momentum_ahead = 1, /* the published code moves its key encoder at the start of a step */
    .chance = chance,
    .build = build,
    .dictionary = mo_keys_for,
};
