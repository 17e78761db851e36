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

/* 16 numbers from number `at` on. `low` is a constant wherever these are inlined. */
MO_INLINE void read_16(const void *from, int64_t at, int low, vec *v)
{
    if (low) {
        const halves h = *(const halves *)__builtin_assume_aligned((const uint16_t *)from + at, WIDTH * 2);
        *v = (vec)(__builtin_convertvector(h, bits) << 16);
    } else
        *v = LOAD((const float *)from + at);
}

MO_INLINE void write_16(void *to, int64_t at, int low, const vec *v)
{
    if (low) {
        const bits b = (bits)*v, even = b + 0x7fff + (b >> 16 & 1), is_nan = (bits)((b & 0x7fffffff) > 0x7f800000);
        const bits rounded = (even & ~is_nan) | ((b | 0x400000) & is_nan);
        *(halves *)__builtin_assume_aligned((uint16_t *)to + at, WIDTH * 2) =
            __builtin_convertvector(rounded >> 16, halves);
    } else
        STORE((float *)to + at, *v);
}

/* The body with each type of x for a constant. */
#define BY_TYPE(x, call)      \
    do {                      \
        if ((x).low) {        \
            enum { LOW = 1 }; \
            call;             \
        } else {              \
            enum { LOW = 0 }; \
            call;             \
        }                     \
    } while (0)

/* A run of positions is contiguous memory that stays in the second-level cache while its channels
 * go by. */
MO_INLINE void moments(const void *x, int low, int64_t positions, int64_t channels, double *scratch, float *mean,
                       float *variance)
{
    double *total = scratch, *total_squares = scratch + channels;
    memset(scratch, 0, 2 * (size_t)channels * sizeof *scratch);
    for (int64_t r = 0; r < positions; r += RUN) {
        int64_t end = r + RUN < positions ? r + RUN : positions;
        for (int64_t c = 0; c < channels; c += WIDTH) {
            vec origin, d, sum = ZERO, squares = ZERO;
            read_16(x, c, low, &origin); /* differences to the first position keep the squares from cancelling */
            for (int64_t i = r; i < end; i++) {
                read_16(x, i * channels + c, low, &d);
                d -= origin;
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
        vec origin;
        read_16(x, c / WIDTH * WIDTH, low, &origin);
        mean[c] = (float)(origin[c % WIDTH] + shifted);
        variance[c] = (float)(v < 0 ? 0 : v);
    }
}

MO_CLONES(void, mo_norm_moments,
          (mo_norm_x_t x, int64_t positions, int64_t channels, double *scratch, float *mean, float *variance),
          (x, positions, channels, scratch, mean, variance))
{
    BY_TYPE(x, moments(x.at, LOW, positions, channels, scratch, mean, variance));
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

MO_INLINE void apply(const void *x, int low, int64_t positions, int64_t channels, const mo_norm_t *norm, void *y,
                     int low_y)
{
    int64_t block = block_rows(channels);
    for (int64_t first = 0; first < positions; first += block) {
        int64_t end = first + block < positions ? first + block : positions;
        for (int64_t c = 0; c < channels; c += WIDTH) {
            coefficients_t k;
            coefficients(norm, c, &k);
            for (int64_t r = first; r < end; r++) {
                vec v;
                read_16(x, r * channels + c, low, &v);
                v = (v - k.mean) * k.factor + k.shift;
                v = norm->relu ? CUT(v, v) : v;
                write_16(y, r * channels + c, low_y, &v);
            }
        }
    }
}

MO_CLONES(void, mo_norm_apply,
          (mo_norm_x_t x, int64_t positions, int64_t channels, const mo_norm_t *norm, mo_norm_y_t y),
          (x, positions, channels, norm, y))
{
    if (y.low)
        BY_TYPE(x, apply(x.at, LOW, positions, channels, norm, y.at, 1));
    else
        BY_TYPE(x, apply(x.at, LOW, positions, channels, norm, y.at, 0));
}

/* The incoming gradient behind ReLU, whose cut is found again from x by the operations of the
 * forward pass. */
#define BEHIND_RELU(d_y, centred, k) (norm->relu ? CUT((d_y), (centred) * (k).factor + (k).shift) : (d_y))

MO_INLINE void sums(const void *x, int low, const float *d_y, int64_t positions, int64_t channels,
                    const mo_norm_t *norm, double *scratch, float *d_scale, float *d_shift)
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
                vec centred, incoming = LOAD(d_y + i * channels + c);
                read_16(x, i * channels + c, low, &centred);
                centred -= k.mean;
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

MO_CLONES(void, mo_norm_sums,
          (mo_norm_x_t x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm, double *scratch,
           float *d_scale, float *d_shift),
          (x, d_y, positions, channels, norm, scratch, d_scale, d_shift))
{
    BY_TYPE(x, sums(x.at, LOW, d_y, positions, channels, norm, scratch, d_scale, d_shift));
}

MO_INLINE void backward(const void *x, int low, const float *d_y, int64_t positions, int64_t channels,
                        const mo_norm_t *norm, const float *k, const float *c, float *d_x)
{
    int64_t block = block_rows(channels);
    for (int64_t first = 0; first < positions; first += block) {
        int64_t end = first + block < positions ? first + block : positions;
        for (int64_t at = 0; at < channels; at += WIDTH) {
            coefficients_t n;
            coefficients(norm, at, &n);
            vec slope = LOAD(k + at), constant = LOAD(c + at);
            for (int64_t r = first; r < end; r++) {
                vec centred, incoming = LOAD(d_y + r * channels + at);
                read_16(x, r * channels + at, low, &centred);
                centred -= n.mean;
                vec g = BEHIND_RELU(incoming, centred, n);
                STORE(d_x + r * channels + at, g * n.factor + (centred * slope + constant));
            }
        }
    }
}

MO_CLONES(void, mo_norm_backward,
          (mo_norm_x_t x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm, const float *k,
           const float *c, float *d_x),
          (x, d_y, positions, channels, norm, k, c, d_x))
{
    BY_TYPE(x, backward(x.at, LOW, d_y, positions, channels, norm, k, c, d_x));
}
