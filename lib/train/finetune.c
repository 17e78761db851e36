/* Fine-tuning from data sets to result: epochs of random crops, steps, measurements on the test set, what is kept. */
#include <math.h>
#include <string.h>

#include "eval/classifier_file.h"
#include "eval/features.h"
#include "eval/linear.h"
#include "persist/checkpoint.h"
#include "train/finetune.h"
#include "train/schedule.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

#define SCORED     256 /* test images measured at a time */
#define CROP_TRIES 10  /* as published, before the central box */

typedef struct work {
    const moco_model_t *model;
    moco_dataset_t *train, *test;
    const moco_finetune_options_t *o;
    moco_finetune_fn progress;
    void *user;
    moco_finetune_t *result; /* being made */
    mo_tuner_t tuner;
    mo_loader_t *loader;
    int32_t *map;            /* class of the test set -> of training   */
    int32_t *labels;         /* [B] of the batch                       */
    float *factors;          /* [B, branches]                          */
    int64_t per_epoch;       /* steps planned                          */
    int64_t images;          /* trained on, all epochs                 */
    int64_t epoch, seen;     /* at work; images of it so far           */
    double loss;             /* summed over the epoch so far           */
    double lr;
} work_t;

/* ---- progress ---- */

static moco_finetune_report_t report_of(const work_t *w)
{
    return (moco_finetune_report_t){.struct_size = sizeof(moco_finetune_report_t), .done = w->images,
                                    .total = w->per_epoch * w->o->epochs * w->o->batch_size, .step = w->tuner.step,
                                    .loss = w->seen > 0 ? w->loss / (double)w->seen : 0, .lr = w->lr, .top1 = -1,
                                    .top5 = -1, .epoch = (int32_t)w->epoch, .epochs = w->o->epochs};
}

static moco_status_t tell(const work_t *w, const moco_finetune_report_t *r)
{
    if (w->progress == NULL || w->progress(w->user, r) == 0)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after step %lld", (long long)w->tuner.step);
}

/* moco_progress_fn */
static int32_t measuring(void *user, int64_t done, int64_t total)
{
    moco_finetune_report_t r = report_of(user);
    r.phase = MOCO_FINETUNE_MEASURING;
    r.done = done;
    r.total = total;
    return tell(user, &r) != MOCO_OK;
}

/* ---- measuring ---- */

static moco_status_t snapshot(const work_t *w, moco_model_t **out)
{
    mo_encoder_t encoder = w->tuner.encoder; /* its numbers are borrowed */
    encoder.spec.drop_path = 0;
    encoder.steps = w->tuner.step;
    return mo_model_create(&encoder, &w->model->transform, w->tuner.device, out);
}

static moco_status_t score(const work_t *w, const mo_features_t *features, mo_linear_score_t *scores,
                           int64_t *confusion)
{
    const mo_tuner_t *t = &w->tuner;
    const mo_linear_rows_t rows = {features->rows, features->labels, NULL, features->count};
    moco_status_t status = MOCO_OK;
    mo_linear_t linear = {0};
    TRY(mo_linear_create(t->device, 1, t->classes, features->width, SCORED, &linear));
    memcpy(linear.weights, mo_tuner_weights(t), (size_t)t->classes * (size_t)features->width * sizeof(float));
    memcpy(linear.bias, mo_tuner_bias(t), (size_t)t->classes * sizeof(float));
    TRY(mo_linear_score(&linear, &rows, scores, 0, confusion));
    if (!isfinite(scores->loss))
        TRY(mo_fail(MOCO_ERR_NONFINITE, "the loss on the test set is %g after step %lld", scores->loss,
                    (long long)t->step));
cleanup:
    mo_linear_free(&linear);
    return status;
}

/* The weights as they are, in evaluation mode. The last measurement keeps model, classifier and table. */
static moco_status_t measure(work_t *w, int last, moco_finetune_report_t *r)
{
    moco_status_t status = MOCO_OK;
    moco_model_t *model = NULL;
    mo_features_t features = {0};
    mo_linear_score_t scores = {0};
    moco_finetune_t *f = w->result;
    const mo_features_spec_t spec = {.tap = MOCO_TAP_BACKBONE, .map = w->map, .loader_threads = w->o->loader_threads,
                                     .progress = measuring, .user = w, .total = mo_dataset_count(w->test)};
    TRY(snapshot(w, &model));
    TRY(mo_features_collect(model, w->test, &spec, &features));
    if (features.count == 0)
        TRY(mo_fail(MOCO_ERR_NO_DATA, "no good image of the test set has a class"));
    TRY(score(w, &features, &scores, last ? f->confusion : NULL));
    r->top1 = 100.0 * (double)scores.first / (double)features.count;
    r->top5 = 100.0 * (double)scores.fifth / (double)features.count;
    if (last) {
        f->model = model;
        model = NULL;
        f->result = (moco_finetune_result_t){
            .struct_size = sizeof f->result, .steps = w->tuner.step, .train_images = w->seen,
            .test_images = features.count, .top1 = r->top1, .top5 = r->top5,
            .lr = w->o->lr * mo_lr_scale(w->o->lr_scaling, w->o->batch_size), .train_loss = r->loss,
            .test_loss = scores.loss / (double)features.count, .chance = 100.0 / f->classes, .classes = f->classes,
            .features = f->features};
        memcpy(f->weights, mo_tuner_weights(&w->tuner),
               (size_t)f->classes * (size_t)f->features * sizeof *f->weights);
        memcpy(f->bias, mo_tuner_bias(&w->tuner), (size_t)f->classes * sizeof *f->bias);
    }
cleanup:
    mo_features_free(&features);
    mo_model_delete(model);
    return status;
}

/* ---- training ---- */

static double rate_of(const work_t *w, int64_t step_in_epoch)
{
    return mo_schedule_lr(&w->tuner.like, (mo_time_t){w->epoch, step_in_epoch, w->per_epoch});
}

static moco_status_t step(work_t *w, const mo_batch_t *batch)
{
    moco_status_t status = MOCO_OK;
    mo_tuner_t *t = &w->tuner;
    const mo_tune_batch_t images = {.rows = batch->rows[0], .labels = w->labels,
                                    .share = mo_tune_share(w->o, t->step), .factors = w->factors};
    double loss = 0;
    for (int64_t i = 0; i < batch->count; i++)
        w->labels[i] = mo_dataset_label(w->train, batch->index[i]);
    mo_tune_factors(t, t->step, w->factors);
    w->lr = rate_of(w, w->seen / w->o->batch_size);
    TRY(mo_tuner_step(t, &images, w->lr, &loss));
    w->loss += loss * (double)batch->count;
    w->seen += batch->count;
    w->images += batch->count;
    const moco_finetune_report_t r = report_of(w);
    TRY(tell(w, &r));
cleanup:
    return status;
}

static moco_status_t end_epoch(work_t *w)
{
    const int last = w->epoch + 1 == w->o->epochs;
    moco_status_t status = MOCO_OK;
    moco_finetune_report_t r = report_of(w);
    if (last || (w->o->eval_every > 0 && (w->epoch + 1) % w->o->eval_every == 0))
        TRY(measure(w, last, &r));
    r.epoch_end = 1;
    TRY(tell(w, &r));
cleanup:
    return status;
}

static moco_status_t run_epoch(work_t *w)
{
    const mo_batch_t *batch = NULL;
    moco_status_t status = MOCO_OK;
    w->seen = 0;
    w->loss = 0;
    TRY(mo_loader_seek(w->loader, w->epoch, 0));
    while ((status = mo_loader_next(w->loader, &batch)) == MOCO_OK) {
        TRY(step(w, batch));
        mo_loader_return(w->loader, batch);
        batch = NULL;
    }
    if (status == MOCO_ERR_NO_DATA)
        status = w->seen > 0 ? MOCO_OK
                             : mo_fail(MOCO_ERR_NO_DATA, "the training set has fewer than %d good images with a class, "
                                                         "which a batch takes", w->o->batch_size);
    if (status == MOCO_OK)
        TRY(end_epoch(w));
cleanup:
    if (batch != NULL)
        mo_loader_return(w->loader, batch);
    return status;
}

/* ---- making and ending ---- */

static moco_status_t open_loader(work_t *w)
{
    const moco_finetune_options_t *o = w->o;
    const int32_t lanes = mo_device_lanes(w->model->device);
    mo_loader_spec_t spec = {.train = 1, .one_view = 1, .labelled = 1, .seed = o->seed,
                             .order_stream = MO_STREAM_TUNE_ORDER, .batch = o->batch_size, .depth = 2,
                             .max_broken = -1, .threads = mo_loader_threads(o->loader_threads, lanes)};
    const moco_trainer_options_t views = {.views = MOCO_VIEWS_V1, .image_size = w->model->transform.eval_crop,
                                          .crop_min_area = o->crop_min_area, .crop_max_area = o->crop_max_area,
                                          .crop_tries = CROP_TRIES, .flip_probability = o->flip_probability,
                                          .resize_filter = o->resize_filter, .blur_sigma_min = 1,
                                          .blur_sigma_max = 1}; /* of a blur that never comes */
    mo_view_spec_from_options(&views, &spec.views);
    spec.views.stream = MO_STREAM_TUNE_VIEW;
    return mo_loader_create(&spec, w->train, &w->loader);
}

static moco_status_t create_result(work_t *w)
{
    moco_status_t status = MOCO_OK;
    moco_finetune_t *f = NULL;
    TRY(mo_calloc(1, sizeof *f, &f));
    w->result = f;
    f->classes = mo_dataset_classes(w->train);
    f->features = mo_model_width(w->model, MOCO_TAP_BACKBONE);
    TRY(mo_calloc((size_t)f->classes, sizeof *f->names, &f->names));
    for (int32_t c = 0; c < f->classes; c++)
        TRY(mo_strdup(mo_dataset_class_name(w->train, c), &f->names[c]));
    TRY(mo_calloc((size_t)f->classes, (size_t)f->features * sizeof *f->weights, &f->weights));
    TRY(mo_calloc((size_t)f->classes, sizeof *f->bias, &f->bias));
    TRY(mo_calloc((size_t)f->classes, (size_t)f->classes * sizeof *f->confusion, &f->confusion));
cleanup:
    return status;
}

static moco_status_t prepare(work_t *w)
{
    moco_status_t status = MOCO_OK;
    int64_t labelled = 0;
    TRY(mo_calloc((size_t)mo_dataset_classes(w->test), sizeof *w->map, &w->map));
    TRY(mo_classes_check(w->train, w->test, w->o->batch_size, w->map, &labelled));
    w->per_epoch = labelled / w->o->batch_size;
    TRY(create_result(w));
    TRY(mo_tuner_create(&w->tuner, w->model, w->o, w->result->classes));
    TRY(mo_calloc((size_t)w->o->batch_size, sizeof *w->labels, &w->labels));
    TRY(mo_calloc((size_t)w->o->batch_size * (size_t)w->tuner.branches, sizeof *w->factors, &w->factors));
    TRY(open_loader(w));
cleanup:
    return status;
}

moco_status_t mo_finetune_run(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                              const moco_finetune_options_t *options, moco_finetune_fn progress, void *user,
                              moco_finetune_t **out)
{
    moco_status_t status = MOCO_OK;
    work_t w = {.model = model, .train = train, .test = test, .o = options, .progress = progress, .user = user};
    TRY(prepare(&w));
    for (w.epoch = 0; w.epoch < options->epochs; w.epoch++)
        TRY(run_epoch(&w));
    *out = w.result;
    w.result = NULL;
cleanup:
    mo_loader_free(w.loader);
    mo_tuner_free(&w.tuner);
    mo_free(w.map);
    mo_free(w.labels);
    mo_free(w.factors);
    mo_finetune_delete(w.result);
    return status;
}

void mo_finetune_delete(moco_finetune_t *f)
{
    if (f == NULL)
        return;
    for (int32_t c = 0; f->names != NULL && c < f->classes; c++)
        mo_free(f->names[c]);
    mo_free(f->names);
    mo_free(f->weights);
    mo_free(f->bias);
    mo_free(f->confusion);
    mo_model_delete(f->model);
    mo_free(f);
}

moco_status_t mo_finetune_write(const moco_finetune_t *f, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t writer = {0};
    const mo_classifier_t classifier = {f->classes, f->features, f->names, f->weights, f->bias};
    TRY(mo_meta_double(&writer, "top1", f->result.top1));
    TRY(mo_classifier_write(&writer, f->model, &classifier, path));
cleanup:
    mo_st_writer_free(&writer);
    return status;
}
