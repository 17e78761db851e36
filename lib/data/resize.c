/* Antialiased resize in fixed point, bilinear (triangle) or bicubic (a = -1/2), horizontal then
 * vertical with 8 bits between. Only the window asked for is made, from only the source rows and
 * columns that it needs. Scratch: bytes[0] the horizontal pass, bytes[1] sixteen rows turned to
 * columns, bytes[2] the taps of both axes, weights those of one output pixel. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/clones.h"
#include "util/status.h"

#define PRECISION 22 /* bits of a tap: 32 - 8 for the pixel - 2 for the sum and, in bicubic, its overshoot */
#define HALF (1 << (PRECISION - 1))

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

/* ---- sums ---- */

#define LANES 16

static inline uint8_t narrow(int32_t sum)
{
    int32_t value = sum >> PRECISION;
    value = value < 0 ? 0 : value; /* in two steps, which compilers see as a maximum and a minimum */
    value = value > 255 ? 255 : value;
    return (uint8_t)value;
}

/* `lanes` sums side by side, which stay in registers over all taps; a constant, at most 64, where
 * it is called. */
MO_INLINE void sum(const int32_t *cell, const uint8_t *from, size_t step, int lanes, uint8_t *to)
{
    int32_t sums[4 * LANES];
    for (int k = 0; k < lanes; k++)
        sums[k] = HALF;
    for (int32_t t = 0; t < cell[1]; t++, from += step) {
        const int32_t tap = cell[2 + t];
        for (int k = 0; k < lanes; k++)
            sums[k] += tap * from[k];
    }
    for (int k = 0; k < lanes; k++)
        to[k] = narrow(sums[k]);
}

/* ---- along rows: sixteen rows side by side, so that their sums are alike ---- */

typedef uint8_t bytes_t __attribute__((vector_size(LANES)));
typedef int32_t words_t __attribute__((vector_size(LANES * sizeof(int32_t))));

#define LOW_HALVES(a, b) __builtin_shufflevector((a), (b), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_HALVES(a, b) \
    __builtin_shufflevector((a), (b), 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* Rows become columns: four times, halves are shuffled into each other. */
MO_INLINE void transpose(bytes_t v[LANES])
{
    bytes_t w[LANES];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < LANES / 2; i++) {
            w[2 * i] = LOW_HALVES(v[i], v[i + LANES / 2]);
            w[2 * i + 1] = HIGH_HALVES(v[i], v[i + LANES / 2]);
        }
        for (int i = 0; i < LANES / 2; i++) {
            v[2 * i] = LOW_HALVES(w[i], w[i + LANES / 2]);
            v[2 * i + 1] = HIGH_HALVES(w[i], w[i + LANES / 2]);
        }
    }
}

/* Rows of `bytes`, 16 or more, to columns of 16 words. Rows behind `rows` are the last one
 * again. */
static MO_CLONES(void, turn, (const uint8_t *rgb, size_t stride, int32_t rows, size_t bytes, int32_t *turned),
                 (rgb, stride, rows, bytes, turned))
{
    for (size_t at = 0; at < bytes; at += LANES) {
        const size_t from = at + LANES <= bytes ? at : bytes - LANES; /* the last block overlaps */
        bytes_t v[LANES];
        uint8_t block[LANES * LANES];
        for (int32_t y = 0; y < LANES; y++)
            memcpy(&v[y], rgb + (size_t)(y < rows ? y : rows - 1) * stride + from, LANES);
        transpose(v);
        memcpy(block, v, sizeof block);
        for (int k = 0; k < LANES * LANES; k++)
            turned[from * LANES + (size_t)k] = block[k];
    }
}

/* Columns of 16 back to the first `rows` rows. */
static MO_CLONES(void, turn_back, (const uint8_t *turned, size_t bytes, int32_t rows, uint8_t *rgb, size_t stride),
                 (turned, bytes, rows, rgb, stride))
{
    for (size_t at = 0; at < bytes; at += LANES) {
        const size_t from = at + LANES <= bytes || bytes < LANES ? at : bytes - LANES;
        const size_t count = bytes < LANES ? bytes : LANES;
        bytes_t v[LANES];
        memcpy(v, turned + from * LANES, sizeof v);
        transpose(v);
        for (int32_t y = 0; y < rows; y++)
            memcpy(rgb + (size_t)y * stride + from, &v[y], count);
    }
}

static MO_CLONES(void, sum_across, (const axis_t *axis, const int32_t *turned, uint8_t *made), (axis, turned, made))
{
    const int32_t *cell = axis->cells, first = cell[0];
    for (int32_t i = 0; i < axis->count; i++, cell += 2 + axis->most, made += 3 * LANES) {
        const int32_t *pixel = turned + (size_t)(cell[0] - first) * (3 * LANES);
        words_t sums[3], word;
        for (int c = 0; c < 3; c++)
            sums[c] = (words_t){0} + HALF;
        for (int32_t t = 0; t < cell[1]; t++, pixel += 3 * LANES)
            for (int c = 0; c < 3; c++) {
                memcpy(&word, pixel + c * LANES, sizeof word);
                sums[c] += cell[2 + t] * word;
            }
        int32_t flat[3 * LANES];
        memcpy(flat, sums, sizeof flat);
        for (int k = 0; k < 3 * LANES; k++)
            made[k] = narrow(flat[k]);
    }
}

/* A row that is shorter than a block is copied, with room behind it. */
static void turn_narrow(const uint8_t *rgb, size_t stride, int32_t rows, size_t bytes, int32_t *turned)
{
    uint8_t padded[LANES * LANES] = {0};
    for (int32_t y = 0; y < rows; y++)
        memcpy(padded + y * LANES, rgb + (size_t)y * stride, bytes);
    turn(padded, LANES, rows, LANES, turned);
}

/* Bytes that `horizontal` takes at `turned`. */
static size_t turned_bytes(const mo_resize_t *r)
{
    return ((size_t)r->width * sizeof(int32_t) + (size_t)r->window_width + 8 * LANES) * 3 * LANES;
}

static void horizontal(const axis_t *axis, const uint8_t *src, size_t stride, int32_t rows, int32_t *turned,
                       uint8_t *dst, size_t dst_stride)
{
    const int32_t *last = cell_of(axis, axis->count - 1);
    const int32_t first = axis->cells[0];
    const size_t bytes = (size_t)(last[0] + last[1] - first) * 3, row_bytes = (size_t)axis->count * 3;
    uint8_t *made = (uint8_t *)(turned + (bytes + LANES) * LANES);
    for (int32_t y = 0; y < rows; y += LANES) {
        const int32_t count = rows - y < LANES ? rows - y : LANES;
        const uint8_t *from = src + (size_t)y * stride + (size_t)first * 3;
        if (bytes < LANES)
            turn_narrow(from, stride, count, bytes, turned);
        else
            turn(from, stride, count, bytes, turned);
        sum_across(axis, turned, made);
        turn_back(made, row_bytes, count, dst + (size_t)y * dst_stride, dst_stride);
    }
}

/* ---- along columns ---- */

static MO_CLONES(void, vertical_row,
                 (const int32_t *cell, const uint8_t *src, size_t stride, size_t row_bytes, uint8_t *dst),
                 (cell, src, stride, row_bytes, dst))
{
    size_t at = 0;
    for (; at + 4 * LANES <= row_bytes; at += 4 * LANES)
        sum(cell, src + at, stride, 4 * LANES, dst + at);
    for (; at + LANES <= row_bytes; at += LANES)
        sum(cell, src + at, stride, LANES, dst + at);
    if (at < row_bytes && row_bytes >= LANES) { /* the last block overlaps */
        sum(cell, src + row_bytes - LANES, stride, LANES, dst + row_bytes - LANES);
        return;
    }
    for (; at < row_bytes; at++)
        sum(cell, src + at, stride, 1, dst + at);
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
        TRY(mo_bytes_reserve(&work->bytes[1], &work->capacity[1], turned_bytes(r)));
        horizontal(&across, src, stride, rows, (int32_t *)(void *)work->bytes[1], to, to_stride);
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
