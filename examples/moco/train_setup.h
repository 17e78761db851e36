/* Everything of `moco train` that happens before the first step: options, the trainer, the plan,
 * the folder. */
#ifndef PROGRAM_TRAIN_SETUP_H
#define PROGRAM_TRAIN_SETUP_H

#include "common.h"

typedef struct train_options {
    const char *data, *run, *recipe, *eval;
    int64_t steps, limit, eval_every, save_every, memory_cap; /* ARG_ABSENT = not given        */
    double save_minutes;                                      /* < 0 = not given               */
    const char *max_broken;                                   /* "N" or "P%", NULL = not given */
    int resume, print, json;
    run_place_t place;
    arg_settings_t settings; /* trainer options in the order given */
} train_options_t;

/* ARG_GO_ON or an exit code. */
int train_parse(int argc, char **argv, train_options_t *options);

/* --print: all values the run would have. Returns an exit code. */
int train_print(const train_options_t *options);

/* Refuses a folder that holds a run, or with --resume one that holds none. Returns -1 with a
 * message. */
int train_folder_check(const train_options_t *options);

/* A new trainer, or the one in the checkpoint; shows the plan. Returns an exit code. */
int train_trainer(const train_options_t *options, moco_device_t *device, const moco_dataset_t *dataset,
                  moco_trainer_options_t *trained, moco_trainer_t **trainer);

#endif
