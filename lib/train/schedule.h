/* Learning rate and key momentum over a run. Called by the step, which asks once per step. */
#ifndef MO_TRAIN_SCHEDULE_H
#define MO_TRAIN_SCHEDULE_H

#include <stdint.h>
#include <moco/trainer.h>

/* A step's place in the run. */
typedef struct mo_time {
    int64_t epoch;     /* from 0; -1 = epochs unknown: constant rates */
    int64_t step;      /* in the epoch, from 0                        */
    int64_t per_epoch; /* steps planned                               */
} mo_time_t;

mo_time_t mo_time_next(mo_time_t now);

/* A learning rate over a run. */
typedef struct mo_lr_schedule {
    double rate;  /* the highest, scaled to the batch                                */
    int32_t form; /* MOCO_SCHEDULE_…                                                 */
    int32_t unit; /* MOCO_SCHEDULE_PER_…                                             */
    int32_t epochs, warmup_epochs;
    int32_t first_epoch;              /* what the first epoch counts as                       */
    int32_t milestone_1, milestone_2; /* epochs from which the step schedule multiplies by factor */
    double factor;
} mo_lr_schedule_t;
double mo_lr_at(const mo_lr_schedule_t *schedule, mo_time_t now);

/* ---- of a trainer's options, which are checked ---- */
/* base_lr scaled to the batch. */
double mo_effective_lr(const moco_trainer_options_t *options);
double mo_schedule_lr(const moco_trainer_options_t *options, mo_time_t now);
double mo_schedule_momentum(const moco_trainer_options_t *options, mo_time_t now);

#endif
