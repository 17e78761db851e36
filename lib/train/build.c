/* Making the machine around a state: loss, plans, the list of memory that is known before any is
 * taken, the memory. */
#include <stdio.h>
#include <string.h>

#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/rng.h"
#include "util/size.h"
#include "util/status.h"

#define LOADER_DEPTH 2 /* batches in the store: one at work, one ahead */

/* Rows of batch statistics that a step fills: one of each group and forward pass. */
static void set_groups(moco_trainer_t *t)
{
    const mo_method_t *m = &t->state.method;
    const int32_t key_groups = m->key_views * t->state.options.bn_groups;
    t->query_staged.rows = t->query_staged.body_groups = m->groups; /* never fewer than the head's */
    t->query_staged.head_groups = !m->two_pass ? m->groups : m->mixed ? 1 : m->query_views;
    t->key_staged.rows = t->key_staged.body_groups = key_groups;
    t->key_staged.head_groups = m->two_pass ? m->key_views : key_groups;
}

/* ---- sizes ---- */

mo_loader_spec_t mo_trainer_loader_spec(const moco_trainer_t *t)
{
    const moco_trainer_options_t *o = &t->state.options;
    return (mo_loader_spec_t){.train = 1,
                              .views = t->view_spec,
                              .seed = o->seed,
                              .batch = o->batch_size,
                              .threads = mo_loader_threads(o->loader_threads, mo_device_lanes(t->device)),
                              .depth = LOADER_DEPTH,
                              .max_broken = -1};
}

/* The stage whose backward holds the gradients of the backbone. */
static const mo_learner_t *back_stage(const moco_trainer_t *t)
{
    return &t->stages[t->state.method.two_pass ? MO_STAGE_BODY_BACK : MO_STAGE_QUERY].learner;
}

/* A pool of gradient blocks, as mo_gradients_create takes it. */
typedef struct pool {
    int64_t floats;
    int32_t leaves, sets, together;
} pool_t;

static pool_t pool_of(const moco_trainer_t *t, const mo_learner_t *l, int32_t sets)
{
    const mo_net_t *net = &t->state.query.net;
    const int64_t body = t->state.method.two_pass ? net->body_params : net->params;
    return (pool_t){l->pool == &t->gradients[0] ? body : net->params - body, mo_learner_shards(l), sets,
                    l->cut.shards_per_group};
}

/* What the stages take with so many shards in flight, or one group where that is more. They never
 * run at once, so they share one arena and the scratchpads of the lanes. */
static void list_stages(moco_trainer_t *t, int32_t shards, mo_blocks_t *b)
{
    size_t arena = 0, scratch = 0;
    for (int i = 0; i < MO_STAGES; i++) {
        const mo_learner_t *l = &t->stages[i].learner;
        if (l->encoder == NULL)
            continue;
        const int32_t sets = mo_learner_sets(l, shards);
        const size_t bytes = (size_t)(sets * l->cut.shards_per_group) * mo_plan_arena_bytes(l->plan),
                     scratch_bytes = mo_plan_scratchpad_bytes(l->plan);
        arena = bytes > arena ? bytes : arena;
        scratch = scratch_bytes > scratch ? scratch_bytes : scratch;
        mo_blocks_count(b, "packed", mo_plan_packed_bytes(l->plan));
        if (l->pool != NULL) {
            const pool_t p = pool_of(t, l, sets);
            mo_blocks_count(b, "gradients",
                            (size_t)mo_gradient_blocks(p.leaves, p.sets, p.together) * (size_t)p.floats *
                                sizeof(float));
        }
    }
    mo_blocks_add_buffer(b, "activations", arena, &t->arena);
    mo_blocks_count(b, "scratchpads", (size_t)mo_device_lanes(t->device) * scratch);
}

/* Of a view's keys. */
static size_t keys_bytes(const moco_trainer_t *t)
{
    const size_t bytes = (size_t)t->state.options.batch_size * (size_t)t->state.options.dimension * sizeof(float);
    return (bytes + MO_BUFFER_ALIGN - 1) / MO_BUFFER_ALIGN * MO_BUFFER_ALIGN;
}

mo_buffer_t mo_trainer_keys(const moco_trainer_t *t, int32_t view)
{
    return mo_buffer_part(t->keys, (size_t)view * keys_bytes(t), keys_bytes(t));
}

size_t mo_trainer_keys_bytes(const moco_trainer_t *t)
{
    const mo_method_t *m = &t->state.method;
    const size_t width = (size_t)t->state.options.dimension;
    return m->key_views > 0 ? (size_t)m->key_views * keys_bytes(t) : (size_t)m->rows * (width + 1) * sizeof(float);
}

/* What a step stages for its commit, and the images it is given. */
static void list_batch(moco_trainer_t *t, mo_blocks_t *b)
{
    const size_t f = sizeof(float), batch = (size_t)t->state.options.batch_size;
    const mo_method_t *m = &t->state.method;
    const mo_net_t *query = &t->state.query.net, *key = &t->state.key.net;
    const mo_loader_spec_t loader = mo_trainer_loader_spec(t);
    const size_t rows = (size_t)m->rows, key_rows = (size_t)m->key_views * batch,
                 features = (size_t)query->shapes[query->backbone].c;
    mo_blocks_add_buffer(b, "batch_results", mo_trainer_keys_bytes(t), &t->keys);
    mo_blocks_add(b, "batch_results", rows * MO_LOSS_WIDTH * f, &t->results);
    mo_blocks_add(b, "batch_results", batch * sizeof *t->permutation, &t->permutation);
    mo_blocks_add(b, "batch_results", mo_rng_permutation_bytes((int64_t)batch), &t->draws);
    if (m->two_pass && !mo_device_is_gpu(t->device)) {
        mo_blocks_add(b, "batch_results", rows * features * f, &t->features[0]);
        mo_blocks_add(b, "batch_results", key_rows * features * f, &t->features[1]);
        mo_blocks_add(b, "batch_results", rows * features * f, &t->feature_gradients);
    }
    mo_blocks_add_buffer(b, "statistics", (size_t)t->query_staged.rows * (size_t)query->stats * f,
                         &t->query_staged.values);
    mo_blocks_add_buffer(b, "statistics", (size_t)t->key_staged.rows * (size_t)key->stats * f, &t->key_staged.values);
    mo_blocks_count(b, "views", (size_t)mo_loader_bytes(&loader));
    mo_gpu_step_list(t, b);
}

static mo_blocks_t blocks_with(moco_trainer_t *t, int32_t shards)
{
    mo_blocks_t blocks = {0};
    list_stages(t, shards, &blocks);
    list_batch(t, &blocks);
    return blocks;
}

uint64_t mo_trainer_bytes(const moco_trainer_t *t, const char *name)
{
    return mo_blocks_bytes(&t->state.blocks, name) + mo_blocks_bytes(&t->blocks, name);
}

/* A shard in flight for every lane, and fewer where their plan has more than `cap` bytes. */
static void choose_sets(moco_trainer_t *t, uint64_t cap)
{
    int32_t shards = mo_device_lanes(t->device);
    for (t->blocks = blocks_with(t, shards); shards > 1 && mo_trainer_bytes(t, NULL) > cap;)
        t->blocks = blocks_with(t, --shards);
    for (int i = 0; i < MO_STAGES; i++)
        if (t->stages[i].learner.encoder != NULL)
            t->stages[i].learner.sets = mo_learner_sets(&t->stages[i].learner, shards);
    t->shards = mo_learner_shards(back_stage(t));
    t->shards_in_flight = mo_learner_in_flight(back_stage(t));
}

static const char *more_groups(const moco_trainer_t *t)
{
    return t->state.method.loss->joins_batch && !t->state.method.two_pass
               ? ", or more batch-norm groups, which run in two passes"
               : "";
}

static moco_status_t check_cap(const moco_trainer_t *t, uint64_t cap)
{
    const uint64_t bytes = mo_trainer_bytes(t, NULL);
    if (bytes <= cap)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_MEMORY_CAP,
                   "one group in flight needs %s, the memory cap is %s; a cap of %llu would fit, or a smaller batch, "
                   "image or queue%s",
                   mo_size(bytes).text, mo_size(cap).text, (unsigned long long)bytes, more_groups(t));
}

/* The options' cap, or what the process may still take. A cap of the options is not compared with
 * that: whoever sets one may know better. Without one a plan that does not fit can still be looked
 * at, and is refused when its memory is taken. */
static moco_status_t fit_plan(moco_trainer_t *t)
{
    const uint64_t cap = (uint64_t)t->state.options.memory_cap;
    mo_headroom_t memory;
    if (cap == 0)
        mo_device_headroom(t->device, &memory);
    choose_sets(t, cap > 0 ? cap : mo_headroom_spare(&memory));
    return cap > 0 ? check_cap(t, cap) : MOCO_OK;
}

moco_status_t mo_trainer_build(moco_trainer_t *t, moco_device_t *device)
{
    moco_status_t status = MOCO_OK;
    const moco_trainer_options_t *o = &t->state.options;
    TRY(mo_device_default(device, &t->device));
    mo_options_views(o, &t->view_spec);
    t->feature = 3 * (int64_t)o->image_size * o->image_size;
    mo_input_table((const double[3]){o->mean_r, o->mean_g, o->mean_b}, (const double[3]){o->std_r, o->std_g, o->std_b},
                   t->lut);
    mo_net_t *net = &t->state.query.net;
    t->state.method.loss->build(net, t->state.query.embedding, o, &t->state.method, &t->loss);
    TRY(mo_net_done(net));
    set_groups(t);
    TRY(mo_stages_plan(t));
    TRY(fit_plan(t));
cleanup:
    return status;
}

moco_status_t mo_trainer_plan(const moco_trainer_options_t *options, moco_device_t *device, moco_trainer_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_options_t full;
    moco_trainer_t *t = NULL;
    TRY(mo_calloc(1, sizeof *t, &t));
    TRY(mo_options_overlay(options, &full));
    TRY(mo_state_build(&t->state, &full));
    TRY(mo_trainer_build(t, device));
    *out = t;
    t = NULL;
cleanup:
    mo_trainer_delete(t);
    return status;
}

/* ---- memory ---- */

static moco_status_t take_optimizer(moco_trainer_t *t)
{
    const moco_status_t status = mo_optim_prepare(&t->optim, &t->state.query.net);
    memcpy(t->optim.state_at, t->state.optimizer, sizeof t->optim.state_at);
    t->optim.params_at = t->state.query.params;
    return status == MOCO_OK ? mo_optim_prepare_on(&t->optim, t->device) : status;
}

static moco_status_t take_gradients(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    for (int i = 0; i < MO_STAGES; i++) {
        const mo_learner_t *l = &t->stages[i].learner;
        if (l->pool == NULL)
            continue;
        const pool_t p = pool_of(t, l, l->sets);
        TRY(mo_gradients_create(l->pool, p.floats, p.leaves, p.sets, p.together, t->device));
    }
cleanup:
    return status;
}

/* Making the plans has taken some memory, so the plan is fitted once more. */
static moco_status_t accept_plan(moco_trainer_t *t)
{
    char advice[256];
    mo_headroom_t memory;
    moco_status_t status = MOCO_OK;
    TRY(fit_plan(t));
    snprintf(
        advice, sizeof advice,
        "; a smaller batch, image or queue would take less%s; memory_cap = %llu takes it whatever the machine says",
        more_groups(t), (unsigned long long)mo_trainer_bytes(t, NULL));
    mo_device_headroom(t->device, &memory);
    if (t->state.options.memory_cap == 0)
        TRY(mo_headroom_check_in(&memory, MOCO_ERR_MEMORY_CAP, "the plan with one group in flight needs",
                                 mo_trainer_bytes(t, NULL), advice));
    mo_log(MOCO_LOG_INFO, "plan: %s, %d of %d shards in flight, %d images each",
           mo_size(mo_trainer_bytes(t, NULL)).text, t->shards_in_flight, t->shards, t->state.shard);
cleanup:
    return status;
}

void mo_trainer_planned_begin(const moco_trainer_t *t)
{
    if (t->state.options.memory_cap > 0)
        mo_headroom_planned_begin();
}

void mo_trainer_planned_end(const moco_trainer_t *t)
{
    if (t->state.options.memory_cap > 0)
        mo_headroom_planned_end();
}

moco_status_t mo_trainer_take(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    mo_trainer_planned_begin(t);
    TRY(accept_plan(t));
    TRY(mo_blocks_take(&t->blocks, t->device));
    TRY(mo_state_take(&t->state, t->device));
    TRY(mo_stages_take(t));
    TRY(take_optimizer(t));
    TRY(take_gradients(t));
    TRY(mo_gpu_step_take(t));
cleanup:
    mo_trainer_planned_end(t);
    return status;
}

moco_status_t mo_trainer_create(const moco_trainer_options_t *options, moco_device_t *device, moco_trainer_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_t *t = NULL;
    TRY(mo_trainer_plan(options, device, &t));
    TRY(mo_trainer_take(t));
    TRY(mo_state_start(&t->state));
    *out = t;
    t = NULL;
cleanup:
    mo_trainer_delete(t);
    return status;
}

void mo_trainer_delete(moco_trainer_t *t)
{
    if (t == NULL)
        return;
    mo_stages_free(t);
    mo_optim_free(&t->optim);
    mo_gradients_free(&t->gradients[0]);
    mo_gradients_free(&t->gradients[1]);
    mo_pushed_free(&t->pushed);
    mo_gpu_step_free(t);
    mo_blocks_free(&t->blocks);
    mo_state_free(&t->state);
    mo_device_release(t->device);
    mo_free(t);
}
