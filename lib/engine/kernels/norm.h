/* Plain CPU loops of batch norm on [positions, channels] numbers; channels in multiples of 16,
 * 64-byte aligned. Arithmetic is float32; x and y are float32, or bf16 where `low`. */
#ifndef MO_ENGINE_NORM_LOOPS_H
#define MO_ENGINE_NORM_LOOPS_H

#include <stdint.h>

/* What a channel's normalisation is made of: y = (x - mean) * factor + shift, factor = scale /
 * sqrt(variance + 1e-5).
 */
typedef struct mo_norm {
    const float *mean, *variance, *factor, *shift;
    int relu;
} mo_norm_t;
void mo_norm_factor(const float *scale, const float *variance, int64_t channels, float *factor);

typedef struct mo_norm_x { /* numbers that are read */
    const void *at;
    int low;
} mo_norm_x_t;

typedef struct mo_norm_y { /* and written: bf16 is rounded to nearest, ties to even; a NaN stays one */
    void *at;
    int low;
} mo_norm_y_t;

/* Mean and biased variance of each channel. Sums of 64 values in float, of those in double.
 * scratch: 2 * channels. */
void mo_norm_moments(mo_norm_x_t x, int64_t positions, int64_t channels, double *scratch, float *mean, float *variance);
void mo_norm_apply(mo_norm_x_t x, int64_t positions, int64_t channels, const mo_norm_t *norm, mo_norm_y_t y);
/* g = d_y, zero where ReLU cut. d_shift = sum g; d_scale = sum g * (x - mean) / sigma. */
void mo_norm_sums(mo_norm_x_t x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm,
                  double *scratch, float *d_scale, float *d_shift);
/* d_x = factor * g + (x - mean) * k + c; d_x may be d_y. */
void mo_norm_backward(mo_norm_x_t x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm,
                      const float *k, const float *c, float *d_x);

#endif
