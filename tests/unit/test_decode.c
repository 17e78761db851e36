/* data/decode, data/jpeg: formats are told by their bytes, a refusal names what was found, and a
 * window at a scale is what cutting the whole image, drawn at that scale by the JPEG library
 * itself, gives. */
#include "data_fixtures.h"

#include "data/decode.h"
#include "util/status.h"

#define LIMIT 178956970

static mo_pixels_t pixels;

static void teardown(void)
{
    mo_pixels_free(&pixels);
}

/* ---- recognising ---- */

START_TEST(refusals_name_the_format)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *reason;
    } cases[] = {
        {"\x89PNG\r\n\x1a\n.....", 13, "a PNG file, which this version does not read"},
        {"RIFF\1\2\3\4WEBPVP8 ", 16, "a WebP file, which this version does not read"},
        {"GIF89a", 6, "a GIF file, which this version does not read"},
        {"II*\0abc", 7, "a TIFF file, which this version does not read"},
        {"\0\0\0\x1c"
         "ftypavif",
         12, "an AVIF file, which this version does not read"},
        {"\0\0\0\x1c"
         "ftypheic",
         12, "a HEIF file, which this version does not read"},
        {"%PDF-1.4", 8, "a PDF file, not an image"},
        {"<!DOCTYPE html>", 15, "a web page, not an image"},
        {"version https://git-lfs.github.com/spec/v1\n", 43,
         "a git-lfs pointer to the file, not the file itself (git lfs pull fetches it)"},
        {"Access denied\nby proxy", 22, "a text that begins 'Access denied', not an image"},
        {"\x1f\x8b\x08\0", 4, "a gzip file, not an image"},
        {"\x89PN", 3, "unknown format: starts with bytes 89 50; this version reads JPEG"},
        {"RIFF\1\2\3\4WEB", 11, "unknown format: starts with bytes 52 49; this version reads JPEG"},
        {"\xff", 1, "unknown format: starts with bytes ff 00; this version reads JPEG"},
        {"", 0, "empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *exact = malloc(cases[i].size + 1); /* so that a sanitizer sees a byte too many */
        uint8_t *bytes = realloc(exact, cases[i].size > 0 ? cases[i].size : 1);
        mo_image_header_t header;
        int64_t warnings = 0;
        memcpy(bytes, cases[i].bytes, cases[i].size);
        ck_assert_int_eq(mo_image_decode(bytes, cases[i].size, LIMIT, &pixels, &warnings), MOCO_ERR_IMAGE);
        ck_assert_str_eq(moco_last_message(), cases[i].reason);
        ck_assert_int_eq(mo_image_read_header(bytes, cases[i].size, &header), MOCO_ERR_IMAGE);
        ck_assert_str_eq(moco_last_message(), cases[i].reason);
        free(bytes);
    }
    ck_assert_int_eq(mo_image_decode(NULL, 0, LIMIT, &pixels, &(int64_t){0}), MOCO_ERR_IMAGE);
    ck_assert_str_eq(moco_last_message(), "empty");
}
END_TEST

START_TEST(endings_come_from_the_table)
{
    static const char *const images[] = {"a.jpg", "a.JPEG", "b/c.d.Jpg", ".jpg"};
    static const char *const none[] = {"a.png", "jpg", "a.jpg.txt", "a.", "", "a.jpe"};
    char text[MO_ENDINGS_TEXT];
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        ck_assert_msg(mo_image_has_ending(images[i]), "%s", images[i]);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        ck_assert_msg(!mo_image_has_ending(none[i]), "%s", none[i]);
    mo_image_endings(text);
    ck_assert_str_eq(text, ".jpg or .jpeg");
}
END_TEST

START_TEST(headers)
{
    static const int components[] = {1, 3, 4};
    for (int i = 0; i < 3; i++) {
        mo_image_header_t header = {0};
        fixture_t jpeg = fixture_jpeg(37, 21, components[i], 0, 3);
        ck_assert_int_eq(mo_image_read_header(jpeg.bytes, jpeg.size, &header), MOCO_OK);
        ck_assert(header.width == 37 && header.height == 21 && header.channels == components[i]);
        /* The header alone is enough; half of it is not. */
        const size_t frame = fixture_frame(&jpeg);
        ck_assert_int_eq(mo_image_read_header(jpeg.bytes, frame + 4, &header), MOCO_ERR_IMAGE);
        ck_assert_msg(strstr(moco_last_message(), "truncated") != NULL, "%s", moco_last_message());
        free(jpeg.bytes);
    }
}
END_TEST

/* ---- drawing ---- */

/* The whole image at 1/reduction, by the JPEG library alone. */
static uint8_t *by_library(const fixture_t *jpeg, int reduction, int *width, int *height)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    d.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, jpeg->bytes, jpeg->size);
    jpeg_read_header(&d, TRUE);
    d.out_color_space = JCS_RGB;
    d.dct_method = JDCT_ISLOW;
    d.scale_num = 1;
    d.scale_denom = (unsigned)reduction;
    jpeg_start_decompress(&d);
    *width = (int)d.output_width;
    *height = (int)d.output_height;
    uint8_t *rgb = malloc((size_t)*width * (size_t)*height * 3);
    while (d.output_scanline < d.output_height) {
        uint8_t *row = rgb + (size_t)d.output_scanline * (size_t)*width * 3;
        jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_finish_decompress(&d);
    jpeg_destroy_decompress(&d);
    return rgb;
}

static void expect_cut(const uint8_t *whole, const mo_drawn_t *drawn)
{
    const mo_window_t *w = &drawn->window;
    ck_assert(pixels.width == w->width && pixels.height == w->height);
    for (int32_t y = 0; y < w->height; y++)
        ck_assert_mem_eq(pixels.rgb + (size_t)y * (size_t)w->width * 3,
                         whole + ((size_t)(w->top + y) * (size_t)drawn->full_width + (size_t)w->left) * 3,
                         (size_t)w->width * 3);
}

static const mo_window_t windows[] = {{0, 0, 0, 0},   {0, 0, 75, 53},  {0, 0, 1, 1},   {74, 52, 1, 1}, {17, 9, 40, 31},
                                      {0, 20, 75, 8}, {30, 0, 10, 53}, {8, 8, 16, 16}, {7, 7, 18, 18}};
enum { WINDOWS = sizeof windows / sizeof windows[0] };

/* Loops over windows; images gray, colour, progressive colour. */
START_TEST(windows_are_cut_from_the_whole)
{
    static const int reductions[] = {0, 1, 2, 3, 4, 7, 8, 100}, used[] = {1, 1, 2, 2, 4, 4, 8, 8};
    for (int kind = 0; kind < 3; kind++) {
        fixture_t jpeg = fixture_jpeg(75, 53, kind == 0 ? 1 : 3, kind == 2 ? FIXTURE_PROGRESSIVE : 0, 6);
        for (int i = 0; i < 8; i++) {
            int width, height;
            mo_drawn_t drawn = {0};
            const mo_window_t *w = &windows[_i];
            const mo_draw_t draw = {.window = *w, .reduction = reductions[i], .max_pixels = LIMIT};
            uint8_t *whole = by_library(&jpeg, used[i], &width, &height);
            ck_assert_int_eq(mo_image_draw(jpeg.bytes, jpeg.size, &draw, &pixels, &drawn), MOCO_OK);
            ck_assert_int_eq(drawn.reduction, used[i]);
            ck_assert(drawn.full_width == width && drawn.full_height == height && drawn.warnings == 0);
            /* What was drawn covers what was wanted, and no more than the rounding asks for. */
            const int r = used[i], right = w->width ? w->left + w->width : 75,
                      below = w->height ? w->top + w->height : 53;
            ck_assert(drawn.window.left == w->left / r && drawn.window.top == w->top / r);
            ck_assert_int_eq(drawn.window.left + drawn.window.width, (right + r - 1) / r);
            ck_assert_int_eq(drawn.window.top + drawn.window.height, (below + r - 1) / r);
            expect_cut(whole, &drawn);
            free(whole);
        }
        free(jpeg.bytes);
    }
}
END_TEST

/* CMYK has no RGB of the library's: a window is cut from what is drawn whole. */
START_TEST(windows_of_cmyk)
{
    fixture_t jpeg = fixture_jpeg(75, 53, 4, 0, 6);
    for (int reduction = 1; reduction <= 8; reduction *= 2) {
        mo_drawn_t drawn = {0};
        mo_draw_t draw = {.reduction = reduction, .max_pixels = LIMIT};
        ck_assert_int_eq(mo_image_draw(jpeg.bytes, jpeg.size, &draw, &pixels, &drawn), MOCO_OK);
        const size_t bytes = (size_t)pixels.width * (size_t)pixels.height * 3;
        uint8_t *whole = malloc(bytes);
        memcpy(whole, pixels.rgb, bytes);
        draw.window = windows[_i];
        ck_assert_int_eq(mo_image_draw(jpeg.bytes, jpeg.size, &draw, &pixels, &drawn), MOCO_OK);
        expect_cut(whole, &drawn);
        free(whole);
    }
    free(jpeg.bytes);
}
END_TEST

START_TEST(everything_is_the_decoded_image)
{
    fixture_t jpeg = fixture_jpeg(40, 24, 3, 0, 1);
    int width, height;
    int64_t warnings = 0;
    uint8_t *whole = by_library(&jpeg, 1, &width, &height);
    ck_assert_int_eq(mo_image_decode(jpeg.bytes, jpeg.size, LIMIT, &pixels, &warnings), MOCO_OK);
    ck_assert(pixels.width == 40 && pixels.height == 24 && warnings == 0);
    ck_assert_mem_eq(pixels.rgb, whole, 40 * 24 * 3);
    free(whole);
    free(jpeg.bytes);
}
END_TEST

START_TEST(windows_refused)
{
    static const mo_window_t bad[] = {{-1, 0, 5, 5}, {0, -1, 5, 5},          {0, 0, 41, 1},
                                      {0, 0, 1, 25}, {40, 0, 1, 1},          {0, 0, 5, 0},
                                      {0, 0, 0, 5},  {39, 23, INT32_MAX, 1}, {1, 1, -1, 4}};
    fixture_t jpeg = fixture_jpeg(40, 24, 3, 0, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mo_drawn_t drawn = {0};
        const mo_draw_t draw = {.window = bad[i], .max_pixels = LIMIT};
        ck_assert_int_eq(mo_image_draw(jpeg.bytes, jpeg.size, &draw, &pixels, &drawn), MOCO_ERR_ARGUMENT);
        ck_assert_msg(strstr(moco_last_message(), "inside the image of 40x24") != NULL, "%s", moco_last_message());
    }
    /* The limit is on the whole image, however small the window and the scale. */
    mo_drawn_t drawn = {0};
    const mo_draw_t small = {.window = {0, 0, 8, 8}, .reduction = 8, .max_pixels = 40 * 24 - 1};
    ck_assert_int_eq(mo_image_draw(jpeg.bytes, jpeg.size, &small, &pixels, &drawn), MOCO_ERR_IMAGE);
    ck_assert_msg(strstr(moco_last_message(), "claims 40x24 pixels") != NULL, "%s", moco_last_message());
    free(jpeg.bytes);
}
END_TEST

/* The whole of a cut file is broken; a window above the cut is not. */
START_TEST(damage_below_a_window)
{
    fixture_t jpeg = fixture_jpeg(64, 256, 3, 0, 2);
    mo_drawn_t drawn = {0};
    const mo_draw_t top = {.window = {0, 0, 64, 16}, .max_pixels = LIMIT};
    const mo_draw_t bottom = {.window = {0, 240, 64, 16}, .max_pixels = LIMIT};
    const size_t half = jpeg.size * 3 / 4;
    ck_assert_int_eq(mo_image_decode(jpeg.bytes, half, LIMIT, &pixels, &(int64_t){0}), MOCO_ERR_IMAGE);
    ck_assert_int_eq(mo_image_draw(jpeg.bytes, half, &bottom, &pixels, &drawn), MOCO_ERR_IMAGE);
    ck_assert_int_eq(mo_image_draw(jpeg.bytes, half, &top, &pixels, &drawn), MOCO_OK);
    free(jpeg.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode");
    TCase *tcase = tcase_create("decode");
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, refusals_name_the_format);
    tcase_add_test(tcase, endings_come_from_the_table);
    tcase_add_test(tcase, headers);
    tcase_add_loop_test(tcase, windows_are_cut_from_the_whole, 0, WINDOWS);
    tcase_add_loop_test(tcase, windows_of_cmyk, 0, WINDOWS);
    tcase_add_test(tcase, everything_is_the_decoded_image);
    tcase_add_test(tcase, windows_refused);
    tcase_add_test(tcase, damage_below_a_window);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
