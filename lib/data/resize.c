/* Antialiased resize in fixed point, bilinear (triangle) or bicubic (a = -1/2), horizontal then
 * vertical with 8 bits between. Only the window asked for is made, from only the source rows and
 * columns that it needs. Scratch: bytes[0] the horizontal pass, bytes[2] the taps of both axes,
 * weights those of one output pixel. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/clones.h"
#include "util/status.h"

#define PRECISION 22 /* bits of a tap: 32 - 8 for the pixel - 2 for the sum and, in bicubic, its overshoot */
#define HALF (1 << (PRECISION - 1))
#define BLOCK 512 /* bytes of a row that the vertical pass sums at once */

/* For each output pixel of one axis: first source pixel, number of taps, taps. */
typedef struct axis {
    int32_t *cells; /* [count][2 + most] */
    int32_t most, count;
    double scale, filter_scale, support;
    double (*filter)(double distance);
} axis_t;

static double triangle(double distance)
{
    return distance < 1.0 ? 1.0 - distance : 0.0;
}

/* Products and sums in Pillow's order, which decides the last bit. */
static double cubic(double x)
{
    const double a = -0.5;
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static axis_t axis_of(int32_t filter, int32_t in, int32_t out, int32_t count)
{
    axis_t axis = {.count = count, .scale = (double)in / out};
    axis.filter = filter == MOCO_FILTER_BICUBIC ? cubic : triangle;
    axis.filter_scale = axis.scale < 1.0 ? 1.0 : axis.scale;
    axis.support = (filter == MOCO_FILTER_BICUBIC ? 2.0 : 1.0) * axis.filter_scale;
    axis.most = (int32_t)ceil(axis.support) * 2 + 1;
    return axis;
}

static size_t axis_bytes(const axis_t *axis)
{
    return (size_t)axis->count * (size_t)(2 + axis->most) * sizeof(int32_t);
}

static const int32_t *cell_of(const axis_t *axis, int32_t i)
{
    return axis->cells + (size_t)i * (size_t)(2 + axis->most);
}

static void fill_axis(axis_t *axis, int32_t in, int32_t first, double *weights)
{
    const double support = axis->support, inverse = 1.0 / axis->filter_scale;
    for (int32_t i = 0; i < axis->count; i++) {
        int32_t *cell = axis->cells + (size_t)i * (size_t)(2 + axis->most);
        const double centre = (first + i + 0.5) * axis->scale;
        int32_t low = (int32_t)(centre - support + 0.5), high = (int32_t)(centre + support + 0.5);
        low = low < 0 ? 0 : low;
        high = high > in ? in : high;
        double sum = 0.0;
        for (int32_t t = 0; t < high - low; t++) {
            weights[t] = axis->filter(fabs((t + low - centre + 0.5) * inverse));
            sum += weights[t];
        }
        cell[0] = low;
        cell[1] = high - low;
        for (int32_t t = 0; t < high - low; t++) { /* halves away from zero */
            const double weight = sum != 0.0 ? weights[t] / sum : weights[t];
            cell[2 + t] = (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << PRECISION));
        }
    }
}

static inline uint8_t narrow(int32_t sum)
{
    const int32_t value = sum >> PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static MO_CLONES(void, horizontal_row, (const axis_t *axis, const uint8_t *src, uint8_t *dst), (axis, src, dst))
{
    const int32_t *cell = axis->cells;
    for (int32_t i = 0; i < axis->count; i++, cell += 2 + axis->most, dst += 3) {
        const uint8_t *pixel = src + (size_t)cell[0] * 3;
        const int32_t *taps = cell + 2, count = cell[1];
        int32_t r = HALF, g = HALF, b = HALF;
        for (int32_t t = 0; t < count; t++, pixel += 3) {
            r += taps[t] * pixel[0];
            g += taps[t] * pixel[1];
            b += taps[t] * pixel[2];
        }
        dst[0] = narrow(r);
        dst[1] = narrow(g);
        dst[2] = narrow(b);
    }
}

static MO_CLONES(void, vertical_row,
                 (const int32_t *cell, const uint8_t *src, size_t stride, size_t row_bytes, uint8_t *dst),
                 (cell, src, stride, row_bytes, dst))
{
    int32_t sums[BLOCK];
    for (size_t from = 0; from < row_bytes; from += BLOCK) {
        const size_t count = row_bytes - from < BLOCK ? row_bytes - from : BLOCK;
        for (size_t j = 0; j < count; j++)
            sums[j] = HALF;
        for (int32_t t = 0; t < cell[1]; t++) {
            const uint8_t *row = src + (size_t)t * stride + from;
            const int32_t tap = cell[2 + t];
            for (size_t j = 0; j < count; j++)
                sums[j] += tap * row[j];
        }
        for (size_t j = 0; j < count; j++)
            dst[from + j] = narrow(sums[j]);
    }
}

static void copy_rows(const uint8_t *src, size_t stride, size_t row_bytes, int32_t rows, uint8_t *dst,
                      size_t dst_stride)
{
    for (int32_t y = 0; y < rows; y++)
        memcpy(dst + (size_t)y * dst_stride, src + (size_t)y * stride, row_bytes);
}

static moco_status_t prepare(mo_view_work_t *work, const mo_resize_t *r, axis_t *across, axis_t *down)
{
    moco_status_t status = MOCO_OK;
    *across = axis_of(r->filter, r->width, r->full_width, r->window_width);
    *down = axis_of(r->filter, r->height, r->full_height, r->window_height);
    const size_t most = (size_t)(across->most > down->most ? across->most : down->most);
    const size_t across_bytes = axis_bytes(across);
    TRY(mo_bytes_reserve(&work->bytes[2], &work->capacity[2], across_bytes + axis_bytes(down)));
    if (most > work->weights_capacity) {
        TRY(mo_grow(&work->weights, 2 * most, sizeof(double)));
        work->weights_capacity = 2 * most;
    }
    across->cells = (int32_t *)(void *)work->bytes[2];
    down->cells = (int32_t *)(void *)(work->bytes[2] + across_bytes);
    fill_axis(across, r->width, r->left, work->weights);
    fill_axis(down, r->height, r->top, work->weights);
cleanup:
    return status;
}

moco_status_t mo_resize(mo_view_work_t *work, const mo_resize_t *r, uint8_t *dst, size_t dst_stride)
{
    moco_status_t status = MOCO_OK;
    axis_t across, down;
    const size_t row_bytes = (size_t)r->window_width * 3;
    const uint8_t *src = r->src;
    size_t stride = r->stride;
    const int same_width = r->width == r->full_width, same_height = r->height == r->full_height;
    TRY(prepare(work, r, &across, &down));
    const int32_t *last = cell_of(&down, down.count - 1);
    const int32_t first_row = same_height ? r->top : down.cells[0];
    const int32_t rows = same_height ? r->window_height : last[0] + last[1] - first_row;

    src += (size_t)first_row * stride;
    if (same_width) {
        src += (size_t)r->left * 3;
    } else {
        uint8_t *to = dst;
        size_t to_stride = dst_stride;
        if (!same_height) {
            TRY(mo_bytes_reserve(&work->bytes[0], &work->capacity[0], (size_t)rows * row_bytes));
            to = work->bytes[0];
            to_stride = row_bytes;
        }
        for (int32_t y = 0; y < rows; y++)
            horizontal_row(&across, src + (size_t)y * stride, to + (size_t)y * to_stride);
        src = to;
        stride = to_stride;
    }
    if (!same_height) {
        for (int32_t y = 0; y < down.count; y++) {
            const int32_t *cell = cell_of(&down, y);
            vertical_row(cell, src + (size_t)(cell[0] - first_row) * stride, stride, row_bytes,
                         dst + (size_t)y * dst_stride);
        }
    } else if (same_width) {
        copy_rows(src, stride, row_bytes, rows, dst, dst_stride);
    }
cleanup:
    return status;
}
