/* From a tensor's bytes in a file to numbers, whatever their type and strides; see tensor_file.h.
 * Assumes a little-endian machine. */
#include <string.h>

#include "persist/check.h"
#include "persist/tensor_file.h"
#include "util/alloc.h"
#include "util/crc32.h"
#include "util/status.h"

#define PART 8192                       /* bytes of a file that lie on the stack */
#define SUM_PART ((uint64_t)1 << 18)    /* bytes that stay in a cache            */
#define MAX_WINDOW ((uint64_t)64 << 20) /* of a tensor that is read at once      */

static moco_status_t check_count(const mo_file_tensor_t *tensor, int64_t count)
{
    int64_t found = 0;
    if (!mo_file_count(tensor, &found) || found != count)
        return mo_fail(MOCO_ERR_SHAPE, "tensor '%s' has %lld numbers, wanted %lld", mo_show(tensor->name).text,
                       (long long)found, (long long)count);
    return MOCO_OK;
}

/* Bit patterns may be unaligned: one memcpy each. */
static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE half: sign, 5 bits of exponent (bias 15), 10 of fraction. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) {
        float tiny = (float)fraction * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static void floats_in_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, float *out)
{
    uint16_t half;
    double wide;
    switch (dtype) {
    case MO_F32:
        for (int64_t i = 0; i < count; i++, data += step)
            memcpy(&out[i], data, 4);
        break;
    case MO_F16:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = from_half((memcpy(&half, data, 2), half));
        break;
    case MO_BF16:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = from_bits((uint32_t)(memcpy(&half, data, 2), half) << 16);
        break;
    default:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = (float)(memcpy(&wide, data, 8), wide);
    }
}

static void ints_in_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, int64_t *out)
{
    int32_t narrow;
    int16_t small;
    switch (dtype) {
    case MO_I64:
        for (int64_t i = 0; i < count; i++, data += step)
            memcpy(&out[i], data, 8);
        break;
    case MO_I32:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = (memcpy(&narrow, data, 4), narrow);
        break;
    case MO_I16:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = (memcpy(&small, data, 2), small);
        break;
    case MO_I8:
        for (int64_t i = 0; i < count; i++, data += step)
            /* The number is signed. NOLINTNEXTLINE(bugprone-signed-char-misuse) */
            out[i] = (int8_t)*data;
        break;
    default:
        for (int64_t i = 0; i < count; i++, data += step)
            out[i] = *data;
    }
}

typedef void (*row_fn)(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, void *out, int64_t at);

static void float_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, void *out, int64_t at)
{
    floats_in_row(dtype, data, step, count, (float *)out + at);
}

static void int_row(mo_dtype_t dtype, const uint8_t *data, int64_t step, int64_t count, void *out, int64_t at)
{
    ints_in_row(dtype, data, step, count, (int64_t *)out + at);
}

/* Whether the numbers lie one after the other in C order; dimensions of one number may have any
 * stride. */
static int is_dense(const mo_file_tensor_t *t)
{
    int64_t stride = 1;
    for (int32_t i = t->rank - 1; i >= 0; i--) {
        if (t->dims[i] != 1 && t->strides[i] != stride)
            return 0;
        stride *= t->dims[i];
    }
    return 1;
}

/* A part of the file at a time. */
static moco_status_t copy_dense(const mo_file_tensor_t *t, int64_t count, row_fn row, void *out)
{
    const int64_t item = (int64_t)mo_dtype_bytes(t->dtype), most = PART / item;
    moco_status_t status = MOCO_OK;
    uint8_t part[PART];
    for (int64_t done = 0, now; done < count; done += now) {
        now = count - done < most ? count - done : most;
        TRY(mo_source_read(t->source, t->at + (uint64_t)(done * item), (uint64_t)(now * item), part));
        row(t->dtype, part, item, now, out, done);
    }
cleanup:
    return status;
}

/* A window of the file that follows the numbers of a tensor with strides. */
typedef struct window {
    const mo_source_t *source;
    uint8_t *bytes;
    uint64_t at, size, capacity;
} window_t;

/* `size` bytes, at most the window's capacity, from byte `at` of the file on. */
static moco_status_t look(window_t *w, uint64_t at, uint64_t size, const uint8_t **bytes)
{
    if (at < w->at || at + size > w->at + w->size) {
        const uint64_t left = mo_source_size(w->source) - at, wide = left < w->capacity ? left : w->capacity;
        const moco_status_t status = mo_source_read(w->source, at, wide, w->bytes);
        if (status != MOCO_OK)
            return status;
        w->at = at;
        w->size = wide;
    }
    *bytes = w->bytes + (at - w->at);
    return MOCO_OK;
}

/* Bytes from the first to the last number of the dimensions from `first` on; containers have made
 * sure that all of them lie in the file. */
static uint64_t span(const mo_file_tensor_t *t, int32_t first)
{
    uint64_t last = 0;
    for (int32_t i = first; i < t->rank; i++)
        last += (uint64_t)((t->dims[i] - 1) * t->strides[i]);
    return (last + 1) * mo_dtype_bytes(t->dtype);
}

/* Row by row along the last dimension, the other dimensions as an odometer. A tensor that fits the
 * window is read once, as views and transposes are; where numbers lie further apart, a little is
 * read at a time, and where a row does, it comes number by number. */
static moco_status_t copy_strided(const mo_file_tensor_t *t, int64_t count, row_fn row, void *out)
{
    moco_status_t status = MOCO_OK;
    const int32_t last = t->rank - 1;
    const int64_t item = (int64_t)mo_dtype_bytes(t->dtype);
    const uint64_t all = span(t, 0), one = span(t, last);
    window_t w = {.source = t->source, .capacity = all <= MAX_WINDOW ? all : PART};
    const int64_t run = one <= w.capacity ? t->dims[last] : 1;
    int64_t at[MO_FILE_DIMS] = {0};
    TRY(mo_calloc(w.capacity, 1, &w.bytes));
    for (int64_t done = 0; done < count; done += run) {
        const uint8_t *numbers;
        int64_t from = 0;
        for (int32_t i = 0; i < t->rank; i++)
            from += at[i] * t->strides[i];
        TRY(look(&w, t->at + (uint64_t)(from * item), run > 1 ? one : (uint64_t)item, &numbers));
        row(t->dtype, numbers, run > 1 ? t->strides[last] * item : item, run, out, done);
        for (int32_t i = last; i >= 0 && (at[i] += i == last ? run : 1) == t->dims[i]; i--)
            at[i] = 0;
    }
cleanup:
    mo_free(w.bytes);
    return status;
}

/* CRC-32 of the tensor's bytes, which are read once more, out of the system's cache. */
static moco_status_t sum_of_bytes(const mo_file_tensor_t *t, uint32_t *sum)
{
    moco_status_t status = MOCO_OK;
    const uint64_t size = mo_file_stored(t) * mo_dtype_bytes(t->dtype);
    uint8_t *part = NULL;
    TRY(mo_calloc(SUM_PART, 1, &part));
    for (uint64_t at = 0, now; at < size; at += now) {
        now = size - at < SUM_PART ? size - at : SUM_PART;
        TRY(mo_source_read(t->source, t->at + at, now, part));
        *sum = mo_crc32(*sum, part, now);
    }
cleanup:
    mo_free(part);
    return status;
}

/* `bytes`: as they lie in the file, or NULL. */
static moco_status_t check_sum(const mo_file_tensor_t *t, const void *bytes, uint64_t size)
{
    uint32_t sum = 0;
    if (t->crc == 0)
        return MOCO_OK;
    if (bytes != NULL)
        sum = mo_crc32(sum, bytes, size);
    const moco_status_t status = bytes != NULL ? MOCO_OK : sum_of_bytes(t, &sum);
    if (status != MOCO_OK || sum == t->crc)
        return status;
    return mo_fail(MOCO_ERR_FORMAT,
                   "%s: is damaged: tensor '%s' has the CRC-32 %08x, the archive says %08x; wanted another copy of the "
                   "file",
                   mo_source_path(t->source), mo_show(t->name).text, sum, t->crc);
}

static moco_status_t copy_numbers(const mo_file_tensor_t *t, int64_t count, row_fn row, void *out)
{
    moco_status_t status = MOCO_OK;
    const int as_they_are = is_dense(t) && row == float_row && t->dtype == MO_F32;
    const uint64_t size = (uint64_t)count * sizeof(float);
    if (count == 0)
        return MOCO_OK;
    if (as_they_are)
        TRY(mo_source_read(t->source, t->at, size, out));
    else
        TRY(is_dense(t) ? copy_dense(t, count, row, out) : copy_strided(t, count, row, out));
    TRY(mo_source_check(t->source));
    TRY(check_sum(t, as_they_are ? out : NULL, size));
cleanup:
    return status;
}

moco_status_t mo_file_floats(const mo_file_tensor_t *tensor, float *out, int64_t count)
{
    moco_status_t status = check_count(tensor, count);
    if (status != MOCO_OK)
        return status;
    if (tensor->dtype > MO_F64)
        return mo_fail(MOCO_ERR_FORMAT, "tensor '%s' is %s, wanted F32, F16, BF16 or F64", mo_show(tensor->name).text,
                       tensor->dtype_name);
    status = copy_numbers(tensor, count, float_row, out);
    return status == MOCO_OK ? mo_check_finite(tensor->name, tensor->rank, tensor->dims, out, count) : status;
}

moco_status_t mo_file_ints(const mo_file_tensor_t *tensor, int64_t *out, int64_t count)
{
    moco_status_t status = check_count(tensor, count);
    if (status != MOCO_OK)
        return status;
    if (tensor->dtype < MO_I64 || tensor->dtype > MO_U8)
        return mo_fail(MOCO_ERR_FORMAT, "tensor '%s' is %s, wanted I64, I32, I16, I8 or U8", mo_show(tensor->name).text,
                       tensor->dtype_name);
    return copy_numbers(tensor, count, int_row, out);
}
