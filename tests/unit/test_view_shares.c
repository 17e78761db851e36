/* data/views, counted: over a thousand draws of each view of every recipe, how often each operation
 * strikes, on images made so that its trace cannot be missed; in which order operations follow each
 * other; how crops are spread. Shares must lie within five standard deviations of their
 * probability. Whole views, byte for byte, are compared in test_views.c and
 * tests/parity/test_views.py. */
#include "data_fixtures.h"

#include <math.h>

#include "data/augment.h"
#include "train/options.h"

#include <moco/trainer.h>

enum { SIDE = 24, TURNS = 1000, COUNT = SIDE * SIDE, BYTES = COUNT * 3, CASES = 2 * (MOCO_RECIPE_SIMCLR_CODE + 1) };

/* What is published, of view 0 and view 1. */
static const struct {
    double jitter, gray, blur[2], solarize[2], flip, min_area;
} published[] = {
    [MOCO_RECIPE_V1] = {1, 0.2, {0, 0}, {0, 0}, 0.5, 0.2},
    [MOCO_RECIPE_V2] = {0.8, 0.2, {0.5, 0.5}, {0, 0}, 0.5, 0.2},
    [MOCO_RECIPE_CIFAR] = {0.8, 0.2, {0, 0}, {0, 0}, 0.5, 0.08},
    [MOCO_RECIPE_V3] = {0.8, 0.2, {1, 0.1}, {0, 0.2}, 0.5, 0.2},
    [MOCO_RECIPE_SIMCLR] = {0.8, 0.2, {0.5, 0.5}, {0, 0}, 0.5, 0.08},
    [MOCO_RECIPE_V3_VIT] = {0.8, 0.2, {1, 0.1}, {0, 0.2}, 0.5, 0.08},
    [MOCO_RECIPE_BYOL] = {0.8, 0.2, {1, 0.1}, {0, 0.2}, 0.5, 0.08},
    [MOCO_RECIPE_SIMCLR_CODE] = {0.8, 0.2, {0.5, 0.5}, {0, 0}, 0.5, 0.1}, /* covers a tenth at least */
};

static mo_view_work_t work;
static mo_pixels_t pixels;
static mo_view_spec_t spec;
static uint8_t got[BYTES];

static void setup(void)
{
    work = (mo_view_work_t){0};
    pixels = (mo_pixels_t){0};
}

static void teardown(void)
{
    mo_view_work_free(&work);
    mo_pixels_free(&pixels);
}

/* ---- images ---- */

static void make(int side, void (*fill)(int x, int y, uint8_t *rgb))
{
    ck_assert_int_eq(mo_bytes_reserve(&pixels.rgb, &pixels.capacity, (size_t)side * (size_t)side * 3), MOCO_OK);
    pixels.width = pixels.height = side;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            fill(x, y, pixels.rgb + (y * side + x) * 3);
}

static void set(uint8_t *rgb, int r, int g, int b)
{
    rgb[0] = (uint8_t)r;
    rgb[1] = (uint8_t)g;
    rgb[2] = (uint8_t)b;
}

#define IMAGE(name, r, g, b)                     \
    static void name(int x, int y, uint8_t *rgb) \
    {                                            \
        (void)x, (void)y;                        \
        set(rgb, r, g, b);                       \
    }
IMAGE(strong_colour, 250, 0, 60)
IMAGE(red, 255, 0, 0)
IMAGE(earthen, 200, 100, 20)
IMAGE(nearly_white, 255, 240, 248)
IMAGE(middling, 100, 100, 100)
IMAGE(dark_slope, x, x, x) /* of 64 pixels: solarizing leaves it, jitter included */
IMAGE(slope, 4 * x, 4 * x, 4 * x)
IMAGE(edge, x < SIDE / 2 ? 0 : 255, x < SIDE / 2 ? 0 : 255, x < SIDE / 2 ? 0 : 255)
IMAGE(place, x, y, 0) /* of 256 pixels */

/* ---- drawing and judging ---- */

static void take(int recipe)
{
    moco_trainer_options_t options;
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, recipe, MOCO_ARCH_RECIPE), MOCO_OK);
    options.image_size = SIDE;
    mo_options_views(&options, &spec);
}

static const uint8_t *draw(int index, int view)
{
    ck_assert_int_eq(mo_view_draw(&work, &spec, &pixels, 99, 3, index, view, got), MOCO_OK);
    return got;
}

static void expect_share(const char *what, int count, int of, double probability)
{
    const double off = fabs(count - of * probability), allowed = 5 * sqrt(of * probability * (1 - probability));
    ck_assert_msg(off <= allowed, "%s: %d of %d, wanted %g of them", what, count, of, probability);
}

static int is_gray(const uint8_t *rgb)
{
    for (int i = 0; i < BYTES; i += 3)
        if (rgb[i] != rgb[i + 1] || rgb[i] != rgb[i + 2])
            return 0;
    return 1;
}

static int highest(const uint8_t *rgb)
{
    int most = 0;
    for (int i = 0; i < BYTES; i++)
        most = rgb[i] > most ? rgb[i] : most;
    return most;
}

static int falls_to_the_right(const uint8_t *rgb)
{
    int64_t difference = 0;
    for (int i = 0; i < COUNT; i++)
        difference += i % SIDE < SIDE / 2 ? rgb[3 * i] : -rgb[3 * i];
    return difference > 0;
}

static int distinct(const uint8_t *rgb)
{
    char seen[256] = {0};
    int values = 0;
    for (int i = 0; i < BYTES; i++) {
        values += !seen[rgb[i]];
        seen[rgb[i]] = 1;
    }
    return values;
}

/* ---- shares ---- */

/* One colour stays one colour under crop, blur and flip, so only these two can have changed it (and
 * solarizing, but never to gray, nor unseen). */
START_TEST(jitter_and_gray)
{
    const int recipe = _i / 2, view = _i % 2;
    int grayed = 0, jittered = 0;
    take(recipe);
    make(32, strong_colour);
    for (int index = 0; index < TURNS; index++) {
        const uint8_t *v = draw(index, view);
        if (spec.blur_form == MOCO_BLUR_GAUSSIAN)
            v += (SIDE / 2 * SIDE + SIDE / 2) * 3; /* its edges darken */
        const int gray = v[0] == v[1] && v[1] == v[2];
        const int kept = (v[0] == 250 && v[1] == 0 && v[2] == 60) || (v[0] == 5 && v[1] == 0 && v[2] == 60);
        grayed += gray;
        jittered += !gray && !kept;
    }
    expect_share("gray", grayed, TURNS, published[recipe].gray);
    expect_share("jitter", jittered, TURNS - grayed, published[recipe].jitter);
}
END_TEST

/* A jittered white never falls below 128, and solarized it lies below. */
START_TEST(solarizing)
{
    const int recipe = _i / 2, view = _i % 2;
    int solarized = 0;
    take(recipe);
    if (spec.order != MOCO_VIEWS_V3)
        return; /* no specification of another pipeline passes with one */
    make(32, nearly_white);
    for (int index = 0; index < TURNS; index++)
        solarized += highest(draw(index, view)) < 128;
    expect_share("solarize", solarized, TURNS, published[recipe].solarize[view]);
}
END_TEST

START_TEST(flipping)
{
    const int recipe = _i / 2, view = _i % 2;
    int flipped = 0, both = 0;
    take(recipe);
    make(64, spec.order == MOCO_VIEWS_V3 ? dark_slope : slope);
    for (int index = 0; index < TURNS; index++) {
        const int this_one = falls_to_the_right(draw(index, view));
        flipped += this_one;
        both += this_one && falls_to_the_right(draw(index, 1 - view));
    }
    expect_share("flip", flipped, TURNS, published[recipe].flip);
    expect_share("flip of both", both, TURNS, published[recipe].flip * published[recipe].flip);
}
END_TEST

/* Two gray levels stay two until a blur spreads their edge; crop and blur are set so that they are
 * seen. */
START_TEST(blurring)
{
    const int recipe = _i / 2, view = _i % 2;
    int blurred = 0;
    take(recipe);
    spec.crop_min_area = 1;
    spec.blur_sigma_min = 1;
    make(SIDE, edge);
    for (int index = 0; index < TURNS; index++)
        blurred += distinct(draw(index, view)) > 2;
    expect_share("blur", blurred, TURNS, published[recipe].blur[view]);
}
END_TEST

/* Of boxes of a square whose area is uniform from `min` on: over log-uniform aspects up to 4/3 a
 * box fits below the area share 1/aspect, so the mean share of those that fit has a closed form. */
static double mean_by_area(double min)
{
    const double m = log(4.0 / 3.0);
    return ((1 - 9.0 / 16) / (2 * m) - min * min) / 2 / ((1 - 3.0 / 4) / m - min);
}

/* Of boxes whose height is uniform from that of the share 0.08 on, for a uniform aspect, if they
 * cover `min`: the integral, by a sum over aspects and heights. */
static double mean_by_side(double min)
{
    double sum = 0, weight = 0;
    for (int a = 0; a < 1000; a++) {
        const double aspect = 0.75 + (a + 0.5) * (4.0 / 3 - 0.75) / 1000, low = sqrt(0.08 / aspect);
        const double high = aspect > 1 ? 1 / aspect : 1, step = (high - low) / 1000;
        for (int i = 0; i < 1000; i++) {
            const double height = low + (i + 0.5) * step, area = height * height * aspect;
            sum += area >= min ? area : 0;
            weight += area >= min;
        }
    }
    return sum / weight;
}

/* Boxes of a large square, read off the view's corners. */
START_TEST(crops)
{
    const int recipe = _i / 2, view = _i % 2;
    const double min = published[recipe].min_area;
    const double mean = recipe == MOCO_RECIPE_SIMCLR_CODE ? mean_by_side(min) : mean_by_area(min);
    double area = 0, squares = 0, place_x = 0, place_y = 0;
    int wide = 0;
    take(recipe);
    spec.jitter_probability = spec.gray_probability = spec.flip_probability = 0;
    spec.blur_probability[view] = spec.solarize_probability[view] = 0;
    make(256, place);
    for (int index = 0; index < TURNS; index++) {
        const uint8_t *first = draw(index, view), *last = first + BYTES - 3;
        const double w = (last[0] - first[0]) * (SIDE / (SIDE - 1.0)), h = (last[1] - first[1]) * (SIDE / (SIDE - 1.0));
        const double share = w * h / (256.0 * 256.0);
        ck_assert_msg(share > min - 0.02 && share < 1.02 && w / h > 0.72 && w / h < 1.39, "%g x %g", w, h);
        area += share;
        squares += share * share;
        wide += w > h;
        place_x += (first[0] + last[0]) / 255.0 - 1;
        place_y += (first[1] + last[1]) / 255.0 - 1;
    }
    area /= TURNS;
    const double deviation = sqrt(squares / TURNS - area * area) / sqrt(TURNS);
    ck_assert_msg(fabs(area - mean) < 5 * deviation + 0.005, "mean area %g, wanted %g", area, mean);
    if (recipe != MOCO_RECIPE_SIMCLR_CODE) /* its aspect is uniform, which is more often wide */
        expect_share("wide", wide, TURNS, 0.5);
    ck_assert(fabs(place_x / TURNS) < 0.03 && fabs(place_y / TURNS) < 0.03); /* of -1..1 */
}
END_TEST

/* ---- order ---- */

/* Red that turns gray before the jitter is 76, and then only its brightness changes: 45..106. After
 * the jitter its hue has made other grays of it. */
START_TEST(gray_and_jitter)
{
    int grays = 0, others = 0;
    take(_i);
    make(32, red);
    for (int index = 0; index < TURNS; index++) {
        const uint8_t *v = draw(index, 0);
        if (!is_gray(v))
            continue;
        const int value = v[(SIDE / 2 * SIDE + SIDE / 2) * 3];
        grays++;
        others += value < 45 || value > 106;
    }
    ck_assert_int_gt(grays, TURNS / 8);
    if (_i == MOCO_RECIPE_V1)
        ck_assert_int_eq(others, 0);
    else
        ck_assert_msg(others > grays / 10, "%d of %d", others, grays);
}
END_TEST

/* Solarizing comes after everything that changes a value. */
START_TEST(solarizing_comes_last)
{
    take(MOCO_RECIPE_V3);
    spec.solarize_probability[0] = 1;
    int lowest = 255, most = 0;
    make(32, middling); /* jittered beyond 128, then folded back; the other way round some would stay beyond */
    for (int index = 0; index < 300; index++) {
        const int value = highest(draw(index, 0));
        lowest = value < lowest ? value : lowest;
        most = value > most ? value : most;
    }
    ck_assert_msg(lowest < 70 && most > 120 && most < 128, "%d..%d", lowest, most);

    spec.jitter_probability = 0;
    spec.gray_probability = 1;
    make(32, earthen); /* gray of it is 121; of the solarized colour it would be 77 */
    ck_assert_int_eq(draw(0, 0)[0], 121);
    ck_assert(is_gray(got));

    spec.gray_probability = 0;
    spec.crop_min_area = 1;
    spec.blur_sigma_min = spec.blur_sigma_max = 1;
    make(SIDE, edge); /* solarized first, there would be no edge left to blur */
    ck_assert_int_gt(highest(draw(0, 0)), 20);
    ck_assert_int_lt(highest(got), 128);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("view_shares");
    TCase *tcase = tcase_create("view_shares");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, jitter_and_gray, 0, CASES);
    tcase_add_loop_test(tcase, solarizing, 0, CASES);
    tcase_add_loop_test(tcase, flipping, 0, CASES);
    tcase_add_loop_test(tcase, blurring, 0, CASES);
    tcase_add_loop_test(tcase, crops, 0, CASES);
    tcase_add_loop_test(tcase, gray_and_jitter, MOCO_RECIPE_V1, MOCO_RECIPE_SIMCLR_CODE + 1);
    tcase_add_test(tcase, solarizing_comes_last);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
