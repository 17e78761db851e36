/* Steps and what is reported of them: on a pushed batch, or on the batches of a data set, epoch
 * after epoch. */
#include "train/epochs.h"

#include <inttypes.h>

#include "train/run.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/status.h"
#include "util/structsize.h"

/* ---- reports ---- */

static int64_t steps_per_epoch(const moco_trainer_t *t)
{
    return t->state.listing_count > 0 ? t->state.listing_count / t->state.options.batch_size
                                      : t->state.options.steps_per_epoch;
}

void mo_report_fill(const moco_trainer_t *t, const mo_outcome_t *o, double data_seconds, double step_seconds,
                    moco_step_report_t *r)
{
    double fill = mo_queue_fill(&t->state), seconds = data_seconds + step_seconds;
    *r = (moco_step_report_t){.struct_size = sizeof *r,
                              .step = t->state.step,
                              .epoch = t->state.epoch,
                              .step_in_epoch = t->state.step_in_epoch,
                              .steps_per_epoch = steps_per_epoch(t),
                              .steps_total = steps_per_epoch(t) * t->state.options.epochs,
                              .loss = o->loss,
                              .chance_loss = t->state.method.chance,
                              .lr = o->rates.lr,
                              .key_momentum = o->rates.key_momentum,
                              .gradient_norm = o->gradient_norm,
                              .contrast_top1 = o->top1,
                              .contrast_top5 = o->top5,
                              .queue_fill = fill,
                              .images_per_second = seconds > 0 ? t->state.options.batch_size / seconds : 0,
                              .data_seconds = data_seconds,
                              .step_seconds = step_seconds,
                              .knn_top1 = -1,
                              .epoch_loss = t->state.step_in_epoch > 0
                                                ? t->state.epoch_loss_sum / (double)t->state.step_in_epoch
                                                : 0};
}

/* ---- pushed batches ---- */

moco_status_t mo_run_pushed(moco_trainer_t *t, const moco_run_options_t *o, moco_step_report_t *report)
{
    mo_outcome_t outcome;
    moco_step_report_t full;
    double start = mo_seconds();
    if (t->pushing.since == 0)
        t->pushing = (mo_pushing_t){start, t->state.step};
    t->cancel = o->cancel;
    moco_status_t status = mo_step_pushed(t, &outcome);
    t->cancel = NULL;
    if (status != MOCO_OK)
        return status;
    const double now = mo_seconds();
    mo_report_fill(t, &outcome, 0, now - start, &full);
    if (full.steps_total > full.step) /* whatever the host does between its steps, it will do again */
        full.eta_seconds = (now - t->pushing.since) / (double)(full.step - t->pushing.steps_before) *
                           (double)(full.steps_total - full.step);
    mo_report_out(&full, sizeof full, report);
    return MOCO_OK;
}

/* ---- data sets ---- */

/* Broken images tolerated in a listing. */
static int64_t broken_limit(const moco_trainer_options_t *o, int64_t listing)
{
    int64_t limit = (int64_t)((double)listing * o->max_broken_percent / 100.0);
    return o->max_broken > 0 && o->max_broken < limit ? o->max_broken : limit;
}

mo_seen_listing_t mo_listing_of(const moco_trainer_t *t)
{
    return (mo_seen_listing_t){t->state.listing_count, t->state.step, t->state.step_in_epoch, t->state.listing_hash,
                               t->state.epoch_loss_sum};
}

void mo_listing_forget(moco_trainer_t *t, const mo_seen_listing_t *before)
{
    if (before->count > 0 || t->state.step > before->step)
        return;
    t->state.listing_count = 0;
    t->state.listing_hash = before->hash;
    t->state.step_in_epoch = before->step_in_epoch;
    t->state.epoch_loss_sum = before->loss_sum;
}

/* The first data set a trainer sees is its own, and an epoch begins with it; later ones must be the
 * same. */
static moco_status_t bind_listing(moco_trainer_t *t, int64_t count, uint64_t hash)
{
    if (count < t->state.options.batch_size)
        return mo_fail(MOCO_ERR_NO_DATA, "the data set has %lld images, a batch needs %d", (long long)count,
                       t->state.options.batch_size);
    if (t->state.listing_count == 0) {
        t->state.listing_count = count;
        t->state.listing_hash = hash;
        t->state.step_in_epoch = 0; /* steps on pushed batches were no part of it */
        t->state.epoch_loss_sum = 0;
        return MOCO_OK;
    }
    if (t->state.listing_count != count)
        return mo_fail(MOCO_ERR_MISMATCH, "this run learns from %lld images, the data set has %lld",
                       (long long)t->state.listing_count, (long long)count);
    if (t->state.listing_hash != hash)
        return mo_fail(MOCO_ERR_MISMATCH,
                       "this run learns from images with names of hash %016" PRIx64 ", the data set's "
                       "names have %016" PRIx64 ": other names, or another order",
                       t->state.listing_hash, hash);
    return MOCO_OK;
}

moco_status_t mo_epochs_open(moco_trainer_t *t, moco_dataset_t *dataset, mo_loader_t **loader)
{
    moco_status_t status = MOCO_OK;
    int64_t count = mo_dataset_count(dataset);
    TRY(bind_listing(t, count, mo_dataset_name_hash(dataset)));
    TRY(mo_push_yield(t));
    mo_loader_spec_t spec = mo_trainer_loader_spec(t);
    spec.max_broken = broken_limit(&t->state.options, count);
    spec.cancel = t->cancel;
    mo_trainer_planned_begin(t);
    status = mo_loader_create(&spec, dataset, loader);
    mo_trainer_planned_end(t);
    TRY(status);
    TRY(mo_loader_seek(*loader, t->state.epoch, t->state.position));
cleanup:
    return status;
}

/* The epoch is over: by its planned steps, or because broken images left fewer than a batch. */
moco_status_t mo_epoch_next(moco_trainer_t *t, mo_loader_t *loader)
{
    t->state.epoch++;
    t->state.step_in_epoch = 0;
    t->state.position = 0;
    t->state.epoch_loss_sum = 0;
    return mo_loader_seek(loader, t->state.epoch, 0);
}

int mo_epoch_done(const moco_trainer_t *t)
{
    return t->state.step_in_epoch >= steps_per_epoch(t);
}

/* One step on the loader's next batch; *ended when the epoch has none left. */
moco_status_t mo_epochs_step(moco_trainer_t *t, mo_loader_t *loader, moco_step_report_t *report, int *ended)
{
    moco_status_t status = MOCO_OK;
    const mo_batch_t *batch = NULL;
    mo_outcome_t outcome;
    double start = mo_seconds(), loaded;
    *ended = 0;
    TRY(mo_cancel_check(t->cancel));
    status = mo_loader_next(loader, &batch);
    if (status == MOCO_ERR_NO_DATA && t->state.step_in_epoch > 0) {
        *ended = 1;
        return MOCO_OK;
    }
    TRY(status);
    loaded = mo_seconds();
    mo_views_t views = {.bytes = {batch->rows[0], batch->rows[1]}, .position = batch->position};
    TRY(mo_trainer_step(t, &views, &outcome));
    mo_report_fill(t, &outcome, loaded - start, mo_seconds() - loaded, report);
cleanup:
    if (batch != NULL)
        mo_loader_return(loader, batch);
    return status;
}

moco_status_t mo_run_steps(moco_trainer_t *t, moco_dataset_t *dataset, int64_t count, const moco_run_options_t *o,
                           moco_step_report_t *report)
{
    moco_status_t status = MOCO_OK;
    mo_loader_t *loader = NULL;
    moco_step_report_t full;
    mo_seen_listing_t before = mo_listing_of(t);
    int ended;
    t->cancel = o->cancel;
    TRY(mo_epochs_open(t, dataset, &loader));
    for (int64_t done = 0; done < count;) {
        if (mo_epoch_done(t))
            TRY(mo_epoch_next(t, loader));
        TRY(mo_epochs_step(t, loader, &full, &ended));
        if (ended)
            TRY(mo_epoch_next(t, loader));
        else
            done++;
    }
    mo_report_out(&full, sizeof full, report);
cleanup:
    t->cancel = NULL;
    if (status != MOCO_OK)
        mo_listing_forget(t, &before);
    mo_loader_free(loader);
    return status;
}
