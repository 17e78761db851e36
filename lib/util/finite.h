/* Numbers that must be finite, in blocks of any size. */
#ifndef MO_UTIL_FINITE_H
#define MO_UTIL_FINITE_H

#include <stdint.h>

/* Where the first number that is infinite or no number stands; -1 if there is none. */
int64_t mo_find_nonfinite(const float *values, int64_t count);
/* Whether one lies outside of -limit .. limit. What is no number does. */
int mo_has_larger(const float *values, int64_t count, float limit);
/* Where the first one below 0 stands; -1 if there is none. */
int64_t mo_find_negative(const float *values, int64_t count);

#endif
