/* Seconds of a clock that never goes back: for what is reported of speed, and for when a run or an
 * embedding saves. Nothing that is computed depends on it. */
#ifndef MO_UTIL_CLOCK_H
#define MO_UTIL_CLOCK_H

#include <time.h>

static inline double mo_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
