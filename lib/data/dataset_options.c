/* The fields of moco_dataset_options_t. */
#include <stddef.h>

#include "data/dataset.h"

#define AT(field) MO_OPTION_AT(moco_dataset_options_t, field)
#define I64_MAX 0x1p63

_Static_assert(sizeof(moco_dataset_options_t) == 32, "every field has a row and there is no padding");

static const mo_option_row_t rows[] = {
    {AT(limit), MO_OPTION_I64, 0, 0, I64_MAX, 0, NULL, "images",
     "to use, spread evenly over the listing; 0 = all of them"},
    {AT(max_pixels), MO_OPTION_I64, MO_MAX_PIXELS, 1, 2147483647, 0, NULL, "pixels",
     "an image of more (width times height) is broken"},
    {AT(max_bytes), MO_OPTION_I64, 268435456, 1, I64_MAX, 0, NULL, "bytes", "a file of more is broken"},
};

const mo_option_table_t mo_dataset_options = {
    .name = "moco_dataset_options",
    .size = sizeof(moco_dataset_options_t),
    MO_OPTION_ROWS(rows),
    .agreement = "",
};
