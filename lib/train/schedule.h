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
/* base_lr scaled to the batch; options are checked. */
double mo_effective_lr(const moco_trainer_options_t *options);
double mo_schedule_lr(const moco_trainer_options_t *options, mo_time_t now);
double mo_schedule_momentum(const moco_trainer_options_t *options, mo_time_t now);

#endif
