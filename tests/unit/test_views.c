/* data/views: crops inside the image and of the right sizes, pipelines as listed, draws that depend
 * on nothing but their counter, the evaluation transform. */
#include "data_fixtures.h"

#include <math.h>

#include "data/augment.h"
#include "train/options.h"
#include "util/rng.h"

#include <moco/trainer.h>

enum { SIDE = 24 };

static mo_view_work_t work;
static mo_pixels_t pixels;

/* Pixel (x, y) says where it came from. */
static void make_map(int width, int height)
{
    ck_assert_int_eq(mo_bytes_reserve(&pixels.rgb, &pixels.capacity, (size_t)width * (size_t)height * 3), MOCO_OK);
    pixels.width = width;
    pixels.height = height;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = pixels.rgb + ((size_t)y * (size_t)width + (size_t)x) * 3;
            p[0] = (uint8_t)x;
            p[1] = (uint8_t)y;
            p[2] = (uint8_t)(128 + (x ^ y) % 100);
        }
}

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

static mo_view_spec_t plain_spec(void)
{
    return (mo_view_spec_t){.order = MOCO_VIEWS_V2,
                            .size = SIDE,
                            .crop_tries = 10,
                            .crop_min_area = 0.2,
                            .crop_max_area = 1,
                            .blur_sigma_min = 0.1,
                            .blur_sigma_max = 2};
}

static mo_view_spec_t v2_spec(void)
{
    mo_view_spec_t spec = plain_spec();
    spec.brightness = spec.contrast = spec.saturation = 0.4;
    spec.hue = 0.1;
    spec.jitter_probability = 0.8;
    spec.gray_probability = 0.2;
    spec.blur_probability[0] = spec.blur_probability[1] = spec.flip_probability = 0.5;
    return spec;
}

static void draw(const mo_view_spec_t *spec, uint64_t seed, int64_t epoch, int64_t index, int view, uint8_t *out)
{
    ck_assert_int_eq(mo_view_draw(&work, spec, &pixels, seed, epoch, index, view, out), MOCO_OK);
}

START_TEST(draws_depend_on_their_counter_only)
{
    uint8_t first[SIDE * SIDE * 3], again[SIDE * SIDE * 3], other[SIDE * SIDE * 3];
    const mo_view_spec_t spec = v2_spec();
    make_map(100, 80);
    draw(&spec, 1, 2, 3, 0, first);
    draw(&spec, 9, 9, 9, 1, other); /* what was drawn before does not matter */
    draw(&spec, 1, 2, 3, 0, again);
    ck_assert_mem_eq(first, again, sizeof first);
    static const struct {
        uint64_t seed;
        int64_t epoch, index;
        int view;
    } others[] = {{2, 2, 3, 0}, {1, 3, 3, 0}, {1, 2, 4, 0}, {1, 2, 3, 1}};
    for (int i = 0; i < 4; i++) {
        draw(&spec, others[i].seed, others[i].epoch, others[i].index, others[i].view, other);
        ck_assert(memcmp(first, other, sizeof first) != 0);
    }
}
END_TEST

/* The documented draws, done by hand, lead to the same crop, with either filter. */
START_TEST(crop_follows_the_documented_draws)
{
    uint8_t got[SIDE * SIDE * 3], want[SIDE * SIDE * 3];
    mo_view_spec_t spec = plain_spec();
    spec.resize_filter = _i;
    make_map(90, 60);
    for (uint32_t index = 0; index < 200; index++) {
        mo_rng_t rng;
        mo_rng_start(&rng, 5, MO_STREAM_VIEW0, index, 1);
        double w, h;
        do {
            const double target = 90 * 60 * mo_rng_range(&rng, 0.2, 1.0);
            const double aspect = exp(mo_rng_range(&rng, log(3.0 / 4.0), log(4.0 / 3.0)));
            w = rint(sqrt(target * aspect));
            h = rint(sqrt(target / aspect));
        } while (w > 90 || h > 60);
        const uint32_t top = mo_rng_below(&rng, 61 - (uint32_t)h), left = mo_rng_below(&rng, 91 - (uint32_t)w);
        const mo_resize_t r = {.src = pixels.rgb + (top * 90 + left) * 3,
                               .stride = 270,
                               .width = (int)w,
                               .height = (int)h,
                               .full_width = SIDE,
                               .full_height = SIDE,
                               .window_width = SIDE,
                               .window_height = SIDE,
                               .filter = _i};
        ck_assert_int_eq(mo_resize(&work, &r, want, SIDE * 3), MOCO_OK);
        draw(&spec, 5, 1, index, 0, got);
        ck_assert_mem_eq(got, want, sizeof got);
    }
}
END_TEST

/* The crop of SimCLR's published code by its description: one of the whole heights that the areas
 * and the image leave room for is drawn; where rounding puts it a row outside of the areas, it is a
 * row higher or lower. */
START_TEST(crop_by_the_height)
{
    enum { W = 61, H = 47 };
    uint8_t got[SIDE * SIDE * 3], want[SIDE * SIDE * 3];
    const double area = W * H, least = 0.30 * area, most = 0.33 * area;
    int raised = 0, lowered = 0;
    mo_view_spec_t spec = plain_spec();
    spec.order = MOCO_VIEWS_SIMCLR_CODE;
    spec.crop_min_area = 0.30;
    spec.crop_max_area = 0.33;
    make_map(W, H);
    for (uint32_t index = 0; index < 300; index++) {
        mo_rng_t rng;
        double w = W, h = H;
        uint32_t top = 0, left = 0;
        mo_rng_start(&rng, 5, MO_STREAM_VIEW0, index, 1);
        for (int tries = 0; tries < spec.crop_tries; tries++) {
            const double aspect = mo_rng_range(&rng, 3.0 / 4.0, 4.0 / 3.0);
            const double low = rint(sqrt(least / aspect)), high = rint(sqrt(most / aspect));
            h = low + mo_rng_below(&rng, (uint32_t)(high - low) + 1);
            const int up = rint(h * aspect) * h < least, down = !up && rint(h * aspect) * h > most;
            h += up - down;
            w = rint(h * aspect);
            if (w * h >= least && w * h <= most) {
                raised += up;
                lowered += down;
                top = mo_rng_below(&rng, (uint32_t)(H - h));
                left = mo_rng_below(&rng, (uint32_t)(W - w));
                break;
            }
            w = W;
            h = H;
        }
        const mo_resize_t r = {.src = pixels.rgb + (top * W + left) * 3,
                               .stride = W * 3,
                               .width = (int)w,
                               .height = (int)h,
                               .full_width = SIDE,
                               .full_height = SIDE,
                               .window_width = SIDE,
                               .window_height = SIDE};
        ck_assert_int_eq(mo_resize(&work, &r, want, SIDE * 3), MOCO_OK);
        draw(&spec, 5, 1, index, 0, got);
        ck_assert_mem_eq(got, want, sizeof got);
    }
    ck_assert_msg(raised > 10 && lowered > 10, "%d raised, %d lowered", raised, lowered);
}
END_TEST

/* More tries find a box where few find none, and those before it are drawn as ever. */
START_TEST(crop_tries)
{
    uint8_t few[SIDE * SIDE * 3], many[SIDE * SIDE * 3], central[SIDE * SIDE * 3];
    static const int32_t tries[] = {1, 10, 100};
    int central_boxes[3] = {0};
    mo_view_spec_t spec = plain_spec();
    spec.crop_min_area = 0.05;
    make_map(200, 40);   /* a fifth of the whole area is the most that fits */
    spec.crop_tries = 0; /* refused from a caller: shows the central box */
    draw(&spec, 5, 1, 0, 0, central);
    for (int index = 0; index < 300; index++) {
        for (int t = 0; t < 3; t++) {
            memcpy(few, many, sizeof few);
            spec.crop_tries = tries[t];
            draw(&spec, 5, 1, index, 0, many);
            const int is_central = memcmp(many, central, sizeof many) == 0;
            central_boxes[t] += is_central;
            if (t > 0 && memcmp(few, central, sizeof few) != 0)
                ck_assert_mem_eq(few, many, sizeof few);
        }
    }
    /* a try succeeds where its area share, of 0.05..1, is below about 0.2: once in six */
    ck_assert_msg(central_boxes[0] > 230 && central_boxes[0] < 285, "%d", central_boxes[0]);
    ck_assert_msg(central_boxes[1] > 30 && central_boxes[1] < 120, "%d", central_boxes[1]);
    ck_assert_int_eq(central_boxes[2], 0);
}
END_TEST

/* Ten tries fail on a strip: the middle part of the nearest allowed aspect is taken. */
START_TEST(crop_of_extreme_shapes)
{
    uint8_t got[SIDE * SIDE * 3], want[SIDE * SIDE * 3];
    static const int sizes[][2] = {{200, 10}, {10, 200}, {1, 1}, {1, 200}, {200, 1}};
    const int width = sizes[_i][0], height = sizes[_i][1];
    const mo_view_spec_t spec = plain_spec();
    make_map(width, height);
    int w = width, h = height;
    if (width > height)
        w = (int)rint(height * (4.0 / 3.0));
    else if (height > width)
        h = (int)rint(width / (3.0 / 4.0));
    const size_t left = (size_t)((width - w) / 2), top = (size_t)((height - h) / 2);
    const mo_resize_t r = {.src = pixels.rgb + (top * (size_t)width + left) * 3,
                           .stride = (size_t)width * 3,
                           .width = w,
                           .height = h,
                           .full_width = SIDE,
                           .full_height = SIDE,
                           .window_width = SIDE,
                           .window_height = SIDE};
    ck_assert_int_eq(mo_resize(&work, &r, want, SIDE * 3), MOCO_OK);
    int fell_back = 0;
    for (int index = 0; index < 50; index++) {
        draw(&spec, 5, 1, index, 1, got);
        fell_back += memcmp(got, want, sizeof got) == 0;
    }
    ck_assert_int_ge(fell_back, width * height == 1 ? 50 : 45);
}
END_TEST

START_TEST(probabilities_and_order)
{
    uint8_t base[SIDE * SIDE * 3], got[SIDE * SIDE * 3];
    make_map(SIDE, SIDE);
    mo_view_spec_t spec = plain_spec();
    spec.crop_min_area = 1; /* whole image, unless the aspect refuses: then ten tries and the whole image */
    const size_t count = SIDE * SIDE;
    for (int index = 0; index < 300; index++) {
        spec.order = index % 5;
        spec.gray_probability = spec.flip_probability = 0;
        draw(&spec, 3, 0, index, 0, base); /* nothing but the crop */
        ck_assert_mem_eq(base, pixels.rgb, sizeof base);
        spec.flip_probability = 1;
        draw(&spec, 3, 0, index, 0, got);
        mo_flip(base, SIDE, SIDE);
        ck_assert_mem_eq(got, base, sizeof got);
        spec.gray_probability = 1;
        draw(&spec, 3, 0, index, 0, got);
        mo_gray(base, count);
        ck_assert_mem_eq(got, base, sizeof got);
    }
}
END_TEST

static void jitter_by_hand(mo_rng_t *rng, const mo_view_spec_t *spec, uint8_t *rgb, size_t count)
{
    const double strengths[3] = {spec->brightness, spec->contrast, spec->saturation};
    int order[4] = {0, 1, 2, 3};
    for (uint32_t i = 3; i > 0; i--) {
        const uint32_t j = mo_rng_below(rng, i + 1);
        const int moved = order[i];
        order[i] = order[j];
        order[j] = moved;
    }
    float factors[3];
    for (int i = 0; i < 3; i++)
        factors[i] = (float)mo_rng_range(rng, 1 - strengths[i], 1 + strengths[i]);
    const double hue = mo_rng_range(rng, -spec->hue, spec->hue);
    for (int i = 0; i < 4; i++) {
        if (order[i] == 0)
            mo_brightness(rgb, count, factors[0]);
        if (order[i] == 1)
            mo_contrast(rgb, count, factors[1]);
        if (order[i] == 2)
            mo_saturation(rgb, count, factors[2]);
        if (order[i] == 3)
            mo_hue(rgb, count, hue);
    }
}

/* Each recipe, both views, the draws repeated by hand. */
START_TEST(every_pipeline)
{
    enum { TURNS = 400 };
    static const char *const pipelines[] = {"gjf", "jgbf", "fjg", "jgbsf", "fjgb", "jgbsf", "jgbsf", "fjgb"};
    static const double blur[][2] = {{0, 0}, {0.5, 0.5}, {0, 0}, {1, 0.1}, {0.5, 0.5}, {1, 0.1}, {1, 0.1}, {0.5, 0.5}};
    _Static_assert(sizeof pipelines / sizeof pipelines[0] == MOCO_RECIPE_SIMCLR_CODE + 1, "a row for each recipe");
    const int recipe = _i / 2, view = _i % 2;
    const double solarize = strchr(pipelines[recipe], 's') && view ? 0.2 : 0;
    const size_t count = SIDE * SIDE;
    uint8_t got[SIDE * SIDE * 3], want[SIDE * SIDE * 3];
    moco_trainer_options_t options;
    mo_view_spec_t spec;
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, recipe, MOCO_ARCH_RECIPE), MOCO_OK);
    options.image_size = SIDE;
    options.crop_min_area = 1;
    mo_options_views(&options, &spec);
    make_map(SIDE, SIDE);
    int jittered = 0, grayed = 0, blurred = 0, solarized = 0, flipped = 0;
    for (uint32_t index = 0; index < TURNS; index++) {
        mo_rng_t rng;
        mo_rng_start(&rng, 8, MO_STREAM_VIEW0 + (uint32_t)view, index, 7);
        memcpy(want, pixels.rgb, sizeof want);
        for (int i = 0; i < options.crop_tries && recipe == MOCO_RECIPE_SIMCLR_CODE; i++) {
            const double aspect = mo_rng_range(&rng, 3.0 / 4.0, 4.0 / 3.0);
            if (rint(SIDE * aspect) == SIDE) /* the one height is drawn without using a word */
                break;
        }
        for (int i = 0; i < options.crop_tries && recipe != MOCO_RECIPE_SIMCLR_CODE; i++) {
            /* area 1: accepted only where the aspect rounds to nothing */
            mo_rng_unit(&rng);
            const double aspect = exp(mo_rng_range(&rng, log(3.0 / 4.0), log(4.0 / 3.0)));
            if (rint(sqrt(SIDE * SIDE * aspect)) == SIDE && rint(sqrt(SIDE * SIDE / aspect)) == SIDE)
                break; /* the one place is drawn without using a word */
        }
        for (const char *step = pipelines[recipe]; *step; step++) {
            const double u = mo_rng_unit(&rng);
            if (*step == 'f' && u < 0.5) {
                mo_flip(want, SIDE, SIDE);
                flipped++;
            } else if (*step == 'g' && u < 0.2) {
                mo_gray(want, count);
                grayed++;
            } else if (*step == 's' && u < solarize) {
                mo_solarize(want, count);
                solarized++;
            } else if (*step == 'b' && u < blur[recipe][view]) {
                const double sigma = mo_rng_range(&rng, 0.1, 2.0);
                const int true_kernel = spec.blur_form == MOCO_BLUR_GAUSSIAN; /* side 3 at 24 pixels */
                ck_assert_int_eq(true_kernel ? mo_blur_gaussian(&work, want, SIDE, SIDE, 1, sigma)
                                             : mo_blur(&work, want, SIDE, SIDE, sigma),
                                 MOCO_OK);
                blurred++;
            } else if (*step == 'j' && u < (recipe == MOCO_RECIPE_V1 ? 1 : 0.8)) {
                jitter_by_hand(&rng, &spec, want, count);
                jittered++;
            }
        }
        draw(&spec, 8, 7, index, view, got);
        ck_assert_mem_eq(got, want, sizeof got);
    }
    ck_assert(abs(jittered - TURNS * (recipe == MOCO_RECIPE_V1 ? 10 : 8) / 10) < 40);
    ck_assert(abs(grayed - TURNS / 5) < 40 && abs(flipped - TURNS / 2) < 50);
    ck_assert(fabs(blurred - TURNS * blur[recipe][view]) < 50 && fabs(solarized - TURNS * solarize) < 40);
}
END_TEST

/* A run that goes on with a newer library must see the views of the older one: the bytes of many,
 * as one number. */
START_TEST(views_keep_their_bits)
{
    static const uint64_t want[] = {16188444735223773927u, 6350895956743615183u, 8898090293601361957u};
    static const int sizes[][2] = {{61, 47}, {24, 24}, {40, 150}, {300, 20}};
    uint8_t got[SIDE * SIDE * 3];
    moco_trainer_options_t options;
    mo_view_spec_t spec;
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, _i, MOCO_ARCH_RECIPE), MOCO_OK);
    options.image_size = SIDE;
    mo_options_views(&options, &spec);
    uint64_t hash = 0xcbf29ce484222325u;
    for (int index = 0; index < 200; index++) {
        make_map(sizes[index % 4][0], sizes[index % 4][1]);
        for (int view = 0; view < 2; view++) {
            draw(&spec, 31, 4, index, view, got);
            for (size_t i = 0; i < sizeof got; i++)
                hash = (hash ^ got[i]) * 0x100000001b3u;
        }
    }
    ck_assert_uint_eq(hash, want[_i]);
}
END_TEST

START_TEST(eval_transform)
{
    uint8_t got[32 * 32 * 3], want[64 * 64 * 3];
    /* 32x32 at short side 32, crop 32: the image itself */
    make_map(32, 32);
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 32, 32, got), MOCO_OK);
    ck_assert_mem_eq(got, pixels.rgb, sizeof got);
    /* 50x33 keeps its size at short side 33: left round(9) = 9, top round(0.5) = 0, half to even */
    make_map(50, 33);
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 33, 32, got), MOCO_OK);
    ck_assert_uint_eq(got[0], 9);
    ck_assert_uint_eq(got[1], 0);
    /* 35 high: top 1.5 rounds to 2 */
    make_map(50, 35);
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 35, 32, got), MOCO_OK);
    ck_assert_uint_eq(got[1], 2);
    /* the long side is truncated: 16 * 31 / 20 = 24.8 -> 24, so left (24 - 16) / 2 = 4 */
    make_map(31, 20);
    const mo_resize_t r = {.src = pixels.rgb,
                           .stride = 93,
                           .width = 31,
                           .height = 20,
                           .full_width = 24,
                           .full_height = 16,
                           .window_width = 24,
                           .window_height = 16};
    ck_assert_int_eq(mo_resize(&work, &r, want, 24 * 3), MOCO_OK);
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 16, 16, got), MOCO_OK);
    for (int y = 0; y < 16; y++)
        ck_assert_mem_eq(got + y * 48, want + y * 72 + 12, 48);
}
END_TEST

START_TEST(eval_pads_with_zero)
{
    uint8_t got[9 * 9 * 3];
    make_map(4, 4);
    memset(got, 1, sizeof got);
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 4, 9, got), MOCO_OK);
    for (int y = 0; y < 9; y++)
        for (int x = 0; x < 9; x++) {
            const int inside = x >= 2 && x < 6 && y >= 2 && y < 6;
            ck_assert_uint_eq(got[(y * 9 + x) * 3], inside ? x - 2 : 0);
            ck_assert_uint_eq(got[(y * 9 + x) * 3 + 1], inside ? y - 2 : 0);
        }
    /* a strip that would be 16 million pixels long is made only where it is wanted */
    make_map(200, 1);
    uint8_t small[16 * 16 * 3];
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 16, 16, small), MOCO_OK);
    ck_assert_uint_eq(small[8 * 3], 100);
    ck_assert_int_eq(mo_view_eval(&work, &pixels, 0, 16, small), MOCO_ERR_ARGUMENT);
}
END_TEST

/* Ranges of single fields are those of the options that a spec is made from. */
START_TEST(spec_ends)
{
    mo_view_spec_t spec = v2_spec();
    ck_assert_int_eq(mo_view_spec_check(&spec), MOCO_OK);
    spec.crop_min_area = spec.crop_max_area = 0.5;
    spec.blur_sigma_min = spec.blur_sigma_max = 2;
    ck_assert_int_eq(mo_view_spec_check(&spec), MOCO_OK);
    spec.crop_min_area = 0.75;
    ck_assert_int_eq(mo_view_spec_check(&spec), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "crop_max_area is 0.5, wanted at least crop_min_area 0.75");
    spec.crop_min_area = 0.5;
    spec.blur_sigma_min = 3;
    ck_assert_int_eq(mo_view_spec_check(&spec), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "blur_sigma_max is 2, wanted at least blur_sigma_min 3");
}
END_TEST

/* Only pipelines with the operation may ask for it, in either view; the message names the field. */
START_TEST(spec_operations)
{
    static const char has_blur[] = {0, 1, 0, 1, 1}, has_solarize[] = {0, 0, 0, 1, 0};
    for (int order = 0; order < 5; order++)
        for (int view = 0; view < 2; view++) {
            mo_view_spec_t spec = plain_spec();
            spec.order = order;
            ck_assert_int_eq(mo_view_spec_check(&spec), MOCO_OK);
            spec.blur_probability[view] = 0.1;
            ck_assert_int_eq(mo_view_spec_check(&spec) == MOCO_OK, has_blur[order]);
            if (!has_blur[order])
                ck_assert_ptr_nonnull(
                    strstr(moco_last_message(), view ? "blur_probability_2 is 0.1" : "blur_probability is 0.1"));
            spec.blur_probability[view] = 0;
            spec.solarize_probability[view] = 1;
            ck_assert_int_eq(mo_view_spec_check(&spec) == MOCO_OK, has_solarize[order]);
            if (!has_solarize[order])
                ck_assert_ptr_nonnull(
                    strstr(moco_last_message(), view ? "solarize_probability_2 is 1" : "solarize_probability is 1"));
        }
}
END_TEST

static int warnings;
static char warning[256];

static void on_log(void *user, int32_t level, const char *line)
{
    (void)user;
    warnings += level == MOCO_LOG_WARNING;
    snprintf(warning, sizeof warning, "%s", line);
}

/* A kernel too small for its sigma is said once, and only where it blurs at all. */
START_TEST(spec_warnings)
{
    static const struct {
        int size, form;
        double blur, sigma_max;
        const char *says;
    } cases[] = {
        {19, 1, 0.5, 2, "changes nothing"}, {20, 1, 0.5, 2, "side 3"}, {40, 1, 0.5, 2, NULL}, {224, 1, 0.5, 2, NULL},
        {224, 1, 0.5, 12, "side 23"},       {19, 0, 0.5, 2, NULL},     {19, 1, 0, 2, NULL}};
    mo_view_spec_t spec = plain_spec();
    spec.size = cases[_i].size;
    spec.blur_form = cases[_i].form;
    spec.blur_sigma_max = cases[_i].sigma_max;
    for (int view = 0; view < 2; view++) { /* in either view */
        spec.blur_probability[view] = cases[_i].blur;
        spec.blur_probability[1 - view] = 0;
        warnings = 0;
        moco_set_log(on_log, NULL, MOCO_LOG_WARNING);
        mo_view_spec_warn(&spec);
        moco_set_log(NULL, NULL, 0);
        ck_assert_int_eq(warnings, cases[_i].says != NULL);
        if (cases[_i].says != NULL)
            ck_assert_msg(strstr(warning, cases[_i].says) != NULL, "%s", warning);
    }
}
END_TEST

START_TEST(spec_from_options)
{
    const moco_trainer_options_t options = {.views = MOCO_VIEWS_CIFAR,
                                            .image_size = 32,
                                            .crop_min_area = 0.08,
                                            .crop_max_area = 0.9,
                                            .jitter_brightness = 0.1,
                                            .jitter_contrast = 0.2,
                                            .jitter_saturation = 0.3,
                                            .jitter_hue = 0.4,
                                            .jitter_probability = 0.5,
                                            .gray_probability = 0.6,
                                            .blur_probability = 0.7,
                                            .blur_sigma_min = 0.8,
                                            .blur_sigma_max = 1.9,
                                            .flip_probability = 0.25,
                                            .blur_probability_2 = -1,
                                            .solarize_probability = 0.15,
                                            .solarize_probability_2 = 0,
                                            .resize_filter = MOCO_FILTER_BICUBIC,
                                            .crop_tries = 7,
                                            .blur_form = MOCO_BLUR_GAUSSIAN};
    mo_view_spec_t spec;
    mo_options_views(&options, &spec);
    ck_assert(spec.order == 2 && spec.size == 32 && spec.crop_min_area == 0.08 && spec.crop_max_area == 0.9);
    ck_assert(spec.brightness == 0.1 && spec.contrast == 0.2 && spec.saturation == 0.3 && spec.hue == 0.4);
    ck_assert(spec.jitter_probability == 0.5 && spec.gray_probability == 0.6);
    ck_assert(spec.blur_probability[0] == 0.7 && spec.blur_probability[1] == 0.7);
    ck_assert(spec.solarize_probability[0] == 0.15 && spec.solarize_probability[1] == 0);
    ck_assert(spec.resize_filter == MOCO_FILTER_BICUBIC && spec.crop_tries == 7 && spec.blur_form == 1);
    ck_assert(spec.blur_sigma_min == 0.8 && spec.blur_sigma_max == 1.9 && spec.flip_probability == 0.25);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("views");
    TCase *tcase = tcase_create("views");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, draws_depend_on_their_counter_only);
    tcase_add_loop_test(tcase, crop_follows_the_documented_draws, MOCO_FILTER_BILINEAR, MOCO_FILTER_BICUBIC + 1);
    tcase_add_test(tcase, crop_by_the_height);
    tcase_add_test(tcase, crop_tries);
    tcase_add_loop_test(tcase, crop_of_extreme_shapes, 0, 5);
    tcase_add_test(tcase, probabilities_and_order);
    tcase_add_loop_test(tcase, every_pipeline, 0, 2 * (MOCO_RECIPE_SIMCLR_CODE + 1));
    tcase_add_loop_test(tcase, views_keep_their_bits, MOCO_RECIPE_V1, MOCO_RECIPE_CIFAR + 1);
    tcase_add_test(tcase, eval_transform);
    tcase_add_test(tcase, eval_pads_with_zero);
    tcase_add_test(tcase, spec_ends);
    tcase_add_test(tcase, spec_operations);
    tcase_add_loop_test(tcase, spec_warnings, 0, 7);
    tcase_add_test(tcase, spec_from_options);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
