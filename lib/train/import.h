/* Training checkpoints of the method's reference programs (MoCo v1, v2, v3 and the CIFAR
 * demonstration) as ours, and new runs from models of this library. */
#ifndef MO_TRAIN_IMPORT_H
#define MO_TRAIN_IMPORT_H

#include <moco/convert.h>

#include "util/json.h"

/* Reads `in`, writes `out`. Of the options, training: the run's own, or NULL for the recipe that
 * the file looks like; what the file decides (network, queue) is taken from the file. key_update: 1
 * applies the key-momentum update that the reference makes at the start of its next step.
 * vit_heads: attention heads of a ViT; 0 = those of `training`, or as published. The answer, as in
 * persist/inventory.h, is given before the file is written; both of `options` are checked. */
moco_status_t mo_import_training(const char *in, const char *out, const moco_convert_options_t *options,
                                 const mo_answer_t *answer);

/* Of a reference program's checkpoint, options of the training that it would go on with when none
 * are given: the recipe and what is not as the recipe has it. NULL if no training goes on from the
 * file; MOCO_ERR_MEMORY, MOCO_ERR_IO and the like are errors. */
moco_status_t mo_import_describe(const char *path, json_t **training);

#endif
