/* Range checks; see need.h. */
#include "util/need.h"

#include <inttypes.h>

moco_status_t mo_need_whole(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high)
        return MOCO_OK;
    if (high == INT64_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is %" PRId64 ", wanted %" PRId64 " or more", name, value, low);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %" PRId64 ", wanted %" PRId64 " to %" PRId64, name, value, low, high);
}
