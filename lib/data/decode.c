/* The table of image formats, and the names of those that it does not have. See decode.h. */
#include "data/decode.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/file_kind.h"
#include "util/status.h"

static const mo_image_format_t *const formats[] = {&mo_jpeg_format};
#define FORMATS (sizeof formats / sizeof formats[0])

static void format_names(char text[MO_ENDINGS_TEXT])
{
    size_t used = 0;
    for (size_t i = 0; i < FORMATS; i++)
        used += (size_t)snprintf(text + used, MO_ENDINGS_TEXT - used, "%s%s", i > 0 ? ", " : "", formats[i]->name);
}

/* The first words of a text: they often say what went wrong where it came from. */
static moco_status_t refuse_text(const uint8_t *encoded, uint64_t size)
{
    char words[41] = "";
    size_t used = 0;
    for (uint64_t i = 0; i < size && used + 1 < sizeof words && encoded[i] != '\n' && encoded[i] != '\r'; i++)
        words[used++] = (char)encoded[i];
    words[used] = '\0';
    return mo_fail(MOCO_ERR_IMAGE, "a text that begins '%s', not an image", words);
}

/* Why bytes that no format takes are refused. */
static moco_status_t refuse(const uint8_t *encoded, uint64_t size)
{
    char names[MO_ENDINGS_TEXT];
    if (encoded == NULL || size == 0)
        return mo_fail(MOCO_ERR_IMAGE, "empty");
    const mo_file_kind_t *kind = mo_file_kind(encoded, size);
    if (kind != NULL && kind->group == MO_FILE_IMAGE)
        return mo_fail(MOCO_ERR_IMAGE, "%s, which this version does not read", kind->what);
    if (kind != NULL && kind->group == MO_FILE_TEXT)
        return refuse_text(encoded, size);
    if (kind != NULL)
        return mo_fail(MOCO_ERR_IMAGE, "%s%s", kind->what, kind->group == MO_FILE_POINTER ? "" : ", not an image");
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

int32_t mo_image_orientation(const uint8_t *encoded, uint64_t size)
{
    for (size_t i = 0; encoded != NULL && i < FORMATS; i++)
        if (formats[i]->recognise(encoded, size))
            return formats[i]->orientation(encoded, size);
    return 0;
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
