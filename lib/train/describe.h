/* A trainer in JSON, for moco_trainer_plan and moco_trainer_state. NULL without memory. */
#ifndef MO_TRAIN_DESCRIBE_H
#define MO_TRAIN_DESCRIBE_H

#include <jansson.h>
#include <moco/trainer.h>

json_t *mo_trainer_plan_json(const moco_trainer_t *trainer);
json_t *mo_trainer_state_json(const moco_trainer_t *trainer);

#endif
