/* Gray, blends and flip on 8-bit RGB. A blend is a + factor * (b - a) in float32, b the pixel and a what the operation
 * fades to; where a does not depend on the pixel's other channels it is a table of 256 bytes. */
#include "data/augment.h"

#include <string.h>

static inline uint32_t luma(const uint8_t *rgb)
{
    return (rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16;
}

void mo_gray(uint8_t *rgb, size_t count)
{
    for (size_t i = 0; i < count; i++, rgb += 3)
        rgb[0] = rgb[1] = rgb[2] = (uint8_t)luma(rgb);
}

/* Truncates; only a factor outside 0..1 can leave 0..255, and then clips. */
static inline uint8_t blend(int a, int b, float factor)
{
    float value = (float)a + factor * (float)(b - a);
    value = value < 0.0f ? 0.0f : value;
    value = value > 255.0f ? 255.0f : value;
    return (uint8_t)(int)value;
}

static void blend_to_constant(uint8_t *bytes, size_t count, int a, float factor)
{
    uint8_t table[256];
    for (int b = 0; b < 256; b++)
        table[b] = factor == 0.0f ? (uint8_t)a : blend(a, b, factor);
    for (size_t i = 0; i < count; i++)
        bytes[i] = table[bytes[i]];
}

void mo_brightness(uint8_t *rgb, size_t count, float factor)
{
    if (factor != 1.0f)
        blend_to_constant(rgb, count * 3, 0, factor);
}

void mo_contrast(uint8_t *rgb, size_t count, float factor)
{
    uint64_t sum = 0;
    if (factor == 1.0f || count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        sum += luma(rgb + 3 * i);
    const int mean = (int)((double)sum / (double)count + 0.5);
    blend_to_constant(rgb, count * 3, mean, factor);
}

void mo_saturation(uint8_t *rgb, size_t count, float factor)
{
    if (factor == 1.0f)
        return;
    if (factor == 0.0f) {
        mo_gray(rgb, count);
        return;
    }
    for (size_t i = 0; i < count; i++, rgb += 3) {
        const int gray = (int)luma(rgb), r = rgb[0], g = rgb[1], b = rgb[2];
        rgb[0] = blend(gray, r, factor);
        rgb[1] = blend(gray, g, factor);
        rgb[2] = blend(gray, b, factor);
    }
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
