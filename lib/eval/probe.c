/* The linear probe from data sets to classifier: features of the test set once; training images
 * batch by batch through the encoder in evaluation mode, or their features once; classifiers by SGD
 * (linear.c); the best one kept. */
#include "eval/probe.h"

#include <math.h>
#include <string.h>

#include "eval/supervised.h"
#include "optim/optim.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

#define SCORED 256 /* test images measured at a time, at the least */

_Static_assert(MO_CLASSIFIER_RATES == MOCO_PROBE_MAX_RATES, "a classifier tells of every rate of a probe");

typedef struct work {
    mo_supervised_t s;
    moco_probe_options_t o; /* with the rates that the protocol chooses */
    mo_linear_t linear;
    mo_features_t cache;               /* cached: of the training set                */
    int32_t *order;                    /* cached: of the epoch                       */
    mo_loader_t *loader;               /* not cached                                 */
    float *rows;                       /* not cached: [batch,F] of the batch         */
    int32_t *labels;                   /* not cached: of the batch                   */
    double lr[MOCO_PROBE_MAX_RATES];   /* of the epoch                      */
    double loss[MOCO_PROBE_MAX_RATES]; /* summed over the epoch so far      */
    int64_t seen, images;              /* images of the epoch so far; of every epoch */
    mo_linear_score_t scores[MOCO_PROBE_MAX_RATES];
} work_t;

static moco_status_t too_few(const work_t *w, int64_t good)
{
    return mo_fail(MOCO_ERR_NO_DATA, "the training set has %lld good images with a class, a batch takes %d",
                   (long long)good, w->o.batch_size);
}

/* ---- epochs ---- */

/* Of the rate with the smallest mean loss of the epoch so far; not a number if all have
 * diverged. */
static void report_least(work_t *w)
{
    moco_classifier_report_t *r = &w->s.report;
    r->loss = (double)NAN;
    r->lr = w->lr[0];
    for (int32_t h = 0; h < w->o.rates; h++) {
        const double mean = w->loss[h] / (double)w->seen;
        if (mean < r->loss || (isnan(r->loss) && !isnan(mean))) {
            r->loss = mean;
            r->lr = w->lr[h];
        }
    }
}

/* `done`: images of the epoch after this step, broken ones counted. */
static moco_status_t step(work_t *w, const mo_linear_rows_t *rows, int64_t done)
{
    moco_status_t status = MOCO_OK;
    moco_classifier_report_t *r = &w->s.report;
    TRY(mo_linear_step(&w->linear, rows, w->lr, w->loss));
    w->seen += rows->count;
    r->step++;
    r->done = r->epoch * w->images + done;
    report_least(w);
    TRY(mo_supervised_tell_step(&w->s));
cleanup:
    return status;
}

static moco_status_t cached_epoch(work_t *w, int64_t epoch)
{
    const mo_features_t *f = &w->cache;
    moco_status_t status = MOCO_OK;
    TRY(mo_rng_permutation(w->o.seed, MO_STREAM_PROBE_ORDER, (uint32_t)epoch, f->count, w->order));
    for (int64_t at = 0; at < f->count; at += w->o.batch_size) {
        mo_linear_rows_t rows = {f->rows, f->labels, w->order + at, w->o.batch_size};
        if (f->count - at < rows.count)
            rows.count = f->count - at;
        TRY(step(w, &rows, at + rows.count));
    }
cleanup:
    return status;
}

/* mo_supervised_batch_fn: a batch of crops through the encoder, and a step on its features. */
static moco_status_t batch_step(void *ctx, const mo_batch_t *batch)
{
    work_t *w = ctx;
    moco_status_t status = MOCO_OK;
    const mo_image_source_t source = {.rows = batch->rows[0], .dataset = w->s.train, .indices = batch->index};
    const moco_embed_options_t how = {.tap = MOCO_TAP_BACKBONE};
    const mo_linear_rows_t rows = {w->rows, w->labels, NULL, batch->count};
    if (w->seen == 0 && batch->count < w->o.batch_size)
        return too_few(w, batch->count);
    TRY(mo_embed(w->s.model, batch->count, &source, MO_SIZE_MANY, &how, w->rows));
    TRY(mo_supervised_normalize(&w->s, w->rows, batch->count, w->linear.features));
    mo_supervised_labels(&w->s, batch, w->labels);
    TRY(step(w, &rows, batch->position));
cleanup:
    return status;
}

static moco_status_t loaded_epoch(work_t *w, int64_t epoch)
{
    moco_status_t status = mo_supervised_epoch(w->loader, epoch, batch_step, w);
    return status == MOCO_OK && w->seen == 0 ? too_few(w, 0) : status;
}

/* ---- measuring ---- */

/* Better on the test set: more right, then less loss. -1: all have diverged. */
static int32_t best_of(const work_t *w)
{
    int32_t best = -1;
    for (int32_t h = 0; h < w->o.rates; h++) {
        const mo_linear_score_t *s = &w->scores[h], *b = best < 0 ? NULL : &w->scores[best];
        if (!isfinite(s->loss) || !isfinite(w->loss[h]))
            continue;
        if (b == NULL || s->first > b->first || (s->first == b->first && s->loss < b->loss))
            best = h;
    }
    return best;
}

static moco_status_t measure(work_t *w, int32_t *best)
{
    moco_classifier_rate_t *rates = w->s.classifier->rates;
    moco_status_t status = mo_supervised_score(&w->s, &w->linear, w->scores, 0, 0);
    for (int32_t h = 0; h < w->o.rates; h++) {
        rates[h] = mo_classifier_rate(&w->scores[h], w->s.measured.count, w->loss[h] / (double)w->seen);
        rates[h].base_lr = w->o.base_lr[h];
        rates[h].effective_lr = w->o.base_lr[h] * mo_lr_scale(w->o.lr_scaling, w->o.batch_size);
    }
    *best = best_of(w);
    return status;
}

static moco_status_t end_epoch(work_t *w, int32_t *best)
{
    const moco_classifier_rate_t *measured = NULL;
    moco_status_t status = MOCO_OK;
    w->s.report.done = (w->s.report.epoch + 1) * w->images;
    if (!isfinite(w->s.report.loss))
        TRY(mo_fail(MOCO_ERR_NONFINITE, "the loss is not finite in epoch %d, at none of %d learning rates (%g …)",
                    w->s.report.epoch + 1, w->o.rates, w->o.base_lr[0]));
    if (mo_supervised_due(&w->s)) {
        TRY(measure(w, best));
        measured = *best >= 0 ? &w->s.classifier->rates[*best] : NULL;
    }
    TRY(mo_supervised_tell_epoch(&w->s, measured));
cleanup:
    return status;
}

static moco_status_t run_epochs(work_t *w, int32_t *best)
{
    moco_status_t status = MOCO_OK;
    w->images = w->o.cached ? w->cache.count : mo_dataset_count(w->s.train);
    w->s.report.total = w->o.epochs * w->images;
    for (int32_t epoch = 0; epoch < w->o.epochs; epoch++) {
        w->s.report.epoch = epoch;
        for (int32_t h = 0; h < w->o.rates; h++)
            w->lr[h] = w->o.base_lr[h] * mo_probe_rate_factor(&w->o, epoch);
        memset(w->loss, 0, sizeof w->loss);
        w->seen = 0;
        TRY(w->o.cached ? cached_epoch(w, epoch) : loaded_epoch(w, epoch));
        TRY(end_epoch(w, best));
    }
    if (*best < 0)
        TRY(mo_fail(MOCO_ERR_NONFINITE, "the loss on the test set is not finite, at none of %d learning rates (%g …)",
                    w->o.rates, w->o.base_lr[0]));
cleanup:
    return status;
}

/* ---- beginning and ending ---- */

static moco_status_t prepare_cached(work_t *w)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_supervised_embed_train(&w->s, &w->cache));
    if (w->cache.count < w->o.batch_size)
        TRY(too_few(w, w->cache.count));
    TRY(mo_calloc((size_t)w->cache.count, sizeof *w->order, &w->order));
cleanup:
    return status;
}

static moco_status_t prepare_loaded(work_t *w)
{
    const moco_probe_options_t *o = &w->o;
    const mo_supervised_draws_t draws = {.seed = o->seed,
                                         .order_stream = MO_STREAM_PROBE_ORDER,
                                         .view_stream = MO_STREAM_PROBE_VIEW,
                                         .crop_min_area = o->crop_min_area,
                                         .crop_max_area = o->crop_max_area,
                                         .flip_probability = o->flip_probability,
                                         .keep_last = 1};
    moco_status_t status = MOCO_OK;
    TRY(mo_calloc((size_t)o->batch_size, (size_t)w->linear.features * sizeof *w->rows, &w->rows));
    TRY(mo_calloc((size_t)o->batch_size, sizeof *w->labels, &w->labels));
    TRY(mo_supervised_loader(&w->s, &draws, &w->loader));
cleanup:
    return status;
}

/* The classifiers with their momentum, a batch of logits, and the features that are kept. */
static uint64_t training_bytes(const work_t *w)
{
    const uint64_t features = (uint64_t)w->s.classifier->result.features,
                   outputs = (uint64_t)w->o.rates * (uint64_t)w->s.classifier->result.classes,
                   rows = (uint64_t)(w->o.batch_size > SCORED ? w->o.batch_size : SCORED),
                   kept = w->o.cached ? (uint64_t)mo_dataset_count(w->s.train) : rows;
    return (2 * outputs * (features + 1) + rows * (features + outputs) + kept * features) * sizeof(float);
}

static moco_status_t prepare(work_t *w)
{
    const moco_probe_options_t *o = &w->o;
    moco_status_t status = MOCO_OK;
    TRY(mo_supervised_open(&w->s));
    const moco_classifier_result_t *r = &w->s.classifier->result;
    TRY(mo_supervised_check_memory(&w->s, training_bytes(w)));
    TRY(mo_linear_create(w->s.model->device, o->rates, r->classes, r->features,
                         o->batch_size > SCORED ? o->batch_size : SCORED, &w->linear));
    w->linear.momentum = o->sgd_momentum;
    w->linear.decay = o->weight_decay;
    mo_linear_init(&w->linear, o->seed, o->init_std);
    TRY(mo_supervised_embed_test(&w->s, w->s.model));
    TRY(o->cached ? prepare_cached(w) : prepare_loaded(w));
cleanup:
    return status;
}

static moco_status_t keep(work_t *w, int32_t best)
{
    moco_classifier_t *c = w->s.classifier;
    const size_t block = (size_t)c->result.classes * (size_t)c->result.features;
    c->result.steps = w->s.report.step;
    c->result.train_images = w->seen;
    c->result.test_images = w->s.measured.count;
    c->result.rates = w->o.rates;
    const moco_status_t status = mo_classifier_keep(c, best, w->linear.weights + (size_t)best * block,
                                                    w->linear.bias + best * c->result.classes, w->s.model);
    return status != MOCO_OK ? status : mo_supervised_score(&w->s, &w->linear, w->scores, best, 1);
}

moco_status_t mo_probe_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                             const moco_probe_options_t *options, moco_classifier_t **out)
{
    moco_status_t status = MOCO_OK;
    uint64_t before;
    int32_t best = -1;
    work_t w = {.o = *options};
    w.s = (mo_supervised_t){.model = model,
                            .train = train,
                            .test = test,
                            .progress = options->progress,
                            .user = options->user,
                            .cancel = options->cancel,
                            .batch_size = options->batch_size,
                            .epochs = options->epochs,
                            .eval_every = options->eval_every,
                            .loader_threads = options->loader_threads,
                            .normalize = options->normalize};
    TRY(mo_backbone_hash(model, &before));
    mo_probe_choose_rates(&w.o, model->encoder.spec.arch);
    TRY(prepare(&w));
    TRY(run_epochs(&w, &best));
    TRY(keep(&w, best));
    const uint64_t after = w.s.classifier->result.backbone_hash;
    if (after != before)
        TRY(mo_fail(MOCO_ERR_STATE, "the backbone's hash was %016llx and is %016llx: it changed under the probe",
                    (unsigned long long)before, (unsigned long long)after));
    *out = mo_supervised_take(&w.s);
cleanup:
    mo_loader_free(w.loader);
    mo_linear_free(&w.linear);
    mo_features_free(&w.cache);
    mo_free(w.rows);
    mo_free(w.labels);
    mo_free(w.order);
    mo_supervised_close(&w.s);
    return status;
}
