/* Inside the linear probe: what probe.c (epochs, result) and probe_data.c (features and batches) share. */
#ifndef MO_EVAL_PROBE_WORK_H
#define MO_EVAL_PROBE_WORK_H

#include "data/data.h"
#include "eval/features.h"
#include "eval/linear.h"
#include "eval/model.h"
#include "eval/probe.h"

typedef struct mo_probe_work {
    moco_model_t *model;
    moco_dataset_t *train, *test;
    moco_probe_fn progress;
    void *user;
    moco_probe_t *probe;        /* being made */
    const moco_probe_options_t *o;
    mo_features_t cache, measured; /* training (if cached) and test set */
    mo_linear_t linear;
    float *rows;                /* [batch,F] of the batch, not cached   */
    int32_t *labels, *order;    /* of the batch; of the cached epoch    */
    mo_loader_t *loader;        /* not cached                           */
    double loss[MOCO_PROBE_MAX_RATES]; /* summed over the epoch so far  */
    int64_t seen;               /* images of the epoch so far           */
    mo_linear_score_t scores[MOCO_PROBE_MAX_RATES];
} mo_probe_work_t;

/* Tells the callback; its wish to stop is MOCO_ERR_CANCELLED. */
moco_status_t mo_probe_report(mo_probe_work_t *work, moco_probe_report_t *report);

/* Classes and numbers of images; map[classes of the test set] to those of the training set. */
moco_status_t mo_probe_check_data(mo_probe_work_t *work, int32_t *map);
/* Features of the test set, and of the training set if they are cached. */
moco_status_t mo_probe_collect(mo_probe_work_t *work, const int32_t *map);
moco_status_t mo_probe_open_loader(mo_probe_work_t *work);
/* A batch of the loader into work->rows and work->labels. */
moco_status_t mo_probe_embed(mo_probe_work_t *work, const mo_batch_t *batch);
moco_status_t mo_probe_too_few(const mo_probe_work_t *work, int64_t good);

#endif
