/* One step, top to bottom. Start reading the library here. */
#include "train/trainer.h"

#include "train/schedule.h"
#include "util/rng.h"
#include "util/status.h"

mo_rates_t mo_rates_now(const moco_trainer_t *t)
{
    const mo_state_t *s = &t->state;
    const moco_trainer_options_t *o = &s->options;
    mo_time_t now = {s->epoch, s->step_in_epoch, s->listing_count / o->batch_size};
    if (s->listing_count == 0) { /* push mode */
        int64_t per_epoch = o->steps_per_epoch;
        now = per_epoch > 0 ? (mo_time_t){s->step / per_epoch, s->step % per_epoch, per_epoch} : (mo_time_t){-1, 0, 0};
    }
    /* Where a published key encoder moves at the start of the next step, this commit uses that
     * step's momentum: the sequence of keys is the same. */
    const mo_time_t moved = s->method.loss->momentum_ahead ? mo_time_next(now) : now;
    return (mo_rates_t){mo_schedule_lr(o, now), mo_schedule_momentum(o, moved)};
}

static void begin(moco_trainer_t *t)
{
    const moco_trainer_options_t *o = &t->state.options;
    mo_gradients_recycle(&t->gradients[0]);
    mo_gradients_recycle(&t->gradients[1]);
    mo_rng_permutation_in(o->seed, MO_STREAM_SHUFFLE, (uint32_t)t->state.step, o->batch_size, t->draws, t->permutation);
}

/* Images of shuffled groups -> keys, each at the place of its image. Nothing here receives a
 * gradient. */
static moco_status_t encode_keys(moco_trainer_t *t, const mo_views_t *views)
{
    moco_status_t status = MOCO_OK;
    if (t->state.method.key_views == 0)
        return MOCO_OK;
    if (!t->state.method.two_pass)
        return mo_stage_run(t, MO_STAGE_KEY, views);
    TRY(mo_stage_run(t, MO_STAGE_KEY_BODY, views)); /* features, shard by shard          */
    TRY(mo_stage_run(t, MO_STAGE_KEY_HEAD, views)); /* heads over the whole batch        */
cleanup:
    return status;
}

/* Forward, loss and backward of every shard in one plan. */
static moco_status_t one_pass(moco_trainer_t *t, const mo_views_t *views)
{
    return mo_stage_run(t, MO_STAGE_QUERY, views);
}

/* Or the backbone runs twice, and holds the activations of a shard for each lane instead of the
 * whole batch's. */
static moco_status_t two_passes(moco_trainer_t *t, const mo_views_t *views)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_stage_run(t, MO_STAGE_BODY, views));      /* images -> features of all shards                  */
    TRY(mo_stage_run(t, MO_STAGE_HEAD, views));      /* heads and loss over the whole batch, and backward */
    TRY(mo_stage_run(t, MO_STAGE_BODY_BACK, views)); /* each shard again, forward and backward            */
cleanup:
    return status;
}

/* B images in two views; all tensors are float32. Only the commit changes the trainer, and it
 * cannot fail: after a failed step weights, batch-norm statistics, optimizer state, queue and
 * counters are exactly as they were. */
moco_status_t mo_trainer_step(moco_trainer_t *t, const mo_views_t *views, mo_outcome_t *outcome)
{
    moco_status_t status = MOCO_OK;
    mo_commit_t commit = {.views = views, .rates = mo_rates_now(t)};
    begin(t);
    TRY(mo_gpu_step_begin(t, views));
    TRY(encode_keys(t, views));
    TRY(t->state.method.two_pass ? two_passes(t, views) : one_pass(t, views));
    TRY(mo_commit_prepare(t, &commit)); /* the one wait: loss and gradient norm, are they finite?               */
    mo_commit(t, &commit);              /* optimizer, key encoder, running statistics, dictionary, counters     */
    mo_warn_step(t, &commit.outcome);
    *outcome = commit.outcome;
cleanup:
    if (status != MOCO_OK)
        status = mo_device_drop(t->device, status);
    mo_commit_done(t);
    return status;
}
