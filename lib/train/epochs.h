/* Steps over the epochs of a data set, and the report of a step: the parts that runs are made
 * of. */
#ifndef MO_TRAIN_EPOCHS_H
#define MO_TRAIN_EPOCHS_H

#include "train/trainer.h"

/* A report of a step with this outcome, and how long its data and the step itself took. */
void mo_report_fill(const moco_trainer_t *trainer, const mo_outcome_t *outcome, double data_seconds,
                    double step_seconds, moco_step_report_t *report);

/* What a trainer knew of its data set before a call, for calls that fail before their first
 * step. */
typedef struct mo_seen_listing {
    int64_t count, step, step_in_epoch;
    uint64_t hash;
    double loss_sum;
} mo_seen_listing_t;

mo_seen_listing_t mo_listing_of(const moco_trainer_t *trainer);
/* Back to `before`, unless a step was made since. */
void mo_listing_forget(moco_trainer_t *trainer, const mo_seen_listing_t *before);

/* A loader at the trainer's place in its data set, which must be the one that it has learnt from so
 * far. */
moco_status_t mo_epochs_open(moco_trainer_t *trainer, moco_dataset_t *dataset, mo_loader_t **loader);
/* One step on the loader's next batch; *ended when the epoch has none left. */
moco_status_t mo_epochs_step(moco_trainer_t *trainer, mo_loader_t *loader, moco_step_report_t *report, int *ended);
int mo_epoch_done(const moco_trainer_t *trainer); /* all its planned steps were made */
moco_status_t mo_epoch_next(moco_trainer_t *trainer, mo_loader_t *loader);

#endif
