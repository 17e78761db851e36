/* Hue shift by way of 8-bit HSV, a block of pixels at a time in loops without branches, which
 * compilers vectorise. The conversions keep Pillow's mixture of float32 and double, which decides
 * the bytes; both directions are compared with it over all 2^24 inputs
 * (tests/parity/test_pillow.py). */
#include "data/augment.h"

#include "data/planes.h"
#include "util/clones.h"

/* hue is 0..6 around the circle. Of the three distances to the highest channel, over d, one is 0
 * and one is 1, so each case (bc - gc, 2 + rc - bc, 4 + gc - rc) is a whole number plus or, where
 * it falls, minus the third. */
MO_CLONES(void, mo_planes_to_hsv, (mo_planes_t * planes), (planes))
{
    int32_t *const first = planes->first, *const second = planes->second, *const third = planes->third;
    for (int i = 0; i < MO_PLANE; i++) {
        const int32_t r = first[i], g = second[i], b = third[i];
        const int32_t rg_high = r > g ? r : g, rg_low = r < g ? r : g;
        const int32_t high = rg_high > b ? rg_high : b, low = rg_low < b ? rg_low : b;
        const int32_t distance = high - low, middle = r + g + b - high - low;
        const int32_t red = r == high, green = (g == high) & ~red, blue = 1 - red - green; /* one of them is 1 */
        const int32_t falls = (red & (b == low)) | (green & (r == low)) | (blue & (g == low));
        const int32_t whole = 2 * falls - 1 + 2 * green + 4 * blue, sign = 1 - 2 * falls;
        const float ratio = (float)(high - middle) / (float)(distance + (distance == 0));
        const float hue = (float)whole + (float)sign * ratio;
        const double turned = (double)hue / 6.0 + 1.0; /* 5/6..2 */
        const float fraction = (float)(turned - (double)(int32_t)turned);
        const float share = (float)distance / (float)(high + (high == 0));
        first[i] = (int32_t)((double)fraction * 255.0) & -(distance != 0);
        second[i] = (int32_t)((double)share * 255.0);
        third[i] = high;
    }
}

/* v times a number in 0..1, halves away from zero. */
static inline int32_t scale(double v, double by)
{
    return (int32_t)(v * by + 0.5);
}

/* Saturation 0 needs no case of its own: then p, q and t are v. */
MO_CLONES(void, mo_planes_to_rgb, (mo_planes_t * planes), (planes))
{
    int32_t *const first = planes->first, *const second = planes->second, *const third = planes->third;
    for (int i = 0; i < MO_PLANE; i++) {
        const int32_t v = third[i];
        const double value = v, sector = (double)((float)first[i] * 6.0f) / 255.0;
        const int32_t side = (int32_t)sector; /* 0..6, 6 being 0 */
        const float f = (float)(sector - (double)side), fs = (float)((double)second[i] / 255.0);
        const int32_t p = scale(value, 1.0 - (double)fs), q = scale(value, 1.0 - (double)(fs * f));
        const int32_t t = scale(value, 1.0 - (double)fs * (1.0 - (double)f));
        const int32_t m0 = -((side == 0) | (side == 6)), m1 = -(side == 1), m2 = -(side == 2), m3 = -(side == 3);
        const int32_t m4 = -(side == 4), m5 = -(side == 5);
        first[i] = (v & (m0 | m5)) | (q & m1) | (p & (m2 | m3)) | (t & m4);
        second[i] = (t & m0) | (v & (m1 | m2)) | (q & m3) | (p & (m4 | m5));
        third[i] = (p & (m0 | m1)) | (t & m2) | (v & (m3 | m4)) | (q & m5);
    }
}

void mo_hue(uint8_t *rgb, size_t count, double shift)
{
    const int turn = (int)(shift * 255.0); /* toward zero; the sum wraps at 256 although the scale is 255 */
    mo_planes_t planes = {0};
    for (size_t n; count > 0; count -= n, rgb += 3 * n) {
        n = mo_planes_count(count);
        mo_planes_load(rgb, n, &planes);
        mo_planes_to_hsv(&planes);
        for (int i = 0; i < MO_PLANE; i++)
            planes.first[i] = (planes.first[i] + turn) & 255;
        mo_planes_to_rgb(&planes);
        mo_planes_store(&planes, n, rgb);
    }
}
