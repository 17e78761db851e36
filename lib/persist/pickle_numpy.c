/* NumPy's arrays, numbers and types in pickles, as data. An array is made empty and gets shape,
 * type and bytes as its state; in protocol 5 it is made of its bytes at once. */
#include <stdlib.h>
#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

static const char no_numbers[] = "no plain numbers"; /* objects, texts, records, other byte orders, other sizes */

static const mo_pickle_value_t *item(const mo_pickle_t *p, const mo_pickle_value_t *tuple, int32_t i)
{
    return mo_pickle_item(p, tuple, i);
}

/* Texts of Python 2 are bytes. */
static int is_bytes(const mo_pickle_value_t *v)
{
    return v->kind == MO_PICKLE_BYTES || v->kind == MO_PICKLE_TEXT;
}

/* ---- types ---- */

/* (text[, align, copy]): "f4". */
moco_status_t mo_pickle_push_dtype(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    static const struct {
        const char *text;
        mo_dtype_t dtype;
    } rows[] = {{"f8", MO_F64}, {"f4", MO_F32}, {"f2", MO_F16}, {"i8", MO_I64}, {"i4", MO_I32},
                {"i2", MO_I16}, {"i1", MO_I8},  {"u1", MO_U8},  {"b1", MO_BOOL}};
    mo_pickle_value_t made = {.kind = MO_PICKLE_DTYPE, .number = MO_DTYPE_OTHER};
    const mo_pickle_value_t *text = args->count > 0 ? item(p, args, 0) : NULL;
    for (size_t i = 0; text != NULL && is_bytes(text) && i < sizeof rows / sizeof rows[0]; i++)
        if (mo_pickle_same(rows[i].text, text->bytes, text->count))
            made.number = rows[i].dtype;
    made.count = (int32_t)mo_dtype_bytes((mo_dtype_t)made.number);
    return mo_pickle_push_new(p, made);
}

/* (version, byte order, …, names of a record's fields, …) */
moco_status_t mo_pickle_build_dtype(mo_pickle_t *p, mo_pickle_value_t *dtype, const mo_pickle_value_t *state)
{
    if (state->kind != MO_PICKLE_TUPLE || state->count < 4)
        return mo_pickle_damaged(p, "the state of a NumPy type is no tuple of at least 4");
    const mo_pickle_value_t *order = item(p, state, 1);
    const int little = is_bytes(order) && order->count == 1 && strchr("<|=", order->bytes[0]) != NULL;
    if ((!little && dtype->count > 1) || item(p, state, 3)->kind != MO_PICKLE_NONE)
        dtype->number = MO_DTYPE_OTHER;
    return MOCO_OK;
}

/* ---- arrays ---- */

moco_status_t mo_pickle_push_array(mo_pickle_t *p)
{
    const mo_pickle_tensor_t empty = {.storage = -1, .odd = no_numbers, .dtype = MO_DTYPE_OTHER};
    return mo_pickle_push_tensor(p, &empty);
}

/* The numbers follow each other, the last dimension or, in Fortran's order, the first one
 * fastest. */
static moco_status_t fill(mo_pickle_t *p, mo_pickle_tensor_t *t, const mo_pickle_value_t *shape,
                          const mo_pickle_value_t *dtype, int fortran, const mo_pickle_value_t *data)
{
    int64_t count = 1, bytes;
    if (dtype->kind != MO_PICKLE_DTYPE || dtype->number == MO_DTYPE_OTHER || !is_bytes(data))
        return MOCO_OK;
    if (shape->kind == MO_PICKLE_TUPLE && shape->count > MO_FILE_DIMS)
        return MOCO_OK;
    if (!mo_pickle_sizes(p, shape, t->dims))
        return mo_pickle_damaged(p, "the shape of an array is no list of whole numbers >= 0");
    t->rank = shape->count;
    for (int32_t i = 0; i < t->rank; i++) {
        const int32_t at = fortran ? i : t->rank - 1 - i;
        t->strides[at] = count;
        if (__builtin_mul_overflow(count, t->dims[at], &count))
            return mo_pickle_damaged(p, "the shape of an array overflows");
    }
    if (__builtin_mul_overflow(count, (int64_t)dtype->count, &bytes) || bytes != data->count)
        return mo_fail(MOCO_ERR_FORMAT, "%s: damaged pickle: an array of %lld numbers of type %s has %d bytes", p->path,
                       (long long)count, mo_dtype_name((mo_dtype_t)dtype->number), (int)data->count);
    t->dtype = (mo_dtype_t)dtype->number;
    t->data = data->bytes;
    t->data_size = data->count;
    t->odd = NULL;
    return MOCO_OK;
}

/* (version, shape, type, Fortran's order, bytes); parameters have attributes too. */
moco_status_t mo_pickle_build_array(mo_pickle_t *p, int32_t tensor, const mo_pickle_value_t *state)
{
    mo_pickle_tensor_t *t = &p->tensors[tensor];
    if (t->odd != no_numbers || state->kind != MO_PICKLE_TUPLE)
        return MOCO_OK;
    if (state->count != 5)
        return mo_pickle_damaged(p, "the state of an array is no tuple of 5");
    return fill(p, t, item(p, state, 1), item(p, state, 2),
                item(p, state, 3)->kind == MO_PICKLE_BOOL && item(p, state, 3)->whole, item(p, state, 4));
}

/* (bytes, type, shape, "C" or "F") */
moco_status_t mo_pickle_push_buffer_array(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    mo_pickle_tensor_t t = {.storage = -1, .odd = no_numbers, .dtype = MO_DTYPE_OTHER};
    if (args->count != 4)
        return mo_pickle_damaged(p, "an array of a buffer has not 4 arguments");
    const mo_pickle_value_t *order = item(p, args, 3);
    const moco_status_t status = fill(p, &t, item(p, args, 2), item(p, args, 1),
                                      is_bytes(order) && mo_pickle_same("F", order->bytes, order->count),
                                      item(p, args, 0));
    return status == MOCO_OK ? mo_pickle_push_tensor(p, &t) : status;
}

static int64_t whole_number(mo_dtype_t dtype, const uint8_t *bytes)
{
    const int count = (int)mo_dtype_bytes(dtype);
    uint64_t bits = dtype != MO_U8 && bytes[count - 1] & 0x80 ? UINT64_MAX : 0;
    memcpy(&bits, bytes, (size_t)count);
    return (int64_t)bits;
}

/* (type, bytes): a number. */
moco_status_t mo_pickle_push_scalar(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    const mo_pickle_value_t *dtype = args->count == 2 ? item(p, args, 0) : NULL;
    mo_pickle_value_t made = {.kind = MO_PICKLE_INT};
    if (dtype == NULL || dtype->kind != MO_PICKLE_DTYPE || dtype->number == MO_DTYPE_OTHER ||
        !is_bytes(item(p, args, 1)) || item(p, args, 1)->count != dtype->count)
        return mo_pickle_push_opaque(p, -1);
    const uint8_t *bytes = item(p, args, 1)->bytes;
    float narrow;
    switch (dtype->number) {
    case MO_F64: memcpy(&made.real, bytes, sizeof made.real); break;
    case MO_F32: made.real = (memcpy(&narrow, bytes, sizeof narrow), narrow); break;
    case MO_F16: return mo_pickle_push_opaque(p, -1);
    case MO_BOOL: made.whole = bytes[0] != 0; break;
    default: made.whole = whole_number((mo_dtype_t)dtype->number, bytes);
    }
    made.kind = dtype->number <= MO_F64 ? MO_PICKLE_REAL : dtype->number == MO_BOOL ? MO_PICKLE_BOOL : MO_PICKLE_INT;
    return mo_pickle_push_new(p, made);
}

/* ---- bytes ---- */

/* The bytes of a text whose characters are all below 256; -1 for another text. */
static int64_t latin1(const mo_pickle_value_t *text, uint8_t *out)
{
    int64_t made = 0;
    for (int32_t i = 0; i < text->count; i++) {
        const uint8_t c = text->bytes[i];
        if (c < 0x80) {
            out[made++] = c;
            continue;
        }
        if ((c != 0xc2 && c != 0xc3) || i + 1 == text->count || (text->bytes[i + 1] & 0xc0) != 0x80)
            return -1;
        out[made++] = (uint8_t)((c & 3) << 6 | (text->bytes[++i] & 0x3f));
    }
    return made;
}

/* (text, "latin1"): how protocols before 3 keep bytes. All of them together are never larger than
 * the pickle: a text may be named many times over. */
moco_status_t mo_pickle_push_encoded(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    moco_status_t status = MOCO_OK;
    if (args->count != 2 || item(p, args, 0)->kind != MO_PICKLE_TEXT || item(p, args, 1)->kind != MO_PICKLE_TEXT ||
        !mo_pickle_same("latin1", item(p, args, 1)->bytes, item(p, args, 1)->count))
        return mo_pickle_push_opaque(p, -1);
    const mo_pickle_value_t *text = item(p, args, 0);
    if ((uint64_t)text->count > p->size - p->decoded_size)
        return mo_pickle_damaged(p, "its bytes are more than the file has");
    if (p->decoded == NULL)
        TRY(mo_calloc(p->size, 1, &p->decoded));
    uint8_t *bytes = p->decoded + p->decoded_size;
    const int64_t size = latin1(text, bytes);
    if (size < 0)
        return mo_pickle_damaged(p, "bytes are kept as a text that is not Latin-1");
    p->decoded_size += (uint64_t)size;
    return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_BYTES, .count = (int32_t)size, .bytes = bytes});
cleanup:
    return status;
}
