/* Damaged JPEGs: thousands of them, made from good ones by a fixed seed. Each must decode or be
 * refused with a reason, within its limits; the sanitizers watch the rest. The same for whole
 * archives. */
#include "unit/data_fixtures.h"

#include "data/data.h"
#include "data/decode.h"
#include "util/rng.h"

#define LIMIT 100000 /* pixels */

static mo_rng_t rng;

static void damage(uint8_t *bytes, size_t *size)
{
    for (uint32_t hits = 1 + mo_rng_below(&rng, 6); hits > 0; hits--) {
        const size_t at = mo_rng_below(&rng, (uint32_t)*size);
        switch (mo_rng_below(&rng, 5)) {
        case 0: bytes[at] ^= (uint8_t)(1u << mo_rng_below(&rng, 8)); break;
        case 1: bytes[at] = (uint8_t)mo_rng_u32(&rng); break;
        case 2: bytes[at] = 0xFF; break;
        case 3: { /* a part over another part */
            const size_t from = mo_rng_below(&rng, (uint32_t)*size);
            size_t length = mo_rng_below(&rng, 40);
            length = length > *size - at ? *size - at : length;
            length = length > *size - from ? *size - from : length;
            memmove(bytes + at, bytes + from, length);
            break;
        }
        default:
            if (mo_rng_below(&rng, 4) == 0 && *size > 100)
                *size -= mo_rng_below(&rng, (uint32_t)*size / 4);
        }
    }
}

/* A window at a scale of the same bytes: what is drawn fits what the header says, or is refused. */
static void draw_somewhere(const uint8_t *bytes, size_t size, mo_pixels_t *pixels)
{
    mo_image_header_t header = {0};
    mo_drawn_t drawn = {0};
    mo_draw_t draw = {.max_pixels = LIMIT, .reduction = 1 << mo_rng_below(&rng, 4)};
    const moco_status_t known = mo_image_read_header(bytes, size, &header);
    ck_assert(known == MOCO_OK || known == MOCO_ERR_IMAGE);
    if (known == MOCO_OK) {
        draw.window.left = (int32_t)mo_rng_below(&rng, (uint32_t)header.width);
        draw.window.top = (int32_t)mo_rng_below(&rng, (uint32_t)header.height);
        draw.window.width = 1 + (int32_t)mo_rng_below(&rng, (uint32_t)(header.width - draw.window.left));
        draw.window.height = 1 + (int32_t)mo_rng_below(&rng, (uint32_t)(header.height - draw.window.top));
    }
    const moco_status_t status = mo_image_draw(bytes, size, &draw, pixels, &drawn);
    ck_assert(status == MOCO_OK || status == MOCO_ERR_IMAGE);
    if (status == MOCO_OK) {
        ck_assert(pixels->width == drawn.window.width && pixels->height == drawn.window.height);
        ck_assert_int_le(drawn.window.left + drawn.window.width, drawn.full_width);
        ck_assert_int_le(drawn.window.top + drawn.window.height, drawn.full_height);
    }
}

START_TEST(damaged_images)
{
    mo_pixels_t pixels = {0};
    int good = 0, refused = 0;
    mo_rng_start(&rng, 3, 99, (uint32_t)_i, 0);
    static const int components[] = {3, 1, 4, 3};
    fixture_t jpeg = fixture_jpeg(70, 50, components[_i], _i == 3 ? FIXTURE_PROGRESSIVE : 0, 8);
    uint8_t *bytes = malloc(jpeg.size);
    for (int turn = 0; turn < 3000; turn++) {
        size_t size = jpeg.size;
        int64_t warnings = 0;
        memcpy(bytes, jpeg.bytes, size);
        damage(bytes, &size);
        const moco_status_t status = mo_image_decode(bytes, size, LIMIT, &pixels, &warnings);
        ck_assert(status == MOCO_OK || status == MOCO_ERR_IMAGE);
        if (status == MOCO_OK) {
            ck_assert((int64_t)pixels.width * pixels.height <= LIMIT);
            good++;
        } else {
            ck_assert_uint_gt(strlen(moco_last_message()), 0);
            refused++;
        }
        ck_assert_uint_le(pixels.capacity, 1 << 19);
        draw_somewhere(bytes, size, &pixels);
    }
    ck_assert_int_gt(good, 100);
    ck_assert_int_gt(refused, 100);
    free(bytes);
    free(jpeg.bytes);
    mo_pixels_free(&pixels);
}
END_TEST

START_TEST(damaged_archives)
{
    char folder[64], path[128];
    fixture_tar_t tar = {0};
    fixture_t jpeg = fixture_jpeg(16, 16, 3, 0, 8);
    static const char record[] = "19 path=deep/9.jpg\n";
    fixture_folder(folder);
    snprintf(path, sizeof path, "%s/x.tar", folder);
    fixture_tar_add(&tar, "a/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_add(&tar, "long", 'L', "b/long.jpg", 11, NULL);
    fixture_tar_add(&tar, "a/2.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_add(&tar, "pax", 'x', record, sizeof record - 1, NULL);
    fixture_tar_add(&tar, "a/3.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_add(&tar, "a/4.jpg", '2', NULL, 0, "1.jpg");
    fixture_tar_end(&tar);
    mo_rng_start(&rng, 4, 99, 0, 0);
    uint8_t *bytes = malloc(tar.size);
    int opened = 0;
    for (int turn = 0; turn < 1500; turn++) {
        size_t size = tar.size;
        moco_dataset_t *dataset = NULL;
        memcpy(bytes, tar.bytes, size);
        damage(bytes, &size);
        for (size_t at = 0; at + 512 <= size && mo_rng_below(&rng, 4); at += 512)
            if (memcmp(bytes + at + 257, "ustar", 5) == 0)
                fixture_tar_sum(bytes + at); /* so that damage gets past the checksum */
        fixture_write(folder, "x.tar", bytes, size);
        const moco_status_t status = moco_dataset_open(path, NULL, &dataset);
        ck_assert(status == MOCO_OK || status == MOCO_ERR_FORMAT || status == MOCO_ERR_NO_DATA);
        uint8_t out[8 * 8 * 3];
        for (int64_t i = 0; i < moco_dataset_count(dataset); i++) {
            const moco_status_t read = moco_dataset_pixels(dataset, i, 8, 8, out);
            ck_assert(read == MOCO_OK || read == MOCO_ERR_IMAGE);
        }
        opened += status == MOCO_OK;
        moco_dataset_free(dataset);
    }
    ck_assert(opened > 100 && opened < 1400);
    free(bytes);
    free(tar.bytes);
    free(jpeg.bytes);
    fixture_remove(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jpeg_fuzz");
    TCase *tcase = tcase_create("jpeg_fuzz");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, damaged_images, 0, 4);
    tcase_add_test(tcase, damaged_archives);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
