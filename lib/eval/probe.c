/* The linear probe from data sets to result: features of the test set once; training images batch by batch through the
 * encoder in evaluation mode, or their features once; classifiers by SGD (linear.c); the best one kept. */
#include <math.h>
#include <string.h>

#include "eval/probe_work.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/rng.h"
#include "util/status.h"

#define SCORED 256 /* test images measured at a time, at the least */

uint64_t mo_model_hash(const moco_model_t *m)
{
    const float *blocks[] = {m->encoder.params, m->encoder.running};
    const int64_t counts[] = {m->encoder.net.params, m->encoder.net.stats};
    uint64_t hash = MO_HASH_START;
    for (int b = 0; b < 2; b++)
        for (int64_t i = 0; i < counts[b]; i++) {
            uint32_t bits;
            memcpy(&bits, blocks[b] + i, sizeof bits);
            hash = mo_hash_add(hash, bits);
        }
    return hash;
}

/* ---- progress ---- */

moco_status_t mo_probe_report(mo_probe_work_t *w, moco_probe_report_t *r)
{
    r->struct_size = sizeof *r;
    r->epochs = w->o->epochs;
    if (w->progress == NULL || w->progress(w->user, r) == 0)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after %lld of %lld images", (long long)r->done,
                   (long long)r->total);
}

/* Smallest mean loss of the epoch so far; not a number if all have diverged. */
static double least_loss(const mo_probe_work_t *w)
{
    double least = NAN;
    for (int32_t h = 0; h < w->o->rates; h++)
        least = fmin(least, w->loss[h] / (double)w->seen);
    return least;
}

/* ---- epochs ---- */

static moco_status_t step(mo_probe_work_t *w, const mo_linear_rows_t *rows, const double *lr, int64_t epoch,
                          int64_t done, int64_t images)
{
    moco_status_t status = MOCO_OK;
    moco_probe_report_t r = {.phase = MOCO_PROBE_TRAINING, .epoch = (int32_t)epoch, .done = epoch * images + done,
                             .total = w->o->epochs * images, .top1 = -1, .top5 = -1};
    TRY(mo_linear_step(&w->linear, rows, lr, w->loss));
    w->seen += rows->count;
    r.loss = least_loss(w);
    TRY(mo_probe_report(w, &r));
cleanup:
    return status;
}

static moco_status_t cached_epoch(mo_probe_work_t *w, int64_t epoch, const double *lr)
{
    const mo_features_t *f = &w->cache;
    moco_status_t status = MOCO_OK;
    TRY(mo_rng_permutation(w->o->seed, MO_STREAM_PROBE_ORDER, (uint32_t)epoch, f->count, w->order));
    for (int64_t at = 0; at < f->count; at += w->o->batch_size) {
        mo_linear_rows_t rows = {f->rows, f->labels, w->order + at, w->o->batch_size};
        if (f->count - at < rows.count)
            rows.count = f->count - at;
        TRY(step(w, &rows, lr, epoch, at + rows.count, f->count));
    }
cleanup:
    return status;
}

static moco_status_t loaded_epoch(mo_probe_work_t *w, int64_t epoch, const double *lr)
{
    const mo_batch_t *batch = NULL;
    moco_status_t status = MOCO_OK;
    TRY(mo_loader_seek(w->loader, epoch, 0));
    while ((status = mo_loader_next(w->loader, &batch)) == MOCO_OK) {
        mo_linear_rows_t rows = {w->rows, w->labels, NULL, batch->count};
        if (w->seen == 0 && batch->count < w->o->batch_size)
            TRY(mo_probe_too_few(w, batch->count));
        TRY(mo_probe_embed(w, batch));
        TRY(step(w, &rows, lr, epoch, batch->position, mo_dataset_count(w->train)));
        mo_loader_return(w->loader, batch);
        batch = NULL;
    }
    if (status == MOCO_ERR_NO_DATA)
        status = w->seen > 0 ? MOCO_OK : mo_probe_too_few(w, 0);
cleanup:
    if (batch != NULL)
        mo_loader_return(w->loader, batch);
    return status;
}

/* Better on the test set: more right, then less loss. */
static int32_t best_of(const mo_probe_work_t *w)
{
    int32_t best = -1;
    for (int32_t h = 0; h < w->o->rates; h++) {
        const mo_linear_score_t *s = &w->scores[h], *b = best < 0 ? NULL : &w->scores[best];
        if (!isfinite(s->loss) || !isfinite(w->loss[h]))
            continue;
        if (b == NULL || s->first > b->first || (s->first == b->first && s->loss < b->loss))
            best = h;
    }
    return best;
}

static moco_status_t measure(mo_probe_work_t *w, int32_t *best)
{
    const mo_linear_rows_t rows = {w->measured.rows, w->measured.labels, NULL, w->measured.count};
    moco_status_t status = mo_linear_score(&w->linear, &rows, w->scores, 0, NULL);
    *best = best_of(w);
    return status;
}

static moco_status_t end_epoch(mo_probe_work_t *w, int64_t epoch, int64_t images, int32_t *best)
{
    const moco_probe_options_t *o = w->o;
    moco_status_t status = MOCO_OK;
    moco_probe_report_t r = {.phase = MOCO_PROBE_TRAINING, .epoch = (int32_t)epoch, .done = (epoch + 1) * images,
                             .total = o->epochs * images, .top1 = -1, .top5 = -1, .epoch_end = 1};
    r.loss = least_loss(w);
    if (!isfinite(r.loss))
        TRY(mo_fail(MOCO_ERR_NONFINITE, "the loss is not finite in epoch %lld, at none of %d learning rates (%g …)",
                    (long long)epoch + 1, o->rates, o->lr[0]));
    if (epoch + 1 == o->epochs || (o->eval_every > 0 && (epoch + 1) % o->eval_every == 0)) {
        TRY(measure(w, best));
        if (*best >= 0) {
            r.top1 = 100.0 * (double)w->scores[*best].first / (double)w->measured.count;
            r.top5 = 100.0 * (double)w->scores[*best].fifth / (double)w->measured.count;
        }
    }
    TRY(mo_probe_report(w, &r));
cleanup:
    return status;
}

static moco_status_t run_epochs(mo_probe_work_t *w, int32_t *best)
{
    const int64_t images = w->o->cached ? w->cache.count : mo_dataset_count(w->train);
    moco_status_t status = MOCO_OK;
    for (int64_t epoch = 0; epoch < w->o->epochs; epoch++) {
        double lr[MOCO_PROBE_MAX_RATES];
        for (int32_t h = 0; h < w->o->rates; h++)
            lr[h] = w->o->lr[h] * mo_probe_rate_factor(w->o, epoch);
        memset(w->loss, 0, sizeof w->loss);
        w->seen = 0;
        TRY(w->o->cached ? cached_epoch(w, epoch, lr) : loaded_epoch(w, epoch, lr));
        TRY(end_epoch(w, epoch, images, best));
    }
cleanup:
    return status;
}

/* ---- result ---- */

static void fill_rates(const mo_probe_work_t *w)
{
    for (int32_t h = 0; h < w->o->rates; h++) {
        const mo_linear_score_t *s = &w->scores[h];
        const double images = (double)w->measured.count;
        const int finite = isfinite(s->loss) && isfinite(w->loss[h]);
        w->probe->rates[h] = (moco_probe_rate_t){
            .struct_size = sizeof(moco_probe_rate_t), .lr = w->o->lr[h],
            .effective_lr = w->o->lr[h] * mo_probe_rate_factor(w->o, 0),
            .top1 = finite ? 100.0 * (double)s->first / images : 0,
            .top5 = finite ? 100.0 * (double)s->fifth / images : 0,
            .train_loss = finite ? w->loss[h] / (double)w->seen : (double)NAN,
            .test_loss = finite ? s->loss / images : (double)NAN};
    }
}

static moco_status_t keep_best(mo_probe_work_t *w, int32_t best)
{
    moco_probe_t *p = w->probe;
    const mo_linear_rows_t rows = {w->measured.rows, w->measured.labels, NULL, w->measured.count};
    const size_t block = (size_t)p->classes * (size_t)p->features;
    const moco_probe_rate_t *rate = &p->rates[best];
    fill_rates(w);
    memcpy(p->weights, w->linear.weights + (size_t)best * block, block * sizeof *p->weights);
    memcpy(p->bias, w->linear.bias + best * p->classes, (size_t)p->classes * sizeof *p->bias);
    p->result = (moco_probe_result_t){
        .struct_size = sizeof p->result, .backbone_hash = mo_model_hash(w->model), .train_images = w->seen,
        .test_images = w->measured.count, .top1 = rate->top1, .top5 = rate->top5, .lr = rate->lr,
        .train_loss = rate->train_loss, .test_loss = rate->test_loss, .chance = 100.0 / p->classes,
        .classes = p->classes, .features = p->features, .rates = w->o->rates, .best = best};
    return mo_linear_score(&w->linear, &rows, w->scores, best, p->confusion);
}

static moco_status_t create(mo_probe_work_t *w, const moco_probe_options_t *options)
{
    moco_status_t status = MOCO_OK;
    moco_probe_t *p = NULL;
    TRY(mo_calloc(1, sizeof *p, &p));
    w->probe = p;
    p->options = *options;
    p->classes = mo_dataset_classes(w->train);
    p->features = mo_model_width(w->model, MOCO_TAP_BACKBONE);
    p->arch = w->model->encoder.spec.arch;
    mo_probe_choose_rates(&p->options, p->arch);
    w->o = &p->options;
    TRY(mo_calloc((size_t)p->classes, sizeof *p->names, &p->names));
    for (int32_t c = 0; c < p->classes; c++)
        TRY(mo_strdup(mo_dataset_class_name(w->train, c), &p->names[c]));
    TRY(mo_calloc((size_t)p->classes, (size_t)p->features * sizeof *p->weights, &p->weights));
    TRY(mo_calloc((size_t)p->classes, sizeof *p->bias, &p->bias));
    TRY(mo_calloc((size_t)p->classes, (size_t)p->classes * sizeof *p->confusion, &p->confusion));
    TRY(mo_linear_create(w->model->device, w->o->rates, p->classes, p->features,
                         w->o->batch_size > SCORED ? w->o->batch_size : SCORED, &w->linear));
    w->linear.momentum = (float)w->o->sgd_momentum;
    w->linear.decay = (float)w->o->weight_decay;
    mo_linear_init(&w->linear, w->o->seed, w->o->init_std);
cleanup:
    return status;
}

moco_status_t mo_probe_run(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                           const moco_probe_options_t *options, moco_probe_fn progress, void *user, moco_probe_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_probe_work_t w = {.model = model, .train = train, .test = test, .progress = progress, .user = user,
                         .o = options};
    const uint64_t before = mo_model_hash(model);
    int32_t *map = NULL, best = -1;
    TRY(mo_calloc((size_t)mo_dataset_classes(test), sizeof *map, &map));
    TRY(mo_probe_check_data(&w, map));
    TRY(create(&w, options));
    TRY(mo_probe_collect(&w, map));
    if (!w.o->cached)
        TRY(mo_probe_open_loader(&w));
    TRY(run_epochs(&w, &best));
    if (best < 0)
        TRY(mo_fail(MOCO_ERR_NONFINITE, "the loss on the test set is not finite, at none of %d learning rates (%g …)",
                    w.o->rates, w.o->lr[0]));
    TRY(keep_best(&w, best));
    if (w.probe->result.backbone_hash != before)
        TRY(mo_fail(MOCO_ERR_STATE, "the backbone's hash was %016llx and is %016llx: it changed under the probe",
                    (unsigned long long)before, (unsigned long long)w.probe->result.backbone_hash));
    *out = w.probe;
    w.probe = NULL;
cleanup:
    mo_free(map);
    mo_loader_free(w.loader);
    mo_linear_free(&w.linear);
    mo_features_free(&w.cache);
    mo_features_free(&w.measured);
    mo_free(w.rows);
    mo_free(w.labels);
    mo_free(w.order);
    mo_probe_delete(w.probe);
    return status;
}

void mo_probe_delete(moco_probe_t *p)
{
    if (p == NULL)
        return;
    for (int32_t c = 0; p->names != NULL && c < p->classes; c++)
        mo_free(p->names[c]);
    mo_free(p->names);
    mo_free(p->weights);
    mo_free(p->bias);
    mo_free(p->confusion);
    mo_free(p);
}
