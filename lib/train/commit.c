/* Before the commit: loss and gradient norm, and are they numbers. The commit: plain loops over flat blocks. */
#include <math.h>

#include "train/sgd.h"
#include "train/trainer.h"
#include "util/status.h"

#define CHUNK ((int64_t)1 << 16) /* floats a part; fixed, so sums do not depend on the lanes */
#define BN_MOMENTUM 0.1          /* of the running statistics */

static int64_t chunks(const moco_trainer_t *t)
{
    return (t->query.net.params + CHUNK - 1) / CHUNK;
}

static int64_t chunk_size(const moco_trainer_t *t, int64_t part)
{
    int64_t left = t->query.net.params - part * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

static void norm_part(void *ctx, int64_t part)
{
    moco_trainer_t *t = ctx;
    t->partial[part] = mo_square_sum(t->gradients.total + part * CHUNK, chunk_size(t, part));
}

moco_status_t mo_outcome(moco_trainer_t *t, mo_outcome_t *out)
{
    int64_t batch = t->options.batch_size, first = 0, fifth = 0;
    double loss = 0, squares = 0;
    moco_status_t status = mo_device_parallel(t->device, chunks(t), norm_part, t);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < chunks(t); i++)
        squares += t->partial[i];
    for (int64_t i = 0; i < batch; i++) {
        const float *row = t->results + i * MO_LOSS_WIDTH;
        loss += row[MO_LOSS_VALUE];
        first += row[MO_LOSS_RANK] < 1;
        fifth += row[MO_LOSS_RANK] < 5;
    }
    *out = (mo_outcome_t){loss / (double)batch, 100.0 * (double)first / (double)batch,
                          100.0 * (double)fifth / (double)batch, sqrt(squares)};
    if (!isfinite(out->loss) || !isfinite(out->gradient_norm))
        return mo_fail(MOCO_ERR_NONFINITE, "step %lld: loss is %g and the gradient's norm %g; wanted finite numbers",
                       (long long)t->step + 1, out->loss, out->gradient_norm);
    return MOCO_OK;
}

typedef struct commit {
    moco_trainer_t *trainer;
    mo_sgd_rates_t sgd;
    double key_momentum;
} commit_t;

static void commit_part(void *ctx, int64_t part)
{
    const commit_t *c = ctx;
    moco_trainer_t *t = c->trainer;
    int64_t at = part * CHUNK, count = chunk_size(t, part);
    mo_sgd_update(t->query.params + at, t->velocity + at, t->gradients.total + at, count, &c->sgd);
    mo_momentum_update(t->key.params + at, t->query.params + at, count, c->key_momentum);
}

/* One call: either no part has run, or all have. */
moco_status_t mo_commit_weights(moco_trainer_t *t, mo_rates_t rates)
{
    commit_t c = {
        .trainer = t,
        .sgd = {(float)rates.lr, (float)t->options.sgd_momentum, (float)t->options.weight_decay, t->step == 0},
        .key_momentum = rates.key_momentum};
    return mo_device_parallel(t->device, chunks(t), commit_part, &c);
}

/* running <- 0.9 running + 0.1 batch, once per forward; the batch's values are the mean over the groups of their means
 * and of their unbiased variances (m/(m-1), m values per channel), or the first group's alone. */
static void fold(const moco_trainer_t *t, mo_encoder_t *encoder)
{
    int32_t groups = t->options.bn_running == MOCO_BN_RUNNING_FIRST ? 1 : t->groups;
    for (int32_t i = 0; i < encoder->net.op_count; i++) {
        const mo_op_t *op = &encoder->net.ops[i];
        if (op->bn < 0)
            continue;
        const mo_bn_t *bn = &encoder->net.bns[op->bn];
        mo_shape_t shape = encoder->net.shapes[op->src];
        double m = (double)(t->options.batch_size / t->groups) * shape.h * shape.w;
        for (int64_t c = 0; c < 2 * (int64_t)bn->channels; c++) {
            double sum = 0;
            for (int32_t g = 0; g < groups; g++)
                sum += encoder->staged[g * encoder->net.stats + bn->offset + c];
            double value = sum / groups;
            if (c >= bn->channels && m > 1)
                value *= m / (m - 1);
            float *running = &encoder->running[bn->offset + c];
            *running = (float)((1.0 - BN_MOMENTUM) * *running + BN_MOMENTUM * value);
        }
    }
}

void mo_commit_statistics(moco_trainer_t *t)
{
    fold(t, &t->query);
    fold(t, &t->key);
}
