/* Steps on pushed batches and runs over data sets: what surrounds the step. */
#ifndef MO_TRAIN_RUN_H
#define MO_TRAIN_RUN_H

#include <moco/trainer.h>

moco_status_t mo_run_pushed(moco_trainer_t *trainer, const moco_run_options_t *options, moco_step_report_t *report);
moco_status_t mo_run_steps(moco_trainer_t *trainer, moco_dataset_t *dataset, int64_t count,
                           const moco_run_options_t *options, moco_step_report_t *report);
moco_status_t mo_run_epochs(moco_trainer_t *trainer, moco_dataset_t *dataset, moco_dataset_t *test, const char *folder,
                            const moco_run_options_t *options);
moco_status_t mo_trainer_snapshot(moco_trainer_t *trainer, const moco_snapshot_options_t *options,
                                  moco_device_t *device, moco_model_t **out);

#endif
