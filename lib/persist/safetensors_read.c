/* Reading safetensors. Every byte is hostile: header length, JSON, shapes and offsets are checked
 * before anything is believed, and no number is read. Called by checkpoints and by model loading.
 * Assumes a little-endian machine. */
#include "persist/safetensors.h"
#include "persist/safetensors_sum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/json.h"
#include "util/size.h"
#include "util/status.h"

#define METADATA_NAME "__metadata__"
#define MAX_DEPTH 8 /* a legal header has three levels */

/* The dtypes of the format with the bits of one number; those that libmoco does not read are listed
 * as OTHER. */
static const struct dtype_row {
    char name[16];
    mo_dtype_t dtype;
    uint64_t bits;
} dtype_rows[] = {
    {"F32", MO_F32, 32},
    {"F16", MO_F16, 16},
    {"BF16", MO_BF16, 16},
    {"F64", MO_F64, 64},
    {"I64", MO_I64, 64},
    {"I32", MO_I32, 32},
    {"U8", MO_U8, 8},
    {"BOOL", MO_BOOL, 8},
    {"I8", MO_I8, 8},
    {"I16", MO_I16, 16},
    {"U16", MO_DTYPE_OTHER, 16},
    {"U32", MO_DTYPE_OTHER, 32},
    {"U64", MO_DTYPE_OTHER, 64},
    {"C64", MO_DTYPE_OTHER, 64},
    {"F4", MO_DTYPE_OTHER, 4},
    {"F6_E2M3", MO_DTYPE_OTHER, 6},
    {"F6_E3M2", MO_DTYPE_OTHER, 6},
    {"F8_E5M2", MO_DTYPE_OTHER, 8},
    {"F8_E4M3", MO_DTYPE_OTHER, 8},
    {"F8_E8M0", MO_DTYPE_OTHER, 8},
    {"F8_E4M3FNUZ", MO_DTYPE_OTHER, 8},
    {"F8_E5M2FNUZ", MO_DTYPE_OTHER, 8},
};

static const struct dtype_row *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtype_rows / sizeof dtype_rows[0]; i++) {
        if (strcmp(dtype_rows[i].name, name) == 0)
            return &dtype_rows[i];
    }
    return NULL;
}

/* ---- one tensor ---- */

static moco_status_t read_shape(const json_t *shape, mo_file_tensor_t *tensor, const char *path)
{
    if (!json_is_array(shape))
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' has no shape list", path, mo_show(tensor->name).text);
    if (json_array_size(shape) > MO_FILE_DIMS)
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' has %zu dimensions, at most %d are read", path,
                       mo_show(tensor->name).text, json_array_size(shape), MO_FILE_DIMS);
    tensor->rank = (int32_t)json_array_size(shape);
    for (int32_t i = 0; i < tensor->rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return mo_fail(MOCO_ERR_FORMAT, "%s: dimension %d of tensor '%s' is not a whole number >= 0", path, (int)i,
                           mo_show(tensor->name).text);
        tensor->dims[i] = json_integer_value(dim);
    }
    return MOCO_OK;
}

/* Offsets stay numbers until all are known to be inside the file. */
typedef struct range {
    uint64_t begin, end;
    mo_file_tensor_t tensor;
} range_t;

static moco_status_t read_range(const json_t *offsets, range_t *range, uint64_t size, const char *path)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    const char *name = range->tensor.name;
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' has no data_offsets pair", path, mo_show(name).text);
    long long from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > size)
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' claims bytes %lld to %lld of %llu", path, mo_show(name).text,
                       from, to, (unsigned long long)size);
    range->begin = (uint64_t)from;
    range->end = (uint64_t)to;
    range->tensor.bytes = range->end - range->begin;
    return MOCO_OK;
}

static moco_status_t check_bytes(const mo_file_tensor_t *tensor, const struct dtype_row *row, const char *path)
{
    int64_t count;
    uint64_t bits;
    if (!mo_file_count(tensor, &count))
        return mo_fail(MOCO_ERR_FORMAT, "%s: the shape of tensor '%s' overflows", path, mo_show(tensor->name).text);
    if (row == NULL)
        return MOCO_OK; /* a dtype of later versions: its size is not ours to judge */
    if (__builtin_mul_overflow((uint64_t)count, row->bits, &bits))
        return mo_fail(MOCO_ERR_FORMAT, "%s: the shape of tensor '%s' overflows", path, mo_show(tensor->name).text);
    if (bits % 8 != 0 || bits / 8 != tensor->bytes)
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' has %llu bytes, its shape and dtype %s want %llu bits", path,
                       mo_show(tensor->name).text, (unsigned long long)tensor->bytes, row->name,
                       (unsigned long long)bits);
    return MOCO_OK;
}

static moco_status_t read_tensor(const char *name, const json_t *entry, uint64_t size, range_t *range, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_file_tensor_t *tensor = &range->tensor;
    TRY(mo_strdup(name, &tensor->name));
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (dtype == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' has no dtype text", path, mo_show(name).text);
    const struct dtype_row *row = find_dtype(dtype);
    tensor->dtype = row != NULL ? row->dtype : MO_DTYPE_OTHER;
    snprintf(tensor->dtype_name, sizeof tensor->dtype_name, "%.15s", mo_show(dtype).text);
    TRY(read_shape(json_object_get(entry, "shape"), tensor, path));
    TRY(read_range(json_object_get(entry, "data_offsets"), range, size, path));
    TRY(check_bytes(tensor, row, path));
    mo_file_tensor_dense(tensor);
cleanup:
    return status;
}

/* ---- all tensors ---- */

static int by_offset(const void *left, const void *right)
{
    const range_t *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* No holes, no overlap, nothing left over. */
static moco_status_t check_cover(const range_t *ranges, int64_t count, uint64_t size, const char *path)
{
    uint64_t next = 0;
    for (int64_t i = 0; i < count; i++) {
        if (ranges[i].begin != next)
            return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' begins at byte %llu, wanted %llu: %s", path,
                           mo_show(ranges[i].tensor.name).text, (unsigned long long)ranges[i].begin,
                           (unsigned long long)next, ranges[i].begin < next ? "tensors overlap" : "there is a hole");
        next = ranges[i].end;
    }
    if (next != size)
        return mo_fail(MOCO_ERR_FORMAT, "%s: tensors end at byte %llu of %llu", path, (unsigned long long)next,
                       (unsigned long long)size);
    return MOCO_OK;
}

/* The numbers fill the source from byte `data` to its end. */
static moco_status_t read_tensors(mo_tensor_file_t *st, json_t *header, uint64_t data, const mo_source_t *source)
{
    moco_status_t status = MOCO_OK;
    const char *path = mo_source_path(source);
    const uint64_t size = mo_source_size(source) - data;
    range_t *ranges = NULL;
    int64_t count = 0;
    const char *name;
    json_t *entry;
    TRY(mo_calloc(json_object_size(header), sizeof *ranges, &ranges));
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, METADATA_NAME) == 0)
            continue;
        ranges[count].tensor.order = count;
        TRY(read_tensor(name, entry, size, &ranges[count++], path));
    }
    qsort(ranges, (size_t)count, sizeof *ranges, by_offset);
    TRY(check_cover(ranges, count, size, path));
    TRY(mo_calloc((size_t)count, sizeof *st->tensors, &st->tensors));
    for (int64_t i = 0; i < count; i++) {
        st->tensors[i] = ranges[i].tensor;
        st->tensors[i].source = source;
        st->tensors[i].at = data + ranges[i].begin;
        ranges[i].tensor.name = NULL; /* handed over */
    }
    st->count = count;
cleanup:
    for (int64_t i = 0; i < count; i++)
        mo_free(ranges[i].tensor.name);
    mo_free(ranges);
    return status;
}

static moco_status_t read_metadata(mo_tensor_file_t *st, json_t *header, const char *path)
{
    moco_status_t status = MOCO_OK;
    json_t *metadata = json_object_get(header, METADATA_NAME), *value;
    const char *key;
    if (metadata == NULL)
        return MOCO_OK;
    if (!json_is_object(metadata))
        return mo_fail(MOCO_ERR_FORMAT, "%s: " METADATA_NAME " is not an object", path);
    TRY(mo_calloc(json_object_size(metadata), sizeof *st->texts, &st->texts));
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return mo_fail(MOCO_ERR_FORMAT, "%s: metadata '%s' is not text", path, mo_show(key).text);
        mo_file_text_t *meta = &st->texts[st->text_count++];
        TRY(mo_strdup(key, &meta->key));
        TRY(mo_strdup(json_string_value(value), &meta->value));
    }
cleanup:
    return status;
}

/* ---- the file ---- */

static moco_status_t load_header(const mo_source_t *source, uint64_t *length, json_t **header)
{
    moco_status_t status = MOCO_OK;
    const char *path = mo_source_path(source);
    const uint64_t size = mo_source_size(source);
    char reason[MO_JSON_REASON];
    uint8_t *text = NULL;
    if (size < 8)
        return mo_fail(MOCO_ERR_FORMAT, "%s: has %llu bytes, a safetensors file has at least 8", path,
                       (unsigned long long)size);
    TRY(mo_source_read(source, 0, 8, length));
    if (*length > MO_ST_MAX_HEADER || *length > size - 8)
        return mo_fail(MOCO_ERR_FORMAT, "%s: not safetensors: a header of %s claimed, %s follow, at most %s are read",
                       path, mo_size(*length).text, mo_size(size - 8).text, mo_size(MO_ST_MAX_HEADER).text);
    TRY(mo_source_take(source, 8, *length, &text));
    if (*length < 2 || text[0] != '{')
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: not safetensors: the header does not begin with '{'", path));
    status = mo_json_load((const char *)text, *length, MAX_DEPTH, header, reason);
    if (status != MOCO_OK)
        status = mo_fail(status, "%s: damaged header: %s", path, reason);
cleanup:
    mo_free(text);
    return status;
}

moco_status_t mo_safetensors_parse(mo_tensor_file_t *st, const mo_source_t *source)
{
    moco_status_t status = MOCO_OK;
    mo_tensor_file_t made = {0};
    json_t *header = NULL;
    uint64_t length = 0;
    TRY(load_header(source, &length, &header));
    TRY(read_metadata(&made, header, mo_source_path(source)));
    TRY(read_tensors(&made, header, 8 + length, source));
    made.data = 8 + length;
    TRY(mo_tensor_file_sort(&made, mo_source_path(source)));
    TRY(mo_header_sum_check(&made, made.data, mo_source_path(source)));
    *st = made;
    made = (mo_tensor_file_t){0};
cleanup:
    json_decref(header);
    mo_tensor_file_close(&made);
    return status;
}
