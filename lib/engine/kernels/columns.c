/* Sums over rows: the gradient of a bias. */
#include <string.h>

#include "engine/kernels/rows.h"
#include "util/clones.h"

#define RUN 64    /* rows added up in float before they join the double sums */
#define BLOCK 512 /* columns whose sums stay in the first-level cache meanwhile */

MO_CLONES(void, mo_column_sums, (const float *x, int64_t rows, int64_t width, double *scratch, float *sums),
          (x, rows, width, scratch, sums))
{
    memset(scratch, 0, (size_t)width * sizeof *scratch);
    for (int64_t first = 0; first < rows; first += RUN) {
        const int64_t last = first + RUN < rows ? first + RUN : rows;
        for (int64_t from = 0; from < width; from += BLOCK) {
            const int64_t count = from + BLOCK < width ? BLOCK : width - from;
            float part[BLOCK];
            memset(part, 0, sizeof part);
            for (int64_t r = first; r < last; r++) {
                const float *row = x + r * width + from;
                for (int64_t c = 0; c < count; c++)
                    part[c] += row[c];
            }
            for (int64_t c = 0; c < count; c++)
                scratch[from + c] += part[c];
        }
    }
    for (int64_t c = 0; c < width; c++)
        sums[c] = (float)scratch[c];
}
