/* What the tests of training and embedding share: small JPEGs drawn on the spot, scratch folders,
 * files as bytes, numbers out of JSON text. A picture is a direction and a frequency of stripes:
 * different numbers look different. */
#ifndef TESTS_DRAW_H
#define TESTS_DRAW_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memmem; so include this file first */
#endif

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jpeglib.h>

#include "api.h"

/* ---- JPEGs ---- */

typedef struct picture {
    uint8_t *bytes;
    unsigned long size;
} picture_t;

/* Pixels of picture `number`: rows packed, `components` bytes a pixel. */
static inline uint8_t *draw_pixels(int width, int height, int components, int number)
{
    uint8_t *pixels = malloc((size_t)width * (size_t)height * (size_t)components), *at = pixels;
    double angle = 0.55 * number, frequency = 0.25 + 0.11 * (number % 7);
    ck_assert_ptr_nonnull(pixels);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < components; c++)
                *at++ = (uint8_t)(128 + (50 + 20 * ((number + c) % 4)) *
                                            sin(frequency * (x * cos(angle) + y * sin(angle)) + number + c));
    return pixels;
}

/* 1 component: grey; 3: colour; 4: CMYK as Adobe writes it. Free the bytes. */
static inline picture_t draw_jpeg(int width, int height, int components, int number)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    picture_t made = {0};
    uint8_t *pixels = draw_pixels(width, height, components, number);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &made.bytes, &made.size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = components;
    jpeg.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 90, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        JSAMPROW row = pixels + (size_t)y * (size_t)width * (size_t)components;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(pixels);
    return made;
}

/* The frame header (SOF0) of a JPEG: marker 2, length 2, bits a sample 1, height 2, width 2. */
static inline uint8_t *draw_frame(const picture_t *jpeg)
{
    unsigned long i = 2;
    for (; i + 9 < jpeg->size; i += 2 + (unsigned long)(jpeg->bytes[i + 2] << 8 | jpeg->bytes[i + 3]))
        if (jpeg->bytes[i + 1] == 0xC0)
            return jpeg->bytes + i;
    ck_abort_msg("no frame header");
    return NULL;
}

/* ---- files ---- */

typedef struct scratch {
    char path[64];
} scratch_t;

static inline scratch_t scratch_make(void)
{
    const char *base = getenv("TMPDIR");
    scratch_t s;
    snprintf(s.path, sizeof s.path, "%.40s/moco-api-XXXXXX", base != NULL && strlen(base) < 40 ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(s.path));
    return s;
}

static inline void scratch_drop(const scratch_t *s)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", s->path);
    ck_assert_int_eq(system(command), 0);
}

/* FOLDER/NAME as text that lives until the sixteenth next call. */
static inline const char *in_folder(const char *folder, const char *name)
{
    static char made[16][512];
    static int next;
    char path[512]; /* `folder` may be one of them */
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return memcpy(made[next++ % 16], path, sizeof path);
}

static inline const char *in_scratch(const scratch_t *s, const char *name)
{
    return in_folder(s->path, name);
}

/* Write FOLDER/NAME, making the folders on the way. */
static inline void write_file(const char *folder, const char *name, const void *bytes, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file != NULL, "%s could not be written", path);
    if (size > 0)
        ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* A whole file, with a NUL behind it; free it. */
static inline uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s could not be read", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static inline int file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static inline void copy_file(const char *from, const char *folder, const char *name)
{
    size_t size;
    uint8_t *bytes = read_file(from, &size);
    write_file(folder, name, bytes, size);
    free(bytes);
}

/* Digits after KEY in a file's header become 0: options that may differ between runs of the same
 * bits. */
static inline void mask_number(uint8_t *bytes, size_t size, const char *key)
{
    uint8_t *at = memmem(bytes, size, key, strlen(key));
    if (at == NULL)
        return;
    for (at += strlen(key); at < bytes + size && (*at < '0' || *at > '9'); at++) {
    }
    for (; at < bytes + size && *at >= '0' && *at <= '9'; at++)
        *at = '0';
}

/* Spaces in place of the checksums of a file that this library wrote: for files that are
 * changed. */
static inline void forget_sums(uint8_t *bytes, size_t size)
{
    static const char first[] = ",\"header_xxh3\":\"", second[] = "\",\"data_xxh3\":\"";
    uint8_t *at = memmem(bytes, size, first, strlen(first));
    ck_assert_msg(at != NULL, "the file has no checksums");
    memset(at, ' ', strlen(first) + strlen(second) + 2 * 16 + 1);
}

/* The same in a file, for fields that a test may let differ. */
static inline void mask_file(const char *path, const char *key)
{
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    mask_number(bytes, size, key);
    if (memmem(bytes, size, "header_xxh3", 11) != NULL) /* a file may be masked twice */
        forget_sums(bytes, size);
    FILE *file = fopen(path, "wb");
    ck_assert(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    free(bytes);
}

/* Checkpoints of the same bits; loader_threads, which is written into them, may differ. */
static inline int same_checkpoints(const char *a, const char *b)
{
    size_t size_a, size_b;
    uint8_t *bytes_a = read_file(a, &size_a), *bytes_b = read_file(b, &size_b);
    if (memmem(bytes_a, size_a, "header_xxh3", 11) != NULL) { /* of options that may differ */
        forget_sums(bytes_a, size_a);
        forget_sums(bytes_b, size_b);
    }
    mask_number(bytes_a, size_a, "loader_threads");
    mask_number(bytes_b, size_b, "loader_threads");
    int same = size_a == size_b && memcmp(bytes_a, bytes_b, size_a) == 0;
    free(bytes_a);
    free(bytes_b);
    return same;
}

/* Pictures 0..count-1 as FOLDER/c<class>/<number>.jpg. */
static inline void draw_tree(const char *folder, int count, int classes, int side)
{
    for (int i = 0; i < count; i++) {
        char name[64];
        picture_t jpeg = draw_jpeg(side, side, 3, i);
        snprintf(name, sizeof name, "c%d/%04d.jpg", i % classes, i);
        write_file(folder, name, jpeg.bytes, jpeg.size);
        free(jpeg.bytes);
    }
}

/* Picture `number` of such a tree is no JPEG any more. */
static inline void break_picture(const char *folder, int number, int classes)
{
    char name[64];
    snprintf(name, sizeof name, "c%d/%04d.jpg", number % classes, number);
    write_file(folder, name, "no JPEG", 7);
}

/* ---- JSON of the library's own making ---- */

/* The number after "KEY": in JSON text; NAN if it is not there. */
static inline double json_number(const char *text, const char *key)
{
    char quoted[80];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(text, quoted);
    return at != NULL ? strtod(at + strlen(quoted), NULL) : (double)NAN;
}

static inline double trainer_number(const moco_trainer_t *trainer, const char *key)
{
    char text[4096];
    expect_ok(moco_trainer_state(trainer, text, sizeof text, NULL));
    return json_number(text, key);
}

/* ---- handles ---- */

static inline moco_device_t *device_of(int32_t lanes)
{
    moco_device_options_t options;
    moco_device_t *device = NULL;
    expect_ok(moco_device_options_init(&options, sizeof options));
    options.lanes = lanes;
    expect_ok(moco_device_create(&options, &device));
    return device;
}

static inline moco_dataset_t *dataset_of(const char *path)
{
    moco_dataset_t *dataset = NULL;
    expect_ok(moco_dataset_open(path, NULL, &dataset));
    return dataset;
}

#endif
