/* Hot loops are compiled for several instruction sets: each version must give the bits of the plain
 * one, at lengths around the vectors'. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "contrast/contrast.h"
#include "data/augment.h"
#include "engine/kernels/norm.h"
#include "engine/kernels/rows.h"
#include "eval/dot.h"
#include "optim/optim.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/rng.h"

enum { BLOCK = 1 << 14 }; /* floats that a case works on */

static void fill(float *values, uint32_t number)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 5, 100, number, 0);
    for (int i = 0; i < BLOCK; i++)
        values[i] = (float)mo_rng_normal(&rng);
}

/* ---- cases: a and b are drawn, everything in a, b and c is compared afterwards ---- */

static const mo_optim_rates_t rates = {
    .lr = 0.03, .momentum = 0.9, .weight_decay = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .step = 3};

static void momentum(float *a, float *b, float *c, int64_t n)
{
    (void)c;
    mo_momentum_update(a, b, 37 * n, 0.996);
}

static void sgd(float *a, float *b, float *c, int64_t n)
{
    mo_sgd_loop(a, b, c, 37 * n, &rates);
}

static void lars(float *a, float *b, float *c, int64_t n)
{
    mo_lars_loop(a, b, c, 37 * n, 0.01f, 1e-4f, &rates);
}

static void adamw(float *a, float *b, float *c, int64_t n)
{
    for (int i = 0; i < BLOCK; i++)
        c[i] = c[i] * c[i];
    mo_adamw_loop(a, b, c, a + BLOCK / 2, 37 * n, &rates);
}

static void square_sum(float *a, float *b, float *c, int64_t n)
{
    const double sums[] = {mo_square_sum(a, 37 * n), mo_square_sum_of(a, b, 0.3f, 37 * n)};
    memcpy(c, sums, sizeof sums);
}

static void columns(float *a, float *b, float *c, int64_t n)
{
    mo_column_sums(a, 150, n, (double *)(void *)b, c);
}

static void softmax(float *a, float *b, float *c, int64_t n)
{
    (void)c;
    mo_softmax_forward(a, 19, n, 0.7f);
    mo_softmax_backward(a, b, 19, n, 0.7f);
}

static void layer_norm(float *a, float *b, float *c, int64_t n)
{
    const int64_t width = (n + 15) / 16 * 16, rows = 30;
    const mo_layernorm_t norm = {
        .x = a, .d_y = b, .scale = c, .stats = c + 256, .rows = rows, .width = width, .add = 1};
    mo_layernorm_forward(a, rows, width, c, c + 128, c + 256, b);
    mo_layernorm_backward(&norm, c + 1024, c + 2048, c + 12288, c + 13312);
}

static void batch_norm(float *a, float *b, float *c, int64_t n)
{
    const int64_t channels = (n + 15) / 16 * 16, positions = 100;
    const mo_norm_t norm = {.mean = c, .variance = c + 128, .factor = c + 256, .shift = c + 384, .relu = 1};
    mo_norm_moments((mo_norm_x_t){a, 0}, positions, channels, (double *)(void *)(c + 1024), c, c + 128);
    mo_norm_factor(c + 512, c + 128, channels, c + 256);
    mo_norm_apply((mo_norm_x_t){a, 0}, positions, channels, &norm, (mo_norm_y_t){b, 0});
    mo_norm_sums((mo_norm_x_t){a, 0}, b, positions, channels, &norm, (double *)(void *)(c + 1024), c + 2048, c + 2176);
    mo_norm_backward((mo_norm_x_t){a, 0}, b, positions, channels, &norm, c + 2048, c + 2176, c + 4096);
}

/* Numbers rounded to bf16, their moments, the normalisation of them, and its gradient. */
static void low_batch_norm(float *a, float *b, float *c, int64_t n)
{
    const int64_t channels = (n + 15) / 16 * 16, positions = 100;
    const mo_norm_t norm = {.mean = c, .variance = c + 128, .factor = c + 256, .shift = c + 384, .relu = 1};
    const mo_norm_x_t x = {b, 1};
    for (int64_t i = 0; i < channels; i++)
        c[256 + i] = 1;
    mo_norm_apply((mo_norm_x_t){a, 0}, positions, channels, &norm, (mo_norm_y_t){b, 1});
    mo_norm_moments(x, positions, channels, (double *)(void *)(c + 1024), c, c + 128);
    mo_norm_factor(c + 512, c + 128, channels, c + 256);
    mo_norm_apply(x, positions, channels, &norm, (mo_norm_y_t){c + 4096, 1});
    mo_norm_sums(x, a, positions, channels, &norm, (double *)(void *)(c + 1024), c + 2048, c + 2176);
    mo_norm_backward(x, a, positions, channels, &norm, c + 2048, c + 2176, a);
}

static void dot(float *a, float *b, float *c, int64_t n)
{
    mo_dot_tile(a, 7, b, 5, (int32_t)n, c);
}

/* Their bytes as pixels. */
static void colours(float *a, float *b, float *c, int64_t n)
{
    uint8_t *one = (uint8_t *)a, *two = (uint8_t *)b, *three = (uint8_t *)c;
    const size_t count = 7 * (size_t)n;
    mo_brightness(one, count, 1.3f);
    mo_contrast(one, count, 1.6f);
    mo_saturation(two, count, 1.4f);
    mo_hue(two, count, 0.2);
    mo_solarize(three, count);
    mo_gray(three, count);
}

static void blurs(float *a, float *b, float *c, int64_t n)
{
    mo_view_work_t work = {0};
    ck_assert_int_eq(mo_blur(&work, (uint8_t *)a, (int32_t)n, 9, 0.9), MOCO_OK);
    ck_assert_int_eq(mo_blur(&work, (uint8_t *)b, 9, (int32_t)n, 5.0), MOCO_OK);
    ck_assert_int_eq(mo_blur_gaussian(&work, (uint8_t *)c, (int32_t)n, 9, 4, 1.1), MOCO_OK);
    mo_view_work_free(&work);
}

static void (*const cases[])(float *a, float *b, float *c,
                             int64_t n) = {momentum,   sgd,        lars,           adamw, square_sum, columns, softmax,
                                           layer_norm, batch_norm, low_batch_norm, dot,   colours,    blurs};
static const int64_t lengths[] = {1, 7, 16, 31, 64, 77, 100};

START_TEST(test_levels)
{
    const int found = mo_clones_limit(MO_AVX512);
    float *want = NULL, *got = NULL;
    ck_assert_int_eq(mo_block_create(3 * BLOCK * sizeof *want, &want), MOCO_OK);
    ck_assert_int_eq(mo_block_create(3 * BLOCK * sizeof *got, &got), MOCO_OK);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int level = MO_PLAIN; level <= found; level++) {
            float *values = level == MO_PLAIN ? want : got;
            ck_assert_int_eq(mo_clones_limit(level), level);
            ck_assert_int_eq(mo_clones_level(), level);
            for (int part = 0; part < 3; part++)
                fill(values + part * BLOCK, (uint32_t)part);
            cases[_i](values, values + BLOCK, values + 2 * BLOCK, lengths[i]);
            ck_assert_msg(memcmp(values, want, 3 * BLOCK * sizeof *want) == 0, "case %d, length %lld, level %d", _i,
                          (long long)lengths[i], level);
        }
    mo_clones_limit(MO_AVX512);
    mo_block_free(want, 0);
    mo_block_free(got, 0);
}
END_TEST

/* To the nearest bf16 number, of two as near the even one; what is no number stays none. */
START_TEST(test_rounding)
{
    static const struct {
        uint32_t from;
        uint16_t to;
    } rows[16] = {{0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
                  {0x3f818000, 0x3f82}, {0x3f817fff, 0x3f81}, {0xbf808000, 0xbf80}, {0xbf818000, 0xbf82},
                  {0x00000000, 0x0000}, {0x80000000, 0x8000}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80},
                  {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0xffffffff, 0xffff}, {0x00008001, 0x0001}};
    _Alignas(64) float x[16], mean[16] = {0}, factor[16], shift[16];
    _Alignas(64) uint16_t y[16];
    const mo_norm_t norm = {.mean = mean, .variance = mean, .factor = factor, .shift = shift};
    mo_clones_limit(1 + _i);
    for (int i = 0; i < 16; i++) {
        memcpy(&x[i], &rows[i].from, sizeof x[i]);
        factor[i] = 1;
        shift[i] = -0.0f;
    }
    mo_norm_apply((mo_norm_x_t){x, 0}, 1, 16, &norm, (mo_norm_y_t){y, 1});
    for (int i = 0; i < 16; i++)
        ck_assert_msg(rows[i].to == (y[i] | (rows[i].from == 0x7f800001 ? 0x40 : 0)), "%08x gave %04x, wanted %04x",
                      rows[i].from, y[i], rows[i].to);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clones");
    TCase *tests = tcase_create("levels");
    tcase_add_loop_test(tests, test_levels, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_loop_test(tests, test_rounding, 0, 3);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
