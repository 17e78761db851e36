/* What training a classifier on labelled images shares, whether its backbone is frozen
 * (eval/probe.c) or learns too (train/finetune.c): data sets and their classes, progress, batches
 * of random crops, measurements on the test set. */
#ifndef MO_EVAL_SUPERVISED_H
#define MO_EVAL_SUPERVISED_H

#include "data/data.h"
#include "eval/classifier.h"
#include "eval/features.h"

typedef struct mo_supervised {
    moco_model_t *model; /* given, like the data sets: borrowed */
    moco_dataset_t *train, *test;
    moco_classifier_fn progress; /* may be NULL */
    void *user;
    moco_cancel_t *cancel; /* may be NULL */
    int32_t batch_size, epochs, eval_every, loader_threads, normalize;
    /* From here on set by _open. */
    int32_t *map;                    /* class of the test set -> of training      */
    int64_t labelled;                /* images of the training set with a class   */
    moco_classifier_t *classifier;   /* being made                                */
    mo_features_t measured;          /* of the test set: mo_supervised_embed_test */
    moco_classifier_report_t report; /* how far training is: kept by who trains   */
} mo_supervised_t;

/* Checks the data sets and begins the classifier, with room for a confusion table. */
moco_status_t mo_supervised_open(mo_supervised_t *s);
/* MOCO_ERR_MEMORY where the features of the test set, the confusion table and `more` bytes do not
 * fit what the process may still take. */
moco_status_t mo_supervised_check_memory(const mo_supervised_t *s, uint64_t more);
void mo_supervised_close(mo_supervised_t *s); /* what is still there; safe on one that was not opened */
/* The finished classifier changes hands. */
moco_classifier_t *mo_supervised_take(mo_supervised_t *s);

/* Tells the callback of s->report. Its wish to stop, and a request of s->cancel, are
 * MOCO_ERR_CANCELLED. */
moco_status_t mo_supervised_tell_step(mo_supervised_t *s);
/* The same at the end of an epoch; `rate`: what was measured just now, NULL = nothing. */
moco_status_t mo_supervised_tell_epoch(mo_supervised_t *s, const moco_classifier_rate_t *rate);
/* Whether the epoch at work ends with a measurement: every eval_every, and the last. */
int mo_supervised_due(const mo_supervised_t *s);

/* Features of the training set's labelled images, normalised if that is wanted. Free them with
 * mo_features_free. */
moco_status_t mo_supervised_embed_train(mo_supervised_t *s, mo_features_t *out);
/* Those of the test set into s->measured, by `model`. */
moco_status_t mo_supervised_embed_test(mo_supervised_t *s, moco_model_t *model);
/* Divides rows of features by their L2 norm if that is wanted. */
moco_status_t mo_supervised_normalize(const mo_supervised_t *s, float *rows, int64_t count, int32_t width);
/* Scores of all heads on s->measured; with `confusion` the table of the classifier gets the answers
 * of `head`. */
moco_status_t mo_supervised_score(const mo_supervised_t *s, mo_linear_t *linear, mo_linear_score_t *scores,
                                  int32_t head, int confusion);

/* ---- batches ---- */

/* What is drawn for an epoch's images. */
typedef struct mo_supervised_draws {
    uint64_t seed;
    uint32_t order_stream, view_stream;
    double crop_min_area, crop_max_area, flip_probability;
    int32_t resize_filter;
    int keep_last; /* 1: an epoch ends with what is left; 0: that fills no batch and is left out */
} mo_supervised_draws_t;
moco_status_t mo_supervised_loader(const mo_supervised_t *s, const mo_supervised_draws_t *draws, mo_loader_t **out);

typedef moco_status_t (*mo_supervised_batch_fn)(void *ctx, const mo_batch_t *batch);
/* Every batch of epoch number `epoch`. The batch is the loader's again afterwards. */
moco_status_t mo_supervised_epoch(mo_loader_t *loader, int64_t epoch, mo_supervised_batch_fn batch, void *ctx);
/* labels[batch->count] of the training set. */
void mo_supervised_labels(const mo_supervised_t *s, const mo_batch_t *batch, int32_t *labels);

#endif
