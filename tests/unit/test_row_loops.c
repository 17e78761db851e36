/* The loops over rows against their definitions in double precision, at every width around the
 * vectors' and the runs'. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kernels/rows.h"
#include "util/alloc.h"
#include "util/rng.h"

static float *block(int64_t floats)
{
    float *values = NULL;
    ck_assert_int_eq(mo_block_create((size_t)floats * sizeof *values + 64, &values), MOCO_OK);
    return values;
}

static void draw(float *values, int64_t count, double mean, double spread, uint32_t number)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 3, 100, number, 0);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(mean + spread * mo_rng_normal(&rng));
}

/* ---- softmax ---- */

enum { ROWS = 19 }; /* two blocks of rows and a part of one */
static const int64_t widths[] = {1, 2, 5, 15, 16, 17, 31, 32, 33, 197, 1023, 1024, 1025, 1041, 2100};

START_TEST(test_softmax)
{
    int64_t width = widths[_i], row = MO_SOFTMAX_ROW(width);
    float *x = block(ROWS * row), *y = block(ROWS * row), *d = block(ROWS * row);
    const float factor = 0.3f;
    draw(x, ROWS * row, 4, 10, 1);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t c = width; c < row; c++)
            x[r * row + c] = NAN; /* what lies between the rows */
    memcpy(y, x, (size_t)(ROWS * row) * sizeof *y);
    mo_softmax_forward(y, ROWS, width, factor);
    draw(d, ROWS * row, 0, 1, 2);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t c = width; c < row; c++)
            d[r * row + c] = NAN;
    float *d_y = block(ROWS * row);
    memcpy(d_y, d, (size_t)(ROWS * row) * sizeof *d);
    mo_softmax_backward(y, d_y, ROWS, width, factor);
    for (int64_t r = 0; r < ROWS; r++) {
        double sum = 0, inner = 0;
        for (int64_t c = 0; c < width; c++)
            sum += exp((double)x[r * row + c] * (double)factor);
        for (int64_t c = 0; c < width; c++)
            inner += (double)y[r * row + c] * d[r * row + c];
        for (int64_t c = 0; c < width; c++) {
            double p = exp((double)x[r * row + c] * (double)factor) / sum, g = factor * p * (d[r * row + c] - inner);
            ck_assert_double_eq_tol(y[r * row + c], p, 2e-6 * p + 1e-30); /* rounding of the exponent, up to 15 */
            ck_assert_double_eq_tol(d_y[r * row + c], g, 1e-5 * fabs(g) + 2e-6 * p);
        }
        for (int64_t c = width; c < row; c++)
            ck_assert(y[r * row + c] == 0 && d_y[r * row + c] == 0);
    }
    float *blocks[] = {x, y, d, d_y};
    for (int i = 0; i < 4; i++)
        mo_block_free(blocks[i], 0);
}
END_TEST

/* Far apart: no overflow, nothing denormal; what is not a number stays none and spoils its row
 * alone. */
START_TEST(test_extremes)
{
    float *x = block(4 * 32);
    for (int64_t i = 0; i < 4 * 32; i++)
        x[i] = 0;
    x[3] = 3e38f;
    x[32 + 20] = -3e38f;
    x[64 + 1] = NAN;
    for (int64_t c = 0; c < 20; c++)
        x[96 + c] = -100.0f * (float)c;
    mo_softmax_forward(x, 4, 20 + 1, 1.0f);
    ck_assert(x[3] == 1 && x[0] == 0 && x[20] == 0);
    ck_assert(x[32 + 20] == 0 && fabs(x[32] - 1.0 / 20) < 1e-7);
    for (int64_t c = 0; c < 21; c++)
        ck_assert(isnan(x[64 + c]));
    for (int64_t c = 1; c < 20; c++)
        ck_assert(x[96 + c] == 0);
    x[0] = INFINITY;
    mo_softmax_forward(x, 1, 21, 1.0f);
    ck_assert(isnan(x[0]));
    mo_block_free(x, 0);
}
END_TEST

/* ---- layer norm ---- */

static const int64_t channels[] = {16, 48, 384, 1024, 1040, 2064};
static const int64_t rows[] = {1, 63, 64, 65, 130};

START_TEST(test_layernorm)
{
    int64_t width = channels[_i / 5], n = rows[_i % 5];
    float *x = block(n * width), *y = block(n * width), *d_y = block(n * width), *d_x = block(n * width);
    float *before = block(n * width), *scale = block(width), *shift = block(width), *stats = block(2 * n);
    float *d_scale = block(width), *d_shift = block(width), *scratch = block(4 * width);
    double *sum_scale = calloc((size_t)width, sizeof(double)), *sum_shift = calloc((size_t)width, sizeof(double));
    draw(x, n * width, 30, 1, 1); /* far from 0: squares would cancel */
    draw(d_y, n * width, 0.5, 1, 2);
    draw(scale, width, 1, 0.3, 3);
    draw(shift, width, 0, 0.3, 4);
    draw(before, n * width, 0, 1, 5);
    memcpy(d_x, before, (size_t)(n * width) * sizeof *d_x);
    memset(scratch, 0xff, 4 * (size_t)width * sizeof *scratch);
    mo_layernorm_forward(x, n, width, scale, shift, stats, y);
    mo_layernorm_t norm = {.x = x, .d_y = d_y, .scale = scale, .stats = stats, .rows = n, .width = width, .add = 1};
    mo_layernorm_backward(&norm, scratch, d_x, d_scale, d_shift);
    for (int64_t r = 0; r < n; r++) {
        const float *in = x + r * width, *g = d_y + r * width;
        double mean = 0, variance = 0, sum = 0, products = 0;
        for (int64_t c = 0; c < width; c++)
            mean += in[c] / (double)width;
        for (int64_t c = 0; c < width; c++)
            variance += (in[c] - mean) * (in[c] - mean) / (double)width;
        double sigma = sqrt(variance + 1e-6);
        for (int64_t c = 0; c < width; c++) {
            double normal = (in[c] - mean) / sigma, incoming = (double)g[c] * scale[c];
            ck_assert_double_eq_tol(y[r * width + c], normal * scale[c] + shift[c], 1e-5); /* x is 30 to 2e-6 */
            sum += incoming / (double)width;
            products += incoming * normal / (double)width;
            sum_scale[c] += g[c] * normal;
            sum_shift[c] += g[c];
        }
        for (int64_t c = 0; c < width; c++) {
            double normal = (in[c] - mean) / sigma,
                   wanted = ((double)g[c] * scale[c] - sum - normal * products) / sigma;
            ck_assert_double_eq_tol(d_x[r * width + c], before[r * width + c] + wanted, 2e-5);
        }
    }
    for (int64_t c = 0; c < width; c++) {
        ck_assert_double_eq_tol(d_scale[c], sum_scale[c], 1e-5 * sqrt((double)n) + 1e-6 * fabs(sum_scale[c]));
        ck_assert_double_eq_tol(d_shift[c], sum_shift[c], 4e-5); /* runs of 64: sums of 80 to 8e-6 */
    }
    /* Without adding, over the incoming gradient itself: the same numbers. */
    norm.add = 0;
    memcpy(before, d_y, (size_t)(n * width) * sizeof *before);
    mo_layernorm_backward(&norm, scratch, d_x, d_scale, d_shift);
    norm.d_y = before;
    mo_layernorm_backward(&norm, scratch, before, d_scale, d_shift);
    ck_assert_mem_eq(before, d_x, (size_t)(n * width) * sizeof *d_x);
    float *blocks[] = {x, y, d_y, d_x, before, scale, shift, stats, d_scale, d_shift, scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        mo_block_free(blocks[i], 0);
    free(sum_scale);
    free(sum_shift);
}
END_TEST

/* ---- sums of columns ---- */

START_TEST(test_columns)
{
    static const int64_t widths_[] = {1, 7, 48, 511, 512, 513, 1100};
    int64_t width = widths_[_i / 5], n = rows[_i % 5];
    float *x = block(n * width), *sums = block(width), *scratch = block(2 * width);
    draw(x, n * width, 0.5, 1, 1);
    memset(scratch, 0xff, 2 * (size_t)width * sizeof *scratch);
    mo_column_sums(x, n, width, (double *)scratch, sums);
    for (int64_t c = 0; c < width; c++) {
        double sum = 0;
        for (int64_t r = 0; r < n; r++)
            sum += x[r * width + c];
        ck_assert_double_eq_tol(sums[c], sum, 4e-5);
    }
    mo_block_free(x, 0);
    mo_block_free(sums, 0);
    mo_block_free(scratch, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("row loops");
    TCase *tc = tcase_create("row loops");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_softmax, 0, (int)(sizeof widths / sizeof widths[0]));
    tcase_add_test(tc, test_extremes);
    tcase_add_loop_test(tc, test_layernorm, 0, (int)(sizeof channels / sizeof channels[0]) * 5);
    tcase_add_loop_test(tc, test_columns, 0, 7 * 5);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
