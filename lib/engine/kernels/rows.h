/* Plain CPU loops on the rows of a matrix: layer norm, softmax, sums of columns. Every sum is added
 * up in the same order on every instruction set: in float over runs of 64, then in double. */
#ifndef MO_ENGINE_ROW_LOOPS_H
#define MO_ENGINE_ROW_LOOPS_H

#include <stdint.h>

/* Rows of `width` floats, a multiple of 16, 64-byte aligned. stats [rows, 2]: mean and
 * 1/sqrt(variance + 1e-6). y = (x - mean) * stats[1] * scale + shift. */
void mo_layernorm_forward(const float *x, int64_t rows, int64_t width, const float *scale, const float *shift,
                          float *stats, float *y);
/* d_x gets the gradient, or has it added; it may be d_y where it is not added. scratch: 4 * width
 * floats on top of which nothing else lies, 64-byte aligned. */
typedef struct mo_layernorm {
    const float *x, *d_y, *scale, *stats;
    int64_t rows, width;
    int add;
} mo_layernorm_t;
void mo_layernorm_backward(const mo_layernorm_t *n, float *scratch, float *d_x, float *d_scale, float *d_shift);

/* sums[c] = sum of the rows' numbers in column c; any width. scratch: width doubles. */
void mo_column_sums(const float *x, int64_t rows, int64_t width, double *scratch, float *sums);

/* Rows of `width` floats lie MO_SOFTMAX_ROW(width) apart, 64-byte aligned; what is between them is
 * overwritten with zeros. In place: x = softmax(factor * x) along each row. */
#define MO_SOFTMAX_ROW(width) (((width) + 15) / 16 * 16)
void mo_softmax_forward(float *x, int64_t rows, int64_t width, float factor);
/* In place: d_y becomes factor * y * (d_y - <y, d_y>), the gradient of the x above. */
void mo_softmax_backward(const float *y, float *d_y, int64_t rows, int64_t width, float factor);

#endif
