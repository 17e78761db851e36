/* Rows of unit length; see rows.h. Called by the queue, the index and evaluation. */
#include "util/rows.h"

#include <math.h>

#include "util/status.h"

#define MIN_NORM 1e-12
#define TOLERANCE 1e-3

/* Squares of floats cannot overflow a double: a sum that is not finite comes from a number that is
 * not. */
static double sum_of_squares(const float *row, int32_t width)
{
    double sum = 0;
    for (int32_t i = 0; i < width; i++)
        sum += (double)row[i] * (double)row[i];
    return sum;
}

moco_status_t mo_rows_normalise(const float *rows, int64_t count, int32_t width, float *out)
{
    for (int64_t n = 0; n < count; n++, rows += width, out += width) {
        const double sum = sum_of_squares(rows, width), norm = sqrt(sum) > MIN_NORM ? sqrt(sum) : MIN_NORM;
        if (!isfinite(sum))
            return mo_fail(MOCO_ERR_ARGUMENT, "row %lld holds a number that is not finite", (long long)n);
        for (int32_t i = 0; i < width; i++)
            out[i] = (float)((double)rows[i] / norm);
    }
    return MOCO_OK;
}

moco_status_t mo_rows_check_unit(const char *name, const float *rows, int64_t count, int32_t width)
{
    for (int64_t n = 0; n < count; n++, rows += width) {
        const double norm = sqrt(sum_of_squares(rows, width));
        if (!(fabs(norm - 1.0) <= TOLERANCE))
            return mo_fail(MOCO_ERR_ARGUMENT, "row %lld of '%s' has norm %g, wanted 1 to within 0.001", (long long)n,
                           name, norm);
    }
    return MOCO_OK;
}
