/* What the data module's tests feed it: JPEGs made in memory, scratch folders, tar archives. */
#ifndef TESTS_DATA_FIXTURES_H
#define TESTS_DATA_FIXTURES_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>

typedef struct fixture {
    uint8_t *bytes;
    unsigned long size;
} fixture_t;

enum { FIXTURE_PROGRESSIVE = 1 };

/* A JPEG of random blocks from `seed`; components 1 gray, 3 YCbCr, 4 Adobe CMYK. */
static inline fixture_t fixture_jpeg(int width, int height, int components, int flags, unsigned seed)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    fixture_t made = {0};
    uint8_t *row = malloc((size_t)width * (size_t)components);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &made.bytes, &made.size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = components;
    jpeg.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 90, TRUE);
    if (flags & FIXTURE_PROGRESSIVE)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        for (int i = 0; i < width * components; i++) {
            const uint32_t mixed = ((uint32_t)(i / components / 4) * 73u + (uint32_t)(y / 4) * 151u +
                                    (uint32_t)(i % components) * 29u + seed * 1009u) *
                                   2654435761u;
            row[i] = (uint8_t)(mixed >> 24);
        }
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    return made;
}

/* Where the frame header (SOF0..2) starts. */
static inline size_t fixture_frame(const fixture_t *jpeg)
{
    for (size_t i = 2; i + 9 < jpeg->size; i += 2 + (size_t)(jpeg->bytes[i + 2] << 8 | jpeg->bytes[i + 3]))
        if (jpeg->bytes[i + 1] >= 0xC0 && jpeg->bytes[i + 1] <= 0xC2)
            return i;
    ck_abort_msg("no frame header");
    return 0;
}

/* A scratch folder of its own, removed by fixture_remove. */
static inline void fixture_folder(char path[64])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, 64, "%.40s/moco-test-XXXXXX", base != NULL && strlen(base) < 40 ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static inline void fixture_remove(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Write `folder`/`name`, making the folders on the way. */
static inline void fixture_write(const char *folder, const char *name, const void *bytes, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    if (size > 0)
        ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* ---- tar ---- */

typedef struct fixture_tar {
    uint8_t *bytes;
    size_t size;
} fixture_tar_t;

static inline void fixture_tar_sum(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum & 0777777);
}

/* A field of a header, which a name of 100 bytes fills without an end. */
static inline void fixture_tar_field(uint8_t *field, const char *text)
{
    const size_t length = strlen(text);
    memcpy(field, text, length < 100 ? length : 100);
}

/* Append a member; `link` may be NULL. Returns where its header is. */
static inline size_t fixture_tar_add(fixture_tar_t *tar, const char *name, char type, const void *data, size_t size,
                                     const char *link)
{
    const size_t at = tar->size, padded = (size + 511) / 512 * 512;
    tar->size += 512 + padded;
    tar->bytes = realloc(tar->bytes, tar->size);
    memset(tar->bytes + at, 0, 512 + padded);
    uint8_t *header = tar->bytes + at;
    fixture_tar_field(header, name);
    snprintf((char *)header + 100, 8, "0000644");
    snprintf((char *)header + 124, 12, "%011o", (unsigned)size & 0x3fffffff);
    header[156] = (uint8_t)type;
    if (link != NULL)
        fixture_tar_field(header + 157, link);
    memcpy(header + 257, "ustar\00000", 8);
    fixture_tar_sum(header);
    if (size > 0)
        memcpy(header + 512, data, size);
    return at;
}

static inline void fixture_tar_end(fixture_tar_t *tar)
{
    tar->bytes = realloc(tar->bytes, tar->size + 1024);
    memset(tar->bytes + tar->size, 0, 1024);
    tar->size += 1024;
}

static inline int fixture_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

#endif
