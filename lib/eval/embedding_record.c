/* Records of embeddings; see embedding_record.h. Called by embedding to files and by the index. */
#include "eval/embedding_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/file.h"
#include "util/json.h"
#include "util/source.h"
#include "util/status.h"

#define LIMIT 65536 /* bytes of a record */
#define PART ((uint64_t)1 << 18)
#define KIND "embedding"

moco_status_t mo_embedding_beside(const char *path, const char *ending, char **out)
{
    const size_t length = strlen(path);
    const int stem = length > 4 && strcmp(path + length - 4, ".npy") == 0 ? (int)length - 4 : (int)length;
    return mo_strprintf(out, "%.*s%s", stem, path, ending);
}

/* ---- the record ---- */

/* Its fields by name: a text of 16 digits, or a whole number. */
typedef struct field {
    const char *name;
    size_t offset;
    int is_text;
} field_t;

/* clang-format off */
#define TEXT(name) {#name, offsetof(mo_embedding_record_t, name), 1}
#define WHOLE(name) {#name, offsetof(mo_embedding_record_t, name), 0}
/* clang-format on */
static const field_t fields[] = {
    TEXT(model),    TEXT(dataset),   WHOLE(started),    WHOLE(images),      WHOLE(position),
    WHOLE(rows),    WHOLE(skipped),  WHOLE(dimension),  WHOLE(names_bytes), WHOLE(skipped_bytes),
    TEXT(rows_sum), TEXT(names_sum), TEXT(skipped_sum),
};
#define FIELDS (sizeof fields / sizeof fields[0])

moco_status_t mo_embedding_record_text(const mo_embedding_record_t *record, char **text)
{
    json_t *all = json_pack("{s:s}", "kind", KIND);
    int failed = all == NULL;
    for (size_t i = 0; i < FIELDS && !failed; i++) {
        const char *at = (const char *)record + fields[i].offset;
        int64_t whole;
        memcpy(&whole, at, sizeof whole);
        failed = json_object_set_new(all, fields[i].name,
                                     fields[i].is_text ? json_string(at) : json_integer((json_int_t)whole)) != 0;
    }
    char *dumped = failed ? NULL : json_dumps(all, JSON_INDENT(1));
    json_decref(all);
    const moco_status_t status = dumped != NULL ? mo_strprintf(text, "%s\n", dumped)
                                                : mo_fail(MOCO_ERR_MEMORY, "no memory for a record");
    free(dumped);
    return status;
}

static int take_field(const json_t *value, const field_t *field, mo_embedding_record_t *out)
{
    char *to = (char *)out + field->offset;
    if (!field->is_text) {
        const int64_t whole = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        memcpy(to, &whole, sizeof whole);
        return whole >= 0;
    }
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) >= MO_CHECKSUM_TEXT)
        return 0;
    strcpy(to, text);
    return 1;
}

moco_status_t mo_embedding_record_read(const char *path, mo_embedding_record_t *out)
{
    moco_status_t status = MOCO_OK;
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    json_t *all = NULL;
    char reason[MO_JSON_REASON];
    mo_embedding_record_t made = {0};
    TRY(mo_file_read(path, LIMIT, &bytes, &size));
    status = mo_json_load((const char *)bytes, size, 2, &all, reason);
    if (status != MOCO_OK)
        TRY(mo_fail(status, "%s: %s: %s", path,
                    status == MOCO_ERR_FORMAT ? "is no record of an embedding" : "cannot be read now", reason));
    const char *kind = json_string_value(json_object_get(all, "kind"));
    if (kind == NULL || strcmp(kind, KIND) != 0)
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: is no record of an embedding", path));
    for (size_t i = 0; i < FIELDS; i++)
        if (!take_field(json_object_get(all, fields[i].name), &fields[i], &made))
            TRY(mo_fail(MOCO_ERR_FORMAT, "%s: '%s' is missing or no text or number as wanted", path, fields[i].name));
    *out = made;
cleanup:
    json_decref(all);
    mo_free(bytes);
    return status;
}

/* ---- rows and names ---- */

static moco_status_t sum_of_file(const char *path, char text[MO_CHECKSUM_TEXT])
{
    moco_status_t status = MOCO_OK;
    mo_source_t *file = NULL;
    uint8_t *part = NULL;
    mo_checksum_t sum;
    TRY(mo_source_open(path, &file));
    TRY(mo_calloc(PART, 1, &part));
    mo_checksum_start(&sum);
    for (uint64_t at = 0, now; at < mo_source_size(file); at += now) {
        now = mo_source_size(file) - at < PART ? mo_source_size(file) - at : PART;
        TRY(mo_source_read(file, at, now, part));
        mo_checksum_add(&sum, part, now);
    }
    mo_checksum_text(mo_checksum_value(&sum), text);
cleanup:
    mo_free(part);
    mo_source_close(file);
    return status;
}

static moco_status_t check_rows(const char *path, const char *record_path, const mo_embedding_record_t *record,
                                const float *values, int64_t rows, int64_t dimension)
{
    mo_checksum_t sum;
    char text[MO_CHECKSUM_TEXT];
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, values, (uint64_t)rows * (uint64_t)dimension * sizeof *values);
    mo_checksum_text(mo_checksum_value(&sum), text);
    if (rows == record->rows && dimension == record->dimension && strcmp(text, record->rows_sum) == 0)
        return MOCO_OK;
    return mo_fail(
        MOCO_ERR_FORMAT,
        "%s: has %lld rows of %lld numbers with checksum %s, '%s' tells of %lld of %lld with %s: damaged, or "
        "of another call (without that file they are taken as they are)",
        path, (long long)rows, (long long)dimension, text, record_path, (long long)record->rows,
        (long long)record->dimension, record->rows_sum);
}

moco_status_t mo_embedding_check(const char *path, const float *values, int64_t rows, int64_t dimension)
{
    moco_status_t status = MOCO_OK;
    mo_embedding_record_t record;
    char *record_path = NULL, *names = NULL, text[MO_CHECKSUM_TEXT];
    TRY(mo_embedding_beside(path, MO_RECORD_ENDING, &record_path));
    TRY(mo_embedding_beside(path, MO_NAMES_ENDING, &names));
    if (!mo_file_exists(record_path))
        goto cleanup;
    TRY(mo_embedding_record_read(record_path, &record));
    TRY(check_rows(path, record_path, &record, values, rows, dimension));
    if (!mo_file_exists(names))
        goto cleanup;
    TRY(sum_of_file(names, text));
    if (strcmp(text, record.names_sum) != 0)
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: has checksum %s, '%s' says %s: its names are not those of the rows of '%s'",
                    names, text, record_path, record.names_sum, path));
cleanup:
    mo_free(record_path);
    mo_free(names);
    return status;
}

moco_status_t mo_embedding_forget(const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_embedding_record_t record;
    char *record_path = NULL;
    TRY(mo_embedding_beside(path, MO_RECORD_ENDING, &record_path));
    if (mo_file_exists(record_path) && mo_embedding_record_read(record_path, &record) == MOCO_OK &&
        unlink(record_path) != 0)
        status = mo_fail(MOCO_ERR_IO, "%s: cannot remove it: %s", record_path, strerror(errno));
cleanup:
    mo_free(record_path);
    return status;
}
