/* Pieces of the import of training checkpoints: import.c, import_optimizer.c. */
#ifndef MO_TRAIN_IMPORT_INTERNAL_H
#define MO_TRAIN_IMPORT_INTERNAL_H

#include "persist/foreign.h"
#include "train/import.h"
#include "train/trainer.h"

typedef struct mo_import {
    mo_tensor_file_t file;
    mo_foreign_t foreign;
    mo_encoder_spec_t spec;
    moco_trainer_options_t options;
    moco_trainer_t *trainer;
    int64_t batches; /* that the query encoder has counted */
    int has_queue, has_key, has_momentum;
} mo_import_t;

/* The momentum of the query encoder's parameters; what is absent is reported and stays 0. */
moco_status_t mo_import_momentum(mo_import_t *import);

#endif
