/* The border of all options structs: _init, _set and _json of each, from its table. */
#include "api/options.h"

#include <moco/moco.h>

#include "contrast/queue.h"
#include "data/dataset.h"
#include "engine/device.h"
#include "eval/convert.h"
#include "eval/index.h"
#include "eval/knn.h"
#include "eval/model.h"
#include "eval/probe.h"
#include "train/finetune.h"
#include "train/options.h"
#include "train/state.h"
#include "util/border.h"
#include "util/alloc.h"
#include "util/need.h"
#include "util/structsize.h"

static const mo_option_table_t *const tables[] = {
    &mo_trainer_options, &mo_run_options,      &mo_snapshot_options, &mo_dataset_options,
    &mo_device_options,  &mo_model_options,    &mo_embed_options,    &mo_convert_options,
    &mo_index_options,   &mo_search_options,   &mo_classify_options, &mo_knn_options,
    &mo_probe_options,   &mo_finetune_options, &mo_queue_options,    &mo_contrast_options,
};

const mo_option_table_t *const *mo_option_tables(int32_t *count)
{
    *count = sizeof tables / sizeof tables[0];
    return tables;
}

static moco_status_t set(const mo_option_table_t *table, void *options, const char *name, const char *value)
{
    MO_NEED(options);
    MO_NEED(name);
    MO_NEED(value);
    return mo_option_set(table, options, name, value);
}

/* `full` is space for the struct as the library knows it. */
static moco_status_t json(const mo_option_table_t *table, const void *options, void *full, char *text,
                          uint64_t capacity, uint64_t *needed)
{
    char *made = NULL;
    moco_status_t status = MOCO_OK;
    MO_NEED(options);
    TRY(mo_option_overlay(table, options, full));
    TRY(mo_option_to_json(table, full, &made));
    TRY(mo_text_out(made, text, capacity, needed));
cleanup:
    mo_free(made);
    return status;
}

#define SET_AND_JSON(kind)                                                                                          \
    moco_status_t moco_##kind##_options_set(moco_##kind##_options_t *options, const char *name, const char *value)  \
    {                                                                                                               \
        MO_BORDER;                                                                                                  \
        return set(&mo_##kind##_options, options, name, value);                                                     \
    }                                                                                                               \
    moco_status_t moco_##kind##_options_json(const moco_##kind##_options_t *options, char *text, uint64_t capacity, \
                                             uint64_t *needed)                                                      \
    {                                                                                                               \
        MO_BORDER;                                                                                                  \
        moco_##kind##_options_t full;                                                                               \
        return json(&mo_##kind##_options, options, &full, text, capacity, needed);                                  \
    }
#define OPTIONS(kind)                                                                                \
    moco_status_t moco_##kind##_options_init(moco_##kind##_options_t *options, uint64_t struct_size) \
    {                                                                                                \
        MO_BORDER;                                                                                   \
        return mo_option_init(&mo_##kind##_options, 0, options, struct_size);                        \
    }                                                                                                \
    SET_AND_JSON(kind)
#define OPTIONS_WITH_PRESET(kind)                                                                                    \
    moco_status_t moco_##kind##_options_init(moco_##kind##_options_t *options, uint64_t struct_size, int32_t preset) \
    {                                                                                                                \
        MO_BORDER;                                                                                                   \
        return mo_option_init(&mo_##kind##_options, preset, options, struct_size);                                   \
    }                                                                                                                \
    SET_AND_JSON(kind)

SET_AND_JSON(trainer)
OPTIONS(run)
OPTIONS_WITH_PRESET(probe)
OPTIONS_WITH_PRESET(finetune)
OPTIONS(dataset)
OPTIONS(device)
OPTIONS(snapshot)
OPTIONS(model)
OPTIONS(embed)
OPTIONS(convert)
OPTIONS(index)
OPTIONS(search)
OPTIONS(classify)
OPTIONS(knn)
OPTIONS(queue)
OPTIONS(contrast)

moco_status_t moco_trainer_options_init(moco_trainer_options_t *options, uint64_t struct_size, int32_t recipe,
                                        int32_t arch)
{
    MO_BORDER;
    moco_trainer_options_t defaults;
    moco_status_t status = mo_options_defaults_for(recipe, arch, &defaults);
    return status == MOCO_OK ? mo_struct_init(options, struct_size, &defaults, sizeof defaults) : status;
}

moco_status_t moco_trainer_options_load(const char *path, moco_trainer_options_t *options, uint64_t struct_size)
{
    MO_BORDER;
    moco_trainer_options_t saved;
    MO_NEED(path);
    MO_NEED(options);
    moco_status_t status = mo_checkpoint_options(path, &saved);
    return status == MOCO_OK ? mo_struct_init(options, struct_size, &saved, sizeof saved) : status;
}

int32_t moco_recipe_count(void)
{
    return mo_recipe_count();
}

const char *moco_recipe_name(int32_t recipe)
{
    return mo_recipe_name(recipe);
}

int32_t moco_recipe_number(const char *name)
{
    return name == NULL ? -1 : mo_recipe_number(name);
}
