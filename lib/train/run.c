/* Whole runs: epochs with their files, evaluation and log; and the model that a trainer stands
 * for. */
#include "train/run.h"

#include <math.h>
#include <string.h>

#include "eval/knn.h"
#include "eval/model_file.h"
#include "persist/tensor_file.h"
#include "train/epochs.h"
#include "train/run_log.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/file.h"
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
    return mo_model_create(&encoder, &transform, 0, device != NULL ? device : t->device, out);
}

typedef struct run {
    moco_trainer_t *trainer;
    moco_dataset_t *dataset, *test;
    const char *folder;
    const moco_run_options_t *options;
    mo_loader_t *loader;
    FILE *log;
    int64_t steps_before; /* for the ETA */
    double started, paused;
    int64_t saved_step, saved_epoch;
    int stop;
} run_t;

static moco_status_t save_both(run_t *r)
{
    moco_trainer_t *t = r->trainer;
    moco_status_t status = MOCO_OK;
    mo_transform_t transform;
    char *path = NULL;
    if (r->folder == NULL || (r->saved_step == t->state.step && r->saved_epoch == t->state.epoch))
        return MOCO_OK;
    const mo_encoder_t encoder = mo_state_model(&t->state);
    mo_transform_of(&t->state.options, &transform);
    TRY(mo_strprintf(&path, "%s/checkpoint.safetensors", r->folder));
    TRY(mo_state_save(&t->state, path));
    mo_free(path);
    path = NULL;
    TRY(mo_strprintf(&path, "%s/model.safetensors", r->folder));
    TRY(mo_model_write_encoder(&encoder, &transform, NULL, path));
    r->saved_step = t->state.step;
    r->saved_epoch = t->state.epoch;
cleanup:
    mo_free(path);
    return status;
}

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
    if (r->log != NULL && (report->knn_top1 >= 0 || t->state.step % r->options->log_every == 0))
        TRY(mo_run_log_line(r->log, report));
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
    TRY(save_both(r));
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
            if (r->options->save_every > 0 && t->state.step % r->options->save_every == 0 && !mo_epoch_done(t))
                TRY(save_both(r));
        }
        if (ended || mo_epoch_done(t))
            TRY(end_epoch(r, &report));
    }
cleanup:
    return status;
}

/* Whether a file of an earlier run has learnt something; what cannot be read might have. */
static int has_steps(const char *path)
{
    mo_tensor_file_t file = {0};
    const char *steps = NULL;
    if (!mo_file_exists(path))
        return 0;
    if (mo_tensor_file_open(&file, path) == MOCO_OK) {
        steps = mo_tensor_file_text(&file, "step"); /* of a checkpoint */
        if (steps == NULL)
            steps = mo_tensor_file_text(&file, "steps"); /* of a model */
    }
    const int some = steps == NULL || strcmp(steps, "0") != 0;
    mo_tensor_file_close(&file);
    return some;
}

/* A trainer without steps does not go on with the run whose files are in its folder. */
static moco_status_t check_folder(const moco_trainer_t *t, const char *folder, int32_t overwrite)
{
    static const char *const names[] = {"checkpoint.safetensors", "model.safetensors"};
    moco_status_t status = MOCO_OK;
    char *path = NULL;
    for (int i = 0; folder != NULL && t->state.step == 0 && !overwrite && i < 2; i++) {
        TRY(mo_strprintf(&path, "%s/%s", folder, names[i]));
        if (has_steps(path))
            TRY(mo_fail(MOCO_ERR_EXISTS,
                        "%s is of another run, which this trainer at step 0 would replace: load its "
                        "checkpoint, choose another folder or set 'overwrite'",
                        path));
        mo_free(path);
        path = NULL;
    }
cleanup:
    mo_free(path);
    return status;
}

moco_status_t mo_run_epochs(moco_trainer_t *t, moco_dataset_t *dataset, moco_dataset_t *test, const char *folder,
                            const moco_run_options_t *options)
{
    moco_status_t status = MOCO_OK;
    run_t r = {.trainer = t,
               .dataset = dataset,
               .test = test,
               .folder = folder,
               .options = options,
               .steps_before = t->state.step,
               .started = mo_seconds(),
               .saved_step = -1};
    mo_seen_listing_t before = mo_listing_of(t);
    t->cancel = options->cancel;
    TRY(check_folder(t, folder, options->overwrite));
    TRY(mo_epochs_open(t, dataset, &r.loader));
    if (folder != NULL)
        TRY(mo_run_log_open(folder, t->state.step, &r.log));
    status = run_steps(&r);
    if (status != MOCO_OK) { /* what was learnt is not lost; the first failure is what the caller hears of */
        char message[MO_MESSAGE_SIZE];
        mo_message_copy(message);
        if (t->state.step > r.steps_before && save_both(&r) != MOCO_OK)
            mo_log(MOCO_LOG_ERROR, "the run could not be saved either: %s", moco_last_message());
        TRY(mo_message_set(status, message));
    }
    TRY(save_both(&r));
    if (r.stop)
        TRY(mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after step %lld", (long long)t->state.step));
cleanup:
    t->cancel = NULL;
    if (status != MOCO_OK)
        mo_listing_forget(t, &before);
    mo_run_log_close(folder, r.log, status != MOCO_OK && t->state.step == r.steps_before);
    mo_loader_free(r.loader);
    return status;
}
