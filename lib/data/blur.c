/* Gaussian blur as Pillow approximates it: three extended box passes along rows, then three along
 * columns, rounded to 8 bits after each. A box has whole radius n and ends of fractional weight;
 * outside the image the edge pixel goes on. Scratch: bytes[0] a second image, bytes[1] two padded
 * rows and the running sums of a row. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "util/clones.h"
#include "util/status.h"

#define ONE (1u << 24)
#define HALF (1u << 23)
#define PASSES 3

/* Box radius whose three passes have the variance of a Gaussian of `sigma`; float32 at the places
 * where Pillow has it. */
mo_box_t mo_blur_box(double sigma)
{
    const float radius = (float)sigma;
    const float variance = radius * radius / PASSES;
    const float length = (float)sqrt(12.0 * (double)variance + 1.0);
    const float l = (float)floor(((double)length - 1.0) / 2.0);
    float a = (2 * l + 1) * (l * (l + 1) - 3 * variance);
    a /= 6 * (variance - (l + 1) * (l + 1));
    mo_box_t box = {.radius = l + a};
    box.n = (int32_t)box.radius;
    box.ww = (uint32_t)((float)ONE / (box.radius * 2 + 1));
    box.fw = (ONE - ((uint32_t)box.n * 2 + 1) * box.ww) / 2;
    return box;
}

static inline uint8_t weigh(const mo_box_t *box, uint32_t inside, uint32_t ends)
{
    return (uint8_t)((box->ww * inside + box->fw * ends + HALF) >> 24);
}

/* ---- along rows: `in` has n + 1 valid pixels before and after ---- */

static MO_CLONES(void, row_pass, (const mo_box_t *box, const uint8_t *in, size_t count, uint8_t *out),
                 (box, in, count, out))
{
    const mo_box_t b = *box;
    const ptrdiff_t far = 3 * ((ptrdiff_t)b.n + 1), bytes = (ptrdiff_t)count * 3;
    if (b.n == 0) {
        for (ptrdiff_t i = 0; i < bytes; i++)
            out[i] = weigh(&b, in[i], (uint32_t)in[i - 3] + in[i + 3]);
    } else if (b.n == 1) {
        for (ptrdiff_t i = 0; i < bytes; i++)
            out[i] = weigh(&b, (uint32_t)in[i - 3] + in[i] + in[i + 3], (uint32_t)in[i - 6] + in[i + 6]);
    } else {
        uint32_t sums[3] = {0};
        for (ptrdiff_t i = -far; i < far - 3; i++)
            sums[(i + far) % 3] += in[i];
        for (ptrdiff_t i = 0; i < bytes; i += 3)
            for (ptrdiff_t c = 0; c < 3; c++) {
                sums[c] += (uint32_t)in[i + c + far - 3] - in[i + c - far];
                out[i + c] = weigh(&b, sums[c], (uint32_t)in[i + c - far] + in[i + c + far]);
            }
    }
}

static void pad_row(uint8_t *row, size_t width, size_t pad)
{
    for (size_t i = 1; i <= pad; i++) {
        memcpy(row - 3 * i, row, 3);
        memcpy(row + 3 * (width - 1 + i), row + 3 * (width - 1), 3);
    }
}

static void blur_row(const mo_box_t *box, const uint8_t *src, size_t width, uint8_t *dst, uint8_t *padded[2])
{
    const size_t pad = (size_t)box->n + 1;
    memcpy(padded[0], src, width * 3);
    pad_row(padded[0], width, pad);
    row_pass(box, padded[0], width, padded[1]);
    pad_row(padded[1], width, pad);
    row_pass(box, padded[1], width, padded[0]);
    pad_row(padded[0], width, pad);
    row_pass(box, padded[0], width, dst);
}

/* ---- along columns: whole rows at a time ---- */

static const uint8_t *row_at(const uint8_t *image, size_t row_bytes, int32_t height, int64_t y)
{
    y = y < 0 ? 0 : y >= height ? height - 1 : y;
    return image + (size_t)y * row_bytes;
}

static MO_CLONES(void, column_pass,
                 (const mo_box_t *box, const uint8_t *src, size_t row_bytes, int32_t height, uint8_t *dst,
                  uint32_t *sums),
                 (box, src, row_bytes, height, dst, sums))
{
    const mo_box_t b = *box;
    const int64_t n = b.n;
    memset(sums, 0, row_bytes * sizeof *sums);
    for (int64_t d = -n - 1; d < n; d++) { /* the sums of row -1 */
        const uint8_t *row = row_at(src, row_bytes, height, d);
        for (size_t j = 0; j < row_bytes; j++)
            sums[j] += row[j];
    }
    for (int64_t y = 0; y < height; y++, dst += row_bytes) {
        const uint8_t *above = row_at(src, row_bytes, height, y - n - 1);
        const uint8_t *last = row_at(src, row_bytes, height, y + n);
        const uint8_t *below = row_at(src, row_bytes, height, y + n + 1);
        for (size_t j = 0; j < row_bytes; j++) {
            const uint32_t sum = sums[j] + last[j] - above[j];
            sums[j] = sum;
            dst[j] = weigh(&b, sum, (uint32_t)above[j] + below[j]);
        }
    }
}

moco_status_t mo_blur(mo_view_work_t *work, uint8_t *rgb, int32_t width, int32_t height, double sigma)
{
    moco_status_t status = MOCO_OK;
    const mo_box_t box = mo_blur_box(sigma);
    const size_t row_bytes = (size_t)width * 3, padded_bytes = row_bytes + 6 * ((size_t)box.n + 1);
    const size_t sums_bytes = row_bytes * sizeof(uint32_t);
    TRY(mo_bytes_reserve(&work->bytes[0], &work->capacity[0], row_bytes * (size_t)height));
    TRY(mo_bytes_reserve(&work->bytes[1], &work->capacity[1], sums_bytes + 2 * padded_bytes));
    uint32_t *sums = (uint32_t *)(void *)work->bytes[1];
    uint8_t *first = work->bytes[1] + sums_bytes + 3 * ((size_t)box.n + 1);
    uint8_t *padded[2] = {first, first + padded_bytes};
    uint8_t *other = work->bytes[0];

    for (int32_t y = 0; y < height; y++)
        blur_row(&box, rgb + (size_t)y * row_bytes, (size_t)width, other + (size_t)y * row_bytes, padded);
    column_pass(&box, other, row_bytes, height, rgb, sums);
    column_pass(&box, rgb, row_bytes, height, other, sums);
    column_pass(&box, other, row_bytes, height, rgb, sums);
cleanup:
    return status;
}
