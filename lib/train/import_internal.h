/* Pieces of the import of training checkpoints: import.c, import_optimizer.c, import_model.c. */
#ifndef MO_TRAIN_IMPORT_INTERNAL_H
#define MO_TRAIN_IMPORT_INTERNAL_H

#include "persist/inventory.h"
#include "train/import.h"
#include "train/state.h"

typedef struct mo_import {
    mo_tensor_file_t file;
    mo_inventory_t inventory;
    mo_encoder_spec_t spec;
    moco_trainer_options_t options;
    mo_state_t state;
    int64_t batches; /* that the query encoder has counted                       */
    int64_t updates; /* that AdamW has counted; 0 = it has not, or is not there  */
    int has_queue, has_key, has_predictor, has_state;
} mo_import_t;

/* options.optimizer by what the file keeps; as it was if the file keeps nothing. */
void mo_import_optimizer_kind(mo_import_t *import);
/* The optimizer's state of the query encoder's parameters; what is absent is reported and stays
 * 0. */
moco_status_t mo_import_optimizer(mo_import_t *import);
/* A file of this library: a model begins a new run; MOCO_ERR_MISMATCH for a training checkpoint. */
moco_status_t mo_import_model(const mo_tensor_file_t *file, const char *in, const char *out,
                              const moco_convert_options_t *options, const mo_answer_t *answer);

#endif
