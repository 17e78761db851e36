/* Making a trainer: nets, plans, the budget that is known before memory is taken, then the memory. */
#include <string.h>

#include "eval/model.h"
#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

#define LOADER_DEPTH 2 /* batches in the store: one at work, one ahead */

static moco_status_t build_nets(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_encoder_build_unit(&t->spec, &t->key.net, &t->key.unit));
    TRY(mo_encoder_build_unit(&t->spec, &t->query.net, &t->query.unit));
    t->keys_tensor = mo_net_tensor(&t->query.net, t->options.dimension, 1, 1);
    t->loss_tensor = mo_infonce(&t->query.net, t->query.unit, t->keys_tensor, t->options.queue_length,
                                t->options.temperature, t->options.batch_size);
    TRY(mo_net_done(&t->query.net));
cleanup:
    return status;
}

static moco_status_t build_plans(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    mo_plan_spec_t key = {.net = &t->key.net, .mode = MO_MODE_KEY, .shard = t->shard,
                          .shards_per_group = t->shards_per_group,
                          .inputs = {t->key.net.input, -1, -1, -1}, .outputs = {t->key.unit, -1, -1, -1}};
    mo_plan_spec_t query = {.net = &t->query.net, .mode = MO_MODE_TRAIN, .shard = t->shard,
                            .shards_per_group = t->shards_per_group,
                            .inputs = {t->query.net.input, t->keys_tensor, -1, -1},
                            .outputs = {t->loss_tensor, -1, -1, -1}};
    TRY(mo_plan_create(t->device, &key, &t->key.plan));
    TRY(mo_plan_create(t->device, &query, &t->query.plan));
    t->arena_bytes = mo_plan_arena_bytes(t->query.plan);
    if (mo_plan_arena_bytes(t->key.plan) > t->arena_bytes)
        t->arena_bytes = mo_plan_arena_bytes(t->key.plan);
cleanup:
    return status;
}

mo_loader_spec_t mo_trainer_loader_spec(const moco_trainer_t *t)
{
    const moco_trainer_options_t *o = &t->options;
    return (mo_loader_spec_t){.train = 1, .views = t->view_spec, .seed = o->seed, .batch = o->batch_size,
                              .threads = o->loader_threads > 0 ? o->loader_threads : mo_device_lanes(t->device),
                              .depth = LOADER_DEPTH, .max_broken = -1};
}

/* Bytes with `sets` groups in flight. The two passes never run at once, so they share their arenas. */
static mo_budget_t budget(const moco_trainer_t *t, int32_t sets)
{
    const uint64_t f = sizeof(float), params = (uint64_t)t->query.net.params,
                   in_flight = (uint64_t)sets * (uint64_t)t->shards_per_group;
    const moco_trainer_options_t *o = &t->options;
    size_t key_scratch = mo_plan_scratchpad_bytes(t->key.plan), scratch = mo_plan_scratchpad_bytes(t->query.plan);
    mo_loader_spec_t loader = mo_trainer_loader_spec(t);
    mo_budget_t b = {
        .weights = 2 * params * f,
        .packed = mo_plan_packed_bytes(t->query.plan) + mo_plan_packed_bytes(t->key.plan),
        .optimiser = params * f,
        .gradients = (uint64_t)mo_gradient_blocks(t->shards, sets, t->shards_per_group) * params * f,
        .activations = in_flight * t->arena_bytes,
        .queue = (uint64_t)o->queue_length * (uint64_t)o->dimension * f,
        .batch_results = (uint64_t)o->batch_size * ((uint64_t)o->dimension + MO_LOSS_WIDTH + 1) * f +
                         mo_rng_permutation_bytes(o->batch_size),
        .views = mo_loader_bytes(&loader),
        .statistics = 2 * (uint64_t)(t->groups + 1) * (uint64_t)t->query.net.stats * f,
        .scratchpads = (uint64_t)mo_device_lanes(t->device) * (key_scratch > scratch ? key_scratch : scratch),
    };
    b.total = b.weights + b.packed + b.optimiser + b.gradients + b.activations + b.queue + b.batch_results + b.views +
              b.statistics + b.scratchpads;
    return b;
}

/* As many groups in flight as lanes can work on, fewer under a cap; refused when not even one fits. */
static moco_status_t choose_sets(moco_trainer_t *t)
{
    int32_t lanes = mo_device_lanes(t->device), sets = lanes / t->shards_per_group;
    uint64_t cap = (uint64_t)t->options.memory_cap;
    if (sets < 1)
        sets = 1;
    if (sets > t->groups)
        sets = t->groups;
    while (cap > 0 && sets > 1 && budget(t, sets).total > cap)
        sets--;
    t->sets = sets;
    t->budget = budget(t, sets);
    if (cap > 0 && t->budget.total > cap)
        return mo_fail(MOCO_ERR_MEMORY_CAP,
                       "one device in flight needs %llu bytes, the memory cap is %llu; a cap of %llu would fit, or a "
                       "smaller batch, image or queue",
                       (unsigned long long)t->budget.total, (unsigned long long)cap,
                       (unsigned long long)t->budget.total);
    return MOCO_OK;
}

static moco_status_t take_encoder(moco_trainer_t *t, mo_encoder_t *e)
{
    moco_status_t status = MOCO_OK;
    int32_t in_flight = t->sets * t->shards_per_group;
    TRY(mo_block_create((size_t)e->net.params * sizeof(float), &e->params));
    TRY(mo_block_create((size_t)e->net.stats * sizeof(float), &e->running));
    TRY(mo_block_create((size_t)t->groups * (size_t)e->net.stats * sizeof(float), &e->staged));
    TRY(mo_packed_create(e->plan, e->params, &e->packed));
    TRY(mo_calloc((size_t)in_flight, sizeof *e->instances, &e->instances));
    for (int32_t i = 0; i < in_flight; i++)
        TRY(mo_instance_create(e->plan, t->arenas[i], e->params, e->packed, &e->instances[i]));
    e->pass = (mo_pass_t){.plan = e->plan, .instances = e->instances, .sets = t->sets, .groups = t->groups,
                          .begin = e == &t->key ? mo_key_begin : mo_query_begin,
                          .end = e == &t->key ? mo_key_end : mo_query_end, .ctx = t};
    TRY(mo_pass_prepare(&e->pass));
cleanup:
    return status;
}

static moco_status_t bind_queue(mo_lane_t *lane, void *ctx)
{
    moco_trainer_t *t = ctx;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int32_t i = 0; i < t->sets * t->shards_per_group; i++)
        TRY(mo_instance_bind(t->query.instances[i], MO_IN_QUEUE, t->queue.rows));
cleanup:
    return status;
}

static moco_status_t take_memory(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    const moco_trainer_options_t *o = &t->options;
    int32_t in_flight = t->sets * t->shards_per_group;
    size_t params = (size_t)t->query.net.params;
    TRY(mo_calloc((size_t)in_flight, sizeof *t->arenas, &t->arenas));
    for (int32_t i = 0; i < in_flight; i++)
        TRY(mo_block_create(t->arena_bytes, &t->arenas[i]));
    TRY(take_encoder(t, &t->query));
    TRY(take_encoder(t, &t->key));
    TRY(mo_block_create(params * sizeof(float), &t->velocity));
    TRY(mo_gradients_create(&t->gradients, t->query.net.params, t->shards, t->sets, t->shards_per_group));
    TRY(mo_keys_create(&t->queue, o->queue_length, o->dimension, o->seed));
    TRY(mo_block_create((size_t)o->batch_size * (size_t)o->dimension * sizeof(float), &t->keys));
    TRY(mo_calloc((size_t)o->batch_size * MO_LOSS_WIDTH, sizeof(float), &t->results));
    TRY(mo_calloc((size_t)t->shards, sizeof *t->shard_gradients, &t->shard_gradients));
    TRY(mo_calloc(params / 65536 + 1, sizeof *t->partial, &t->partial));
    TRY(mo_calloc((size_t)o->batch_size, sizeof *t->permutation, &t->permutation));
    TRY(mo_calloc(mo_rng_permutation_bytes(o->batch_size), 1, &t->draws));
    TRY(mo_device_call(t->device, bind_queue, t));
cleanup:
    return status;
}

static void initialise(moco_trainer_t *t)
{
    mo_init_params(&t->query.net, t->options.seed, t->query.params);
    memcpy(t->key.params, t->query.params, (size_t)t->query.net.params * sizeof(float));
    mo_init_stats(&t->query.net, t->query.running);
    mo_init_stats(&t->key.net, t->key.running);
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
    t->groups = t->options.virtual_devices;
    t->shard = mo_options_shard(&t->options);
    t->shards_per_group = t->options.batch_size / t->groups / t->shard;
    t->shards = t->groups * t->shards_per_group;
    mo_input_table((const double[3]){t->options.mean_r, t->options.mean_g, t->options.mean_b},
                   (const double[3]){t->options.std_r, t->options.std_g, t->options.std_b}, t->lut);
    TRY(build_nets(t));
    TRY(build_plans(t));
    TRY(choose_sets(t));
    if (allocate) {
        mo_log(MOCO_LOG_INFO, "plan: %llu bytes, %d device(s) in flight, shards of %d images",
               (unsigned long long)t->budget.total, t->sets, t->shard);
        TRY(take_memory(t));
        initialise(t);
    }
    *out = t;
    t = NULL;
cleanup:
    mo_trainer_delete(t);
    return status;
}

static void drop_encoder(const moco_trainer_t *t, mo_encoder_t *e)
{
    mo_pass_free(&e->pass);
    for (int32_t i = 0; e->instances != NULL && i < t->sets * t->shards_per_group; i++)
        mo_instance_free(e->instances[i]);
    mo_free(e->instances);
    mo_packed_free(e->packed);
    mo_plan_free(e->plan);
    mo_block_free(e->params, (size_t)e->net.params * sizeof(float));
    mo_block_free(e->running, (size_t)e->net.stats * sizeof(float));
    mo_block_free(e->staged, (size_t)t->groups * (size_t)e->net.stats * sizeof(float));
    mo_net_free(&e->net);
}

void mo_trainer_delete(moco_trainer_t *t)
{
    if (t == NULL)
        return;
    size_t params = (size_t)t->query.net.params * sizeof(float);
    drop_encoder(t, &t->query);
    drop_encoder(t, &t->key);
    for (int32_t i = 0; t->arenas != NULL && i < t->sets * t->shards_per_group; i++)
        mo_block_free(t->arenas[i], t->arena_bytes);
    mo_free(t->arenas);
    mo_block_free(t->velocity, params);
    mo_gradients_free(&t->gradients);
    mo_keys_free(&t->queue);
    mo_block_free(t->keys, (size_t)t->options.batch_size * (size_t)t->options.dimension * sizeof(float));
    mo_free(t->results);
    mo_free(t->shard_gradients);
    mo_free(t->partial);
    mo_free(t->permutation);
    mo_free(t->draws);
    mo_pushed_free(&t->pushed);
    mo_free(t->origin);
    mo_device_release(t->device);
    mo_free(t);
}
