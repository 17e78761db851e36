/* Learning rates by epoch. Called by the step, which asks once per step. */
#ifndef MO_TRAIN_SCHEDULE_H
#define MO_TRAIN_SCHEDULE_H

#include <stdint.h>
#include <moco/trainer.h>

/* Rate of `epoch` (from 0; -1 = epochs unknown: the constant rate), scaled to the batch. Options are checked. */
double mo_schedule_lr(const moco_trainer_options_t *options, int64_t epoch);

#endif
