/* All tables of options structs, for what walks every one of them. */
#ifndef MO_API_OPTIONS_H
#define MO_API_OPTIONS_H

#include <moco/model.h>

#include "util/options.h"

const mo_option_table_t *const *mo_option_tables(int32_t *count);

/* What is wanted of a model's file, checked. */
struct mo_wanted;
moco_status_t mo_wanted_of(const moco_model_options_t *options, struct mo_wanted *wanted);

#endif
