/* Trainer options from the command line: see settings.h. */
#include "settings.h"

#include <stdio.h>

enum { MAX_RECIPES = 32 };

int settings_recipe(const char *command, const char *name, int32_t *number)
{
    *number = moco_recipe_number(name != NULL ? name : "moco-v2");
    if (*number >= 0)
        return EXIT_DONE;
    const char *names[MAX_RECIPES + 1] = {NULL};
    for (int32_t i = 0; i < MAX_RECIPES; i++)
        if ((names[i] = moco_recipe_name(i)) == NULL)
            break;
    const char *meant = args_nearest(name, names);
    fprintf(stderr, "moco %s: --recipe: '%s' is not %s%s%s%s\n", command, name, SETTINGS_RECIPES,
            meant != NULL ? "; did you mean '" : "", meant != NULL ? meant : "", meant != NULL ? "'?" : "");
    return EXIT_USAGE;
}

int settings_apply(const char *command, const arg_settings_t *settings, moco_trainer_options_t *options)
{
    for (int i = 0; i < settings->count; i++) {
        if (moco_trainer_options_set(options, settings->name[i], settings->value[i]) != MOCO_OK) {
            fprintf(stderr, "moco %s: --%s: %s\n", command, settings->option[i], moco_last_message());
            return EXIT_USAGE;
        }
    }
    return EXIT_DONE;
}

int settings_options(const char *command, const char *recipe, const arg_settings_t *settings,
                     moco_trainer_options_t *options)
{
    int32_t number, arch = MOCO_ARCH_RECIPE;
    int code = settings_recipe(command, recipe, &number);

    for (int round = 0; round < 2 && code == EXIT_DONE; round++) { /* the second time for the architecture asked for */
        code = finish(moco_trainer_options_init(options, sizeof *options, number, arch), NULL);
        if (code == EXIT_DONE)
            code = settings_apply(command, settings, options);
        arch = options->arch;
    }
    return code;
}
