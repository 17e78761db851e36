/* JPEG, the first row of the table of formats (decode.h), and the only file that includes the JPEG
 * library. Input may be hostile: every error comes back by longjmp and becomes a status with a
 * reason, sizes are checked from the header before anything large is allocated, and an image may
 * not ask for endless scans. The decode equals Pillow's: accurate integer transform,
 * triangle-filter chroma, gray replicated, CMYK taken as Adobe's inverted form, orientation tags
 * ignored. Scales are those of the library's reduced transforms. */
#include "data/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "data/augment.h"
#include "data/exif.h"
#include "util/headroom.h"
#include "util/status.h"

/* What an image may ask for at most. Encoders write about ten scans, twenty of CMYK; a scan costs
 * time for each pixel even where it holds nothing. */
#define MAX_SCANS 100
#define MAX_SCANNED_PIXELS ((uint64_t)1 << 31) /* over all scans */

typedef struct reader {
    struct jpeg_decompress_struct jpeg; /* first: the library's callbacks get this address */
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char reason[JMSG_LENGTH_MAX];
    int out_of_memory;
    uint64_t missing_rows; /* of MCUs, over all scans: they lie behind the end of their scan's data */
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

/* The data of a scan have ended, and what is left of it is filled up. With restart marks it is only
 * left up to the next one, which may be near. */
static void note_missing(reader_t *reader)
{
    const struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    if (jpeg->restart_interval == 0 && jpeg->input_iMCU_row < jpeg->total_iMCU_rows)
        reader->missing_rows += jpeg->total_iMCU_rows - jpeg->input_iMCU_row;
}

static void on_message(j_common_ptr common, int level)
{
    if (level >= 0)
        return; /* trace */
    reader_t *reader = (reader_t *)common;
    common->err->num_warnings++;
    if (common->err->msg_code == JWRN_HIT_MARKER)
        note_missing(reader);
    if (common->err->msg_code == JWRN_JPEG_EOF) {
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
    const struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const uint64_t pixels = (uint64_t)jpeg->image_width * jpeg->image_height;
    if (jpeg->input_scan_number > MAX_SCANS)
        snprintf(reader->reason, sizeof reader->reason, "more than %d scans", MAX_SCANS);
    else if (jpeg->input_scan_number > 1 && (uint64_t)jpeg->input_scan_number * pixels > MAX_SCANNED_PIXELS)
        snprintf(reader->reason, sizeof reader->reason, "%d scans of %ux%u pixels; the limit is %llu pixels over all",
                 jpeg->input_scan_number, jpeg->image_width, jpeg->image_height,
                 (unsigned long long)MAX_SCANNED_PIXELS);
    else
        return;
    escape(reader);
}

static _Noreturn void refuse(reader_t *reader, const char *reason)
{
    snprintf(reader->reason, sizeof reader->reason, "%s", reason);
    escape(reader);
}

/* Newer libraries decode more than 8 bits through other functions, older ones none. */
static void refuse_precision(reader_t *reader)
{
    snprintf(reader->reason, sizeof reader->reason, "JPEG data precision %d, wanted 8", reader->jpeg.data_precision);
    escape(reader);
}

/* A few damaged rows are filled up with a warning, as other decoders do. An image that is mostly
 * filling is none. */
static void refuse_mostly_missing(reader_t *reader)
{
    const struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const uint64_t rows = (uint64_t)jpeg->input_scan_number * jpeg->total_iMCU_rows;
    if (2 * reader->missing_rows > rows)
        refuse(reader, "most of the image's data are missing");
}

static void set_colours(reader_t *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_RGB:
    case JCS_YCbCr: jpeg->out_color_space = JCS_RGB; break;
    case JCS_CMYK:
    case JCS_YCCK: jpeg->out_color_space = JCS_CMYK; break;
    default:
        snprintf(reader->reason, sizeof reader->reason, "unknown colour space of %d components", jpeg->num_components);
        escape(reader);
    }
}

/* The strongest of the library's reductions that leaves the image as large as is wanted. */
static int32_t reduction_for(int32_t wanted)
{
    return wanted >= 8 ? 8 : wanted >= 4 ? 4 : wanted >= 2 ? 2 : 1;
}

/* The library keeps an image of several scans whole, as coefficients of two bytes. */
static moco_status_t admit_scans(struct jpeg_decompress_struct *jpeg)
{
    const uint64_t samples = (uint64_t)jpeg->image_width * jpeg->image_height * (uint64_t)jpeg->num_components;
    return jpeg_has_multiple_scans(jpeg) ? mo_headroom_admit(samples * sizeof(JCOEF)) : MOCO_OK;
}

static moco_status_t prepare(reader_t *reader, const mo_draw_t *draw, mo_drawn_t *drawn)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    if (jpeg->data_precision != 8)
        refuse_precision(reader);
    const moco_status_t status = mo_draw_check_size(draw, jpeg->image_width, jpeg->image_height);
    if (status != MOCO_OK)
        return status;
    const moco_status_t admitted = admit_scans(jpeg);
    if (admitted != MOCO_OK)
        return admitted;
    set_colours(reader);
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)reduction_for(draw->reduction);
    return mo_draw_window(draw, (int32_t)jpeg->image_width, (int32_t)jpeg->image_height, (int32_t)jpeg->scale_denom,
                          drawn);
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

/* Whole rows go where they belong, several at a time. */
static void read_whole_rows(struct jpeg_decompress_struct *jpeg, uint8_t *rgb)
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

/* Row by row through one row of the library's: CMYK, and windows. Rows below the window are not
 * decoded. */
static void read_window(struct jpeg_decompress_struct *jpeg, const mo_window_t *window, uint8_t *rgb)
{
    const int cmyk = jpeg->out_color_space == JCS_CMYK;
    const size_t channels = cmyk ? 4 : 3, left = (size_t)window->left * channels, width = (size_t)window->width;
    const JDIMENSION top = (JDIMENSION)window->top, end = top + (JDIMENSION)window->height;
    JSAMPARRAY row =
        jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * (JDIMENSION)channels, 1);
    while (jpeg->output_scanline < end) {
        const JDIMENSION y = jpeg->output_scanline;
        jpeg_read_scanlines(jpeg, row, 1);
        if (y < top)
            continue;
        uint8_t *to = rgb + (size_t)(y - top) * width * 3;
        if (cmyk)
            cmyk_row(row[0] + left, (uint32_t)width, to);
        else
            memcpy(to, row[0] + left, width * 3);
    }
}

static int is_everything(const mo_drawn_t *drawn)
{
    return drawn->window.width == drawn->full_width && drawn->window.height == drawn->full_height;
}

static void start_reader(reader_t *reader)
{
    reader->jpeg.err = jpeg_std_error(&reader->errors);
    reader->errors.error_exit = on_error;
    reader->errors.emit_message = on_message;
    reader->errors.output_message = on_output;
    reader->progress.progress_monitor = on_progress;
}

static moco_status_t escaped(const reader_t *reader)
{
    return reader->out_of_memory ? mo_fail(MOCO_ERR_MEMORY, "no memory to decode a JPEG")
                                 : mo_fail(MOCO_ERR_IMAGE, "%s", reader->reason);
}

static void begin(reader_t *reader, const uint8_t *encoded, uint64_t size)
{
    jpeg_create_decompress(&reader->jpeg);
    reader->jpeg.progress = &reader->progress;
    jpeg_mem_src(&reader->jpeg, encoded, (unsigned long)size);
    jpeg_read_header(&reader->jpeg, TRUE);
}

/* Everything between setjmp and the end of the two functions that follow may escape. What they
 * change lies outside of them. */
static moco_status_t header_of(reader_t *reader, const uint8_t *encoded, uint64_t size, mo_image_header_t *header)
{
    if (setjmp(reader->escape) != 0)
        return escaped(reader);
    begin(reader, encoded, size);
    header->width = (int32_t)reader->jpeg.image_width;
    header->height = (int32_t)reader->jpeg.image_height;
    header->channels = reader->jpeg.num_components;
    return MOCO_OK;
}

static moco_status_t decode(reader_t *reader, const uint8_t *encoded, uint64_t size, const mo_draw_t *draw,
                            mo_pixels_t *out, mo_drawn_t *drawn)
{
    if (setjmp(reader->escape) != 0)
        return escaped(reader);
    begin(reader, encoded, size);
    moco_status_t status = prepare(reader, draw, drawn);
    if (status != MOCO_OK)
        return status;
    const mo_window_t *window = &drawn->window;
    status = mo_bytes_reserve(&out->rgb, &out->capacity, (size_t)window->width * (size_t)window->height * 3);
    if (status != MOCO_OK)
        return status;
    jpeg_start_decompress(&reader->jpeg);
    if (is_everything(drawn) && reader->jpeg.out_color_space == JCS_RGB)
        read_whole_rows(&reader->jpeg, out->rgb);
    else
        read_window(&reader->jpeg, window, out->rgb);
    if (is_everything(drawn))
        refuse_mostly_missing(reader);
    if (is_everything(drawn))
        jpeg_finish_decompress(&reader->jpeg); /* what is wrong with the end of the file is found here */
    out->width = window->width;
    out->height = window->height;
    return MOCO_OK;
}

static int recognise(const uint8_t *encoded, uint64_t size)
{
    return size >= 3 && encoded[0] == 0xFF && encoded[1] == 0xD8 && encoded[2] == 0xFF;
}

static moco_status_t read_header(const uint8_t *encoded, uint64_t size, mo_image_header_t *header)
{
    reader_t reader = {0};
    start_reader(&reader);
    const moco_status_t status = header_of(&reader, encoded, size, header);
    jpeg_destroy_decompress(&reader.jpeg);
    return status;
}

static moco_status_t draw_window(const uint8_t *encoded, uint64_t size, const mo_draw_t *draw, mo_pixels_t *out,
                                 mo_drawn_t *drawn)
{
    reader_t reader = {0};
    start_reader(&reader);
    const moco_status_t status = decode(&reader, encoded, size, draw, out, drawn);
    drawn->warnings = reader.errors.num_warnings;
    jpeg_destroy_decompress(&reader.jpeg);
    return status;
}

const mo_image_format_t mo_jpeg_format = {
    .name = "JPEG",
    .endings = {"jpg", "jpeg"},
    .recognise = recognise,
    .read_header = read_header,
    .orientation = mo_exif_orientation,
    .draw = draw_window,
};
