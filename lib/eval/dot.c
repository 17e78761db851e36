/* The product behind search: small blocks of rows against rows, sixteen partial sums each. Called
 * on lanes by index.c. */
#include "eval/dot.h"

#include <string.h>

#include "util/clones.h"

#define LANES 16
#define ROWS 4    /* queries in a block  */
#define COLUMNS 2 /* vectors in a block: with ROWS enough independent sums to hide the latency of an addition */

/* Sixteen sums side by side. The compiler cuts them to the registers of the instruction set; the
 * order stays. */
typedef float lanes_t __attribute__((vector_size(LANES * sizeof(float))));
typedef float half_t __attribute__((vector_size(LANES / 2 * sizeof(float))));
typedef float quarter_t __attribute__((vector_size(LANES / 4 * sizeof(float))));

#define INLINE static inline __attribute__((always_inline))

/* Through a pointer: vectors wider than the baseline's registers are not passed by value. */
INLINE void load(lanes_t *to, const float *from)
{
    memcpy(to, from, sizeof *to);
}

INLINE void load_tail(lanes_t *to, const float *from, int32_t count)
{
    float padded[LANES] = {0};
    for (int32_t i = 0; i < count; i++)
        padded[i] = from[i];
    load(to, padded);
}

/* Halves are added until one number is left. */
INLINE float fold(const lanes_t *sums)
{
    half_t h[2];
    quarter_t q[2];
    memcpy(h, sums, sizeof h);
    h[0] += h[1];
    memcpy(q, h, sizeof q);
    q[0] += q[1];
    return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}

/* One block of `rows` queries and `columns` vectors; constants where it is called, so the loops
 * unroll. */
INLINE void block(const float *queries, const float *vectors, int64_t dim, int rows, int columns, float *out,
                  int64_t out_stride)
{
    lanes_t sums[ROWS][COLUMNS], q[ROWS], v[COLUMNS];
    const int64_t whole = dim / LANES * LANES;
    const int32_t rest = (int32_t)(dim - whole);
    memset(sums, 0, sizeof sums);
    for (int64_t d = 0; d < whole; d += LANES) {
        for (int c = 0; c < columns; c++)
            load(&v[c], vectors + c * dim + d);
        for (int r = 0; r < rows; r++) {
            load(&q[r], queries + r * dim + d);
            for (int c = 0; c < columns; c++)
                sums[r][c] += q[r] * v[c];
        }
    }
    for (int c = 0; c < columns && rest > 0; c++)
        load_tail(&v[c], vectors + c * dim + whole, rest);
    for (int r = 0; r < rows && rest > 0; r++) {
        load_tail(&q[r], queries + r * dim + whole, rest);
        for (int c = 0; c < columns; c++)
            sums[r][c] += q[r] * v[c];
    }
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++)
            out[r * out_stride + c] = fold(&sums[r][c]);
    }
}

MO_CLONES(void, mo_dot_tile,
          (const float *queries, int64_t nq, const float *vectors, int64_t nv, int32_t dim, float *out),
          (queries, nq, vectors, nv, dim, out))
{
    const int64_t width = dim;
    int64_t r = 0;
    for (; r + ROWS <= nq; r += ROWS) {
        int64_t c = 0;
        for (; c + COLUMNS <= nv; c += COLUMNS)
            block(queries + r * width, vectors + c * width, width, ROWS, COLUMNS, out + r * nv + c, nv);
        for (; c < nv; c++)
            block(queries + r * width, vectors + c * width, width, ROWS, 1, out + r * nv + c, nv);
    }
    for (; r < nq; r++) {
        int64_t c = 0;
        for (; c + COLUMNS <= nv; c += COLUMNS)
            block(queries + r * width, vectors + c * width, width, 1, COLUMNS, out + r * nv + c, nv);
        for (; c < nv; c++)
            block(queries + r * width, vectors + c * width, width, 1, 1, out + r * nv + c, nv);
    }
}
