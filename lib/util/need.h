/* Checks of arguments, with one sentence for each kind. Used by the border and by checks of
 * options. */
#ifndef MO_UTIL_NEED_H
#define MO_UTIL_NEED_H

#include <stdint.h>

#include "util/status.h"

/* Returns from the calling function: "'out' is NULL". */
#define MO_NEED(pointer)                                                 \
    do {                                                                 \
        if ((pointer) == NULL)                                           \
            return mo_fail(MOCO_ERR_ARGUMENT, "'" #pointer "' is NULL"); \
    } while (0)

/* MOCO_ERR_ARGUMENT "k is 0, wanted 1 to 5"; "k is 0, wanted 1 or more" where high is INT64_MAX. */
moco_status_t mo_need_whole(const char *name, int64_t value, int64_t low, int64_t high);

#endif
