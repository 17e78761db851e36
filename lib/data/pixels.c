/* Buffers of 8-bit RGB, and the host's own pixel buffers brought into that form. Called by the decoder, the pushing
 * side of the trainer and the embedder. */
#include "data/data.h"

#include <string.h>

#include "data/augment.h"
#include "util/alloc.h"
#include "util/status.h"

void mo_pixels_free(mo_pixels_t *pixels)
{
    mo_free(pixels->rgb);
    *pixels = (mo_pixels_t){0};
}

moco_status_t mo_bytes_reserve(uint8_t **bytes, size_t *capacity, size_t wanted)
{
    if (wanted <= *capacity)
        return MOCO_OK;
    size_t rounded = 4096;
    while (rounded < wanted && rounded <= SIZE_MAX / 2)
        rounded *= 2; /* images of many sizes soon stop asking for more */
    if (rounded < wanted || wanted > ((size_t)64 << 20))
        rounded = wanted;
    const moco_status_t status = mo_grow(bytes, rounded, 1);
    if (status == MOCO_OK)
        *capacity = rounded;
    return status;
}

static int bytes_per_pixel(int32_t format)
{
    switch (format) {
    case MOCO_PIXELS_RGB:
    case MOCO_PIXELS_BGR: return 3;
    case MOCO_PIXELS_RGBA: return 4;
    case MOCO_PIXELS_GRAY: return 1;
    default: return 0;
    }
}

static moco_status_t check_image(const moco_image_t *image, long long number)
{
    if (image == NULL || image->pixels == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: pixels are NULL", number);
    const int each = bytes_per_pixel(image->format);
    if (each == 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: format is %d; wanted RGB 0, BGR 1, RGBA 2 or GRAY 3", number,
                       image->format);
    if (image->width < 1 || image->height < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: is %dx%d; wanted at least 1x1", number, image->width,
                       image->height);
    if ((int64_t)image->width * image->height > INT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: is %dx%d; wanted at most 2147483647 pixels", number,
                       image->width, image->height);
    const int64_t row = (int64_t)image->width * each;
    if (image->stride != 0 && image->stride < row)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: stride is %lld; wanted 0 or at least %lld", number,
                       (long long)image->stride, (long long)row);
    if (image->reserved != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: reserved is %d; wanted 0", number, image->reserved);
    return MOCO_OK;
}

static void row_to_rgb(const uint8_t *from, int32_t format, int32_t width, uint8_t *to)
{
    switch (format) {
    case MOCO_PIXELS_RGB: memcpy(to, from, (size_t)width * 3); break;
    case MOCO_PIXELS_BGR:
        for (int32_t x = 0; x < width; x++, from += 3, to += 3) {
            to[0] = from[2];
            to[1] = from[1];
            to[2] = from[0];
        }
        break;
    case MOCO_PIXELS_RGBA:
        for (int32_t x = 0; x < width; x++, from += 4, to += 3) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
        break;
    default: /* gray */
        for (int32_t x = 0; x < width; x++, to += 3)
            to[0] = to[1] = to[2] = from[x];
    }
}

moco_status_t mo_pixels_from_image(const moco_image_t *image, int64_t number, mo_pixels_t *out)
{
    moco_status_t status = check_image(image, number);
    if (status != MOCO_OK)
        return status;
    const size_t width = (size_t)image->width, height = (size_t)image->height;
    const size_t stride = image->stride ? (size_t)image->stride : width * (size_t)bytes_per_pixel(image->format);
    status = mo_bytes_reserve(&out->rgb, &out->capacity, width * height * 3);
    if (status != MOCO_OK)
        return status;
    for (size_t y = 0; y < height; y++)
        row_to_rgb(image->pixels + y * stride, image->format, image->width, out->rgb + y * width * 3);
    out->width = image->width;
    out->height = image->height;
    return MOCO_OK;
}
