/* One step of fine-tuning: every shard forward, loss, backward in one plan; loss and gradient norm; the commit. */
#include <math.h>
#include <string.h>

#include "train/finetune.h"
#include "train/running.h"
#include "util/clones.h"
#include "util/status.h"

/* ---- hooks, on lanes ---- */

/* Place in the batch of a shard's first image. Groups take the batch in order. */
static int64_t first_of(const mo_tuner_t *t, int32_t group, int32_t shard)
{
    return ((int64_t)group * t->shards_per_group + shard) * t->shard;
}

static int64_t partner_of(const mo_tuner_t *t, int64_t image)
{
    return t->options.batch_size - 1 - image;
}

/* Two images as network input, mixed after their normalisation. */
MO_CLONES static void mix(const float lut[3][256], const uint8_t *a, const uint8_t *b, float share, float rest,
                          int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i += 3)
        for (int c = 0; c < 3; c++)
            to[i + c] = lut[c][a[i + c]] * share + lut[c][b[i + c]] * rest;
}

static moco_status_t load_images(const mo_tuner_t *t, mo_instance_t *instance, int64_t first)
{
    const mo_tune_batch_t *batch = t->batch;
    float *input;
    moco_status_t status = mo_instance_map(instance, t->encoder.net.input, MO_WRITE, &input);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < t->shard; i++) {
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

static moco_status_t load_targets(const mo_tuner_t *t, mo_instance_t *instance, int64_t first)
{
    const mo_tune_batch_t *batch = t->batch;
    float *targets;
    moco_status_t status = mo_instance_map(instance, t->targets, MO_WRITE, &targets);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < t->shard; i++)
        mo_tune_target(t->classes, t->options.label_smoothing, batch->labels[first + i],
                       batch->labels[partner_of(t, first + i)], batch->share, targets + i * t->classes);
    mo_instance_unmap(instance, t->targets, targets);
    return MOCO_OK;
}

static moco_status_t load_factors(const mo_tuner_t *t, mo_instance_t *instance, int64_t first)
{
    float *factors;
    if (t->branches == 0)
        return MOCO_OK;
    moco_status_t status = mo_instance_map(instance, t->encoder.net.paths, MO_WRITE, &factors);
    if (status != MOCO_OK)
        return status;
    memcpy(factors, t->batch->factors + first * t->branches,
           (size_t)t->shard * (size_t)t->branches * sizeof *factors);
    mo_instance_unmap(instance, t->encoder.net.paths, factors);
    return MOCO_OK;
}

static moco_status_t begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    mo_tuner_t *t = ctx;
    moco_status_t status = MOCO_OK;
    const int64_t first = first_of(t, group, shard);
    mo_buffer_t *block = &t->blocks[group * t->shards_per_group + shard];
    TRY(mo_instance_bind(instance, MO_IN_STATS,
                         mo_buffer_floats(t->staged, group * t->encoder.net.stats, t->encoder.net.stats)));
    TRY(mo_gradients_take(&t->gradients, block));
    TRY(mo_instance_bind(instance, MO_IN_GRADS, *block));
    TRY(load_images(t, instance, first));
    TRY(load_targets(t, instance, first));
    TRY(load_factors(t, instance, first));
cleanup:
    return status;
}

static moco_status_t end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    mo_tuner_t *t = ctx;
    const int32_t leaf = group * t->shards_per_group + shard;
    float *rows;
    moco_status_t status = mo_instance_map(instance, t->loss, MO_READ, &rows);
    if (status != MOCO_OK)
        return status;
    memcpy(t->losses + first_of(t, group, shard), rows, (size_t)t->shard * sizeof *rows);
    mo_instance_unmap(instance, t->loss, rows);
    return mo_gradients_finish(&t->gradients, leaf, t->blocks[leaf]);
}

/* ---- the commit ---- */

typedef struct commit {
    mo_tuner_t *tuner;
    mo_optim_rates_t rates;
} commit_t;

/* Biases, scales, shifts, and a ViT's class token [1,1,D]. */
/* What DeiT's protocol decays as little as biases: the class token, which has the shape of one, and the positions. */
static int is_vector(const mo_parameter_t *parameter)
{
    return parameter->count == parameter->dims[parameter->rank - 1] || strcmp(parameter->name, "pos_embed") == 0;
}

static void commit_part(void *ctx, int64_t number)
{
    const commit_t *c = ctx;
    mo_tuner_t *t = c->tuner;
    const mo_optim_part_t *part = &t->optim.parts[number];
    mo_optim_rates_t rates = c->rates;
    if (!t->options.decay_vectors && is_vector(&t->encoder.net.parameters[part->parameter]))
        rates.weight_decay = 0;
    mo_optim_update(&t->optim, part, &rates);
}

static void commit_statistics(mo_tuner_t *t, const float *staged)
{
    for (int32_t i = 0; i < t->encoder.net.op_count; i++) {
        const mo_op_t *op = &t->encoder.net.ops[i];
        if (op->bn < 0)
            continue;
        const mo_shape_t shape = t->encoder.net.shapes[op->src];
        mo_running_fold(&t->encoder.net, &t->encoder.net.bns[op->bn], staged, 0, t->groups,
                        (double)t->options.batch_size / t->groups * shape.h * shape.w, t->encoder.running);
    }
}

static moco_status_t outcome(mo_tuner_t *t, const float *gradients, double *loss)
{
    moco_status_t status = MOCO_OK;
    double norm = 0;
    t->optim.pieces[0] = (mo_gradient_piece_t){gradients, 0, t->encoder.net.params};
    TRY(mo_optim_gradient_norm(&t->optim, t->device, &norm));
    *loss = 0;
    for (int64_t i = 0; i < t->options.batch_size; i++)
        *loss += t->losses[i];
    *loss /= t->options.batch_size;
    if (!isfinite(*loss) || !isfinite(norm))
        TRY(mo_fail(MOCO_ERR_NONFINITE, "step %lld: loss is %g and the gradient's norm %g; wanted finite numbers",
                    (long long)t->step + 1, *loss, norm));
cleanup:
    return status;
}

/* Everything that can fail comes before the first part of the commit. */
moco_status_t mo_tuner_step(mo_tuner_t *t, const mo_tune_batch_t *batch, double lr, double *loss)
{
    const moco_finetune_options_t *o = &t->options;
    moco_status_t status = MOCO_OK;
    commit_t c = {.tuner = t,
                  .rates = {.kind = (mo_optimizer_t)o->optimizer, .lr = lr, .momentum = o->sgd_momentum,
                            .weight_decay = o->weight_decay, .beta1 = o->adam_beta1, .beta2 = o->adam_beta2,
                            .epsilon = o->adam_epsilon, .step = t->step + 1}};
    float *gradients = NULL, *staged = NULL, *params = NULL;
    t->batch = batch;
    t->pass.begin = begin;
    t->pass.end = end;
    mo_gradients_recycle(&t->gradients);
    TRY(mo_packed_refresh(t->packed));
    TRY(mo_pass_run(t->device, &t->pass));
    TRY(mo_buffer_map(t->gradients.total, MO_READ, &gradients));
    TRY(mo_buffer_map(t->staged, MO_READ, &staged));
    TRY(mo_buffer_map(t->encoder.params, MO_UPDATE, &params));
    t->optim.params = params;
    TRY(outcome(t, gradients, loss));
    TRY(mo_optim_begin(&t->optim, t->device, &c.rates));
    TRY(mo_device_parallel(t->device, t->optim.part_count, commit_part, &c));
    commit_statistics(t, staged);
    t->step++;
cleanup:
    mo_buffer_unmap(t->gradients.total, gradients);
    mo_buffer_unmap(t->staged, staged);
    mo_buffer_unmap(t->encoder.params, params);
    t->optim.params = NULL;
    t->batch = NULL;
    return status;
}
