/* The options of a run as data: one table row per field drives defaults, checking, setting by name, JSON and
 * docs/options.md. Called by the border (lib/api/options.c), by the trainer and by checkpoints. */
#ifndef MO_TRAIN_OPTIONS_H
#define MO_TRAIN_OPTIONS_H

#include <stdint.h>
#include <moco/trainer.h>

/* ---- the table (recipe.c) ---- */

#define MO_RECIPES 6 /* columns of the table, in the order of MOCO_RECIPE_… */

typedef enum mo_option_type {
    MO_OPTION_U64,
    MO_OPTION_I64,
    MO_OPTION_I32,
    MO_OPTION_ENUM,
    MO_OPTION_F64
} mo_option_type_t;

enum {
    MO_OPTION_ABOVE_MIN = 1, /* min itself is not allowed                    */
    MO_OPTION_BELOW_MAX = 2, /* max itself is not allowed                    */
    MO_OPTION_FREE = 4       /* may differ between a checkpoint and its resumption */
};

typedef struct mo_option_row {
    const char *name;
    uint32_t offset; /* in moco_trainer_options_t */
    mo_option_type_t type;
    double recipe[MO_RECIPES]; /* default of each recipe; every one is exact in a double */
    double min, max;           /* not used for U64: all values are good */
    int flags;
    const char *const *names; /* ENUM: by number, NULL at the end */
    const char *unit;         /* "" without one */
    const char *meaning;
} mo_option_row_t;

/* All rows in the order of the struct. */
const mo_option_row_t *mo_option_rows(int32_t *count);
const mo_option_row_t *mo_option_find(const char *name); /* NULL if unknown */
int32_t mo_recipe_number(const char *name);              /* -1 if unknown */
const char *mo_recipe_name(int32_t recipe);              /* NULL if unknown */
moco_status_t mo_recipe_check(int32_t recipe);

/* ---- working with them (options.c) ---- */

/* Fields as numbers; integers up to 2^53 and enumerations are exact. U64 has its own way. */
double mo_option_get(const moco_trainer_options_t *options, const mo_option_row_t *row);
void mo_option_put(moco_trainer_options_t *options, const mo_option_row_t *row, double value);

moco_status_t mo_options_defaults(int32_t recipe, moco_trainer_options_t *out);
/* The recipe that an architecture has under that name: MoCo v3 was published with other values for ViTs. */
int32_t mo_recipe_for(int32_t recipe, int32_t arch);
/* The recipe's values for an architecture; MOCO_ARCH_RECIPE is the recipe's own. */
moco_status_t mo_options_defaults_for(int32_t recipe, int32_t arch, moco_trainer_options_t *out);
/* The struct_size rule over the defaults of the caller's recipe. */
moco_status_t mo_options_overlay(const moco_trainer_options_t *caller, moco_trainer_options_t *full);
/* Ranges, then fields that must agree. The message names the field, the value found and what is wanted. */
moco_status_t mo_options_check(const moco_trainer_options_t *options);
/* As far as views go: all ranges, and the fields of the pipeline that must agree. */
moco_status_t mo_options_check_views(const moco_trainer_options_t *options);
/* What a ViT asks of patch_size, vit_depth, vit_heads, width and image_size; MOCO_OK for other encoders. */
moco_status_t mo_options_check_vit(const moco_trainer_options_t *options);
moco_status_t mo_options_set(moco_trainer_options_t *options, const char *name, const char *value);
/* Images per shard; options are checked. */
int32_t mo_options_shard(const moco_trainer_options_t *options);
/* MOCO_ERR_MISMATCH names the first differing field and both values; fields marked MO_OPTION_FREE may differ. */
moco_status_t mo_options_compare(const moco_trainer_options_t *saved, const moco_trainer_options_t *now);
/* The struct_size rule for a run's options, ranges checked; caller NULL = the defaults. */
moco_status_t mo_run_options_overlay(const moco_run_options_t *caller, moco_run_options_t *full);
extern const moco_run_options_t mo_run_options_defaults;

/* ---- as text (options_text.c) ---- */

/* Space for any value as text. */
#define MO_OPTION_TEXT 64
/* The value of a field; decimals are the shortest that read back to the same bits, whatever the host's locale. */
void mo_option_text(const moco_trainer_options_t *options, const mo_option_row_t *row, char text[MO_OPTION_TEXT]);
/* "0.001 to 1000", "linear, mlp". */
void mo_option_range(const mo_option_row_t *row, char *text, uint64_t capacity);
/* Read `value` into the field and check its range. */
moco_status_t mo_option_parse(moco_trainer_options_t *options, const mo_option_row_t *row, const char *value);
/* One JSON object in a new string (mo_free); the seed is a decimal string, for readers whose numbers are doubles. */
moco_status_t mo_options_to_json(const moco_trainer_options_t *options, char **json);
/* Back to the same bits. Fields that an older library did not write keep their recipe's value; unknown ones are
 * MOCO_ERR_VERSION; anything else wrong is MOCO_ERR_FORMAT. */
moco_status_t mo_options_from_json(const char *json, moco_trainer_options_t *out);

#endif
