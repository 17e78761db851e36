/* Fine-tuning from data sets to classifier: epochs of random crops, steps, measurements on the test
 * set, what is kept. */
#include <math.h>
#include <string.h>

#include "eval/supervised.h"
#include "train/finetune.h"
#include "train/schedule.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

#define SCORED 256 /* test images measured at a time */

typedef struct work {
    mo_supervised_t s;
    const moco_finetune_options_t *o;
    mo_tuner_t tuner;
    mo_loader_t *loader;
    int32_t *labels;   /* [B] of the batch                       */
    float *factors;    /* [B, branches]                          */
    int64_t per_epoch; /* steps planned                          */
    int64_t seen;      /* images of the epoch so far             */
    double loss;       /* summed over them                       */
} work_t;

/* ---- measuring ---- */

static moco_status_t snapshot(const work_t *w, moco_model_t **out)
{
    mo_encoder_t encoder = w->tuner.encoder; /* its numbers are borrowed */
    encoder.spec.drop_path = 0;
    encoder.steps = w->tuner.step;
    return mo_model_create(&encoder, &w->s.model->transform, w->s.model->precision, 0, w->tuner.device, out);
}

static moco_status_t score(const work_t *w, mo_linear_score_t *scores)
{
    const mo_tuner_t *t = &w->tuner;
    const size_t features = (size_t)w->s.classifier->result.features;
    moco_status_t status = MOCO_OK;
    mo_linear_t linear = {0};
    TRY(mo_linear_create(t->device, 1, t->classes, (int32_t)features, SCORED, &linear));
    TRY(mo_tuner_read(t, linear.weights, linear.bias));
    TRY(mo_supervised_score(&w->s, &linear, scores, 0, w->s.report.epoch + 1 == w->s.epochs));
    if (!isfinite(scores->loss))
        TRY(mo_fail(MOCO_ERR_NONFINITE, "the loss on the test set is %g after step %lld", scores->loss,
                    (long long)t->step));
cleanup:
    mo_linear_free(&linear);
    return status;
}

static moco_status_t keep(work_t *w, moco_model_t *model)
{
    moco_classifier_t *c = w->s.classifier;
    const size_t classes = (size_t)c->result.classes, features = (size_t)c->result.features;
    moco_status_t status = MOCO_OK;
    float *weights = NULL, *bias = NULL;
    TRY(mo_calloc(classes * features, sizeof *weights, &weights));
    TRY(mo_calloc(classes, sizeof *bias, &bias));
    TRY(mo_tuner_read(&w->tuner, weights, bias));
    c->result.finetuned = 1;
    c->result.rates = 1;
    c->result.steps = w->tuner.step;
    c->result.train_images = w->seen;
    c->result.test_images = w->s.measured.count;
    TRY(mo_classifier_keep(c, 0, weights, bias, model));
cleanup:
    mo_free(weights);
    mo_free(bias);
    return status;
}

/* The weights as they are, in evaluation mode. The last measurement keeps them. */
static moco_status_t measure(work_t *w)
{
    moco_status_t status = MOCO_OK;
    moco_model_t *model = NULL;
    mo_linear_score_t scores = {0};
    moco_classifier_rate_t *rate = &w->s.classifier->rates[0];
    TRY(snapshot(w, &model));
    TRY(mo_supervised_embed_test(&w->s, model));
    TRY(score(w, &scores));
    *rate = mo_classifier_rate(&scores, w->s.measured.count, w->s.report.loss);
    rate->base_lr = w->o->base_lr;
    rate->effective_lr = w->tuner.schedule.rate;
    if (w->s.report.epoch + 1 == w->s.epochs)
        TRY(keep(w, model));
cleanup:
    mo_model_release(model);
    return status;
}

/* ---- training ---- */

/* mo_supervised_batch_fn */
static moco_status_t step(void *ctx, const mo_batch_t *batch)
{
    work_t *w = ctx;
    mo_tuner_t *t = &w->tuner;
    moco_classifier_report_t *r = &w->s.report;
    moco_status_t status = MOCO_OK;
    const mo_time_t now = {r->epoch, w->seen / w->o->batch_size, w->per_epoch};
    const mo_tune_batch_t images = {
        .rows = batch->rows[0], .labels = w->labels, .share = mo_tune_share(w->o, t->step), .factors = w->factors};
    double loss = 0;
    mo_supervised_labels(&w->s, batch, w->labels);
    mo_tune_factors(t, t->step, w->factors);
    r->lr = mo_lr_at(&t->schedule, now);
    TRY(mo_tuner_step(t, &images, r->lr, &loss));
    w->loss += loss * (double)batch->count;
    w->seen += batch->count;
    r->loss = w->loss / (double)w->seen;
    r->done += batch->count;
    r->step = t->step;
    TRY(mo_supervised_tell_step(&w->s));
cleanup:
    return status;
}

static moco_status_t run_epoch(work_t *w)
{
    moco_status_t status = MOCO_OK;
    const moco_classifier_rate_t *measured = NULL;
    w->seen = 0;
    w->loss = 0;
    TRY(mo_supervised_epoch(w->loader, w->s.report.epoch, step, w));
    if (w->seen == 0)
        TRY(mo_fail(MOCO_ERR_NO_DATA,
                    "the training set has fewer than %d good images with a class, which a batch takes",
                    w->o->batch_size));
    if (mo_supervised_due(&w->s)) {
        TRY(measure(w));
        measured = &w->s.classifier->rates[0];
    }
    TRY(mo_supervised_tell_epoch(&w->s, measured));
cleanup:
    return status;
}

/* ---- beginning and ending ---- */

static moco_status_t prepare(work_t *w)
{
    const moco_finetune_options_t *o = w->o;
    const mo_supervised_draws_t draws = {.seed = o->seed,
                                         .order_stream = MO_STREAM_TUNE_ORDER,
                                         .view_stream = MO_STREAM_TUNE_VIEW,
                                         .crop_min_area = o->crop_min_area,
                                         .crop_max_area = o->crop_max_area,
                                         .flip_probability = o->flip_probability,
                                         .resize_filter = o->resize_filter};
    moco_status_t status = MOCO_OK;
    TRY(mo_supervised_open(&w->s));
    w->per_epoch = w->s.labelled / o->batch_size;
    w->s.report.total = w->per_epoch * o->epochs * o->batch_size;
    TRY(mo_tuner_create(&w->tuner, w->s.model, o, w->s.classifier->result.classes));
    TRY(mo_calloc((size_t)o->batch_size, sizeof *w->labels, &w->labels));
    TRY(mo_calloc((size_t)o->batch_size * (size_t)w->tuner.branches, sizeof *w->factors, &w->factors));
    TRY(mo_supervised_loader(&w->s, &draws, &w->loader));
cleanup:
    return status;
}

moco_status_t mo_finetune_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                const moco_finetune_options_t *options, moco_classifier_t **out)
{
    moco_status_t status = MOCO_OK;
    work_t w = {.o = options};
    w.s = (mo_supervised_t){.model = model,
                            .train = train,
                            .test = test,
                            .progress = options->progress,
                            .user = options->user,
                            .cancel = options->cancel,
                            .batch_size = options->batch_size,
                            .epochs = options->epochs,
                            .eval_every = options->eval_every,
                            .loader_threads = options->loader_threads};
    TRY(prepare(&w));
    for (; w.s.report.epoch < options->epochs; w.s.report.epoch++)
        TRY(run_epoch(&w));
    *out = mo_supervised_take(&w.s);
cleanup:
    mo_loader_free(w.loader);
    mo_tuner_free(&w.tuner);
    mo_free(w.labels);
    mo_free(w.factors);
    mo_supervised_close(&w.s);
    return status;
}
