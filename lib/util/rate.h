/* What every learning-rate schedule is made of. */
#ifndef MO_UTIL_RATE_H
#define MO_UTIL_RATE_H

#include <math.h>

#define MO_BASE_BATCH 256.0 /* the batch that a rate is meant for where it scales with the batch */

/* ½(1 + cos(π done / all)): from 1 at 0 down to 0 at `all`. Beyond it the cosine rises again, so
 * callers stop there. */
static inline double mo_half_cosine(double done, double all)
{
    return 0.5 * (1.0 + cos(3.14159265358979323846 * done / all));
}

#endif
