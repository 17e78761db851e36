/* The resize, which sums sixteen rows side by side and cuts rows into blocks, against plain loops:
 * every width around the blocks', windows, both filters, on every instruction set. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "util/clones.h"
#include "util/rng.h"

enum { MOST = 90, ONE = 1 << 22 };

static double weight_at(int32_t filter, double x)
{
    x = fabs(x);
    if (filter == MOCO_FILTER_BILINEAR)
        return x < 1.0 ? 1.0 - x : 0.0;
    return x < 1.0 ? (1.5 * x - 2.5) * x * x + 1.0 : x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 : 0.0;
}

/* Output number `at` of `out` along a line of `in` bytes that lie `step` apart. */
static uint8_t plain(const uint8_t *from, size_t step, int32_t in, int32_t out, int32_t at, int32_t filter)
{
    const double scale = (double)in / out, wide = scale < 1 ? 1 : scale, centre = (at + 0.5) * scale;
    const double support = (filter == MOCO_FILTER_BILINEAR ? 1.0 : 2.0) * wide;
    int32_t low = (int32_t)(centre - support + 0.5), high = (int32_t)(centre + support + 0.5);
    double weights[MOST], total = 0;
    if (in == out)
        return from[(size_t)at * step];
    low = low < 0 ? 0 : low;
    high = high > in ? in : high;
    for (int32_t i = low; i < high; i++) {
        weights[i] = weight_at(filter, (i - centre + 0.5) * (1.0 / wide));
        total += weights[i];
    }
    int32_t sum = ONE / 2;
    for (int32_t i = low; i < high; i++)
        sum += (int32_t)lround(weights[i] / total * ONE) * from[(size_t)i * step];
    sum >>= 22;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void plain_resize(const mo_resize_t *r, uint8_t *out)
{
    static uint8_t between[MOST * MOST * 3];
    for (int32_t y = 0; y < r->height; y++)
        for (int32_t x = 0; x < r->window_width; x++)
            for (int32_t c = 0; c < 3; c++)
                between[(y * r->window_width + x) * 3 + c] =
                    plain(r->src + (size_t)y * r->stride + c, 3, r->width, r->full_width, r->left + x, r->filter);
    for (int32_t y = 0; y < r->window_height; y++)
        for (int32_t x = 0; x < r->window_width * 3; x++)
            *out++ = plain(between + x, (size_t)r->window_width * 3, r->height, r->full_height, r->top + y, r->filter);
}

START_TEST(test_equal)
{
    static const uint8_t zeros[MOST * MOST * 3];
    uint8_t want[MOST * MOST * 3], got[MOST * MOST * 3];
    mo_view_work_t work = {0};
    mo_rng_t rng;
    if (mo_clones_limit(_i) != _i)
        return;                             /* not of this processor */
    uint8_t *src = malloc(MOST * MOST * 3); /* its end is where the last part ends */
    mo_rng_start(&rng, 11, 100, 0, 0);
    for (int round = 0; round < 400; round++) {
        const int32_t width = 1 + (int32_t)mo_rng_below(&rng, round % 2 ? 12 : MOST);
        const int32_t height = 1 + (int32_t)mo_rng_below(&rng, round % 3 ? MOST : 40);
        mo_resize_t r = {.width = width,
                         .height = height,
                         .stride = (size_t)width * 3,
                         .full_width = round % 11 == 0 ? width : 1 + (int32_t)mo_rng_below(&rng, MOST),
                         .full_height = round % 7 == 0 ? height : 1 + (int32_t)mo_rng_below(&rng, MOST),
                         .filter = round & 4 ? MOCO_FILTER_BICUBIC : MOCO_FILTER_BILINEAR};
        r.src = src + (size_t)(MOST * MOST - width * height) * 3;
        r.left = (int32_t)mo_rng_below(&rng, (uint32_t)r.full_width);
        r.top = (int32_t)mo_rng_below(&rng, (uint32_t)r.full_height);
        r.window_width = 1 + (int32_t)mo_rng_below(&rng, (uint32_t)(r.full_width - r.left));
        r.window_height = 1 + (int32_t)mo_rng_below(&rng, (uint32_t)(r.full_height - r.top));
        for (int i = 0; i < MOST * MOST * 3; i++) /* black and white: bicubic goes beyond them */
            src[i] = (uint8_t)(round % 5 == 0 ? 255 * mo_rng_below(&rng, 2) : mo_rng_below(&rng, 256));
        const size_t row = (size_t)r.window_width * 3, bytes = row * (size_t)r.window_height;
        memset(got, 0, sizeof got);
        plain_resize(&r, want);
        ck_assert_int_eq(mo_resize(&work, &r, got, row), MOCO_OK);
        ck_assert_msg(memcmp(got, want, bytes) == 0, "%dx%d to %dx%d at %d,%d filter %d level %d", width, height,
                      r.full_width, r.full_height, r.left, r.top, r.filter, _i);
        ck_assert_msg(bytes == sizeof got || memcmp(got + bytes, zeros, sizeof got - bytes) == 0, "behind the window");
    }
    mo_clones_limit(MO_AVX512);
    mo_view_work_free(&work);
    free(src);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resize");
    TCase *tests = tcase_create("resize");
    tcase_add_loop_test(tests, test_equal, MO_PLAIN, MO_AVX512 + 1);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
