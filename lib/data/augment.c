/* Gray, blends, solarizing and flip on 8-bit RGB. A blend is a + factor * (b - a) in float32, b the
 * pixel and a what the operation fades to; where a does not depend on the pixel's other channels it
 * is a table of 256 bytes. */
#include "data/augment.h"

#include <string.h>

#include "data/planes.h"
#include "util/clones.h"

static inline int32_t luma(int32_t r, int32_t g, int32_t b)
{
    return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
}

/* In place: all three planes. */
static MO_CLONES(void, lumas, (mo_planes_t * planes), (planes))
{
    for (int i = 0; i < MO_PLANE; i++)
        planes->first[i] = planes->second[i] = planes->third[i] =
            luma(planes->first[i], planes->second[i], planes->third[i]);
}

void mo_gray(uint8_t *rgb, size_t count)
{
    mo_planes_t planes = {0};
    for (size_t n; count > 0; count -= n, rgb += 3 * n) {
        n = mo_planes_count(count);
        mo_planes_load(rgb, n, &planes);
        lumas(&planes);
        mo_planes_store(&planes, n, rgb);
    }
}

/* Of the first `count`. */
static MO_CLONES(uint32_t, luma_sum, (const mo_planes_t *planes, size_t count), (planes, count))
{
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (uint32_t)luma(planes->first[i], planes->second[i], planes->third[i]);
    return sum;
}

static uint64_t image_luma_sum(const uint8_t *rgb, size_t count)
{
    mo_planes_t planes;
    uint64_t sum = 0;
    for (size_t n; count > 0; count -= n, rgb += 3 * n) {
        n = mo_planes_count(count);
        mo_planes_load(rgb, n, &planes);
        sum += luma_sum(&planes, n);
    }
    return sum;
}

/* Truncates, and clips where a factor outside 0..1 leaves 0..255. Truncating first comes to the
 * same: -0.9 is 0. */
static inline int32_t blend(int32_t a, int32_t b, float factor)
{
    int32_t value = (int32_t)((float)a + factor * (float)(b - a));
    value = value < 0 ? 0 : value;
    return value > 255 ? 255 : value;
}

static MO_CLONES(void, blend_to_constant, (uint8_t * bytes, size_t count, int a, float factor),
                 (bytes, count, a, factor))
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)blend(a, bytes[i], factor);
}

void mo_brightness(uint8_t *rgb, size_t count, float factor)
{
    if (factor != 1.0f)
        blend_to_constant(rgb, count * 3, 0, factor);
}

void mo_contrast(uint8_t *rgb, size_t count, float factor)
{
    if (factor == 1.0f || count == 0)
        return;
    const int mean = (int)((double)image_luma_sum(rgb, count) / (double)count + 0.5);
    blend_to_constant(rgb, count * 3, mean, factor);
}

static MO_CLONES(void, saturate, (mo_planes_t * planes, float factor), (planes, factor))
{
    int32_t *const red = planes->first, *const green = planes->second, *const blue = planes->third;
    for (int i = 0; i < MO_PLANE; i++) {
        const int32_t r = red[i], g = green[i], b = blue[i], gray = luma(r, g, b);
        red[i] = blend(gray, r, factor);
        green[i] = blend(gray, g, factor);
        blue[i] = blend(gray, b, factor);
    }
}

void mo_saturation(uint8_t *rgb, size_t count, float factor)
{
    mo_planes_t planes = {0};
    if (factor == 1.0f)
        return;
    if (factor == 0.0f) {
        mo_gray(rgb, count);
        return;
    }
    for (size_t n; count > 0; count -= n, rgb += 3 * n) {
        n = mo_planes_count(count);
        mo_planes_load(rgb, n, &planes);
        saturate(&planes, factor);
        mo_planes_store(&planes, n, rgb);
    }
}

void mo_solarize(uint8_t *rgb, size_t count)
{
    for (size_t i = 0; i < count * 3; i++)
        rgb[i] = (uint8_t)(rgb[i] < 128 ? rgb[i] : 255 - rgb[i]);
}

void mo_flip(uint8_t *rgb, int32_t width, int32_t height)
{
    for (int32_t y = 0; y < height; y++, rgb += (size_t)width * 3) {
        uint8_t *left = rgb, *right = rgb + ((size_t)width - 1) * 3;
        for (; left < right; left += 3, right -= 3) {
            uint8_t pixel[3];
            memcpy(pixel, left, 3);
            memcpy(left, right, 3);
            memcpy(right, pixel, 3);
        }
    }
}
