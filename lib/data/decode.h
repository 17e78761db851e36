/* Encoded images to pixels: a table of formats. A format recognises its files by their first bytes,
 * reads the header, and draws a window of the image at a scale; nothing else in the library knows
 * one format from another. Called by listings, data sets, the pushing side of the trainer and the
 * embedder. docs/architecture.md says how to add one. */
#ifndef MO_DATA_DECODE_H
#define MO_DATA_DECODE_H

#include <stdint.h>
#include <moco/status.h>

#include "data/data.h"

typedef struct mo_image_header {
    int32_t width, height; /* pixels as stored: a tag that asks for a turned picture is not followed */
    int32_t channels;      /* of the stored pixels: 1 gray, 3 colour, 4 CMYK                         */
} mo_image_header_t;

typedef struct mo_window {
    int32_t left, top, width, height;
} mo_window_t;

/* What is wanted of an image. With max_pixels alone: every pixel at full size. */
typedef struct mo_draw {
    mo_window_t window; /* in pixels of the full image; width and height 0: all of it                                 */
    int32_t reduction;  /* the image may be drawn at 1/reduction of its size, or larger where a format has no such
                           scale; 0 and 1: at full size                                                               */
    int64_t max_pixels; /* of the full image, which is refused beyond it                                              */
} mo_draw_t;

/* What was drawn. The whole image has full_width x full_height pixels at this scale, each side
 * being that of the file divided by `reduction` and rounded up; the pixels hold `window` of it,
 * which covers the window wanted. */
typedef struct mo_drawn {
    int32_t reduction; /* 1 .. the one wanted */
    int32_t full_width, full_height;
    mo_window_t window;
    int64_t warnings; /* damage that left the image usable */
} mo_drawn_t;

typedef struct mo_image_format {
    const char *name;       /* for messages: "JPEG"                                                     */
    const char *endings[4]; /* of file names, without the dot, in lower case; a listing takes all cases */
    int (*recognise)(const uint8_t *encoded, uint64_t size);
    /* The next two get what `recognise` has taken, and may find it damaged all the same:
     * MOCO_ERR_IMAGE with the bare reason. Bytes are hostile, so the limit on pixels is checked
     * before memory is taken. */
    moco_status_t (*read_header)(const uint8_t *encoded, uint64_t size, mo_image_header_t *header);
    /* How the file asks to be turned before it is shown: 2..8 by EXIF, 1 or 0 for as it is. Nobody
     * follows it; it is told. */
    int32_t (*orientation)(const uint8_t *encoded, uint64_t size);
    /* RGB as Pillow gives it. Damage outside of the window may go unnoticed. On failure `out` keeps
     * its size. */
    moco_status_t (*draw)(const uint8_t *encoded, uint64_t size, const mo_draw_t *draw, mo_pixels_t *out,
                          mo_drawn_t *drawn);
} mo_image_format_t;

extern const mo_image_format_t mo_jpeg_format; /* jpeg.c */

/* ---- what the rest of the library calls ---- */

/* Every pixel at full size. *warnings grows by those of this image. MOCO_ERR_IMAGE with the bare
 * reason: damaged, too large, or of another format, which is named where it is known. */
moco_status_t mo_image_decode(const uint8_t *encoded, uint64_t size, int64_t max_pixels, mo_pixels_t *out,
                              int64_t *warnings);
/* A window at a scale. MOCO_ERR_ARGUMENT for a window that is not inside the image. */
moco_status_t mo_image_draw(const uint8_t *encoded, uint64_t size, const mo_draw_t *draw, mo_pixels_t *out,
                            mo_drawn_t *drawn);
moco_status_t mo_image_read_header(const uint8_t *encoded, uint64_t size, mo_image_header_t *header);
/* As the format's; 0 for what no format recognises. */
int32_t mo_image_orientation(const uint8_t *encoded, uint64_t size);
/* Whether a file's name ends like one of an image that this version reads. */
int mo_image_has_ending(const char *name);
#define MO_ENDINGS_TEXT 128
void mo_image_endings(char text[MO_ENDINGS_TEXT]); /* for messages: ".jpg or .jpeg" */

/* ---- for formats ---- */

/* The window of `draw` in an image of this size, drawn at 1/reduction: its place at that scale,
 * rounded outwards. */
moco_status_t mo_draw_window(const mo_draw_t *draw, int32_t width, int32_t height, int32_t reduction,
                             mo_drawn_t *drawn);
/* MOCO_ERR_IMAGE for an image of more pixels than `max_pixels`. */
moco_status_t mo_draw_check_size(const mo_draw_t *draw, uint32_t width, uint32_t height);

#endif
