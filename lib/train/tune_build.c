/* Making what fine-tuning trains: the net, its plan, memory, first values. */
#include <string.h>

#include "eval/classifier.h"
#include "engine/ops.h"
#include "train/finetune.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/rng.h"
#include "util/status.h"

static moco_status_t build_net(mo_tuner_t *t)
{
    moco_status_t status = MOCO_OK;
    mo_net_t *net = &t->encoder.net;
    TRY(mo_encoder_net(&t->encoder.spec, net));
    t->branches = net->paths >= 0 ? net->shapes[net->paths].c : 0;
    t->logits = mo_linear(net, net->backbone, mo_classifier_layer(t->encoder.spec.arch), t->classes);
    t->targets = mo_net_tensor(net, t->classes, 1, 1);
    t->loss = mo_cross_entropy(net, t->logits, t->targets, t->options.batch_size);
    TRY(mo_net_done(net));
cleanup:
    return status;
}

static moco_status_t make_plan(mo_tuner_t *t)
{
    const moco_finetune_options_t *o = &t->options;
    const mo_net_t *net = &t->encoder.net;
    mo_learner_t *l = &t->learner;
    l->encoder = &t->encoder;
    l->staged = &t->staged;
    l->pool = &t->gradients;
    l->cut = mo_cut(o->batch_size, o->bn_groups, mo_shard_size(o->batch_size, o->bn_groups, o->shard),
                    mo_net_syncs(net, 0, net->op_count));
    t->staged.rows = t->staged.body_groups = t->staged.head_groups = l->cut.groups;
    const mo_plan_spec_t spec = {.net = net,
                                 .mode = MO_MODE_TRAIN,
                                 .shard = l->cut.shard,
                                 .shards_per_group = l->cut.shards_per_group,
                                 .inputs = {net->input, t->targets, t->branches > 0 ? net->paths : -1, -1},
                                 .outputs = {t->loss, -1, -1, -1}};
    return mo_plan_create(t->device, &spec, &l->plan);
}

static void list_memory(mo_tuner_t *t)
{
    const mo_learner_t *l = &t->learner;
    const size_t params = (size_t)t->encoder.net.params * sizeof(float),
                 stats = (size_t)t->encoder.net.stats * sizeof(float);
    const int32_t shards = mo_learner_shards(l), together = l->cut.shards_per_group;
    mo_blocks_t *b = &t->blocks;
    mo_blocks_add_buffer(b, "weights", params, &t->encoder.params);
    mo_blocks_count(b, "packed", mo_plan_packed_bytes(l->plan));
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)t->options.optimizer); i++)
        mo_blocks_add_buffer(b, "optimizer", params, &t->optim.state_at[i]);
    mo_blocks_count(b, "gradients", (size_t)mo_gradient_blocks(shards, l->sets, together) * params);
    mo_blocks_add_buffer(b, "activations", (size_t)mo_learner_in_flight(l) * mo_plan_arena_bytes(l->plan), &t->arena);
    mo_blocks_count(b, "scratchpads", (size_t)mo_device_lanes(t->device) * mo_plan_scratchpad_bytes(l->plan));
    mo_blocks_add(b, "statistics", stats, &t->encoder.running);
    mo_blocks_add_buffer(b, "statistics", (size_t)t->staged.rows * stats, &t->staged.values);
    mo_blocks_add(b, "batch_results", (size_t)t->options.batch_size * sizeof *t->losses, &t->losses);
    if (mo_device_is_gpu(t->device))
        mo_blocks_count(b, "optimizer", mo_optim_gpu_bytes(&t->encoder.net));
    mo_tune_gpu_list(t, b);
}

/* A shard in flight for every lane, and fewer where that is more than the process may take. */
static moco_status_t fit_memory(mo_tuner_t *t)
{
    mo_headroom_t memory;
    mo_device_headroom(t->device, &memory);
    for (int32_t shards = mo_device_lanes(t->device); shards > 0; shards--) {
        t->learner.sets = mo_learner_sets(&t->learner, shards);
        t->blocks = (mo_blocks_t){0};
        list_memory(t);
        if (mo_blocks_bytes(&t->blocks, NULL) <= mo_headroom_spare(&memory))
            return MOCO_OK;
    }
    return mo_headroom_check_in(&memory, MOCO_ERR_MEMORY_CAP, "fine-tuning with one group in flight needs",
                                mo_blocks_bytes(&t->blocks, NULL),
                                "; a smaller batch or more batch-norm groups take less");
}

static moco_status_t take_memory(mo_tuner_t *t)
{
    moco_status_t status = MOCO_OK;
    const mo_learner_t *l = &t->learner;
    TRY(fit_memory(t));
    TRY(mo_blocks_take(&t->blocks, t->device));
    TRY(mo_learner_take(&t->learner, t->arena));
    TRY(mo_gradients_create(&t->gradients, t->encoder.net.params, mo_learner_shards(l), l->sets,
                            l->cut.shards_per_group, t->device));
    TRY(mo_optim_prepare(&t->optim, &t->encoder.net));
    t->optim.params_at = t->encoder.params;
    TRY(mo_optim_prepare_on(&t->optim, t->device));
    TRY(mo_tune_gpu_take(t));
cleanup:
    return status;
}

/* The classifier's weights and bias are the last two parameters. */
static mo_buffer_t numbers_of(const mo_tuner_t *t, int32_t from_end)
{
    const mo_parameter_t *p = &t->encoder.net.parameters[t->encoder.net.parameter_count - from_end];
    return mo_buffer_floats(t->encoder.params, p->offset, p->count);
}

moco_status_t mo_tuner_read(const mo_tuner_t *t, float *weights, float *bias)
{
    const moco_status_t status = mo_buffer_read(numbers_of(t, 2), weights);
    return status == MOCO_OK ? mo_buffer_read(numbers_of(t, 1), bias) : status;
}

/* The backbone comes first in both nets, at the same places. */
static moco_status_t initialise(mo_tuner_t *t, const moco_model_t *model)
{
    const int64_t count = (int64_t)t->classes * t->encoder.net.shapes[t->encoder.net.backbone].c;
    moco_status_t status = MOCO_OK;
    float *weights = NULL;
    mo_rng_t rng;
    TRY(mo_buffer_copy(mo_buffer_floats(t->encoder.params, 0, t->encoder.net.body_params), model->encoder.params));
    memcpy(t->encoder.running, model->encoder.running, (size_t)t->encoder.net.stats * sizeof(float));
    mo_rng_start(&rng, t->options.seed, MO_STREAM_TUNE_WEIGHTS, 0, 0);
    TRY(mo_buffer_map(numbers_of(t, 2), MO_WRITE, &weights));
    for (int64_t i = 0; i < count; i++)
        weights[i] = (float)(t->options.init_std * mo_rng_normal(&rng));
cleanup:
    mo_buffer_unmap(numbers_of(t, 2), weights);
    return status;
}

moco_status_t mo_tuner_create(mo_tuner_t *t, const moco_model_t *model, const moco_finetune_options_t *o,
                              int32_t classes)
{
    moco_status_t status = MOCO_OK;
    *t =
        (mo_tuner_t){.options = *o, .encoder.spec = model->encoder.spec, .classes = classes, .feature = model->feature};
    t->device = mo_device_retain(model->device);
    t->encoder.spec.head = -1;
    t->encoder.spec.drop_path = o->drop_path > 0;
    t->encoder.spec.freeze_patch = 0; /* what kept pre-training stable: labels train everything */
    t->encoder.spec.train_positions = 1;
    t->schedule = (mo_lr_schedule_t){.rate = o->base_lr * mo_lr_scale(o->lr_scaling, o->batch_size),
                                     .form = o->schedule,
                                     .unit = MOCO_SCHEDULE_PER_STEP,
                                     .epochs = o->epochs,
                                     .warmup_epochs = o->warmup_epochs};
    memcpy(t->lut, model->lut, sizeof t->lut);
    TRY(build_net(t));
    TRY(make_plan(t));
    TRY(take_memory(t));
    TRY(initialise(t, model));
cleanup:
    return status;
}

void mo_tuner_free(mo_tuner_t *t)
{
    mo_learner_free(&t->learner);
    mo_blocks_free(&t->blocks); /* before the optimizer forgets where its blocks are */
    mo_optim_free(&t->optim);
    mo_gradients_free(&t->gradients);
    mo_encoder_free(&t->encoder);
    mo_device_release(t->device);
    memset(t, 0, sizeof *t);
}
