/* One MoCo step, top to bottom. Start reading the library here. */
#include "train/trainer.h"

#include "train/schedule.h"
#include "util/rng.h"
#include "util/status.h"

/* Rates of the step at hand: lr by epoch; the key momentum that the commit of step t uses is the one of step t+1 (the
 * method updates the key encoder at the start of the next step: the same sequence of keys). v1 and v2 keep it constant.
 */
mo_rates_t mo_rates_now(const moco_trainer_t *trainer)
{
    const moco_trainer_options_t *o = &trainer->options;
    int64_t epoch = trainer->epoch;
    if (trainer->listing_count == 0) /* push mode */
        epoch = o->steps_per_epoch > 0 ? trainer->step / o->steps_per_epoch : -1;
    return (mo_rates_t){mo_schedule_lr(o, epoch), o->key_momentum};
}

/* B images in two views, D embedding width, K queue length; all tensors are float32. Everything that can fail comes
 * before "commit" and nothing after it can, so a failed step leaves weights, batch-norm statistics, optimiser state,
 * queue and counters exactly as they were. */
moco_status_t mo_trainer_step(moco_trainer_t *t, const mo_views_t *views, mo_outcome_t *outcome)
{
    moco_status_t status = MOCO_OK;
    const mo_rates_t rates = mo_rates_now(t);
    const int64_t batch = t->options.batch_size;

    t->views = views;
    mo_gradients_recycle(&t->gradients);
    mo_rng_permutation_in(t->options.seed, MO_STREAM_SHUFFLE, (uint32_t)t->step, batch, t->draws, t->permutation);
    TRY(mo_packed_refresh(t->key.packed));             /* parameters -> layouts of the primitives    */
    TRY(mo_packed_refresh(t->query.packed));
    TRY(mo_pass_run(t->device, &t->key.pass));         /* shuffled groups -> keys [B,D], unshuffled  */
    TRY(mo_pass_run(t->device, &t->query.pass));       /* forward, InfoNCE against the queue, backward */
    TRY(mo_outcome(t, outcome));                       /* the one wait: loss, gradient norm, finite? */

    /* commit: the passes only staged their batch-norm statistics; they are folded in here too */
    TRY(mo_commit_weights(t, rates));                  /* SGD, then k <- m k + (1-m) q; all or nothing */
    mo_commit_statistics(t);
    mo_keys_enqueue(&t->queue, t->keys, batch);        /* last: the loss saw the old queue           */
    t->queue_seen += batch;
    t->step++;

cleanup:
    t->views = NULL;
    return status;
}
