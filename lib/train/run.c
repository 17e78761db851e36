/* Whole runs: epochs with their files, evaluation and log; and the model that a trainer stands
 * for. */
#include "train/run.h"

#include "eval/knn.h"
#include "eval/model.h"
#include "train/epochs.h"
#include "train/run_files.h"
#include "train/trainer.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/status.h"
#include "util/structsize.h"

moco_status_t mo_trainer_snapshot(moco_trainer_t *t, const moco_snapshot_options_t *o, moco_device_t *device,
                                  moco_model_t **out)
{
    const int key = o->encoder == MOCO_ENCODER_KEY;
    mo_encoder_t encoder = mo_state_model(&t->state);
    mo_transform_t transform;
    if (key && t->state.method.key_views == 0)
        return mo_fail(MOCO_ERR_MISMATCH, "this method has no key encoder, wanted encoder %d (query)",
                       MOCO_ENCODER_QUERY);
    if (key) {
        encoder.params = t->state.key.params;
        encoder.running = t->state.key.running;
    }
    if (o->drop_head)
        encoder.spec.head = -1; /* a backbone's numbers are the first ones of its encoder's */
    mo_transform_of(&t->state.options, &transform);
    return mo_model_create(&encoder, &transform, MOCO_PRECISION_FLOAT32, 0, device != NULL ? device : t->device, out);
}

typedef struct run {
    moco_trainer_t *trainer;
    moco_dataset_t *dataset, *test;
    const moco_run_options_t *options;
    mo_loader_t *loader;
    mo_run_files_t files;
    int64_t steps_before; /* for the ETA */
    double started, paused;
    int stop;
} run_t;

static moco_status_t evaluate(run_t *r, double *top1)
{
    moco_status_t status = MOCO_OK;
    moco_model_t *model = NULL;
    moco_knn_result_t result = {.struct_size = sizeof result};
    moco_knn_options_t knn;
    const moco_snapshot_options_t query = {.encoder = MOCO_ENCODER_QUERY};
    double start = mo_seconds();
    *top1 = -1;
    if (r->test == NULL)
        return MOCO_OK;
    TRY(mo_trainer_snapshot(r->trainer, &query, NULL, &model));
    TRY(mo_option_defaults(&mo_knn_options, 0, &knn));
    knn.loader_threads = r->trainer->state.options.loader_threads;
    knn.cancel = r->options->cancel;
    TRY(mo_knn_accuracy(model, r->dataset, r->test, &knn, &result));
    *top1 = result.top1;
cleanup:
    mo_model_release(model);
    r->paused += mo_seconds() - start;
    return status;
}

/* Log line and callback. */
static moco_status_t tell(run_t *r, moco_step_report_t *report)
{
    moco_trainer_t *t = r->trainer;
    moco_status_t status = MOCO_OK;
    int64_t left = report->steps_total - t->state.step, done = t->state.step - r->steps_before;
    if (r->options->max_steps > 0 && r->options->max_steps < report->steps_total)
        left = r->options->max_steps - t->state.step;
    if (done > 0 && left > 0)
        report->eta_seconds = (mo_seconds() - r->started - r->paused) / (double)done * (double)left;
    if (report->knn_top1 >= 0 || t->state.step % r->options->log_every == 0)
        TRY(mo_run_files_log(&r->files, report));
    if (r->options->progress != NULL && r->options->progress(r->options->user, report) != 0)
        r->stop = 1;
cleanup:
    return status;
}

/* Epoch end: both files first, then evaluation if due, told in a report of its own with the epoch's
 * mean loss. */
static moco_status_t end_epoch(run_t *r, moco_step_report_t *report)
{
    moco_trainer_t *t = r->trainer;
    moco_status_t status = MOCO_OK;
    int64_t done = t->state.epoch + 1;
    TRY(mo_epoch_next(t, r->loader));
    TRY(mo_run_files_save(&r->files));
    if (done % r->options->eval_every == 0 || done == t->state.options.epochs) {
        TRY(evaluate(r, &report->knn_top1));
        if (report->knn_top1 >= 0)
            TRY(tell(r, report));
    }
cleanup:
    return status;
}

/* A report where no step of this run can be told of. */
static void fill_standing(const moco_trainer_t *t, moco_step_report_t *report)
{
    mo_outcome_t none = {.rates = mo_rates_now(t)};
    mo_report_fill(t, &none, 0, 0, report);
    report->loss = report->epoch_loss;
}

static moco_status_t before_first(run_t *r)
{
    moco_step_report_t report;
    moco_status_t status = MOCO_OK;
    if (r->test == NULL || r->trainer->state.step > 0)
        return MOCO_OK;
    fill_standing(r->trainer, &report);
    TRY(evaluate(r, &report.knn_top1));
    TRY(tell(r, &report));
cleanup:
    return status;
}

static int finished(const run_t *r)
{
    const moco_trainer_t *t = r->trainer;
    return t->state.epoch >= t->state.options.epochs ||
           (r->options->max_steps > 0 && t->state.step >= r->options->max_steps);
}

static moco_status_t run_steps(run_t *r)
{
    moco_trainer_t *t = r->trainer;
    moco_status_t status = MOCO_OK;
    moco_step_report_t report;
    int ended;
    fill_standing(t, &report); /* a trainer saved on the last step of an epoch ends it without a step */
    TRY(before_first(r));
    while (!r->stop && !finished(r)) {
        TRY(mo_epochs_step(t, r->loader, &report, &ended));
        if (!ended) {
            TRY(tell(r, &report));
            if (!mo_epoch_done(t) && mo_run_files_due(&r->files))
                TRY(mo_run_files_save(&r->files));
        }
        if (ended || mo_epoch_done(t))
            TRY(end_epoch(r, &report));
    }
cleanup:
    return status;
}

/* Numbers that are not finite are not worth a file: those of the last save are. */
static moco_status_t keep_files(const mo_run_files_t *files)
{
    char why[MO_MESSAGE_SIZE];
    mo_message_copy(why);
    if (files->trainer == NULL)
        return MOCO_ERR_NONFINITE;
    return files->step >= 0
               ? mo_fail(MOCO_ERR_NONFINITE, "%s; the files in '%s' stay those of step %lld", why,
                         files->run.folder.path, (long long)files->step)
               : mo_fail(MOCO_ERR_NONFINITE, "%s; the files in '%s' stay as they were", why, files->run.folder.path);
}

/* After a failure, or a request to stop, what was learnt is not lost. The first failure is what the
 * caller hears of; but who asked to stop must know if it was not saved. */
static moco_status_t save_what_is(run_t *r, moco_status_t failure)
{
    char first[MO_MESSAGE_SIZE];
    if (failure == MOCO_ERR_FORKED) /* the folder is the parent's, which goes on */
        return failure;
    if (failure == MOCO_ERR_NONFINITE)
        return keep_files(&r->files);
    mo_message_copy(first);
    if (r->trainer->state.step == r->steps_before)
        return failure;
    const moco_status_t status = mo_run_files_finish(&r->files);
    if (status != MOCO_OK && failure == MOCO_ERR_CANCELLED)
        return status;
    if (status != MOCO_OK)
        mo_log(MOCO_LOG_ERROR, "%s", moco_last_message());
    return mo_message_set(failure, first);
}

moco_status_t mo_run_epochs(moco_trainer_t *t, moco_dataset_t *dataset, moco_dataset_t *test, const char *folder,
                            const moco_run_options_t *options)
{
    moco_status_t status = MOCO_OK;
    run_t r = {.trainer = t,
               .dataset = dataset,
               .test = test,
               .options = options,
               .steps_before = t->state.step,
               .started = mo_seconds()};
    mo_seen_listing_t before = mo_listing_of(t);
    t->cancel = options->cancel;
    if (test != NULL) /* an evaluation that cannot be is not found after the first epoch */
        TRY(mo_knn_check(dataset, test));
    TRY(mo_run_files_open(&r.files, t, folder, options));
    TRY(mo_epochs_open(t, dataset, &r.loader));
    TRY(mo_run_files_begin(&r.files));
    status = run_steps(&r);
    if (status == MOCO_OK)
        status = mo_run_files_finish(&r.files);
    if (status != MOCO_OK)
        TRY(save_what_is(&r, status));
    if (r.stop)
        TRY(mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after step %lld", (long long)t->state.step));
cleanup:
    t->cancel = NULL;
    if (status != MOCO_OK)
        mo_listing_forget(t, &before);
    mo_run_files_close(&r.files, status != MOCO_OK && t->state.step == r.steps_before);
    mo_loader_free(r.loader);
    return status;
}
