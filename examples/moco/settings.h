/* Trainer options from the command line, for the commands that take --recipe and --set. */
#ifndef PROGRAM_SETTINGS_H
#define PROGRAM_SETTINGS_H

#include "common.h"

/* How --help shows the recipes. */
#define SETTINGS_RECIPES "moco-v1, moco-v2, moco-cifar, moco-v3, simclr or moco-v3-vit"

/* Number of the recipe `name`, NULL being moco-v2. Returns EXIT_DONE, or EXIT_USAGE after a message. */
int settings_recipe(const char *command, const char *name, int32_t *number);

/* Lays what the user wrote over `options`. Returns the same. */
int settings_apply(const char *command, const arg_settings_t *settings, moco_trainer_options_t *options);

#endif
