/* Range checks; see need.h. Numbers in messages have a decimal point in every locale. */
#include "util/need.h"

#include <inttypes.h>
#include <math.h>

#include "util/number.h"

moco_status_t mo_need_whole(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high)
        return MOCO_OK;
    if (high == INT64_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is %" PRId64 ", wanted %" PRId64 " or more", name, value, low);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %" PRId64 ", wanted %" PRId64 " to %" PRId64, name, value, low, high);
}

moco_status_t mo_need_real(const char *name, double value, double low, double high)
{
    char found[MO_NUMBER_TEXT], least[MO_NUMBER_TEXT], most[MO_NUMBER_TEXT];
    if (value >= low && value <= high)
        return MOCO_OK;
    mo_text_double(value, 0, found);
    mo_text_double(low, 0, least);
    mo_text_double(high, 0, most);
    if (isinf(high))
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is %s, wanted %s or more", name, found, least);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %s, wanted %s to %s", name, found, least, most);
}
