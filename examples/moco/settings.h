/* Trainer options from the command line, for the commands that take --recipe and --set. */
#ifndef PROGRAM_SETTINGS_H
#define PROGRAM_SETTINGS_H

#include "common.h"

/* How --help shows the recipes. */
#define SETTINGS_RECIPES "moco-v1, moco-v2, moco-cifar, moco-v3, simclr, simclr-code, moco-v3-vit or byol"

/* The options that have a name of their own, beside --set. */
/* clang-format off */
#define SETTINGS_FIELD(settings, name, value, help, field) {name, 0, ARG_FIELD, &(settings), value, help, 0, 0, field}
/* clang-format on */
#define SETTINGS_FIELDS(settings)                                                                                 \
    SETTINGS_FIELD(settings, "arch", "NAME",                                                                      \
                   "resnet18, 34, 50, 101, 152, vit_small, _base, _large, _huge, vit_conv_small, _base", "arch"), \
        SETTINGS_FIELD(settings, "width", "X", "multiplies the channels", "width"),                               \
        SETTINGS_FIELD(settings, "size", "PIXELS", "side of a training view", "image_size"),                      \
        SETTINGS_FIELD(settings, "batch", "N", "images per step", "batch_size"),                                  \
        SETTINGS_FIELD(settings, "bn-groups", "V", "batch-norm groups of a batch", "bn_groups"),                  \
        SETTINGS_FIELD(settings, "queue", "K", "keys in the queue", "queue_length"),                              \
        SETTINGS_FIELD(settings, "seed", "S", "fixes weights, order, shuffles and views", "seed")

/* Of commands that train, and embed in float32. */
#define SETTINGS_PRECISION(settings) \
    SETTINGS_FIELD(settings, "precision", "float32|bf16", "of the backbones' products (default float32)", "precision")

/* Number of the recipe `name`, NULL being moco-v2. Returns EXIT_DONE, or EXIT_USAGE after a
 * message. */
int settings_recipe(const char *command, const char *name, int32_t *number);

/* Lays what the user wrote over `options`. Returns the same. */
int settings_apply(const char *command, const arg_settings_t *settings, moco_trainer_options_t *options);

/* All of it: the recipe's values (NULL: moco-v2) and what the user wrote over them. */
int settings_options(const char *command, const char *recipe, const arg_settings_t *settings,
                     moco_trainer_options_t *options);

#endif
