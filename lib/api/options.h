/* All tables of options structs, for what walks every one of them. */
#ifndef MO_API_OPTIONS_H
#define MO_API_OPTIONS_H

#include "util/options.h"

const mo_option_table_t *const *mo_option_tables(int32_t *count);

#endif
