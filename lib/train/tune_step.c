/* One step of fine-tuning: every shard forward, loss, backward in one plan; loss and gradient norm;
 * the commit. */
#include <string.h>

#include "train/finetune.h"
#include "util/clones.h"
#include "util/status.h"

/* ---- hooks, on lanes ---- */

/* One step: what its hooks are given. */
typedef struct run {
    mo_tuner_t *tuner;
    const mo_tune_batch_t *batch;
} run_t;

/* Place in the batch of a shard's first image. Groups take the batch in order. */
static int64_t first_of(const mo_tuner_t *t, int32_t group, int32_t shard)
{
    return ((int64_t)group * t->learner.cut.shards_per_group + shard) * t->learner.cut.shard;
}

static int64_t partner_of(const mo_tuner_t *t, int64_t image)
{
    return t->options.batch_size - 1 - image;
}

/* Two images as network input, mixed after their normalisation. */
static MO_CLONES(void, mix,
                 (const float lut[3][256], const uint8_t *a, const uint8_t *b, float share, float rest, int64_t count,
                  float *to),
                 (lut, a, b, share, rest, count, to))
{
    for (int64_t i = 0; i < count; i += 3)
        for (int c = 0; c < 3; c++)
            to[i + c] = lut[c][a[i + c]] * share + lut[c][b[i + c]] * rest;
}

static moco_status_t load_images(const run_t *run, mo_instance_t *instance, int64_t first)
{
    const mo_tuner_t *t = run->tuner;
    const mo_tune_batch_t *batch = run->batch;
    float *input;
    moco_status_t status = mo_instance_map(instance, t->encoder.net.input, MO_WRITE, &input);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < t->learner.cut.shard; i++) {
        float *to = input + i * t->feature;
        if (batch->share == 1)
            mo_input_bytes(t->lut, batch->rows[first + i], t->feature, to);
        else
            mix(t->lut, batch->rows[first + i], batch->rows[partner_of(t, first + i)], (float)batch->share,
                (float)(1 - batch->share), t->feature, to);
    }
    mo_instance_unmap(instance, t->encoder.net.input, input);
    return MOCO_OK;
}

static moco_status_t load_targets(const run_t *run, mo_instance_t *instance, int64_t first)
{
    const mo_tuner_t *t = run->tuner;
    const mo_tune_batch_t *batch = run->batch;
    float *targets;
    moco_status_t status = mo_instance_map(instance, t->targets, MO_WRITE, &targets);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < t->learner.cut.shard; i++)
        mo_tune_target(t->classes, t->options.label_smoothing, batch->labels[first + i],
                       batch->labels[partner_of(t, first + i)], batch->share, targets + i * t->classes);
    mo_instance_unmap(instance, t->targets, targets);
    return MOCO_OK;
}

static moco_status_t load_factors(const run_t *run, mo_instance_t *instance, int64_t first)
{
    const mo_tuner_t *t = run->tuner;
    float *factors;
    if (t->branches == 0)
        return MOCO_OK;
    moco_status_t status = mo_instance_map(instance, t->encoder.net.paths, MO_WRITE, &factors);
    if (status != MOCO_OK)
        return status;
    memcpy(factors, run->batch->factors + first * t->branches,
           (size_t)t->learner.cut.shard * (size_t)t->branches * sizeof *factors);
    mo_instance_unmap(instance, t->encoder.net.paths, factors);
    return MOCO_OK;
}

static moco_status_t before(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const run_t *run = ctx;
    moco_status_t status = MOCO_OK;
    const int64_t first = first_of(run->tuner, group, shard);
    if (mo_device_is_gpu(run->tuner->device))
        return mo_tune_gpu_before(run->tuner, instance, first, run->batch->share);
    TRY(load_images(run, instance, first));
    TRY(load_targets(run, instance, first));
    TRY(load_factors(run, instance, first));
cleanup:
    return status;
}

static moco_status_t after(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    mo_tuner_t *t = ((const run_t *)ctx)->tuner;
    float *rows;
    if (mo_device_is_gpu(t->device))
        return mo_tune_gpu_after(t, instance, first_of(t, group, shard));
    moco_status_t status = mo_instance_map(instance, t->loss, MO_READ, &rows);
    if (status != MOCO_OK)
        return status;
    memcpy(t->losses + first_of(t, group, shard), rows, (size_t)t->learner.cut.shard * sizeof *rows);
    mo_instance_unmap(instance, t->loss, rows);
    return MOCO_OK;
}

/* ---- the commit ---- */

/* Biases, scales and shifts, and what DeiT's protocol decays as little as them: the class token
 * [1,1,D], which has the shape of one, and the positions. */
static int is_vector(const mo_parameter_t *parameter)
{
    return parameter->count == parameter->dims[parameter->rank - 1] || strcmp(parameter->name, "pos_embed") == 0;
}

enum { HOLDS = 5 };

/* Nothing on a GPU. */
static moco_status_t map_numbers(mo_tuner_t *t, const mo_hold_t holds[HOLDS], float *const *gradients)
{
    const moco_status_t status = mo_holds_map(holds, mo_device_is_gpu(t->device) ? 0 : HOLDS);
    t->optim.pieces[0] = (mo_gradient_piece_t){*gradients, 0, t->encoder.net.params, t->gradients.total};
    return status;
}

static double mean_loss(const mo_tuner_t *t)
{
    double sum = 0;
    for (int64_t i = 0; i < t->options.batch_size; i++)
        sum += t->losses[i];
    return sum / t->options.batch_size;
}

/* Everything that can fail comes before the commit. */
moco_status_t mo_tuner_step(mo_tuner_t *t, const mo_tune_batch_t *batch, double lr, double *loss)
{
    const moco_finetune_options_t *o = &t->options;
    moco_status_t status = MOCO_OK;
    float *gradients = NULL, *staged = NULL;
    double norm;
    run_t run = {t, batch};
    const mo_feed_t feed = {before, after, &run, o->cancel};
    mo_update_t update = {.optim = &t->optim,
                          .rates = {.kind = (mo_optimizer_t)o->optimizer,
                                    .lr = lr,
                                    .momentum = o->sgd_momentum,
                                    .weight_decay = o->weight_decay,
                                    .beta1 = o->adam_beta1,
                                    .beta2 = o->adam_beta2,
                                    .epsilon = o->adam_epsilon,
                                    .step = t->step + 1},
                          .spared = o->decay_vectors ? NULL : is_vector};
    mo_hold_t holds[HOLDS] = {{t->staged.values, MO_READ, &staged},
                              {{0}, MO_READ, &gradients},
                              {t->encoder.params, MO_UPDATE, &t->optim.params},
                              {t->optim.state_at[0], MO_UPDATE, &t->optim.state[0]},
                              {t->optim.state_at[1], MO_UPDATE, &t->optim.state[1]}};
    mo_gradients_recycle(&t->gradients);
    TRY(mo_tune_gpu_begin(t, batch));
    TRY(mo_learner_run(&t->learner, t->device, &feed));
    holds[1].buffer = t->gradients.total;
    TRY(map_numbers(t, holds, &gradients));
    TRY(mo_update_measure(&update, t->device));
    TRY(mo_tune_gpu_end(t));
    *loss = mean_loss(t);
    TRY(mo_update_prepare(&update, t->device, *loss, &norm));
    mo_update_commit(&update, t->device);
    mo_running_commit(&t->encoder, &t->staged, mo_device_is_gpu(t->device) ? t->gpu.staged : staged, o->batch_size, 1,
                      0);
    t->step++;
cleanup:
    if (status != MOCO_OK)
        status = mo_device_drop(t->device, status);
    mo_holds_release(holds, HOLDS);
    return status;
}
