/* MoCo v1 and v2 (arXiv 1911.05722, 2003.04297): a query against its own key and the queue, a FIFO
 * of the keys of earlier batches. Groups of a batch know nothing of each other. */
#include <math.h>

#include "train/trainer.h"

static double chance(const moco_trainer_options_t *o)
{
    return log1p((double)o->queue_length);
}

static void build(mo_net_t *net, int32_t embedding, const moco_trainer_options_t *o, const mo_method_t *m,
                  mo_loss_tensors_t *tensors)
{
    tensors->keys = mo_net_tensor(net, o->dimension, 1, 1);
    tensors->place = -1;
    const mo_infonce_spec_t spec = {.queries = embedding,
                                    .keys = tensors->keys,
                                    .place = -1,
                                    .count = o->queue_length,
                                    .temperature = o->temperature,
                                    .batch = m->mean_rows,
                                    .scale = m->scale};
    tensors->result = mo_infonce(net, &spec);
}

static mo_buffer_t dictionary(const moco_trainer_t *t, int32_t view)
{
    (void)view; /* both halves of a symmetric loss see the same frozen queue */
    return t->state.queue.rows;
}

/* Last of all, since the loss saw the queue without them: the keys of view 0, then those of view
 * 1. */
static void enqueue(moco_trainer_t *t)
{
    const int64_t count = t->state.options.batch_size;
    for (int32_t view = 0; view < t->state.method.key_views; view++) {
        const mo_buffer_t keys = mo_trainer_keys(t, view);
        if (!mo_device_is_gpu(t->device))
            mo_keys_enqueue(&t->state.queue, t->mapped.queue, t->mapped.keys + keys.offset / sizeof(float), count);
        else if (mo_keys_move_in(&t->state.queue, keys, count) != MOCO_OK)
            mo_device_lose(t->device); /* the next step is told */
    }
    t->state.queue_seen += t->state.method.key_views * count;
}

const mo_loss_t mo_loss_queue = {
    .query_prefix = "encoder_q.",
    .key_prefix = "encoder_k.",
    .keeps_queue = 1,
    .momentum_ahead = 1, /* the published code moves its key encoder at the start of a step */
    .chance = chance,
    .build = build,
    .dictionary = dictionary,
    .after_commit = enqueue,
};
