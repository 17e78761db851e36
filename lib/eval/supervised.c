/* Labelled data sets on their way to a classifier; see supervised.h. */
#include "eval/supervised.h"

#include <string.h>

#include <moco/trainer.h>

#include "eval/class_match.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/headroom.h"
#include "util/rows.h"
#include "util/size.h"
#include "util/status.h"

#define MAX_NAMES ((uint64_t)2 << 20) /* bytes of the names of all classes */
#define CROP_TRIES 10                 /* as published, before the central box */

/* ---- making and freeing ---- */

/* A file of a classifier holds the names in its header, which is not to be found too long when days
 * of work are to be saved. */
static moco_status_t check_names(const moco_dataset_t *train)
{
    uint64_t bytes = 0;
    for (int32_t c = 0; c < mo_dataset_classes(train); c++)
        bytes += strlen(mo_dataset_class_name(train, c)) + 6; /* quotes, and the strokes before them */
    if (bytes <= MAX_NAMES)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "the names of %d classes take %s, a classifier's file holds %s",
                   mo_dataset_classes(train), mo_size(bytes).text, mo_size(MAX_NAMES).text);
}

moco_status_t mo_supervised_check_memory(const mo_supervised_t *s, uint64_t more)
{
    const uint64_t classes = (uint64_t)s->classifier->result.classes,
                   row = (uint64_t)s->classifier->result.features * sizeof(float) + sizeof(int32_t),
                   confusion = classes <= MO_CONFUSION_CLASSES ? classes * classes * sizeof(int64_t) : 0;
    return mo_headroom_check(MOCO_ERR_MEMORY, "features and the classifier need",
                             (uint64_t)mo_dataset_count(s->test) * row + confusion + more,
                             "; fewer images or classes take less");
}

moco_status_t mo_supervised_open(mo_supervised_t *s)
{
    moco_status_t status = MOCO_OK;
    const int32_t classes = mo_dataset_classes(s->train);
    s->report = (moco_classifier_report_t){.struct_size = sizeof s->report,
                                           .top1 = -1,
                                           .top5 = -1,
                                           .epochs = s->epochs,
                                           .phase = MOCO_CLASSIFIER_TRAINING};
    TRY(mo_calloc((size_t)mo_dataset_classes(s->test), sizeof *s->map, &s->map));
    TRY(mo_classes_match("training set", s->train, s->test, s->map));
    TRY(mo_classes_labelled(s->train, s->batch_size, &s->labelled));
    mo_overlap_warn("training set", s->train, s->test);
    TRY(check_names(s->train));
    TRY(mo_classifier_create(classes, mo_model_width(s->model, MOCO_TAP_BACKBONE), &s->classifier));
    s->classifier->result.normalize = s->normalize;
    for (int32_t c = 0; c < classes; c++)
        TRY(mo_strdup(mo_dataset_class_name(s->train, c), &s->classifier->names[c]));
    TRY(mo_supervised_check_memory(s, 0));
    if (classes <= MO_CONFUSION_CLASSES)
        TRY(mo_calloc((size_t)classes, (size_t)classes * sizeof(int64_t), &s->classifier->confusion));
cleanup:
    return status;
}

void mo_supervised_close(mo_supervised_t *s)
{
    mo_free(s->map);
    mo_features_free(&s->measured);
    mo_classifier_delete(s->classifier);
}

moco_classifier_t *mo_supervised_take(mo_supervised_t *s)
{
    moco_classifier_t *made = s->classifier;
    s->classifier = NULL;
    return made;
}

/* ---- progress ---- */

static int wants_to_stop(const mo_supervised_t *s, const moco_classifier_report_t *r)
{
    return s->progress != NULL && s->progress(s->user, r) != 0;
}

static moco_status_t tell(const mo_supervised_t *s, const moco_classifier_report_t *r)
{
    if (wants_to_stop(s, r))
        return mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after step %lld, at %lld of %lld images",
                       (long long)r->step, (long long)r->done, (long long)r->total);
    return mo_cancel_check(s->cancel);
}

moco_status_t mo_supervised_tell_step(mo_supervised_t *s)
{
    const moco_classifier_report_t r = s->report;
    return tell(s, &r);
}

moco_status_t mo_supervised_tell_epoch(mo_supervised_t *s, const moco_classifier_rate_t *rate)
{
    moco_classifier_report_t r = s->report;
    r.epoch_end = 1;
    if (rate != NULL) {
        r.top1 = rate->top1;
        r.top5 = rate->top5;
    }
    return tell(s, &r);
}

int mo_supervised_due(const mo_supervised_t *s)
{
    const int32_t done = s->report.epoch + 1;
    return done == s->epochs || (s->eval_every > 0 && done % s->eval_every == 0);
}

static int32_t embedding(const mo_supervised_t *s, int32_t phase, int64_t done, int64_t total)
{
    moco_classifier_report_t r = s->report;
    r.phase = phase;
    r.done = done;
    r.total = total;
    return wants_to_stop(s, &r);
}

/* moco_progress_fn of the two phases that make features. */
static int32_t test_progress(void *user, int64_t done, int64_t total)
{
    return embedding(user, MOCO_CLASSIFIER_TEST_FEATURES, done, total);
}

static int32_t train_progress(void *user, int64_t done, int64_t total)
{
    return embedding(user, MOCO_CLASSIFIER_TRAIN_FEATURES, done, total);
}

/* ---- features and scores ---- */

moco_status_t mo_supervised_normalize(const mo_supervised_t *s, float *rows, int64_t count, int32_t width)
{
    if (!s->normalize || mo_rows_normalise(rows, count, width, rows) == MOCO_OK)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_NONFINITE, "features of the model: %s", moco_last_message());
}

static moco_status_t embed(mo_supervised_t *s, moco_model_t *model, moco_dataset_t *dataset, const int32_t *map,
                           moco_progress_fn progress, mo_features_t *out)
{
    moco_status_t status = MOCO_OK;
    const mo_features_spec_t spec = {.tap = MOCO_TAP_BACKBONE,
                                     .map = map,
                                     .loader_threads = s->loader_threads,
                                     .cancel = s->cancel,
                                     .progress = progress,
                                     .user = s,
                                     .total = mo_dataset_count(dataset)};
    TRY(mo_features_collect(model, dataset, &spec, out));
    TRY(mo_cancel_check(s->cancel)); /* since the last batch */
    TRY(mo_supervised_normalize(s, out->rows, out->count, out->width));
cleanup:
    return status;
}

moco_status_t mo_supervised_embed_train(mo_supervised_t *s, mo_features_t *out)
{
    return embed(s, s->model, s->train, NULL, train_progress, out);
}

moco_status_t mo_supervised_embed_test(mo_supervised_t *s, moco_model_t *model)
{
    moco_status_t status = MOCO_OK;
    mo_features_free(&s->measured);
    TRY(embed(s, model, s->test, s->map, test_progress, &s->measured));
    if (s->measured.count == 0)
        TRY(mo_fail(MOCO_ERR_NO_DATA, "no good image of the test set has a class"));
cleanup:
    return status;
}

moco_status_t mo_supervised_score(const mo_supervised_t *s, mo_linear_t *linear, mo_linear_score_t *scores,
                                  int32_t head, int confusion)
{
    const mo_linear_rows_t rows = {s->measured.rows, s->measured.labels, NULL, s->measured.count};
    return mo_linear_score(linear, &rows, scores, head, confusion ? s->classifier->confusion : NULL);
}

/* ---- batches ---- */

moco_status_t mo_supervised_loader(const mo_supervised_t *s, const mo_supervised_draws_t *draws, mo_loader_t **out)
{
    const int32_t lanes = mo_device_lanes(s->model->device);
    const mo_loader_spec_t spec = {.train = 1,
                                   .one_view = 1,
                                   .keep_last = draws->keep_last,
                                   .labelled = 1,
                                   .seed = draws->seed,
                                   .order_stream = draws->order_stream,
                                   .batch = s->batch_size,
                                   .depth = 2,
                                   .max_broken = -1,
                                   .cancel = s->cancel,
                                   .threads = mo_loader_threads(s->loader_threads, lanes),
                                   .views = {.order = MOCO_VIEWS_V1,
                                             .size = s->model->transform.eval_crop,
                                             .crop_min_area = draws->crop_min_area,
                                             .crop_max_area = draws->crop_max_area,
                                             .crop_tries = CROP_TRIES,
                                             .flip_probability = draws->flip_probability,
                                             .resize_filter = draws->resize_filter,
                                             .stream = draws->view_stream}};
    return mo_loader_create(&spec, s->train, out);
}

moco_status_t mo_supervised_epoch(mo_loader_t *loader, int64_t epoch, mo_supervised_batch_fn batch, void *ctx)
{
    const mo_batch_t *next = NULL;
    moco_status_t status = MOCO_OK;
    TRY(mo_loader_seek(loader, epoch, 0));
    while ((status = mo_loader_next(loader, &next)) == MOCO_OK) {
        status = batch(ctx, next);
        mo_loader_return(loader, next);
        TRY(status);
    }
    if (status == MOCO_ERR_NO_DATA) /* the epoch is over */
        status = MOCO_OK;
cleanup:
    return status;
}

void mo_supervised_labels(const mo_supervised_t *s, const mo_batch_t *batch, int32_t *labels)
{
    for (int64_t i = 0; i < batch->count; i++)
        labels[i] = mo_dataset_label(s->train, batch->index[i]);
}
