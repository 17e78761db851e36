/* Operations on 8-bit RGB pixels, each but the true Gaussian to the bytes that Pillow gives. Rows
 * are packed unless a stride is named; images are in place unless a destination is named. Called by
 * views.c; tests call them one by one. */
#ifndef MO_DATA_AUGMENT_H
#define MO_DATA_AUGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "data/data.h"

/* Makes place for `wanted` bytes; contents are kept, new bytes are not zeroed. (pixels.c) */
moco_status_t mo_bytes_reserve(uint8_t **bytes, size_t *capacity, size_t wanted);

/* A part of the source, resized to full_width x full_height, of which only a window is made.
 * (resize.c) */
typedef struct mo_resize {
    const uint8_t *src;    /* first pixel of the part                     */
    size_t stride;         /* bytes from row to row of the source         */
    int32_t width, height; /* of the part: the filter sees nothing else   */
    int32_t full_width, full_height;
    int32_t left, top, window_width, window_height;
    int32_t filter; /* MOCO_FILTER_… */
} mo_resize_t;
/* Antialiased, horizontal then vertical, 8 bits between; equal sizes copy. dst rows are dst_stride
 * apart. */
moco_status_t mo_resize(mo_view_work_t *work, const mo_resize_t *resize, uint8_t *dst, size_t dst_stride);

/* (augment.c) `count` pixels each. */
void mo_gray(uint8_t *rgb, size_t count);
void mo_brightness(uint8_t *rgb, size_t count, float factor);
void mo_contrast(uint8_t *rgb, size_t count, float factor);
void mo_saturation(uint8_t *rgb, size_t count, float factor);
void mo_solarize(uint8_t *rgb, size_t count); /* values from 128 on become 255 - value */
void mo_flip(uint8_t *rgb, int32_t width, int32_t height);

/* (hue.c) `shift` is a share of the circle, -0.5..0.5; 0 still takes the lossy way through HSV. */
void mo_hue(uint8_t *rgb, size_t count, double shift);

/* (blur.c) One box pass has whole radius n and weights ww (inside) and fw (the two ends), of
 * 2^24. */
typedef struct mo_box {
    float radius;
    int32_t n;
    uint32_t ww, fw;
} mo_box_t;
mo_box_t mo_blur_box(double sigma);
moco_status_t mo_blur(mo_view_work_t *work, uint8_t *rgb, int32_t width, int32_t height, double sigma);

/* (gaussian.c) The true kernel, 2 radius + 1 pixels wide; black beyond the edges. */
int32_t mo_gaussian_radius(int32_t size); /* of SimCLR for views of `size` pixels: a kernel of about a tenth of them */
moco_status_t mo_blur_gaussian(mo_view_work_t *work, uint8_t *rgb, int32_t width, int32_t height, int32_t radius,
                               double sigma);

#endif
