/* Making a trainer: nets, plans, the budget that is known before memory is taken, then the memory. */
#include <string.h>

#include "eval/model.h"
#include "engine/ops.h"
#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

#define LOADER_DEPTH 2 /* batches in the store: one at work, one ahead */

/* The query encoder: its projection, compared through a predictor if the method has one, and the loss. */
static moco_status_t build_query(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    const moco_trainer_options_t *o = &t->options;
    const mo_method_t *m = &t->method;
    mo_net_t *net = &t->query.net;
    TRY(mo_encoder_build(&t->spec, net));
    t->query.embedding = mo_l2norm(net, o->predictor ? mo_predictor(net, &t->spec, net->projection) : net->projection);
    t->keys_tensor = m->loss != MOCO_LOSS_NT_XENT ? mo_net_tensor(net, o->dimension, 1, 1) : -1;
    t->place_tensor = m->loss != MOCO_LOSS_QUEUE ? mo_net_tensor(net, 1, 1, 1) : -1;
    if (m->loss == MOCO_LOSS_NT_XENT)
        t->loss_tensor = mo_nt_xent(net, t->query.embedding, t->place_tensor, m->rows, o->temperature, m->scale);
    else {
        mo_infonce_spec_t loss = {.queries = t->query.embedding, .keys = t->keys_tensor, .place = t->place_tensor,
                                  .count = m->loss == MOCO_LOSS_QUEUE ? o->queue_length : o->batch_size,
                                  .temperature = o->temperature, .batch = m->mean_rows, .scale = m->scale};
        t->loss_tensor = mo_infonce(net, &loss);
    }
    TRY(mo_net_done(net));
cleanup:
    return status;
}

static moco_status_t build_nets(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    const mo_method_t *m = &t->method;
    TRY(build_query(t));
    t->query.body_groups = m->groups;
    t->query.head_groups = !m->two_pass ? m->groups : m->mixed ? 1 : m->query_views;
    t->query.staged_rows = m->groups; /* never fewer than the head's */
    if (m->key_views > 0) {
        TRY(mo_encoder_build_embedding(&t->spec, &t->key.net, &t->key.embedding));
        t->key.body_groups = t->key.staged_rows = m->key_views * t->options.bn_groups;
        t->key.head_groups = m->two_pass ? m->key_views : t->key.body_groups;
    }
cleanup:
    return status;
}

mo_loader_spec_t mo_trainer_loader_spec(const moco_trainer_t *t)
{
    const moco_trainer_options_t *o = &t->options;
    return (mo_loader_spec_t){.train = 1, .views = t->view_spec, .seed = o->seed, .batch = o->batch_size,
                              .threads = mo_loader_threads(o->loader_threads, mo_device_lanes(t->device)),
                              .depth = LOADER_DEPTH, .max_broken = -1};
}

/* The stage whose backward holds the gradients of the backbone, and the one with those of the head alone. */
static mo_stage_t *back_stage(moco_trainer_t *t)
{
    return &t->stages[t->method.two_pass ? MO_STAGE_BODY_BACK : MO_STAGE_QUERY];
}

/* Bytes with so many shards in flight, or one group where that is more. Stages never run at once, so they share one
 * arena. */
static mo_budget_t budget(moco_trainer_t *t, int32_t shards)
{
    const uint64_t f = sizeof(float), params = (uint64_t)t->query.net.params;
    const moco_trainer_options_t *o = &t->options;
    const mo_method_t *m = &t->method;
    const uint64_t rows = (uint64_t)m->rows, key_rows = (uint64_t)m->key_views * (uint64_t)o->batch_size,
                   width = (uint64_t)o->dimension, features = (uint64_t)t->query.net.shapes[t->query.net.backbone].c;
    size_t scratch = 0;
    mo_loader_spec_t loader = mo_trainer_loader_spec(t);
    mo_budget_t b = {0};
    t->arena_bytes = 0;
    for (int i = 0; i < MO_STAGES; i++) {
        mo_stage_t *s = &t->stages[i];
        if (s->encoder == NULL)
            continue;
        mo_stage_set(s, shards);
        if (mo_stage_arena_bytes(s) > t->arena_bytes)
            t->arena_bytes = mo_stage_arena_bytes(s);
        if (mo_plan_scratchpad_bytes(s->plan) > scratch)
            scratch = mo_plan_scratchpad_bytes(s->plan);
        b.packed += mo_plan_packed_bytes(s->plan);
        if (s->pool != NULL) {
            uint64_t body = m->two_pass ? (uint64_t)t->query.net.body_params : params;
            b.gradients += (uint64_t)mo_gradient_blocks(s->groups * s->shards_per_group, s->sets, s->shards_per_group) *
                           (s->pool == &t->gradients[0] ? body : params - body) * f;
        }
    }
    b.weights = (params + (uint64_t)t->key.net.params) * f;
    b.optimizer = (uint64_t)mo_optim_blocks((mo_optimizer_t)o->optimizer) * params * f;
    b.activations = t->arena_bytes;
    b.queue = m->loss == MOCO_LOSS_QUEUE ? (uint64_t)o->queue_length * width * f : 0;
    b.batch_results = (m->key_views > 0 ? key_rows * width : rows * (width + 1)) * f + rows * MO_LOSS_WIDTH * f +
                      (uint64_t)o->batch_size * f + mo_rng_permutation_bytes(o->batch_size);
    if (m->two_pass)
        b.batch_results += (2 * rows + key_rows) * features * f;
    b.views = mo_loader_bytes(&loader);
    b.statistics = ((uint64_t)t->query.staged_rows + 1) * (uint64_t)t->query.net.stats * f +
                   ((uint64_t)t->key.staged_rows + 1) * (uint64_t)t->key.net.stats * f;
    b.scratchpads = (uint64_t)mo_device_lanes(t->device) * scratch;
    b.total = b.weights + b.packed + b.optimizer + b.gradients + b.activations + b.queue + b.batch_results + b.views +
              b.statistics + b.scratchpads;
    return b;
}

/* A shard in flight for every lane, fewer under a cap; refused when not even one group fits. */
static moco_status_t choose_sets(moco_trainer_t *t)
{
    int32_t shards = mo_device_lanes(t->device);
    uint64_t cap = (uint64_t)t->options.memory_cap;
    while (cap > 0 && shards > 1 && budget(t, shards).total > cap)
        shards--;
    t->budget = budget(t, shards);
    t->shards_in_flight = mo_stage_in_flight(back_stage(t));
    if (cap > 0 && t->budget.total > cap)
        return mo_fail(MOCO_ERR_MEMORY_CAP,
                       "one device in flight needs %llu bytes, the memory cap is %llu; a cap of %llu would fit, or a "
                       "smaller batch, image or queue%s",
                       (unsigned long long)t->budget.total, (unsigned long long)cap,
                       (unsigned long long)t->budget.total,
                       t->method.loss != MOCO_LOSS_QUEUE && !t->method.two_pass
                           ? ", or more batch-norm groups, which run in two passes"
                           : "");
    return MOCO_OK;
}

static moco_status_t take_encoder(mo_encoder_t *e)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_block_create((size_t)e->net.params * sizeof(float), &e->params));
    TRY(mo_block_create((size_t)e->net.stats * sizeof(float), &e->running));
    TRY(mo_block_create((size_t)e->staged_rows * (size_t)e->net.stats * sizeof(float), &e->staged));
cleanup:
    return status;
}

static moco_status_t bind_queue(mo_lane_t *lane, void *ctx)
{
    moco_trainer_t *t = ctx;
    moco_status_t status = MOCO_OK;
    const mo_stage_t *s = &t->stages[MO_STAGE_QUERY];
    (void)lane;
    for (int32_t i = 0; i < mo_stage_in_flight(s); i++)
        TRY(mo_instance_bind(s->instances[i], MO_IN_DICTIONARY, t->queue.rows));
cleanup:
    return status;
}

static size_t keys_bytes(const moco_trainer_t *t)
{
    const mo_method_t *m = &t->method;
    int64_t batch = t->options.batch_size, width = t->options.dimension;
    return (size_t)(m->key_views > 0 ? m->key_views * batch * width : m->rows * (width + 1)) * sizeof(float);
}

static size_t features_bytes(const moco_trainer_t *t, int32_t views)
{
    int64_t width = t->query.net.shapes[t->query.net.backbone].c;
    return (size_t)(views * (int64_t)t->options.batch_size * width) * sizeof(float);
}

static moco_status_t take_gradients(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    const mo_net_t *net = &t->query.net;
    const mo_stage_t *back = back_stage(t), *head = &t->stages[MO_STAGE_HEAD];
    int64_t body = t->method.two_pass ? net->body_params : net->params;
    TRY(mo_gradients_create(&t->gradients[0], body, back->groups * back->shards_per_group, back->sets,
                            back->shards_per_group));
    if (t->method.two_pass)
        TRY(mo_gradients_create(&t->gradients[1], net->params - body, head->groups * head->shards_per_group, head->sets,
                                head->shards_per_group));
cleanup:
    return status;
}

static moco_status_t take_memory(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    const moco_trainer_options_t *o = &t->options;
    const mo_method_t *m = &t->method;
    size_t params = (size_t)t->query.net.params * sizeof(float);
    TRY(mo_block_create(t->arena_bytes, &t->arena));
    TRY(take_encoder(&t->query));
    if (m->key_views > 0)
        TRY(take_encoder(&t->key));
    TRY(mo_stages_take(t));
    TRY(mo_optim_prepare(&t->optim, &t->query.net));
    t->optim.params = t->query.params;
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)o->optimizer); i++)
        TRY(mo_block_create(params, &t->optim.state[i]));
    TRY(take_gradients(t));
    if (m->loss == MOCO_LOSS_QUEUE)
        TRY(mo_keys_create(&t->queue, o->queue_length, o->dimension, o->seed));
    TRY(mo_block_create(keys_bytes(t), &t->keys));
    if (m->two_pass) {
        TRY(mo_block_create(features_bytes(t, m->query_views), &t->features[0]));
        TRY(mo_block_create(features_bytes(t, m->key_views), &t->features[1]));
        TRY(mo_block_create(features_bytes(t, m->query_views), &t->feature_gradients));
    }
    TRY(mo_calloc((size_t)m->rows * MO_LOSS_WIDTH, sizeof(float), &t->results));
    TRY(mo_calloc((size_t)o->batch_size, sizeof *t->permutation, &t->permutation));
    TRY(mo_calloc(mo_rng_permutation_bytes(o->batch_size), 1, &t->draws));
    if (m->loss == MOCO_LOSS_QUEUE)
        TRY(mo_device_call(t->device, bind_queue, t));
cleanup:
    return status;
}

static void initialise(moco_trainer_t *t)
{
    mo_init_params(&t->query.net, t->options.seed, t->query.params);
    mo_init_stats(&t->query.net, t->query.running);
    if (t->method.key_views > 0) { /* the same but for the predictor, which comes last */
        memcpy(t->key.params, t->query.params, (size_t)t->key.net.params * sizeof(float));
        mo_init_stats(&t->key.net, t->key.running);
    }
}

moco_status_t mo_trainer_new(const moco_trainer_options_t *options, moco_device_t *device, int allocate,
                             moco_trainer_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_t *t = NULL;
    TRY(mo_calloc(1, sizeof *t, &t));
    TRY(mo_options_overlay(options, &t->options));
    TRY(mo_options_check(&t->options));
    TRY(mo_device_default(device, &t->device));
    t->spec = mo_encoder_spec_of(&t->options);
    mo_view_spec_from_options(&t->options, &t->view_spec);
    t->feature = 3 * (int64_t)t->options.image_size * t->options.image_size;
    t->method = mo_method_of(&t->options);
    t->shard = mo_options_shard(&t->options);
    mo_input_table((const double[3]){t->options.mean_r, t->options.mean_g, t->options.mean_b},
                   (const double[3]){t->options.std_r, t->options.std_g, t->options.std_b}, t->lut);
    TRY(build_nets(t));
    TRY(mo_stages_plan(t));
    t->shards = back_stage(t)->groups * back_stage(t)->shards_per_group;
    TRY(choose_sets(t));
    if (allocate) {
        mo_log(MOCO_LOG_INFO, "plan: %llu bytes, %d of %d shards in flight, %d images each",
               (unsigned long long)t->budget.total, t->shards_in_flight, t->shards, t->shard);
        TRY(take_memory(t));
        initialise(t);
    }
    *out = t;
    t = NULL;
cleanup:
    mo_trainer_delete(t);
    return status;
}

static void drop_encoder(mo_encoder_t *e)
{
    mo_block_free(e->params, (size_t)e->net.params * sizeof(float));
    mo_block_free(e->running, (size_t)e->net.stats * sizeof(float));
    mo_block_free(e->staged, (size_t)e->staged_rows * (size_t)e->net.stats * sizeof(float));
    mo_net_free(&e->net);
}

void mo_trainer_delete(moco_trainer_t *t)
{
    if (t == NULL)
        return;
    size_t params = (size_t)t->query.net.params * sizeof(float);
    mo_stages_free(t);
    mo_block_free(t->arena, t->arena_bytes);
    for (int i = 0; i < MO_OPTIM_BLOCKS; i++)
        mo_block_free(t->optim.state[i], params);
    mo_optim_free(&t->optim);
    mo_gradients_free(&t->gradients[0]);
    mo_gradients_free(&t->gradients[1]);
    mo_keys_free(&t->queue);
    mo_block_free(t->keys, keys_bytes(t));
    if (t->method.two_pass && t->query.net.shapes != NULL) {
        mo_block_free(t->features[0], features_bytes(t, t->method.query_views));
        mo_block_free(t->features[1], features_bytes(t, t->method.key_views));
        mo_block_free(t->feature_gradients, features_bytes(t, t->method.query_views));
    }
    drop_encoder(&t->query);
    drop_encoder(&t->key);
    mo_free(t->results);
    mo_free(t->permutation);
    mo_free(t->draws);
    mo_pushed_free(&t->pushed);
    mo_free(t->origin);
    mo_device_release(t->device);
    mo_free(t);
}

double mo_queue_fill(const moco_trainer_t *t)
{
    if (t->queue.length == 0)
        return 0;
    return t->queue_seen < t->queue.length ? (double)t->queue_seen / (double)t->queue.length : 1.0;
}
