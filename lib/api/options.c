/* The border of <moco/trainer.h> for options: pointers are checked, the train module does the work. */
#include <moco/trainer.h>

#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/need.h"
#include "util/structsize.h"

moco_status_t moco_trainer_options_init(moco_trainer_options_t *options, uint64_t struct_size, int32_t recipe,
                                        int32_t arch)
{
    moco_trainer_options_t defaults;
    moco_status_t status = mo_options_defaults_for(recipe, arch, &defaults);
    if (status != MOCO_OK)
        return status;
    return mo_struct_init(options, struct_size, &defaults, sizeof defaults);
}

moco_status_t moco_trainer_options_load(const char *path, moco_trainer_options_t *options, uint64_t struct_size)
{
    moco_trainer_options_t saved;
    MO_NEED(path);
    MO_NEED(options);
    moco_status_t status = mo_checkpoint_options(path, &saved);
    return status == MOCO_OK ? mo_struct_init(options, struct_size, &saved, sizeof saved) : status;
}

int32_t moco_recipe_count(void)
{
    return MO_RECIPES;
}

const char *moco_recipe_name(int32_t recipe)
{
    return mo_recipe_name(recipe);
}

int32_t moco_recipe_number(const char *name)
{
    return name == NULL ? -1 : mo_recipe_number(name);
}

moco_status_t moco_trainer_options_set(moco_trainer_options_t *options, const char *name, const char *value)
{
    MO_NEED(options);
    MO_NEED(name);
    MO_NEED(value);
    return mo_options_set(options, name, value);
}

moco_status_t moco_trainer_options_json(const moco_trainer_options_t *options, char *text, uint64_t capacity,
                                        uint64_t *needed)
{
    moco_trainer_options_t full;
    char *json = NULL;
    moco_status_t status = MOCO_OK;
    TRY(mo_options_overlay(options, &full));
    TRY(mo_options_to_json(&full, &json));
    TRY(mo_text_out(json, text, capacity, needed));
cleanup:
    mo_free(json);
    return status;
}

moco_status_t moco_run_options_init(moco_run_options_t *options, uint64_t struct_size)
{
    return mo_struct_init(options, struct_size, &mo_run_options_defaults, sizeof mo_run_options_defaults);
}
