/* One step, top to bottom. Start reading the library here. */
#include "train/trainer.h"

#include "train/schedule.h"
#include "util/rng.h"
#include "util/status.h"

/* Rates of the step at hand. The key momentum that the commit of step t uses is the one scheduled for step t+1: the
 * references update the key encoder at the start of the next step, and the sequence of keys is the same. */
mo_rates_t mo_rates_now(const moco_trainer_t *t)
{
    mo_time_t now = {t->state.epoch, t->state.step_in_epoch, t->state.listing_count / t->state.options.batch_size};
    if (t->state.listing_count == 0) { /* push mode */
        int64_t per_epoch = t->state.options.steps_per_epoch;
        now = per_epoch > 0 ? (mo_time_t){t->state.step / per_epoch, t->state.step % per_epoch, per_epoch}
                            : (mo_time_t){-1, 0, 0};
    }
    return (mo_rates_t){mo_schedule_lr(&t->state.options, now),
                        mo_schedule_momentum(&t->state.options, mo_time_next(now))};
}

/* B images in two views; all tensors are float32. Everything that can fail comes before "commit" and nothing after it
 * can, so a failed step leaves weights, batch-norm statistics, optimizer state, queue and counters exactly as they
 * were. */
moco_status_t mo_trainer_step(moco_trainer_t *t, const mo_views_t *views, mo_outcome_t *outcome)
{
    moco_status_t status = MOCO_OK;
    const mo_rates_t rates = mo_rates_now(t);
    const int64_t batch = t->state.options.batch_size;

    t->views = views;
    mo_gradients_recycle(&t->gradients[0]);
    mo_gradients_recycle(&t->gradients[1]);
    mo_rng_permutation_in(t->state.options.seed, MO_STREAM_SHUFFLE, (uint32_t)t->state.step, batch, t->draws,
                          t->permutation);

    TRY(mo_stage_run(t, MO_STAGE_KEY));       /* shuffled groups -> keys, unshuffled                          */
    TRY(mo_stage_run(t, MO_STAGE_QUERY));     /* forward, loss against queue or batch, backward               */
    TRY(mo_stage_run(t, MO_STAGE_KEY_BODY));  /* or, where the backbone runs twice: features of all shards,   */
    TRY(mo_stage_run(t, MO_STAGE_KEY_HEAD));  /* heads and loss over the whole batch,                         */
    TRY(mo_stage_run(t, MO_STAGE_BODY));
    TRY(mo_stage_run(t, MO_STAGE_HEAD));
    TRY(mo_stage_run(t, MO_STAGE_BODY_BACK)); /* and each shard again, forward and backward                   */
    TRY(mo_outcome(t, outcome));              /* the one wait: loss, gradient norm, finite?                   */

    /* commit: the stages only staged their batch-norm statistics; they are folded in here too */
    TRY(mo_commit_weights(t, rates));         /* optimizer, then k <- m k + (1-m) q; all or nothing           */
    mo_commit_statistics(t);
    if (t->state.method.loss == MOCO_LOSS_QUEUE)    /* last: the loss saw the old queue                             */
        mo_keys_enqueue(&t->state.queue, t->keys, t->state.method.key_views * batch);
    t->state.queue_seen += t->state.method.loss == MOCO_LOSS_QUEUE ? t->state.method.key_views * batch : 0;
    t->state.step++;
    mo_warn_step(t, outcome);

cleanup:
    t->views = NULL;
    return status;
}
