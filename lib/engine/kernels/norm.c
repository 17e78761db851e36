/* Batch norm in loops. They beat the primitives twice over: two reads and a write forward where the
 * primitive makes three and one (and four and two when the group has several shards), no mask to
 * keep, since ReLU's cut is recomputed from x with the same operations; and sums in double over
 * short float runs, where the primitive's long float sums are the largest single rounding error of
 * a step (docs/numerics.md). Every channel is summed in the same order on every instruction set. */
#include "engine/kernels/norm.h"

#include <math.h>
#include <string.h>

#include "engine/kernels/epsilon.h"
#include "engine/kernels/vec.h"
#include "util/clones.h"

/* `value` where `test` is not <= 0, else 0: a NaN stays one, so that the step notices it. */
#define CUT(value, test) ((vec)((words)(value) & ~(words)((test) <= ZERO)))

/* A run of positions is contiguous memory that stays in the second-level cache while its channels
 * go by. */
MO_CLONES(void, mo_norm_moments,
          (const float *x, int64_t positions, int64_t channels, double *scratch, float *mean, float *variance),
          (x, positions, channels, scratch, mean, variance))
{
    double *total = scratch, *total_squares = scratch + channels;
    memset(scratch, 0, 2 * (size_t)channels * sizeof *scratch);
    for (int64_t r = 0; r < positions; r += RUN) {
        int64_t end = r + RUN < positions ? r + RUN : positions;
        for (int64_t c = 0; c < channels; c += WIDTH) {
            const vec origin = LOAD(x + c); /* differences to the first position keep the squares from cancelling */
            vec sum = ZERO, squares = ZERO;
            for (int64_t i = r; i < end; i++) {
                vec d = LOAD(x + i * channels + c) - origin;
                sum += d;
                squares += d * d;
            }
            for (int i = 0; i < WIDTH; i++) {
                total[c + i] += sum[i];
                total_squares[c + i] += squares[i];
            }
        }
    }
    for (int64_t c = 0; c < channels; c++) {
        double shifted = total[c] / (double)positions;
        double v = total_squares[c] / (double)positions - shifted * shifted;
        mean[c] = (float)(x[c] + shifted);
        variance[c] = (float)(v < 0 ? 0 : v);
    }
}

void mo_norm_factor(const float *scale, const float *variance, int64_t channels, float *factor)
{
    for (int64_t c = 0; c < channels; c++)
        factor[c] = (float)(scale[c] / sqrt((double)variance[c] + MO_BATCHNORM_EPSILON));
}

/* Coefficients of the 16 channels from c. */
typedef struct coefficients {
    vec mean, factor, shift;
} coefficients_t;

static inline __attribute__((always_inline)) void coefficients(const mo_norm_t *n, int64_t c, coefficients_t *k)
{
    k->mean = LOAD(n->mean + c);
    k->shift = LOAD(n->shift + c);
    k->factor = LOAD(n->factor + c);
}

/* Positions are walked in blocks that stay in the first-level cache while the channels go by. */
#define BLOCK_FLOATS 4096

static inline int64_t block_rows(int64_t channels)
{
    int64_t rows = BLOCK_FLOATS / channels;
    return rows < 8 ? 8 : rows;
}

MO_CLONES(void, mo_norm_apply, (const float *x, int64_t positions, int64_t channels, const mo_norm_t *norm, float *y),
          (x, positions, channels, norm, y))
{
    int64_t block = block_rows(channels);
    for (int64_t first = 0; first < positions; first += block) {
        int64_t end = first + block < positions ? first + block : positions;
        for (int64_t c = 0; c < channels; c += WIDTH) {
            coefficients_t k;
            coefficients(norm, c, &k);
            for (int64_t r = first; r < end; r++) {
                vec v = (LOAD(x + r * channels + c) - k.mean) * k.factor + k.shift;
                STORE(y + r * channels + c, norm->relu ? CUT(v, v) : v);
            }
        }
    }
}

/* The incoming gradient behind ReLU, whose cut is found again from x by the operations of the
 * forward pass. */
#define BEHIND_RELU(d_y, centred, k) (norm->relu ? CUT((d_y), (centred) * (k).factor + (k).shift) : (d_y))

MO_CLONES(void, mo_norm_sums,
          (const float *x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm,
           double *scratch, float *d_scale, float *d_shift),
          (x, d_y, positions, channels, norm, scratch, d_scale, d_shift))
{
    double *total = scratch, *total_products = scratch + channels;
    memset(scratch, 0, 2 * (size_t)channels * sizeof *scratch);
    for (int64_t r = 0; r < positions; r += RUN) {
        int64_t end = r + RUN < positions ? r + RUN : positions;
        for (int64_t c = 0; c < channels; c += WIDTH) {
            coefficients_t k;
            coefficients(norm, c, &k);
            vec sum = ZERO, products = ZERO;
            for (int64_t i = r; i < end; i++) {
                vec centred = LOAD(x + i * channels + c) - k.mean, incoming = LOAD(d_y + i * channels + c);
                vec g = BEHIND_RELU(incoming, centred, k);
                sum += g;
                products += g * centred;
            }
            for (int i = 0; i < WIDTH; i++) {
                total[c + i] += sum[i];
                total_products[c + i] += products[i];
            }
        }
    }
    for (int64_t c = 0; c < channels; c++) {
        d_shift[c] = (float)total[c];
        d_scale[c] = (float)(total_products[c] / sqrt((double)norm->variance[c] + MO_BATCHNORM_EPSILON));
    }
}

MO_CLONES(void, mo_norm_backward,
          (const float *x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm, const float *k,
           const float *c, float *d_x),
          (x, d_y, positions, channels, norm, k, c, d_x))
{
    int64_t block = block_rows(channels);
    for (int64_t first = 0; first < positions; first += block) {
        int64_t end = first + block < positions ? first + block : positions;
        for (int64_t at = 0; at < channels; at += WIDTH) {
            coefficients_t n;
            coefficients(norm, at, &n);
            vec slope = LOAD(k + at), constant = LOAD(c + at);
            for (int64_t r = first; r < end; r++) {
                vec centred = LOAD(x + r * channels + at) - n.mean, incoming = LOAD(d_y + r * channels + at);
                vec g = BEHIND_RELU(incoming, centred, n);
                STORE(d_x + r * channels + at, g * n.factor + (centred * slope + constant));
            }
        }
    }
}
