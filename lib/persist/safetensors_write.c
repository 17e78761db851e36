/* Writing safetensors: tensors and texts are listed first, then written at once, to a file under a
 * temporary name or to memory. Called by checkpoints and by model saving. Assumes a little-endian
 * machine. */
#include "persist/safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/check.h"
#include "persist/safetensors_sum.h"
#include "util/alloc.h"
#include "util/atomic_file.h"
#include "util/checksum.h"
#include "util/json.h"
#include "util/printable.h"
#include "util/size.h"
#include "util/status.h"

#define METADATA_NAME "__metadata__"
#define PART ((uint64_t)1 << 18) /* bytes that stay in a cache between the checksum and the write */

typedef struct mo_st_entry {
    char *name;
    mo_dtype_t dtype;
    int32_t rank;
    int64_t dims[MO_FILE_DIMS];
    const void *data;
    uint64_t bytes;
} entry_t;

static moco_status_t measure(entry_t *entry, const char *name)
{
    uint64_t bytes = mo_dtype_bytes(entry->dtype);
    for (int32_t i = 0; i < entry->rank; i++) {
        if (entry->dims[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)entry->dims[i], &bytes) || bytes > INT64_MAX)
            return mo_fail(MOCO_ERR_ARGUMENT, "dimension %d of tensor '%s' is %lld: negative or too large", (int)i,
                           name, (long long)entry->dims[i]);
    }
    if (bytes > 0 && entry->data == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "tensor '%s' has no data", name);
    entry->bytes = bytes;
    return MOCO_OK;
}

moco_status_t mo_st_add(mo_st_writer_t *writer, const char *name, mo_dtype_t dtype, int32_t rank, const int64_t *dims,
                        const void *data)
{
    moco_status_t status = MOCO_OK;
    entry_t entry = {.dtype = dtype, .rank = rank, .data = data};
    if ((int)dtype < 0 || dtype >= MO_DTYPE_OTHER || rank < 0 || rank > MO_FILE_DIMS)
        return mo_fail(MOCO_ERR_ARGUMENT, "tensor '%s': dtype %d or rank %d cannot be written", name, (int)dtype,
                       (int)rank);
    for (int32_t i = 0; i < rank; i++)
        entry.dims[i] = dims[i];
    TRY(measure(&entry, name));
    TRY(mo_reserve(&writer->entries, writer->count + 1, &writer->capacity, sizeof entry));
    TRY(mo_strdup(name, &entry.name));
    writer->entries[writer->count++] = entry;
cleanup:
    return status;
}

moco_status_t mo_st_meta(mo_st_writer_t *writer, const char *key, const char *value)
{
    moco_status_t status = MOCO_OK;
    mo_file_text_t meta = {0};
    TRY(mo_reserve(&writer->meta, writer->meta_count + 1, &writer->meta_capacity, sizeof meta));
    TRY(mo_strdup(key, &meta.key));
    TRY(mo_strdup(value, &meta.value));
    writer->meta[writer->meta_count++] = meta;
    meta = (mo_file_text_t){0};
cleanup:
    mo_free(meta.key);
    mo_free(meta.value);
    return status;
}

/* ---- header ---- */

/* Wide numbers first: with a header padded to 8 bytes every tensor is then naturally aligned. */
static int by_alignment(const void *left, const void *right)
{
    const entry_t *a = left, *b = right;
    uint64_t wide = mo_dtype_bytes(a->dtype), wider = mo_dtype_bytes(b->dtype);
    if (wide != wider)
        return wide > wider ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Takes `value`, NULL (no memory for it) included. A name that is not UTF-8, taken, or reserved is
 * refused. */
static moco_status_t put(json_t *object, const char *name, json_t *value)
{
    if (!mo_is_utf8(name) || json_object_get(object, name) != NULL) {
        json_decref(value);
        return mo_fail(MOCO_ERR_ARGUMENT,
                       mo_is_utf8(name) ? "'%s' is listed twice or reserved" : "name '%s' is not UTF-8", name);
    }
    if (value == NULL || json_object_set_new(object, name, value) != 0)
        return mo_fail(MOCO_ERR_MEMORY, "no memory for header entry '%s'", name);
    return MOCO_OK;
}

static moco_status_t put_text(json_t *object, const char *name, const char *text)
{
    return mo_is_utf8(text) ? put(object, name, json_string(text))
                            : mo_fail(MOCO_ERR_ARGUMENT, "metadata '%s' is not UTF-8: '%.100s'", name, text);
}

static moco_status_t put_metadata(json_t *header, const mo_st_writer_t *writer)
{
    moco_status_t status = MOCO_OK;
    json_t *metadata = json_object();
    TRY(put(header, METADATA_NAME, metadata));
    for (int64_t i = 0; i < writer->meta_count; i++)
        TRY(put_text(metadata, writer->meta[i].key, writer->meta[i].value));
cleanup:
    return status;
}

static moco_status_t put_tensor(json_t *header, const entry_t *entry, uint64_t begin, uint64_t end)
{
    json_t *shape = json_array();
    int failed = shape == NULL;
    for (int32_t i = 0; i < entry->rank && !failed; i++)
        failed = json_array_append_new(shape, json_integer(entry->dims[i])) != 0;
    json_t *value = json_pack("{s:s, s:o, s:[I,I]}", "dtype", mo_dtype_name(entry->dtype), "shape", shape,
                              "data_offsets", (json_int_t)begin, (json_int_t)end);
    if (failed) {
        json_decref(value);
        value = NULL;
    }
    return put(header, entry->name, value);
}

/* The last two texts. `sum`: of the tensors. The data has not been read yet. */
static moco_status_t put_sums(json_t *header, const mo_st_writer_t *writer, uint64_t sum)
{
    moco_status_t status = MOCO_OK;
    json_t *metadata = json_object_get(header, METADATA_NAME);
    char text[MO_CHECKSUM_TEXT];
    for (int64_t i = 0; i < writer->meta_count; i++)
        sum += mo_sum_of_text(writer->meta[i].key, writer->meta[i].value);
    mo_checksum_text(sum, text);
    TRY(put(metadata, MO_HEADER_SUM, json_string(text)));
    mo_checksum_text(0, text);
    TRY(put(metadata, MO_DATA_SUM, json_string(text)));
cleanup:
    return status;
}

/* The header as text padded to a multiple of 8 bytes, free with free(). */
static moco_status_t make_header(const mo_st_writer_t *writer, char **text, uint64_t *length)
{
    moco_status_t status = MOCO_OK;
    json_t *header = json_object();
    char *dumped = NULL;
    uint64_t begin = 0, end = 0, sum = 0;
    if (header == NULL)
        return mo_fail(MOCO_ERR_MEMORY, "no memory for a header");
    TRY(put_metadata(header, writer));
    for (int64_t i = 0; i < writer->count; i++, begin = end) {
        if (__builtin_add_overflow(begin, writer->entries[i].bytes, &end) || end > INT64_MAX) {
            status = mo_fail(MOCO_ERR_ARGUMENT, "tensors are too large for one file");
            goto cleanup;
        }
        TRY(put_tensor(header, &writer->entries[i], begin, end));
        sum += mo_sum_of_tensor(writer->entries[i].name, mo_dtype_name(writer->entries[i].dtype),
                                writer->entries[i].rank, writer->entries[i].dims, begin, end);
    }
    TRY(put_sums(header, writer, sum));
    TRY(mo_json_dump(header, JSON_COMPACT, &dumped));
    *length = (strlen(dumped) + 7) / 8 * 8;
    if (*length > MO_ST_MAX_HEADER) {
        status = mo_fail(MOCO_ERR_ARGUMENT, "a header of %s, names and metadata may take %s", mo_size(*length).text,
                         mo_size(MO_ST_MAX_HEADER).text);
        goto cleanup;
    }
    TRY(mo_strprintf(text, "%-*s", (int)*length, dumped));
cleanup:
    mo_free(dumped);
    json_decref(header);
    return status;
}

/* ---- where the bytes go ---- */

/* A file being written, or memory that is known to be large enough. */
typedef struct sink {
    mo_atomic_file_t file;
    uint8_t *bytes; /* where memory begins; NULL: the file */
    uint64_t at;    /* bytes of memory that are written    */
} sink_t;

static moco_status_t put_bytes(sink_t *sink, const void *bytes, uint64_t size)
{
    if (size == 0)
        return MOCO_OK;
    if (sink->bytes == NULL)
        return mo_atomic_write(&sink->file, bytes, size);
    memcpy(sink->bytes + sink->at, bytes, size);
    sink->at += size;
    return MOCO_OK;
}

static moco_status_t put_at(sink_t *sink, uint64_t at, const void *bytes, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    if (sink->bytes == NULL)
        TRY(mo_atomic_seek(&sink->file, at));
    sink->at = at;
    TRY(put_bytes(sink, bytes, size));
cleanup:
    return status;
}

/* Part by part, so that the checksum reads what is in a cache anyway. */
static moco_status_t put_data(sink_t *sink, const entry_t *entry, mo_checksum_t *sum)
{
    moco_status_t status = MOCO_OK;
    const uint8_t *data = entry->data;
    for (uint64_t at = 0, now; at < entry->bytes; at += now) {
        now = entry->bytes - at < PART ? entry->bytes - at : PART;
        mo_checksum_add(sum, data + at, now);
        TRY(put_bytes(sink, data + at, now));
    }
cleanup:
    return status;
}

/* The checksum of the data, known last, replaces the zeros that stand for it in the header. */
static moco_status_t put_all(sink_t *sink, const mo_st_writer_t *writer, const char *header, uint64_t length)
{
    static const char key[] = "\"" MO_DATA_SUM "\":\"";
    const char *zeros = strstr(header, key); /* only a key can read so: quotes in names are escaped */
    moco_status_t status = MOCO_OK;
    mo_checksum_t sum;
    char text[MO_CHECKSUM_TEXT];
    mo_checksum_start(&sum);
    TRY(put_bytes(sink, &length, sizeof length));
    TRY(put_bytes(sink, header, length));
    for (int64_t i = 0; i < writer->count; i++)
        TRY(put_data(sink, &writer->entries[i], &sum));
    mo_checksum_text(mo_checksum_value(&sum), text);
    TRY(put_at(sink, sizeof length + (uint64_t)(zeros - header) + sizeof key - 1, text, sizeof text - 1));
cleanup:
    return status;
}

/* Before anything is opened: a file that is there stays whole. */
static moco_status_t check_numbers(const mo_st_writer_t *writer)
{
    for (int64_t i = 0; i < writer->count; i++) {
        const entry_t *e = &writer->entries[i];
        const moco_status_t status = e->dtype == MO_F32 ? mo_check_finite(e->name, e->rank, e->dims, e->data,
                                                                          (int64_t)(e->bytes / sizeof(float)))
                                                        : MOCO_OK;
        if (status != MOCO_OK)
            return status;
    }
    return MOCO_OK;
}

static moco_status_t sort_and_make_header(mo_st_writer_t *writer, char **header, uint64_t *length)
{
    const moco_status_t status = check_numbers(writer);
    if (status != MOCO_OK)
        return status;
    if (writer->count > 0)
        qsort(writer->entries, (size_t)writer->count, sizeof *writer->entries, by_alignment);
    return make_header(writer, header, length);
}

moco_status_t mo_st_write(mo_st_writer_t *writer, const char *path)
{
    return mo_st_write_in(writer, NULL, path);
}

moco_status_t mo_st_write_in(mo_st_writer_t *writer, const mo_folder_t *folder, const char *name)
{
    moco_status_t status = MOCO_OK;
    sink_t sink = {0};
    char *header = NULL;
    uint64_t length = 0;
    TRY(sort_and_make_header(writer, &header, &length));
    TRY(mo_atomic_open_in(&sink.file, folder, name));
    TRY(put_all(&sink, writer, header, length));
    TRY(mo_atomic_commit(&sink.file));
cleanup:
    mo_atomic_abort(&sink.file);
    mo_free(header);
    return status;
}

moco_status_t mo_st_write_memory(mo_st_writer_t *writer, void *bytes, uint64_t capacity, uint64_t *needed)
{
    moco_status_t status = MOCO_OK;
    sink_t sink = {.bytes = bytes};
    char *header = NULL;
    uint64_t length = 0, size = 0;
    TRY(sort_and_make_header(writer, &header, &length));
    size = sizeof length + length; /* make_header has seen that the tensors' bytes do not overflow */
    for (int64_t i = 0; i < writer->count; i++)
        size += writer->entries[i].bytes;
    TRY(mo_capacity_check(size, bytes, capacity, needed));
    if (capacity > 0)
        TRY(put_all(&sink, writer, header, length));
cleanup:
    mo_free(header);
    return status;
}

void mo_st_writer_free(mo_st_writer_t *writer)
{
    for (int64_t i = 0; i < writer->count; i++)
        mo_free(writer->entries[i].name);
    for (int64_t i = 0; i < writer->meta_count; i++) {
        mo_free(writer->meta[i].key);
        mo_free(writer->meta[i].value);
    }
    mo_free(writer->entries);
    mo_free(writer->meta);
    *writer = (mo_st_writer_t){0};
}
