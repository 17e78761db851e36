/* The fields of the options of a queue and of its contrast. */
#include <stddef.h>

#include "contrast/queue.h"

#define I32 MO_OPTION_I32

#define AT(field) MO_OPTION_AT(moco_queue_options_t, field)
static const mo_option_row_t queue_rows[] = {
    {AT(seed), MO_OPTION_U64, 0, 0, 0, 0, NULL, "", "fixes the first content"},
    {AT(length), MO_OPTION_I64, 65536, 1, 16777216, 0, NULL, "keys", "K, keys held"},
    {AT(dimension), I32, 128, 1, 65536, 0, NULL, "", "D, width of a key"},
    {AT(reserved), I32, 0, 0, 0, 0, NULL, "", "0"},
};
#undef AT

#define AT(field) MO_OPTION_AT(moco_contrast_options_t, field)
static const mo_option_row_t contrast_rows[] = {
    {AT(temperature), MO_OPTION_F64, 0.2, 1e-3, 1e3, 0, NULL, "", "divides the products"},
    {AT(d_queries), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "receives the gradient by the normalised queries"},
};
#undef AT

const mo_option_table_t mo_queue_options = {
    .name = "moco_queue_options", .size = sizeof(moco_queue_options_t), MO_OPTION_ROWS(queue_rows), .agreement = ""};
const mo_option_table_t mo_contrast_options = {.name = "moco_contrast_options",
                                               .size = sizeof(moco_contrast_options_t),
                                               MO_OPTION_ROWS(contrast_rows),
                                               .agreement = ""};
