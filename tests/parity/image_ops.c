/* Runs one image operation after the other for test_pillow.py: requests on standard input, answers
 * on standard output. Request: int32 operation, width, height, bytes, whole[6]; double number; then
 * the bytes. Answer: int32 status, width, height; then width*height*3 bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"
#include "data/decode.h"
#include "data/planes.h"

typedef struct request {
    int32_t operation, width, height, bytes, whole[6];
    double number;
} request_t;

/* RESIZE takes its filter as the number, GAUSSIAN its radius as whole[0]. */
enum {
    DECODE,
    RESIZE,
    GRAY,
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    TO_HSV,
    TO_RGB,
    HUE,
    BLUR,
    FLIP,
    EVAL,
    SOLARIZE,
    GAUSSIAN
};

static void convert(void (*planes_to)(mo_planes_t *), const uint8_t *from, size_t count, uint8_t *to)
{
    mo_planes_t planes = {0};
    for (size_t n; count > 0; count -= n, from += 3 * n, to += 3 * n) {
        n = mo_planes_count(count);
        mo_planes_load(from, n, &planes);
        planes_to(&planes);
        mo_planes_store(&planes, n, to);
    }
}

static moco_status_t run(const request_t *r, mo_pixels_t *pixels, mo_view_work_t *work, mo_pixels_t *out)
{
    const size_t count = (size_t)r->width * (size_t)r->height;
    int64_t warnings = 0;
    uint8_t *rgb = pixels->rgb;
    int32_t width = r->width, height = r->height;
    moco_status_t status = MOCO_OK;
    if (r->operation == DECODE)
        return mo_image_decode(rgb, (uint64_t)r->bytes, 178956970, out, &warnings);
    if (r->operation == RESIZE || r->operation == EVAL) {
        width = r->whole[4];
        height = r->whole[5];
    }
    status = mo_bytes_reserve(&out->rgb, &out->capacity, (size_t)width * (size_t)height * 3 + 1);
    if (status != MOCO_OK)
        return status;
    out->width = width;
    out->height = height;
    const mo_resize_t resize = {.src = rgb + ((size_t)r->whole[1] * (size_t)r->width + (size_t)r->whole[0]) * 3,
                                .stride = (size_t)r->width * 3,
                                .width = r->whole[2],
                                .height = r->whole[3],
                                .full_width = width,
                                .full_height = height,
                                .window_width = width,
                                .window_height = height,
                                .filter = (int32_t)r->number};
    const float factor = (float)r->number;
    switch (r->operation) {
    case RESIZE: return mo_resize(work, &resize, out->rgb, (size_t)width * 3);
    case EVAL: return mo_view_eval(work, pixels, r->whole[0], width, out->rgb);
    case TO_HSV: convert(mo_planes_to_hsv, rgb, count, out->rgb); return MOCO_OK;
    case TO_RGB: convert(mo_planes_to_rgb, rgb, count, out->rgb); return MOCO_OK;
    default: break;
    }
    memcpy(out->rgb, rgb, count * 3);
    switch (r->operation) {
    case GRAY: mo_gray(out->rgb, count); break;
    case BRIGHTNESS: mo_brightness(out->rgb, count, factor); break;
    case CONTRAST: mo_contrast(out->rgb, count, factor); break;
    case SATURATION: mo_saturation(out->rgb, count, factor); break;
    case HUE: mo_hue(out->rgb, count, r->number); break;
    case BLUR: status = mo_blur(work, out->rgb, width, height, r->number); break;
    case GAUSSIAN: status = mo_blur_gaussian(work, out->rgb, width, height, r->whole[0], r->number); break;
    case SOLARIZE: mo_solarize(out->rgb, count); break;
    case FLIP: mo_flip(out->rgb, width, height); break;
    default: return MOCO_ERR_ARGUMENT;
    }
    return status;
}

int main(void)
{
    request_t request;
    mo_pixels_t in = {0}, out = {0};
    mo_view_work_t work = {0};
    int rc = 0;
    while (rc == 0 && fread(&request, sizeof request, 1, stdin) == 1) {
        const size_t bytes = (size_t)request.bytes;
        if (mo_bytes_reserve(&in.rgb, &in.capacity, bytes + 1) != MOCO_OK || fread(in.rgb, 1, bytes, stdin) != bytes)
            rc = 1;
        in.width = request.width;
        in.height = request.height;
        const int32_t status = rc ? rc : run(&request, &in, &work, &out);
        const int32_t head[3] = {status, status ? 0 : out.width, status ? 0 : out.height};
        fwrite(head, sizeof head, 1, stdout);
        fwrite(out.rgb, 3, (size_t)head[1] * (size_t)head[2], stdout);
        fflush(stdout);
    }
    mo_pixels_free(&in);
    mo_pixels_free(&out);
    mo_view_work_free(&work);
    return rc;
}
