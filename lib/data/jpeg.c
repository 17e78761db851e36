/* JPEG bytes to RGB pixels: the only file that includes the JPEG library. Input may be hostile: every error comes back
 * by longjmp and becomes a status with a reason, sizes are checked from the header before anything large is allocated,
 * and an image may not ask for endless scans. The decode equals Pillow's: accurate integer transform, triangle-filter
 * chroma, gray replicated, CMYK taken as Adobe's inverted form, orientation tags ignored. */
#include "data/data.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "data/augment.h"
#include "util/status.h"

#define MAX_SCANS 500 /* the most elaborate encoders write about a dozen */

typedef struct reader {
    struct jpeg_decompress_struct jpeg; /* first: the library's callbacks get this address */
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char reason[JMSG_LENGTH_MAX];
    int out_of_memory;
} reader_t;

static _Noreturn void escape(reader_t *reader)
{
    longjmp(reader->escape, 1);
}

static void on_error(j_common_ptr common)
{
    reader_t *reader = (reader_t *)common;
    common->err->format_message(common, reader->reason);
    reader->out_of_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
    escape(reader);
}

static void on_message(j_common_ptr common, int level)
{
    if (level >= 0)
        return; /* trace */
    common->err->num_warnings++;
    if (common->err->msg_code == JWRN_JPEG_EOF) {
        reader_t *reader = (reader_t *)common;
        snprintf(reader->reason, sizeof reader->reason, "truncated: the data ends before the image does");
        escape(reader);
    }
}

static void on_output(j_common_ptr common)
{
    (void)common; /* the library does not print */
}

static void on_progress(j_common_ptr common)
{
    reader_t *reader = (reader_t *)common;
    if (reader->jpeg.input_scan_number <= MAX_SCANS)
        return;
    snprintf(reader->reason, sizeof reader->reason, "more than %d scans", MAX_SCANS);
    escape(reader);
}

static _Noreturn void refuse(reader_t *reader, const char *reason)
{
    snprintf(reader->reason, sizeof reader->reason, "%s", reason);
    escape(reader);
}

static void check_header(reader_t *reader, int64_t max_pixels)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const int64_t pixels = (int64_t)jpeg->image_width * jpeg->image_height;
    if (jpeg->data_precision != 8)
        refuse(reader, "samples are not of 8 bits");
    if (pixels > max_pixels) {
        snprintf(reader->reason, sizeof reader->reason, "claims %ux%u pixels; the limit is %lld in all",
                 jpeg->image_width, jpeg->image_height, (long long)max_pixels);
        escape(reader);
    }
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_RGB:
    case JCS_YCbCr:
        jpeg->out_color_space = JCS_RGB;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        jpeg->out_color_space = JCS_CMYK;
        break;
    default:
        snprintf(reader->reason, sizeof reader->reason, "unknown colour space of %d components",
                 jpeg->num_components);
        escape(reader);
    }
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
}

/* x*y/255, rounded, as imaging code has done it since the eighties. */
static inline uint32_t mul_div_255(uint32_t x, uint32_t y)
{
    const uint32_t product = x * y + 128;
    return ((product >> 8) + product) >> 8;
}

/* Stored values are inverted, so the stored K is already 255 - K. */
static void cmyk_row(const uint8_t *from, uint32_t width, uint8_t *to)
{
    for (uint32_t x = 0; x < width; x++, from += 4, to += 3) {
        const uint32_t light = from[3];
        for (int c = 0; c < 3; c++)
            to[c] = (uint8_t)(light - mul_div_255(255u - from[c], light));
    }
}

static void read_rgb(struct jpeg_decompress_struct *jpeg, uint8_t *rgb)
{
    enum { ROWS = 8 };
    const size_t row_bytes = (size_t)jpeg->output_width * 3;
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW rows[ROWS];
        const JDIMENSION left = jpeg->output_height - jpeg->output_scanline, count = left < ROWS ? left : ROWS;
        for (JDIMENSION i = 0; i < count; i++)
            rows[i] = rgb + (jpeg->output_scanline + i) * row_bytes;
        jpeg_read_scanlines(jpeg, rows, count);
    }
}

static void read_cmyk(struct jpeg_decompress_struct *jpeg, uint8_t *rgb)
{
    const size_t row_bytes = (size_t)jpeg->output_width * 3;
    JSAMPARRAY row = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * 4, 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = rgb + jpeg->output_scanline * row_bytes;
        jpeg_read_scanlines(jpeg, row, 1);
        cmyk_row(row[0], jpeg->output_width, to);
    }
}

static void start_reader(reader_t *reader)
{
    reader->jpeg.err = jpeg_std_error(&reader->errors);
    reader->errors.error_exit = on_error;
    reader->errors.emit_message = on_message;
    reader->errors.output_message = on_output;
    reader->progress.progress_monitor = on_progress;
}

/* Everything between setjmp and here may escape; `out` is changed only through its own members, which live outside. */
static moco_status_t decode(reader_t *reader, const uint8_t *data, uint64_t size, int64_t max_pixels, mo_pixels_t *out)
{
    if (setjmp(reader->escape) != 0)
        return reader->out_of_memory ? mo_fail(MOCO_ERR_MEMORY, "no memory to decode a JPEG")
                                     : mo_fail(MOCO_ERR_IMAGE, "%s", reader->reason);
    jpeg_create_decompress(&reader->jpeg);
    reader->jpeg.progress = &reader->progress;
    jpeg_mem_src(&reader->jpeg, data, (unsigned long)size);
    jpeg_read_header(&reader->jpeg, TRUE);
    check_header(reader, max_pixels);
    const size_t width = reader->jpeg.image_width, height = reader->jpeg.image_height;
    const moco_status_t status = mo_bytes_reserve(&out->rgb, &out->capacity, width * height * 3);
    if (status != MOCO_OK)
        return status;
    jpeg_start_decompress(&reader->jpeg);
    if (reader->jpeg.out_color_space == JCS_CMYK)
        read_cmyk(&reader->jpeg, out->rgb);
    else
        read_rgb(&reader->jpeg, out->rgb);
    jpeg_finish_decompress(&reader->jpeg);
    out->width = (int32_t)width;
    out->height = (int32_t)height;
    return MOCO_OK;
}

moco_status_t mo_jpeg_decode(const uint8_t *data, uint64_t size, int64_t max_pixels, mo_pixels_t *out,
                             int64_t *warnings)
{
    if (data == NULL || size == 0)
        return mo_fail(MOCO_ERR_IMAGE, "empty");
    if (size < 3 || data[0] != 0xFF || data[1] != 0xD8 || data[2] != 0xFF)
        return mo_fail(MOCO_ERR_IMAGE, "not a JPEG: starts with bytes %02x %02x, a JPEG with ff d8", data[0],
                       size > 1 ? data[1] : 0);
    reader_t reader = {0};
    start_reader(&reader);
    const moco_status_t status = decode(&reader, data, size, max_pixels, out);
    if (status == MOCO_OK && warnings != NULL)
        *warnings += reader.errors.num_warnings;
    jpeg_destroy_decompress(&reader.jpeg);
    return status;
}
