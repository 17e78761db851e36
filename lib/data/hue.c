/* Hue shift by way of 8-bit HSV. The conversions keep Pillow's mixture of float32 and double, which decides the bytes;
 * both directions are compared with it over all 2^24 inputs (tests/parity/test_pillow.py). */
#include "data/augment.h"

static inline void to_hsv(int r, int g, int b, int *h, int *s, int *v)
{
    const int high = r > g ? (r > b ? r : b) : (g > b ? g : b);
    const int low = r < g ? (r < b ? r : b) : (g < b ? g : b);
    const int distance = high - low;
    *v = high;
    if (distance == 0) {
        *h = *s = 0;
        return;
    }
    const float d = (float)distance;
    /* Of the three distances to the highest channel one is 0 and one is d: only the third needs a division. */
    float hue;
    if (r == high)
        hue = (float)(high - b) / d - (float)(high - g) / d;
    else if (g == high)
        hue = (float)(2.0 + (double)((float)(high - r) / d) - (double)((float)(high - b) / d));
    else
        hue = (float)(4.0 + (double)((float)(high - g) / d) - (double)((float)(high - r) / d));
    const double turned = (double)hue / 6.0 + 1.0; /* in 5/6..2, so its fraction is one subtraction */
    const float fraction = (float)(turned >= 1.0 ? turned - 1.0 : turned);
    *h = (int)((double)fraction * 255.0);
    *s = (int)((double)(d / (float)high) * 255.0);
}

static inline int round_away(double value)
{
    return (int)(value + 0.5); /* value >= 0 and far from where the sum would round */
}

static inline void to_rgb(int h, int s, int v, uint8_t *rgb)
{
    if (s == 0) {
        rgb[0] = rgb[1] = rgb[2] = (uint8_t)v;
        return;
    }
    const double sector = (double)((float)h * 6.0f) / 255.0;
    const int i = (int)sector;
    const float f = (float)(sector - (double)(float)i);
    const float fs = (float)((double)(float)s / 255.0);
    const uint8_t up = (uint8_t)round_away((double)(float)v * (1.0 - (double)fs));
    const uint8_t uq = (uint8_t)round_away((double)(float)v * (1.0 - (double)(fs * f)));
    const uint8_t ut = (uint8_t)round_away((double)(float)v * (1.0 - (double)fs * (1.0 - (double)f)));
    const uint8_t uv = (uint8_t)v;
    const uint8_t table[6][3] = {{uv, ut, up}, {uq, uv, up}, {up, uv, ut}, {up, uq, uv}, {ut, up, uv}, {uv, up, uq}};
    const uint8_t *row = table[i == 6 ? 0 : i];
    rgb[0] = row[0];
    rgb[1] = row[1];
    rgb[2] = row[2];
}

void mo_rgb_to_hsv(const uint8_t *rgb, size_t count, uint8_t *hsv)
{
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        int h, s, v;
        to_hsv(rgb[0], rgb[1], rgb[2], &h, &s, &v);
        hsv[0] = (uint8_t)h;
        hsv[1] = (uint8_t)s;
        hsv[2] = (uint8_t)v;
    }
}

void mo_hsv_to_rgb(const uint8_t *hsv, size_t count, uint8_t *rgb)
{
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3)
        to_rgb(hsv[0], hsv[1], hsv[2], rgb);
}

void mo_hue(uint8_t *rgb, size_t count, double shift)
{
    const int turn = (int)(shift * 255.0); /* toward zero; the sum wraps at 256 although the scale is 255 */
    for (size_t i = 0; i < count; i++, rgb += 3) {
        int h, s, v;
        to_hsv(rgb[0], rgb[1], rgb[2], &h, &s, &v);
        to_rgb((h + turn) & 255, s, v, rgb);
    }
}
