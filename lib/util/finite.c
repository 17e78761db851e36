/* Searches for numbers that must not be there; see finite.h. Blocks are looked at without a branch
 * per number, since a file's weights are all looked at whenever they are read or written. */
#include "util/finite.h"

#include <string.h>

#define BLOCK 4096 /* numbers */
#define EXPONENT 0x7f800000u

static uint32_t bits_of(const float *value)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits;
}

static int has_nonfinite(const float *values, int64_t count)
{
    uint32_t found = 0;
    for (int64_t i = 0; i < count; i++)
        found |= (bits_of(values + i) & EXPONENT) == EXPONENT;
    return found != 0;
}

int64_t mo_find_nonfinite(const float *values, int64_t count)
{
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        const int64_t size = count - begin < BLOCK ? count - begin : BLOCK;
        if (!has_nonfinite(values + begin, size))
            continue;
        for (int64_t i = begin;; i++)
            if ((bits_of(values + i) & EXPONENT) == EXPONENT)
                return i;
    }
    return -1;
}

int mo_has_larger(const float *values, int64_t count, float limit)
{
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        const int64_t end = count - begin < BLOCK ? count : begin + BLOCK;
        int larger = 0;
        for (int64_t i = begin; i < end; i++)
            larger |= !(values[i] <= limit) | !(values[i] >= -limit);
        if (larger)
            return 1;
    }
    return 0;
}

int64_t mo_find_negative(const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (values[i] < 0)
            return i;
    return -1;
}
