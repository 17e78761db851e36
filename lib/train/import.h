/* Training checkpoints of the method's reference programs (MoCo v1, v2, v3 and the CIFAR demonstration) as ours. */
#ifndef MO_TRAIN_IMPORT_H
#define MO_TRAIN_IMPORT_H

#include <jansson.h>
#include <stdint.h>
#include <moco/trainer.h>

/* Reads `in`, writes `out`. `training`: the run's options, or NULL for the recipe that the file looks like; what the
 * file decides (network, queue) is taken from the file. key_update: 1 applies the key-momentum update that the
 * reference makes at the start of its next step. vit_heads: attention heads of a ViT; 0 = those of `training`, or as
 * published. *report as in persist/inventory.h, json_decref it. */
moco_status_t mo_import_training(const char *in, const char *out, const moco_trainer_options_t *training,
                                 int32_t key_update, int32_t vit_heads, json_t **report);

#endif
