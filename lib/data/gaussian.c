/* Blur by a true Gaussian kernel, as SimCLR's published code has it: exp(-x^2 / 2 sigma^2) at whole
 * x, cut at `radius` and normalised to sum 1; along rows, then along columns. Beyond the edges the
 * image is black, as under that code's zero padding, so blurred edges are darker than their
 * surroundings. Here the image has 8 bits before and after, and is rounded (halves up) once, after
 * both passes. Called by views.c.
 *
 * Scratch: bytes[0] the image after the pass along rows, float32; bytes[1] taps, a padded row, a
 * row of sums. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "util/clones.h"
#include "util/status.h"

int32_t mo_gaussian_radius(int32_t size)
{
    return size / 10 / 2;
}

/* taps[0..radius] for distances 0, 1, …; gives the last distance whose tap is not 0, beyond which
 * nothing is added. */
static int32_t fill_taps(double sigma, int32_t radius, float *taps)
{
    double sum = 1.0;
    int32_t last = 0;
    for (int32_t x = 1; x <= radius; x++)
        sum += 2.0 * exp(-(double)x * x / (2.0 * sigma * sigma));
    for (int32_t x = 0; x <= radius; x++) {
        taps[x] = (float)(exp(-(double)x * x / (2.0 * sigma * sigma)) / sum);
        last = taps[x] != 0.0f ? x : last;
    }
    return last;
}

/* `in` is black for `last` pixels on either side. */
static MO_CLONES(void, row_pass, (const float *taps, int32_t last, const float *in, ptrdiff_t values, float *out),
                 (taps, last, in, values, out))
{
    for (ptrdiff_t i = 0; i < values; i++)
        out[i] = taps[0] * in[i];
    for (ptrdiff_t x = 1; x <= last; x++)
        for (ptrdiff_t i = 0; i < values; i++)
            out[i] += taps[x] * (in[i - 3 * x] + in[i + 3 * x]);
}

static MO_CLONES(void, add_row, (float tap, const float *row, size_t values, float *sums), (tap, row, values, sums))
{
    for (size_t i = 0; i < values; i++)
        sums[i] += tap * row[i];
}

static MO_CLONES(void, round_row, (const float *sums, size_t values, uint8_t *out), (sums, values, out))
{
    for (size_t i = 0; i < values; i++)
        out[i] = (uint8_t)(sums[i] + 0.5f); /* at most 255 and a rounding error */
}

moco_status_t mo_blur_gaussian(mo_view_work_t *work, uint8_t *rgb, int32_t width, int32_t height, int32_t radius,
                               double sigma)
{
    moco_status_t status = MOCO_OK;
    const size_t values = (size_t)width * 3, margin = (size_t)radius * 3, taps_room = (size_t)radius + 1;
    TRY(mo_bytes_reserve(&work->bytes[0], &work->capacity[0], values * (size_t)height * sizeof(float)));
    TRY(mo_bytes_reserve(&work->bytes[1], &work->capacity[1], (taps_room + 2 * margin + 2 * values) * sizeof(float)));
    float *image = (float *)(void *)work->bytes[0], *taps = (float *)(void *)work->bytes[1];
    float *padded = taps + taps_room, *sums = padded + 2 * margin + values;
    const int32_t last = fill_taps(sigma, radius, taps);

    memset(padded, 0, (2 * margin + values) * sizeof(float));
    for (int32_t y = 0; y < height; y++) {
        for (size_t i = 0; i < values; i++)
            padded[margin + i] = rgb[(size_t)y * values + i];
        row_pass(taps, last, padded + margin, (ptrdiff_t)values, image + (size_t)y * values);
    }
    for (int32_t y = 0; y < height; y++) {
        memset(sums, 0, values * sizeof(float));
        add_row(taps[0], image + (size_t)y * values, values, sums);
        for (int32_t x = 1; x <= last; x++) {
            if (y >= x)
                add_row(taps[x], image + (size_t)(y - x) * values, values, sums);
            if (y + x < height)
                add_row(taps[x], image + (size_t)(y + x) * values, values, sums);
        }
        round_row(sums, values, rgb + (size_t)y * values);
    }
cleanup:
    return status;
}
