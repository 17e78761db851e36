/* The fields of moco_device_options_t. */
#include <stddef.h>

#include "engine/device.h"

#define AT(field) MO_OPTION_AT(moco_device_options_t, field)

_Static_assert(sizeof(moco_device_options_t) == 32, "every field has a row and there is no padding");

static const char *const kind_names[] = {"cpu", "gpu"};

static const mo_option_row_t rows[] = {
    {AT(kind), MO_OPTION_ENUM, MOCO_DEVICE_CPU, MO_OPTION_NAMES(kind_names), "",
     "a GPU through oneDNN's OpenCL engine, which is for Intel's"},
    {AT(lanes), MO_OPTION_I32, 0, 0, 1024, 0, NULL, "",
     "worker threads; 0 = the processors that affinity mask and cgroup quota allow, for a GPU 1"},
    {AT(training_percent), MO_OPTION_I64, 50, 0, 100, 0, NULL, "%",
     "lane time that training keeps while embeddings wait too; 0 = embeddings first, 100 = training first"},
    {AT(number), MO_OPTION_I64, 0, 0, 1023, 0, NULL, "", "which device of the kind, 0 = the first"},
};

const mo_option_table_t mo_device_options = {
    .name = "moco_device_options",
    .size = sizeof(moco_device_options_t),
    MO_OPTION_ROWS(rows),
    .agreement = "",
};
