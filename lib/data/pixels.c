/* Buffers of 8-bit RGB, and the host's own pixel buffers brought into that form. Called by the
 * decoder, the pushing side of the trainer and the embedder. */
#include "data/data.h"

#include <stddef.h>
#include <string.h>

#include "data/augment.h"
#include "util/alloc.h"
#include "util/status.h"
#include "util/structsize.h"

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

/* What a later version may read: told apart from nonsense, so that a host learns that it is the
 * version. */
static moco_status_t check_form(const moco_image_t *image, long long number, int each)
{
    if (image->plane_count < 0 || image->plane_count > 4)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: plane_count is %d; wanted 0 or 1", number, image->plane_count);
    if (image->plane_count > 1)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "image %lld: has %d planes; this version reads interleaved channels",
                       number, image->plane_count);
    if (image->bit_depth != 0 && image->bit_depth != 8)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "image %lld: has channels of %d bits; this version reads 8", number,
                       image->bit_depth);
    if (image->channels != 0 && image->channels != each)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: channels is %d; wanted 0 or the %d of its format", number,
                       image->channels, each);
    return MOCO_OK;
}

static moco_status_t check_image(const moco_image_t *image, long long number)
{
    if (image->planes[0] == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: planes[0] is NULL", number);
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
    if (image->strides[0] != 0 && image->strides[0] < row)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: strides[0] is %lld; wanted 0 or at least %lld", number,
                       (long long)image->strides[0], (long long)row);
    return check_form(image, number, each);
}

/* The array lies in memory as the host's compiler laid it out: elements are as far apart as it says
 * they are long. */
static moco_status_t take_image(const moco_image_t *images, int64_t index, moco_image_t *out)
{
    static const moco_image_t nothing = {.struct_size = sizeof nothing};
    if (images == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: images is NULL", (long long)index);
    const uint64_t each = images->struct_size;
    if (each < offsetof(moco_image_t, plane_count) || each > MO_STRUCT_SIZE_MAX || each % sizeof(uint64_t) != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "image 0: struct_size is %llu; wanted sizeof(moco_image_t)",
                       (unsigned long long)each);
    const moco_image_t *image = (const moco_image_t *)((const uint8_t *)images + (uint64_t)index * each);
    if (image->struct_size != each)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld: struct_size is %llu; wanted the %llu of image 0",
                       (long long)index, (unsigned long long)image->struct_size, (unsigned long long)each);
    return mo_struct_overlay(image, out, &nothing, sizeof nothing);
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

moco_status_t mo_pixels_from_images(const moco_image_t *images, int64_t index, mo_pixels_t *out)
{
    moco_status_t status = MOCO_OK;
    moco_image_t image;
    TRY(take_image(images, index, &image));
    TRY(check_image(&image, index));
    const size_t width = (size_t)image.width, height = (size_t)image.height;
    const size_t stride = image.strides[0] ? (size_t)image.strides[0] : width * (size_t)bytes_per_pixel(image.format);
    TRY(mo_bytes_reserve(&out->rgb, &out->capacity, width * height * 3));
    for (size_t y = 0; y < height; y++)
        row_to_rgb(image.planes[0] + y * stride, image.format, image.width, out->rgb + y * width * 3);
    out->width = image.width;
    out->height = image.height;
cleanup:
    return status;
}
