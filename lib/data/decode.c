/* The table of image formats, and the names of those that it does not have. See decode.h. */
#include "data/decode.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/status.h"

static const mo_image_format_t *const formats[] = {&mo_jpeg_format};
#define FORMATS (sizeof formats / sizeof formats[0])

/* What a file may be that no format recognises: a reason should name it. */
static const struct {
    const char *what;
    uint32_t offset, length;
    const char *bytes;
} others[] = {
    {"a PNG file", 0, 8, "\x89PNG\r\n\x1a\n"},
    {"a WebP file", 8, 4, "WEBP"},
    {"a GIF file", 0, 4, "GIF8"},
    {"a TIFF file", 0, 4, "II*\0"},
    {"a TIFF file", 0, 4, "MM\0*"},
    {"an AVIF file", 4, 8, "ftypavif"},
    {"an AVIF file", 4, 8, "ftypavis"},
    {"a HEIF file", 4, 8, "ftypheic"},
    {"a HEIF file", 4, 8, "ftypmif1"},
    {"a JPEG XL file", 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
    {"a JPEG XL file", 0, 2, "\xff\x0a"},
    {"a JPEG 2000 file", 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {"a JPEG 2000 file", 0, 4, "\xff\x4f\xff\x51"},
    {"a PDF file", 0, 5, "%PDF-"},
    {"a BMP file", 0, 2, "BM"},
    {"a gzip file", 0, 2, "\x1f\x8b"},
    {"a zip file", 0, 4, "PK\3\4"},
    {"a web page", 0, 9, "<!DOCTYPE"},
    {"a web page", 0, 5, "<html"},
};

static void format_names(char text[MO_ENDINGS_TEXT])
{
    size_t used = 0;
    for (size_t i = 0; i < FORMATS; i++)
        used += (size_t)snprintf(text + used, MO_ENDINGS_TEXT - used, "%s%s", i > 0 ? ", " : "", formats[i]->name);
}

/* Why bytes that no format takes are refused. */
static moco_status_t refuse(const uint8_t *encoded, uint64_t size)
{
    char names[MO_ENDINGS_TEXT];
    if (encoded == NULL || size == 0)
        return mo_fail(MOCO_ERR_IMAGE, "empty");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (size >= others[i].offset + others[i].length &&
            memcmp(encoded + others[i].offset, others[i].bytes, others[i].length) == 0)
            return mo_fail(MOCO_ERR_IMAGE, "%s, which this version does not read", others[i].what);
    format_names(names);
    return mo_fail(MOCO_ERR_IMAGE, "unknown format: starts with bytes %02x %02x; this version reads %s", encoded[0],
                   size > 1 ? encoded[1] : 0, names);
}

static moco_status_t find(const uint8_t *encoded, uint64_t size, const mo_image_format_t **format)
{
    for (size_t i = 0; encoded != NULL && i < FORMATS; i++)
        if (formats[i]->recognise(encoded, size)) {
            *format = formats[i];
            return MOCO_OK;
        }
    return refuse(encoded, size);
}

moco_status_t mo_image_read_header(const uint8_t *encoded, uint64_t size, mo_image_header_t *header)
{
    const mo_image_format_t *format;
    const moco_status_t status = find(encoded, size, &format);
    return status == MOCO_OK ? format->read_header(encoded, size, header) : status;
}

moco_status_t mo_image_draw(const uint8_t *encoded, uint64_t size, const mo_draw_t *draw, mo_pixels_t *out,
                            mo_drawn_t *drawn)
{
    const mo_image_format_t *format;
    const moco_status_t status = find(encoded, size, &format);
    return status == MOCO_OK ? format->draw(encoded, size, draw, out, drawn) : status;
}

moco_status_t mo_image_decode(const uint8_t *encoded, uint64_t size, int64_t max_pixels, mo_pixels_t *out,
                              int64_t *warnings)
{
    mo_drawn_t drawn = {0};
    const mo_draw_t all = {.max_pixels = max_pixels};
    const moco_status_t status = mo_image_draw(encoded, size, &all, out, &drawn);
    if (status == MOCO_OK)
        *warnings += drawn.warnings;
    return status;
}

/* ---- names of files ---- */

int mo_image_has_ending(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < FORMATS; i++)
        for (const char *const *ending = formats[i]->endings; *ending != NULL; ending++)
            if (strcasecmp(dot + 1, *ending) == 0)
                return 1;
    return 0;
}

void mo_image_endings(char text[MO_ENDINGS_TEXT])
{
    size_t used = 0, count = 0, at = 0;
    for (size_t i = 0; i < FORMATS; i++)
        for (const char *const *ending = formats[i]->endings; *ending != NULL; ending++)
            count++;
    for (size_t i = 0; i < FORMATS; i++)
        for (const char *const *ending = formats[i]->endings; *ending != NULL; ending++, at++)
            used += (size_t)snprintf(text + used, MO_ENDINGS_TEXT - used, "%s.%s",
                                     at == 0           ? ""
                                     : at + 1 == count ? " or "
                                                       : ", ",
                                     *ending);
}

/* ---- for formats ---- */

static int32_t reduced_up(int64_t length, int32_t reduction)
{
    return (int32_t)((length + reduction - 1) / reduction);
}

moco_status_t mo_draw_window(const mo_draw_t *draw, int32_t width, int32_t height, int32_t reduction, mo_drawn_t *drawn)
{
    const mo_window_t all = {.width = width, .height = height};
    const mo_window_t w = draw->window.width == 0 && draw->window.height == 0 ? all : draw->window;
    if (w.left < 0 || w.top < 0 || w.width < 1 || w.height < 1 || w.width > width - w.left || w.height > height - w.top)
        return mo_fail(MOCO_ERR_ARGUMENT, "window of %dx%d at %d,%d, wanted one inside the image of %dx%d", w.width,
                       w.height, w.left, w.top, width, height);
    *drawn = (mo_drawn_t){.reduction = reduction,
                          .full_width = reduced_up(width, reduction),
                          .full_height = reduced_up(height, reduction),
                          .window = {.left = w.left / reduction, .top = w.top / reduction}};
    drawn->window.width = reduced_up((int64_t)w.left + w.width, reduction) - drawn->window.left;
    drawn->window.height = reduced_up((int64_t)w.top + w.height, reduction) - drawn->window.top;
    return MOCO_OK;
}

moco_status_t mo_draw_check_size(const mo_draw_t *draw, uint32_t width, uint32_t height)
{
    if ((int64_t)width * height <= draw->max_pixels)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_IMAGE, "claims %ux%u pixels; the limit is %lld in all", width, height,
                   (long long)draw->max_pixels);
}
