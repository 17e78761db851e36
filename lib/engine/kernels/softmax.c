/* Softmax along rows in loops: the factor and the three sweeps over a few rows stay in the
 * first-level cache, and rows are padded to whole vectors, so that no length is slow. */
#include "engine/kernels/rows.h"
#include "engine/kernels/vec.h"
#include "util/clones.h"

#define ROWS 8 /* go through each sweep together: one row's sums wait while the next row's numbers are at work */

#define ALL(value) ((vec){0} + (value))
#define KEEP(value, mask) ((vec)((words)(value) & (mask)))
#define LARGER(a, b)                                         \
    __extension__({                                          \
        const vec a_ = (a), b_ = (b);                        \
        const words above_ = a_ > b_;                        \
        (vec)(((words)a_ & above_) | ((words)b_ & ~above_)); \
    })
/* The 16 numbers of a vector folded into one by halves. */
#define HALF(v, n)                                                                                                     \
    __builtin_shufflevector((v), (v), 0 ^ (n), 1 ^ (n), 2 ^ (n), 3 ^ (n), 4 ^ (n), 5 ^ (n), 6 ^ (n), 7 ^ (n), 8 ^ (n), \
                            9 ^ (n), 10 ^ (n), 11 ^ (n), 12 ^ (n), 13 ^ (n), 14 ^ (n), 15 ^ (n))
#define LARGEST(v)                    \
    __extension__({                   \
        vec t_ = (v);                 \
        t_ = LARGER(t_, HALF(t_, 8)); \
        t_ = LARGER(t_, HALF(t_, 4)); \
        t_ = LARGER(t_, HALF(t_, 2)); \
        t_ = LARGER(t_, HALF(t_, 1)); \
        t_[0];                        \
    })
/* In float by halves: four roundings, then into the double sum. */
#define SUM(v)             \
    __extension__({        \
        vec t_ = (v);      \
        t_ += HALF(t_, 8); \
        t_ += HALF(t_, 4); \
        t_ += HALF(t_, 2); \
        t_ += HALF(t_, 1); \
        (double)t_[0];     \
    })

/* e^x for x <= 0 to one part in 10^7: x = n ln 2 + r with |r| <= ln(2)/2, e^r by its series to r^7,
 * 2^n by its bits. Below -80 it is 0, so that probabilities are not denormal, which processors are
 * slow with. A NaN stays one, so that the step notices it. */
#define LEAST (-80.0f)
#define LOG2E 1.44269504088896341f
#define LN2_HIGH 0.693145751953125f
#define LN2_LOW 1.42860682030941723e-6f
#define ROUNDER 12582912.0f /* 1.5 * 2^23: adding it rounds to a whole number */
#define EXP(argument)                                                       \
    __extension__({                                                         \
        const vec x_ = (argument);                                          \
        const vec shifted_ = x_ * LOG2E + ROUNDER, n_ = shifted_ - ROUNDER; \
        const vec r_ = x_ - n_ * LN2_HIGH - n_ * LN2_LOW;                   \
        vec p_ = r_ * (1.0f / 5040) + (1.0f / 720);                         \
        p_ = p_ * r_ + (1.0f / 120);                                        \
        p_ = p_ * r_ + (1.0f / 24);                                         \
        p_ = p_ * r_ + (1.0f / 6);                                          \
        p_ = p_ * r_ + 0.5f;                                                \
        p_ = p_ * r_ * r_ + r_ + 1.0f;                                      \
        p_ = p_ * (vec)(((words)shifted_ - 0x4b400000 + 127) << 23);        \
        KEEP(p_, ~(x_ < LEAST));                                            \
    })

/* Which numbers of a row's last vector belong to it. */
#define LAST_MASK(width, padded) \
    (((words){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}) < (int32_t)((width) - (padded) + WIDTH))

MO_CLONES(void, mo_softmax_forward, (float *x, int64_t rows, int64_t width, float factor), (x, rows, width, factor))
{
    const int64_t padded = MO_SOFTMAX_ROW(width), last = padded - WIDTH;
    const words mask = LAST_MASK(width, padded);
    for (int64_t first = 0; first < rows; first += ROWS, x += ROWS * padded) {
        const int64_t count = first + ROWS < rows ? ROWS : rows - first;
        float most[ROWS], inverse[ROWS];
        for (int64_t r = 0; r < count; r++) {
            float *row = x + r * padded;
            /* Padding takes the first number, which changes no maximum. */
            vec top = (vec)(((words)LOAD(row + last) & mask) | ((words)ALL(row[0]) & ~mask));
            STORE(row + last, top);
            for (int64_t c = 0; c < last; c += WIDTH)
                top = LARGER(LOAD(row + c), top);
            most[r] = LARGEST(top);
        }
        for (int64_t r = 0; r < count; r++) {
            float *row = x + r * padded;
            double sum = 0;
            for (int64_t from = 0; from < last; from += RUN * WIDTH) {
                const int64_t end = from + RUN * WIDTH < last ? from + RUN * WIDTH : last;
                vec part = {0};
                for (int64_t c = from; c < end; c += WIDTH) {
                    vec v = EXP((LOAD(row + c) - most[r]) * factor);
                    STORE(row + c, v);
                    part += v;
                }
                sum += SUM(part);
            }
            const vec rest = KEEP(EXP((LOAD(row + last) - most[r]) * factor), mask);
            STORE(row + last, rest);
            inverse[r] = (float)(1.0 / (sum + SUM(rest)));
        }
        for (int64_t r = 0; r < count; r++)
            for (int64_t c = 0; c < padded; c += WIDTH)
                STORE(x + r * padded + c, LOAD(x + r * padded + c) * inverse[r]);
    }
}

MO_CLONES(void, mo_softmax_backward, (const float *y, float *d_y, int64_t rows, int64_t width, float factor),
          (y, d_y, rows, width, factor))
{
    const int64_t padded = MO_SOFTMAX_ROW(width), last = padded - WIDTH;
    const words mask = LAST_MASK(width, padded);
    for (int64_t first = 0; first < rows; first += ROWS, y += ROWS * padded, d_y += ROWS * padded) {
        const int64_t count = first + ROWS < rows ? ROWS : rows - first;
        float inner[ROWS];
        for (int64_t r = 0; r < count; r++) {
            const float *p = y + r * padded;
            float *g = d_y + r * padded;
            double sum = 0;
            STORE(g + last, KEEP(LOAD(g + last), mask));
            for (int64_t from = 0; from < padded; from += RUN * WIDTH) {
                const int64_t end = from + RUN * WIDTH < padded ? from + RUN * WIDTH : padded;
                vec part = {0};
                for (int64_t c = from; c < end; c += WIDTH)
                    part += LOAD(p + c) * LOAD(g + c);
                sum += SUM(part);
            }
            inner[r] = (float)sum;
        }
        for (int64_t r = 0; r < count; r++)
            for (int64_t c = r * padded; c < (r + 1) * padded; c += WIDTH)
                STORE(d_y + c, (LOAD(d_y + c) - inner[r]) * LOAD(y + c) * factor);
    }
}
