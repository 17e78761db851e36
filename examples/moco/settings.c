/* Trainer options from the command line: see settings.h. */
#include "settings.h"

#include <stdio.h>

int settings_recipe(const char *command, const char *name, int32_t *number)
{
    *number = moco_recipe_number(name != NULL ? name : "moco-v2");
    if (*number >= 0)
        return EXIT_DONE;
    fprintf(stderr, "moco %s: --recipe: '%s' is not %s\n", command, name, SETTINGS_RECIPES);
    return EXIT_USAGE;
}

int32_t settings_recipe_for(int32_t recipe, int32_t arch)
{
    return recipe == MOCO_RECIPE_V3 && arch >= MOCO_ARCH_VIT_SMALL ? MOCO_RECIPE_V3_VIT : recipe;
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
    int32_t wanted, used = -1;
    int code = settings_recipe(command, recipe, &wanted);

    while (code == EXIT_DONE && used != wanted) { /* a second time where the architecture asks for another recipe */
        used = wanted;
        if ((code = finish(moco_trainer_options_init(options, sizeof *options, used), NULL)) == EXIT_DONE)
            code = settings_apply(command, settings, options);
        wanted = settings_recipe_for(used, options->arch);
    }
    return code;
}
