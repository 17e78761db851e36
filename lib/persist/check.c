/* Checks of numbers; see check.h. Called by readers and writers of tensors. */
#include "persist/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "persist/tensor_file.h"
#include "util/finite.h"
#include "util/status.h"

#define TOLERANCE 1e-2 /* of a length: files of half precision are read too */

/* "[3,0,1,2]" of the number `at` in C order. */
static void place_of(int64_t at, int32_t rank, const int64_t *dims, char text[96])
{
    size_t used = 0;
    int64_t numbers = 1;
    for (int32_t i = 0; i < rank; i++)
        numbers *= dims[i];
    text[0] = '\0';
    for (int32_t i = 0; i < rank && used < 70; i++) {
        numbers /= dims[i];
        used += (size_t)snprintf(text + used, 96 - used, "%s%" PRId64 "%s", i > 0 ? "," : "[", at / numbers,
                                 i + 1 < rank ? "" : "]");
        at %= numbers;
    }
}

moco_status_t mo_check_finite(const char *name, int32_t rank, const int64_t *dims, const float *values, int64_t count)
{
    const int64_t at = mo_find_nonfinite(values, count);
    char place[96];
    if (at < 0)
        return MOCO_OK;
    place_of(at, rank, dims, place);
    return mo_fail(MOCO_ERR_NONFINITE, "tensor '%s' holds %g%s%s: wanted finite numbers", mo_show(name).text,
                   (double)values[at], rank > 0 ? " at " : "", place);
}

moco_status_t mo_check_variance(const char *name, const float *values, int64_t count)
{
    const int64_t at = mo_find_negative(values, count);
    return at < 0 ? MOCO_OK
                  : mo_fail(MOCO_ERR_FORMAT, "tensor '%s' holds %g at number %" PRId64 ": wanted 0 or more",
                            mo_show(name).text, (double)values[at], at);
}

moco_status_t mo_check_keys(const char *name, const float *rows, int64_t count, int32_t width)
{
    for (int64_t n = 0; n < count; n++, rows += width) {
        double sum = 0;
        for (int32_t i = 0; i < width; i++)
            sum += (double)rows[i] * (double)rows[i];
        if (sum != 0 && !(fabs(sqrt(sum) - 1) <= TOLERANCE))
            return mo_fail(MOCO_ERR_FORMAT, "key %" PRId64 " of '%s' has length %g: wanted 1, or 0", n, name,
                           sqrt(sum));
    }
    return MOCO_OK;
}
