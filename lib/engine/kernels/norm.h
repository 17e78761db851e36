/* Plain CPU loops of batch norm on [positions, channels] floats; channels in multiples of 16,
 * 64-byte aligned. */
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

/* Mean and biased variance of each channel. Sums of 64 values in float, of those in double.
 * scratch: 2 * channels. */
void mo_norm_moments(const float *x, int64_t positions, int64_t channels, double *scratch, float *mean,
                     float *variance);
void mo_norm_apply(const float *x, int64_t positions, int64_t channels, const mo_norm_t *norm, float *y);
/* g = d_y, zero where ReLU cut. d_shift = sum g; d_scale = sum g * (x - mean) / sigma. */
void mo_norm_sums(const float *x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm,
                  double *scratch, float *d_scale, float *d_shift);
/* d_x = factor * g + (x - mean) * k + c; d_x may be d_y. */
void mo_norm_backward(const float *x, const float *d_y, int64_t positions, int64_t channels, const mo_norm_t *norm,
                      const float *k, const float *c, float *d_x);

#endif
