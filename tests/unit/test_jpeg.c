/* data/jpeg: what is a good image, what is a broken one, and why. Bytes are compared with Pillow in
 * tests/parity. */
#include "data_fixtures.h"

#include "data/data.h"
#include "data/decode.h"
#include "util/fault.h"

#define LIMIT 178956970

static mo_pixels_t pixels;
static int64_t warnings;

static moco_status_t decode(const fixture_t *jpeg, int64_t limit)
{
    warnings = 0;
    return mo_image_decode(jpeg->bytes, jpeg->size, limit, &pixels, &warnings);
}

static void setup(void)
{
    pixels = (mo_pixels_t){0};
}

static void teardown(void)
{
    mo_pixels_free(&pixels);
}

static void expect_broken(const fixture_t *jpeg, const char *reason)
{
    pixels.width = 77;
    ck_assert_int_eq(decode(jpeg, LIMIT), MOCO_ERR_IMAGE);
    ck_assert_msg(strstr(moco_last_message(), reason) != NULL, "'%s' lacks '%s'", moco_last_message(), reason);
    ck_assert_int_eq(pixels.width, 77); /* unchanged */
    ck_assert_int_eq(warnings, 0);
}

START_TEST(good_images)
{
    static const struct {
        int width, height, components, flags;
    } images[] = {{32, 32, 3, 0}, {1, 1, 3, 0},  {1, 1, 1, 0},  {37, 21, 1, 0},
                  {19, 45, 4, 0}, {64, 9, 3, 1}, {1, 300, 3, 1}};
    fixture_t jpeg = fixture_jpeg(images[_i].width, images[_i].height, images[_i].components, images[_i].flags, 3);
    ck_assert_int_eq(decode(&jpeg, LIMIT), MOCO_OK);
    ck_assert_int_eq(pixels.width, images[_i].width);
    ck_assert_int_eq(pixels.height, images[_i].height);
    ck_assert_int_eq(warnings, 0);
    free(jpeg.bytes);
}
END_TEST

START_TEST(gray_is_replicated)
{
    fixture_t jpeg = fixture_jpeg(16, 16, 1, 0, 5);
    ck_assert_int_eq(decode(&jpeg, LIMIT), MOCO_OK);
    int differ = 0;
    for (int i = 0; i < 16 * 16; i++) {
        ck_assert_uint_eq(pixels.rgb[3 * i], pixels.rgb[3 * i + 1]);
        ck_assert_uint_eq(pixels.rgb[3 * i], pixels.rgb[3 * i + 2]);
        differ |= pixels.rgb[3 * i] != pixels.rgb[0];
    }
    ck_assert(differ);
    free(jpeg.bytes);
}
END_TEST

START_TEST(buffer_is_reused)
{
    fixture_t large = fixture_jpeg(100, 100, 3, 0, 1), small = fixture_jpeg(20, 20, 3, 0, 2);
    ck_assert_int_eq(decode(&large, LIMIT), MOCO_OK);
    const uint8_t *before = pixels.rgb;
    ck_assert_int_eq(decode(&small, LIMIT), MOCO_OK);
    ck_assert_ptr_eq(pixels.rgb, before);
    free(large.bytes);
    free(small.bytes);
}
END_TEST

START_TEST(not_a_jpeg)
{
    fixture_t text = {(uint8_t *)"no picture", 10}, empty = {(uint8_t *)"", 0};
    fixture_t two = {(uint8_t *)"\xff\xd8", 2}, tables = {(uint8_t *)"\xff\xd8\xff\xd9", 4};
    expect_broken(&text, "a text that begins");
    expect_broken(&empty, "empty");
    expect_broken(&two, "unknown format");
    expect_broken(&tables, "");
}
END_TEST

/* Cut anywhere, the image is broken: in the headers, in the data, or just before its end marker. */
START_TEST(truncated)
{
    fixture_t jpeg = fixture_jpeg(40, 40, 3, _i, 9);
    for (unsigned long size = 3; size < jpeg.size; size += size < jpeg.size - 40 ? 13 : 1) {
        const fixture_t cut = {jpeg.bytes, size};
        expect_broken(&cut, "truncated");
    }
    free(jpeg.bytes);
}
END_TEST

START_TEST(other_warnings_keep_the_image)
{
    fixture_t jpeg = fixture_jpeg(64, 64, 3, 0, 4);
    /* Bytes before a marker are skipped with a warning: put some in front of the end. */
    fixture_t padded = {malloc(jpeg.size + 4), jpeg.size + 4};
    memcpy(padded.bytes, jpeg.bytes, jpeg.size - 2);
    memcpy(padded.bytes + jpeg.size - 2, "\x12\x34\x56\x78\xff\xd9", 6);
    ck_assert_int_eq(decode(&jpeg, LIMIT), MOCO_OK);
    uint8_t *want = malloc(64 * 64 * 3);
    memcpy(want, pixels.rgb, 64 * 64 * 3);
    ck_assert_int_eq(decode(&padded, LIMIT), MOCO_OK);
    ck_assert_int_gt(warnings, 0);
    ck_assert_mem_eq(want, pixels.rgb, 64 * 64 * 3);
    free(want);
    free(padded.bytes);
    free(jpeg.bytes);
}
END_TEST

START_TEST(huge_claims_are_refused_before_allocation)
{
    fixture_t jpeg = fixture_jpeg(8, 8, 3, _i, 1);
    uint8_t *frame = jpeg.bytes + fixture_frame(&jpeg);
    frame[5] = frame[7] = 20000 >> 8;
    frame[6] = frame[8] = 20000 & 255;
    expect_broken(&jpeg, "20000x20000");
    ck_assert_uint_eq(pixels.capacity, 0);
    frame[5] = frame[7] = 0;
    frame[6] = frame[8] = 8;
    ck_assert_int_eq(decode(&jpeg, 64), MOCO_OK);
    ck_assert_int_eq(decode(&jpeg, 63), MOCO_ERR_IMAGE);
    free(jpeg.bytes);
}
END_TEST

START_TEST(twelve_bits_and_odd_components_are_refused)
{
    fixture_t jpeg = fixture_jpeg(16, 16, 3, 0, 1);
    uint8_t *frame = jpeg.bytes + fixture_frame(&jpeg);
    frame[4] = 12;
    expect_broken(&jpeg, "12");
    frame[4] = 8;
    frame[1] = 0xC3; /* lossless */
    expect_broken(&jpeg, "");
    free(jpeg.bytes);
}
END_TEST

/* A progressive file whose last scan is repeated over and over: little data, endless work. */
START_TEST(endless_scans_are_refused)
{
    fixture_t jpeg = fixture_jpeg(64, 64, 1, FIXTURE_PROGRESSIVE, 1);
    size_t scan = 0;
    for (size_t i = 2; i + 1 < jpeg.size; i++)
        if (jpeg.bytes[i] == 0xFF && jpeg.bytes[i + 1] == 0xDA) {
            scan = i;
            break;
        }
    size_t end = scan + 2; /* of the first scan: the next marker */
    while (!(jpeg.bytes[end] == 0xFF && jpeg.bytes[end + 1] != 0))
        end++;
    const size_t length = end - scan;
    static const int counts[] = {90, 110};
    for (int c = 0; c < 2; c++) {
        fixture_t bomb = {malloc(end + length * (size_t)counts[c] + 2), end};
        memcpy(bomb.bytes, jpeg.bytes, end);
        for (int i = 0; i < counts[c]; i++, bomb.size += length)
            memcpy(bomb.bytes + bomb.size, jpeg.bytes + scan, length);
        memcpy(bomb.bytes + bomb.size, "\xff\xd9", 2);
        bomb.size += 2;
        if (c == 0)
            ck_assert_int_eq(decode(&bomb, LIMIT), MOCO_OK);
        else
            expect_broken(&bomb, "100 scans");
        free(bomb.bytes);
    }
    free(jpeg.bytes);
}
END_TEST

START_TEST(no_memory_is_not_a_broken_image)
{
    fixture_t jpeg = fixture_jpeg(16, 16, 3, 0, 1);
    mo_fault_arm(MO_FAULT_ALLOC, 0);
    ck_assert_int_eq(decode(&jpeg, LIMIT), MOCO_ERR_MEMORY);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    ck_assert_int_eq(decode(&jpeg, LIMIT), MOCO_OK);
    free(jpeg.bytes);
}
END_TEST

START_TEST(host_pixels)
{
    /* one image of 2x2 in every format, rows 16 bytes apart */
    static const uint8_t rgb[32] = {1, 2, 3, 4, 5, 6, [16] = 7, 8, 9, 10, 11, 12};
    static const uint8_t bgr[32] = {3, 2, 1, 6, 5, 4, [16] = 9, 8, 7, 12, 11, 10};
    static const uint8_t rgba[32] = {1, 2, 3, 99, 4, 5, 6, 99, [16] = 7, 8, 9, 99, 10, 11, 12, 99};
    const uint8_t *const formats[] = {rgb, bgr, rgba};
    for (int format = 0; format < 3; format++) {
        const moco_image_t image = {.struct_size = sizeof image,
                                    .planes = {formats[format]},
                                    .strides = {16},
                                    .width = 2,
                                    .height = 2,
                                    .format = format};
        ck_assert_int_eq(mo_pixels_from_images(&image, 0, &pixels), MOCO_OK);
        for (int i = 0; i < 12; i++)
            ck_assert_uint_eq(pixels.rgb[i], i + 1);
    }
    const moco_image_t gray = {
        .struct_size = sizeof gray, .planes = {rgb}, .width = 3, .height = 2, .format = MOCO_PIXELS_GRAY};
    ck_assert_int_eq(mo_pixels_from_images(&gray, 0, &pixels), MOCO_OK);
    ck_assert_uint_eq(pixels.rgb[3], 2);
    ck_assert_uint_eq(pixels.rgb[11], 4);
    ck_assert_uint_eq(pixels.rgb[17], 6);
}
END_TEST

START_TEST(host_pixels_refused)
{
    static const uint8_t byte[64];
#define IMAGE(...)                                       \
    {                                                    \
        .struct_size = sizeof(moco_image_t), __VA_ARGS__ \
    }
    const struct {
        moco_image_t image;
        moco_status_t status;
    } bad[] = {{IMAGE(.width = 1, .height = 1), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 0, .height = 1), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 1, .height = -1), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 1, .height = 1, .format = 4), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 4, .height = 1, .strides = {11}), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 4, .height = 1, .strides = {-12}), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 100000, .height = 100000), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 1, .height = 1, .channels = 2), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte}, .width = 1, .height = 1, .plane_count = 5), MOCO_ERR_ARGUMENT},
               {IMAGE(.planes = {byte, byte, byte}, .width = 1, .height = 1, .plane_count = 3), MOCO_ERR_UNSUPPORTED},
               {IMAGE(.planes = {byte}, .width = 1, .height = 1, .bit_depth = 16), MOCO_ERR_UNSUPPORTED}};
    moco_image_t images[2] = {IMAGE(.planes = {byte}, .width = 1, .height = 1)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        images[1] = bad[i].image;
        ck_assert_int_eq(mo_pixels_from_images(images, 1, &pixels), bad[i].status);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "image 1"));
    }
    images[1] = images[0];
    images[1].channels = 3, images[1].plane_count = 1, images[1].bit_depth = 8; /* what 0 means, said */
    ck_assert_int_eq(mo_pixels_from_images(images, 1, &pixels), MOCO_OK);
    ck_assert_int_eq(mo_pixels_from_images(NULL, 0, &pixels), MOCO_ERR_ARGUMENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jpeg");
    TCase *tcase = tcase_create("jpeg");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, good_images, 0, 7);
    tcase_add_test(tcase, gray_is_replicated);
    tcase_add_test(tcase, buffer_is_reused);
    tcase_add_test(tcase, not_a_jpeg);
    tcase_add_loop_test(tcase, truncated, 0, 2);
    tcase_add_test(tcase, other_warnings_keep_the_image);
    tcase_add_loop_test(tcase, huge_claims_are_refused_before_allocation, 0, 2);
    tcase_add_test(tcase, twelve_bits_and_odd_components_are_refused);
    tcase_add_test(tcase, endless_scans_are_refused);
    tcase_add_test(tcase, no_memory_is_not_a_broken_image);
    tcase_add_test(tcase, host_pixels);
    tcase_add_test(tcase, host_pixels_refused);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
