/* data/augment, hue, resize, blur, gaussian: values worked out by hand and the corners around them.
 * All bytes are compared with Pillow's in tests/parity/test_pillow.py; this suite needs nothing but
 * the library. */
#include "data_fixtures.h"

#include <math.h>

#include "data/augment.h"
#include "data/planes.h"
#include "util/fault.h"

static mo_view_work_t work;

static void teardown(void)
{
    mo_view_work_free(&work);
}

/* Resize a gray row (or column) and give the first channel. */
static void resize_line(int filter, const uint8_t *values, int in, int out, int vertical, uint8_t *got)
{
    uint8_t src[64 * 3], dst[64 * 3];
    for (int i = 0; i < in; i++)
        src[3 * i] = src[3 * i + 1] = src[3 * i + 2] = values[i];
    const mo_resize_t resize = {.src = src,
                                .stride = vertical ? 3 : (size_t)in * 3,
                                .width = vertical ? 1 : in,
                                .height = vertical ? in : 1,
                                .full_width = vertical ? 1 : out,
                                .full_height = vertical ? out : 1,
                                .window_width = vertical ? 1 : out,
                                .window_height = vertical ? out : 1,
                                .filter = filter};
    ck_assert_int_eq(mo_resize(&work, &resize, dst, vertical ? 3 : (size_t)out * 3), MOCO_OK);
    for (int i = 0; i < out; i++) {
        ck_assert_uint_eq(dst[3 * i], dst[3 * i + 1]);
        ck_assert_uint_eq(dst[3 * i], dst[3 * i + 2]);
        got[i] = dst[3 * i];
    }
}

START_TEST(resize_check_values)
{
    /* Bicubic, two to four: weights 0.8672 at distance 1/4, 0.2266 at 3/4 and -0.0703 at 5/4,
     * brought to sum 1 over the pixels there are; so the outer results would be -22.5 and 277.5. */
    static const struct {
        int filter, in, out;
        uint8_t from[5], to[4];
    } checks[] = {{0, 4, 2, {0, 64, 128, 255}, {46, 173}},
                  {0, 2, 4, {0, 255}, {0, 64, 191, 255}},
                  {0, 5, 3, {10, 20, 200, 40, 50}, {14, 124, 46}},
                  {0, 3, 3, {7, 0, 255}, {7, 0, 255}},
                  {1, 3, 3, {7, 0, 255}, {7, 0, 255}},
                  {1, 2, 4, {0, 255}, {0, 53, 202, 255}},
                  {1, 4, 4, {0, 255, 0, 255}, {0, 255, 0, 255}}};
    uint8_t got[64];
    for (int vertical = 0; vertical < 2; vertical++) {
        resize_line(checks[_i].filter, checks[_i].from, checks[_i].in, checks[_i].out, vertical, got);
        ck_assert_mem_eq(got, checks[_i].to, (size_t)checks[_i].out);
    }
}
END_TEST

/* An impulse of 255 shows the taps themselves: 0.42857 and 0.14286 of 255, rounded in 22 bits. */
START_TEST(resize_taps)
{
    uint8_t got[64], impulse[4] = {0};
    static const uint8_t want[4] = {109, 109, 36, 0};
    for (int i = 0; i < 4; i++) {
        memset(impulse, 0, sizeof impulse);
        impulse[i] = 255;
        resize_line(MOCO_FILTER_BILINEAR, impulse, 4, 2, 0, got);
        ck_assert_uint_eq(got[0], want[i]);
    }
}
END_TEST

/* A window holds the same bytes as that part of the whole, and a part of the source never sees its
 * surroundings. */
START_TEST(resize_windows)
{
    enum { W = 23, H = 17, FW = 11, FH = 29 };
    uint8_t src[W * H * 3], whole[FW * FH * 3], part[FW * FH * 3];
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)((i * i * 2654435761u) >> 13);
    mo_resize_t r = {.src = src,
                     .stride = W * 3,
                     .width = W,
                     .height = H,
                     .full_width = FW,
                     .full_height = FH,
                     .window_width = FW,
                     .window_height = FH,
                     .filter = _i};
    ck_assert_int_eq(mo_resize(&work, &r, whole, FW * 3), MOCO_OK);
    for (r.left = 0; r.left < 7; r.left += 3)
        for (r.top = 0; r.top < 25; r.top += 5) {
            r.window_width = 4;
            r.window_height = 3;
            ck_assert_int_eq(mo_resize(&work, &r, part, 4 * 3), MOCO_OK);
            for (int y = 0; y < 3; y++)
                ck_assert_mem_eq(part + y * 12, whole + (((size_t)(r.top + y)) * FW + (size_t)r.left) * 3, 12);
        }
}
END_TEST

START_TEST(gray_check)
{
    uint8_t rgb[6] = {200, 100, 50, 255, 255, 255};
    mo_gray(rgb, 2);
    static const uint8_t want[6] = {124, 124, 124, 255, 255, 255};
    ck_assert_mem_eq(rgb, want, 6);
}
END_TEST

START_TEST(brightness_check)
{
    static const uint8_t from[6] = {1, 10, 100, 200, 255, 0};
    static const struct {
        float factor;
        uint8_t to[6];
    } checks[] = {{0.6f, {0, 6, 60, 120, 153, 0}},
                  {1.4f, {1, 14, 140, 255, 255, 0}},
                  {0.0f, {0}},
                  {1.0f, {1, 10, 100, 200, 255, 0}}};
    uint8_t rgb[6];
    memcpy(rgb, from, 6);
    mo_brightness(rgb, 2, checks[_i].factor);
    ck_assert_mem_eq(rgb, checks[_i].to, 6);
}
END_TEST

START_TEST(contrast_check)
{
    /* L of both: 124 and 10; their mean 67 */
    uint8_t rgb[6] = {200, 100, 50, 10, 10, 10}, zero[6];
    memcpy(zero, rgb, 6);
    mo_contrast(rgb, 2, 0.5f);
    static const uint8_t want[6] = {133, 83, 58, 38, 38, 38}, flat[6] = {67, 67, 67, 67, 67, 67};
    ck_assert_mem_eq(rgb, want, 6);
    mo_contrast(zero, 2, 0.0f);
    ck_assert_mem_eq(zero, flat, 6);
    /* the mean rounds half up: 10 and 11 give 11 */
    uint8_t half[6] = {10, 10, 10, 11, 11, 11};
    mo_contrast(half, 2, 0.0f);
    ck_assert_uint_eq(half[0], 11);
}
END_TEST

START_TEST(saturation_check)
{
    static const struct {
        float factor;
        uint8_t to[3];
        /* clang-format off */
    } checks[] = {{0.6f, {169, 109, 79}}, {1.4f, {230, 90, 20}}, {0.9f, {192, 102, 57}}, {0.0f, {124, 124, 124}},
                  {1.0f, {200, 100, 50}}};
    /* clang-format on */
    uint8_t rgb[3] = {200, 100, 50};
    mo_saturation(rgb, 1, checks[_i].factor);
    ck_assert_mem_eq(rgb, checks[_i].to, 3);
}
END_TEST

START_TEST(hue_check)
{
    static const struct {
        uint8_t rgb[3], hsv[3], back[3];
    } round_trips[] = {{{200, 100, 50}, {14, 191, 200}, {200, 100, 50}},
                       {{1, 2, 250}, {169, 253, 250}, {2, 8, 250}},
                       {{37, 211, 142}, {110, 210, 211}, {37, 211, 139}},
                       {{9, 9, 9}, {0, 0, 9}, {9, 9, 9}}};
    static const struct {
        uint8_t rgb[3];
        double shift;
        uint8_t to[3];
    } shifts[] = {{{200, 100, 50}, 0.1, {200, 188, 50}}, {{200, 100, 50}, -0.1, {200, 50, 85}},
                  {{1, 2, 250}, 0.1, {142, 2, 250}},     {{1, 2, 250}, -0.1, {2, 154, 250}},
                  {{1, 2, 250}, 0.0039, {2, 8, 250}}, /* truncates to 0 and still loses bits */
                  {{1, 2, 250}, -0.0039, {2, 8, 250}}};
    uint8_t got[3];
    mo_planes_t planes = {0};
    for (size_t i = 0; i < sizeof round_trips / sizeof round_trips[0]; i++) {
        mo_planes_load(round_trips[i].rgb, 1, &planes);
        mo_planes_to_hsv(&planes);
        mo_planes_store(&planes, 1, got);
        ck_assert_mem_eq(got, round_trips[i].hsv, 3);
        mo_planes_load(round_trips[i].hsv, 1, &planes);
        mo_planes_to_rgb(&planes);
        mo_planes_store(&planes, 1, got);
        ck_assert_mem_eq(got, round_trips[i].back, 3);
    }
    for (size_t i = 0; i < sizeof shifts / sizeof shifts[0]; i++) {
        memcpy(got, shifts[i].rgb, 3);
        mo_hue(got, 1, shifts[i].shift);
        ck_assert_mem_eq(got, shifts[i].to, 3);
    }
}
END_TEST

START_TEST(blur_boxes)
{
    static const struct {
        double sigma;
        float radius;
        int32_t n;
        uint32_t ww, fw;
    } boxes[] = {{0.1, 0.00167224f, 0, 16721291, 27962}, {0.5, 0.0454545f, 0, 15379114, 699051},
                 {1.0, 0.25f, 0, 11184811, 2796202},     {1.5, 1.0384616f, 1, 5452595, 209715},
                 {1.9, 1.2878426f, 1, 4692028, 1350566}, {2.0, 1.375f, 1, 4473924, 1677722}};
    const mo_box_t box = mo_blur_box(boxes[_i].sigma);
    ck_assert_float_eq_tol(box.radius, boxes[_i].radius, 1e-6f);
    ck_assert_int_eq(box.n, boxes[_i].n);
    ck_assert_uint_eq(box.ww, boxes[_i].ww);
    ck_assert_uint_eq(box.fw, boxes[_i].fw);
}
END_TEST

static void blur_impulse(double sigma, int vertical, const uint8_t *want, int count)
{
    enum { SIDE = 31 };
    uint8_t rgb[SIDE * 3] = {0};
    for (int c = 0; c < 3; c++)
        rgb[SIDE / 2 * 3 + c] = 255;
    /* blurred along the other axis too, but there it is one pixel wide and so constant */
    ck_assert_int_eq(mo_blur(&work, rgb, vertical ? 1 : SIDE, vertical ? SIDE : 1, sigma), MOCO_OK);
    for (int i = 0; i < SIDE; i++) {
        const int at = i - SIDE / 2 + count / 2;
        for (int c = 0; c < 3; c++)
            ck_assert_uint_eq(rgb[3 * i + c], at >= 0 && at < count ? want[at] : 0);
    }
}

START_TEST(blur_impulses)
{
    static const uint8_t one[] = {1, 14, 60, 103, 60, 14, 1}, two[] = {2, 8, 18, 32, 44, 49, 44, 32, 18, 8, 2};
    static const uint8_t least[] = {252};
    for (int vertical = 0; vertical < 2; vertical++) {
        blur_impulse(1.0, vertical, one, 7);
        blur_impulse(2.0, vertical, two, 11);
        blur_impulse(0.1, vertical, least, 1);
    }
}
END_TEST

/* A box wider than the image still sees only edge pixels beyond it. */
START_TEST(blur_wider_than_the_image)
{
    uint8_t rgb[2 * 2 * 3];
    memset(rgb, 200, sizeof rgb);
    ck_assert_int_eq(mo_blur(&work, rgb, 2, 2, 100.0), MOCO_OK);
    for (size_t i = 0; i < sizeof rgb; i++)
        ck_assert_uint_eq(rgb[i], 200);
}
END_TEST

/* The kernel itself, and the black beyond the edges: no other handling halves a white corner
 * twice. */
START_TEST(gaussian_check)
{
    enum { SIDE = 13, RADIUS = 2 };
    const double sigma = 1.0, e1 = exp(-0.5), e2 = exp(-2.0), sum = 1 + 2 * e1 + 2 * e2;
    const double taps[] = {e2 / sum, e1 / sum, 1 / sum, e1 / sum, e2 / sum};
    uint8_t rgb[SIDE * SIDE * 3] = {0}, white[SIDE * SIDE * 3];
    for (int c = 0; c < 3; c++)
        rgb[(6 * SIDE + 5) * 3 + c] = (uint8_t)(255 - c);
    ck_assert_int_eq(mo_blur_gaussian(&work, rgb, SIDE, SIDE, RADIUS, sigma), MOCO_OK);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++) {
                const int inside = abs(y - 6) <= RADIUS && abs(x - 5) <= RADIUS;
                const double want = inside ? taps[y - 4] * taps[x - 3] * (255 - c) : 0;
                ck_assert_uint_eq(rgb[(y * SIDE + x) * 3 + c], (unsigned)(want + 0.5));
            }
    memset(white, 255, sizeof white);
    ck_assert_int_eq(mo_blur_gaussian(&work, white, SIDE, SIDE, RADIUS, sigma), MOCO_OK);
    const double half = taps[2] + taps[3] + taps[4];
    ck_assert_uint_eq(white[0], (unsigned)(255 * half * half + 0.5));
    ck_assert_uint_eq(white[6 * 3], (unsigned)(255 * half + 0.5));
    ck_assert_uint_eq(white[(6 * SIDE + 6) * 3], 255);
    ck_assert_uint_eq(white[sizeof white - 1], white[0]);
    /* a kernel of one tap, and one far wider than the image */
    memset(white, 255, sizeof white);
    ck_assert_int_eq(mo_blur_gaussian(&work, white, SIDE, SIDE, 0, sigma), MOCO_OK);
    ck_assert_uint_eq(white[0], 255);
    ck_assert_int_eq(mo_blur_gaussian(&work, white, 1, 1, 50, 1e3), MOCO_OK);
    ck_assert_uint_eq(white[0], 0); /* 255 of 101^2 pixels, nearly all of them black */
}
END_TEST

START_TEST(gaussian_radii)
{
    static const int cases[][2] = {{1, 0},  {19, 0}, {20, 1},   {32, 1},    {39, 1},
                                   {40, 2}, {96, 4}, {224, 11}, {4096, 204}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_int_eq(mo_gaussian_radius(cases[i][0]), cases[i][1]);
}
END_TEST

START_TEST(solarize_check)
{
    uint8_t rgb[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        rgb[i] = (uint8_t)(i / 3);
    mo_solarize(rgb, 256);
    for (int i = 0; i < 256 * 3; i++)
        ck_assert_uint_eq(rgb[i], i / 3 < 128 ? i / 3 : 255 - i / 3);
}
END_TEST

START_TEST(flip_check)
{
    uint8_t rgb[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    static const uint8_t want[] = {7, 8, 9, 4, 5, 6, 1, 2, 3, 16, 17, 18, 13, 14, 15, 10, 11, 12};
    mo_flip(rgb, 3, 2);
    ck_assert_mem_eq(rgb, want, sizeof rgb);
}
END_TEST

START_TEST(no_memory)
{
    uint8_t rgb[12] = {0}, out[12];
    const mo_resize_t r = {.src = rgb,
                           .stride = 6,
                           .width = 2,
                           .height = 2,
                           .full_width = 1,
                           .full_height = 1,
                           .window_width = 1,
                           .window_height = 1};
    int failures = 0;
    for (long n = 0;; n++) {
        mo_fault_arm(MO_FAULT_ALLOC, n);
        const moco_status_t resized = mo_resize(&work, &r, out, 3), blurred = mo_blur(&work, rgb, 2, 2, 1.0);
        const moco_status_t smoothed = mo_blur_gaussian(&work, rgb, 2, 2, 500, 1.0);
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        if (resized == MOCO_OK && blurred == MOCO_OK && smoothed == MOCO_OK)
            break;
        ck_assert(resized == MOCO_ERR_MEMORY || blurred == MOCO_ERR_MEMORY || smoothed == MOCO_ERR_MEMORY);
        failures++;
        mo_view_work_free(&work);
    }
    ck_assert_int_ge(failures, 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("augment");
    TCase *tcase = tcase_create("augment");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_loop_test(tcase, resize_check_values, 0, 7);
    tcase_add_test(tcase, resize_taps);
    tcase_add_loop_test(tcase, resize_windows, MOCO_FILTER_BILINEAR, MOCO_FILTER_BICUBIC + 1);
    tcase_add_test(tcase, gray_check);
    tcase_add_loop_test(tcase, brightness_check, 0, 4);
    tcase_add_test(tcase, contrast_check);
    tcase_add_loop_test(tcase, saturation_check, 0, 5);
    tcase_add_test(tcase, hue_check);
    tcase_add_loop_test(tcase, blur_boxes, 0, 6);
    tcase_add_test(tcase, blur_impulses);
    tcase_add_test(tcase, blur_wider_than_the_image);
    tcase_add_test(tcase, gaussian_check);
    tcase_add_test(tcase, gaussian_radii);
    tcase_add_test(tcase, solarize_check);
    tcase_add_test(tcase, flip_check);
    tcase_add_test(tcase, no_memory);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
