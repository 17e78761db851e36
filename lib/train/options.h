/* A run's options inside the library: the tables (options_table.c), the recipes (recipe.c), and
 * typed calls of what util/options.h does with them. Called by the border, by the trainer and by
 * checkpoints. */
#ifndef MO_TRAIN_OPTIONS_H
#define MO_TRAIN_OPTIONS_H

#include <stdint.h>
#include <moco/trainer.h>

#include "data/data.h"
#include "util/options.h"

extern const mo_option_table_t mo_trainer_options;  /* of moco_trainer_options_t */
extern const mo_option_table_t mo_snapshot_options; /* of moco_snapshot_options_t */
extern const mo_option_table_t mo_run_options;      /* of moco_run_options_t     */

/* ---- recipes (recipe.c) ---- */

extern const mo_preset_t mo_recipes[]; /* up to a NULL name; the number of a recipe is its place */
int32_t mo_recipe_count(void);
int32_t mo_recipe_number(const char *name); /* -1 if unknown */
const char *mo_recipe_name(int32_t number); /* NULL if unknown */

/* ---- working with them (options.c) ---- */

moco_status_t mo_options_defaults(int32_t recipe, moco_trainer_options_t *out);
/* The recipe that an architecture has under that name: MoCo v3 was published with other values for
 * ViTs. */
int32_t mo_recipe_for(int32_t recipe, int32_t arch);
/* The recipe's values for an architecture; MOCO_ARCH_RECIPE is the recipe's own. */
moco_status_t mo_options_defaults_for(int32_t recipe, int32_t arch, moco_trainer_options_t *out);
/* The struct_size rule over the defaults of the caller's recipe. */
moco_status_t mo_options_overlay(const moco_trainer_options_t *caller, moco_trainer_options_t *full);
/* Ranges, then fields that must agree. The message names the field, the value found and what is
 * wanted. */
moco_status_t mo_options_check(const moco_trainer_options_t *options);
/* As far as views go: all ranges, and the fields of the pipeline that must agree. */
moco_status_t mo_options_check_views(const moco_trainer_options_t *options);
/* The pipeline that the options describe. */
void mo_options_views(const moco_trainer_options_t *options, mo_view_spec_t *spec);
/* What a ViT asks of patch_size, vit_depth, vit_heads, width and image_size; MOCO_OK for other
 * encoders. */
moco_status_t mo_options_check_vit(const moco_trainer_options_t *options);
/* The table's `agree`: fields that must agree, of a struct whose ranges are checked. */
moco_status_t mo_options_agree(const void *options);
/* batch_size, bn_groups and shard must divide each other. */
moco_status_t mo_options_check_groups(int32_t batch_size, int32_t bn_groups, int32_t shard);
/* Images per shard; options are checked. */
int32_t mo_options_shard(const moco_trainer_options_t *options);
/* MOCO_ERR_MISMATCH names the first differing field and both values; fields marked MO_OPTION_FREE
 * may differ. */
moco_status_t mo_options_compare(const moco_trainer_options_t *saved, const moco_trainer_options_t *now);
/* JSON, to a new string (mo_free) and back to the same bits: mo_option_to_json,
 * mo_option_from_json. */
moco_status_t mo_options_to_json(const moco_trainer_options_t *options, char **json);
moco_status_t mo_options_from_json(const char *json, moco_trainer_options_t *out);

#endif
