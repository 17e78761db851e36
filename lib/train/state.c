/* Making, starting and freeing what a trainer has learnt; see state.h. */
#include "train/state.h"

#include "eval/model.h"
#include "engine/ops.h"
#include "train/options.h"
#include "util/alloc.h"
#include "util/status.h"

/* The query encoder is compared through a predictor, if the method has one. */
static moco_status_t build_query(mo_state_t *s, const mo_encoder_spec_t *spec)
{
    mo_net_t *net = &s->query.net;
    moco_status_t status = mo_encoder_net(spec, net);
    if (status != MOCO_OK)
        return status;
    s->query.spec = *spec;
    s->query.embedding =
        mo_l2norm(net, s->options.predictor ? mo_predictor(net, spec, net->projection) : net->projection);
    return mo_net_done(net);
}

static void list_blocks(mo_state_t *s)
{
    const size_t f = sizeof(float);
    const size_t params = (size_t)s->query.net.params * f;
    mo_blocks_t *b = &s->blocks;
    mo_blocks_add_buffer(b, "weights", params, &s->query.params);
    mo_blocks_add(b, "statistics", (size_t)s->query.net.stats * f, &s->query.running);
    if (s->method.key_views > 0) {
        mo_blocks_add_buffer(b, "weights", (size_t)s->key.net.params * f, &s->key.params);
        mo_blocks_add(b, "statistics", (size_t)s->key.net.stats * f, &s->key.running);
    }
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)s->options.optimizer); i++)
        mo_blocks_add_buffer(b, "optimizer", params, &s->optimizer[i]);
    if (s->method.loss->keeps_queue)
        mo_blocks_add_buffer(b, "queue", (size_t)(s->queue.length * s->queue.dimension) * f, &s->queue.rows);
}

moco_status_t mo_state_build(mo_state_t *s, const moco_trainer_options_t *options)
{
    moco_status_t status = MOCO_OK;
    s->options = *options;
    TRY(mo_options_check(options));
    s->method = mo_method_of(options);
    s->shard = mo_options_shard(options);
    const mo_encoder_spec_t spec = mo_encoder_spec_of(options);
    TRY(build_query(s, &spec));
    if (s->method.key_views > 0)
        TRY(mo_encoder_build(&s->key, &spec));
    if (s->method.loss->keeps_queue)
        s->queue = (mo_keys_t){.length = options->queue_length, .dimension = options->dimension};
    list_blocks(s);
cleanup:
    return status;
}

moco_status_t mo_state_take(mo_state_t *s, moco_device_t *device)
{
    return mo_blocks_take(&s->blocks, device);
}

moco_status_t mo_state_start(mo_state_t *s)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_encoder_start(&s->query, s->options.seed));
    if (s->method.key_views > 0) /* the same but for the predictor, which comes last */
        TRY(mo_encoder_copy_numbers(&s->query, &s->key));
    if (s->method.loss->keeps_queue)
        TRY(mo_keys_start(&s->queue, s->options.seed));
cleanup:
    return status;
}

void mo_state_free(mo_state_t *s)
{
    mo_blocks_free(&s->blocks);
    mo_encoder_free(&s->query);
    mo_encoder_free(&s->key);
    mo_free(s->origin);
    *s = (mo_state_t){0};
}

mo_encoder_t mo_state_model(const mo_state_t *s)
{
    mo_encoder_t model = s->query; /* its numbers are the first ones of the query encoder's */
    if (s->method.key_views > 0)
        model.net = s->key.net;
    model.steps = s->step;
    return model;
}

double mo_queue_fill(const mo_state_t *s)
{
    if (s->queue.length == 0)
        return 0;
    return s->queue_seen < s->queue.length ? (double)s->queue_seen / (double)s->queue.length : 1.0;
}
