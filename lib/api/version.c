/* Version numbers as functions. */
#include <moco/version.h>

#include "util/version.h"

int32_t moco_version_number(void)
{
    return MOCO_VERSION_MAJOR * 10000 + MOCO_VERSION_MINOR * 100 + MOCO_VERSION_PATCH;
}

const char *moco_version_string(void)
{
    return MO_VERSION_TEXT;
}
