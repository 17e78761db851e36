/* Records of embeddings; see embedding_record.h. Called by embedding to files and by the index. */
#include "eval/embedding_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/atomic_file.h"
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

/* Its fields by name: a text of 16 digits, or a whole number, and the version that brought it. */
typedef struct field {
    const char *name;
    size_t offset;
    int is_text, since;
} field_t;

/* clang-format off */
#define TEXT(name, since) {#name, offsetof(mo_embedding_record_t, name), 1, since}
#define WHOLE(name, since) {#name, offsetof(mo_embedding_record_t, name), 0, since}
/* clang-format on */
static const field_t fields[] = {
    WHOLE(version, 2),   TEXT(model, 1),        TEXT(dataset, 1),        WHOLE(started, 1),
    WHOLE(images, 1),    WHOLE(position, 1),    WHOLE(rows, 1),          WHOLE(skipped, 1),
    WHOLE(dimension, 1), WHOLE(names_bytes, 1), WHOLE(skipped_bytes, 1), TEXT(rows_sum, 1),
    TEXT(names_sum, 1),  TEXT(skipped_sum, 1),  TEXT(in_doubt, 2),       TEXT(next_sum, 2),
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
    moco_status_t status = MOCO_OK;
    char *dumped = NULL;
    TRY(mo_json_dump(failed ? NULL : all, JSON_INDENT(1), &dumped));
    TRY(mo_strprintf(text, "%s\n", dumped));
cleanup:
    json_decref(all);
    mo_free(dumped);
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
    const json_t *version = json_object_get(all, "version");
    if (version != NULL && json_integer_value(version) > MO_RECORD_VERSION)
        TRY(mo_fail(MOCO_ERR_VERSION, "%s: a newer version has written it: %lld, at most %d is read", path,
                    (long long)json_integer_value(version), MO_RECORD_VERSION));
    made.version = 1;
    for (size_t i = 0; i < FIELDS; i++)
        if ((version != NULL || fields[i].since == 1) &&
            !take_field(json_object_get(all, fields[i].name), &fields[i], &made))
            TRY(mo_fail(MOCO_ERR_FORMAT, "%s: '%s' is missing or no text or number as wanted", path, fields[i].name));
    *out = made;
cleanup:
    json_decref(all);
    mo_free(bytes);
    return status;
}

/* ---- rows and names ---- */

moco_status_t mo_embedding_sum_file(const char *path, char text[MO_CHECKSUM_TEXT])
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

static void sum_of_rows(const float *values, int64_t rows, int64_t dimension, char text[MO_CHECKSUM_TEXT])
{
    mo_checksum_t sum;
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, values, (uint64_t)rows * (uint64_t)dimension * sizeof *values);
    mo_checksum_text(mo_checksum_value(&sum), text);
}

static moco_status_t check_names(const char *path, const char *record_path, const mo_embedding_record_t *record,
                                 const char *names)
{
    moco_status_t status = MOCO_OK;
    char text[MO_CHECKSUM_TEXT];
    if (!mo_file_exists(names))
        return MOCO_OK;
    TRY(mo_embedding_sum_file(names, text));
    if (strcmp(text, record->names_sum) != 0)
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: has checksum %s, '%s' says %s: its names are not those of the rows of '%s'",
                    names, text, record_path, record->names_sum, path));
cleanup:
    return status;
}

/* The rows are those of a save that was cut short before it could remove what was beside the older
 * ones. */
static moco_status_t check_next(const char *path, const char *record_path, const char *names)
{
    if (!mo_file_exists(names))
        return MOCO_OK;
    return mo_fail(MOCO_ERR_FORMAT,
                   "%s: names the rows that '%s' had before a save that was cut short: remove it, and '%s'", names,
                   path, record_path);
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
    sum_of_rows(values, rows, dimension, text);
    if (rows == record.rows && dimension == record.dimension && strcmp(text, record.rows_sum) == 0)
        TRY(check_names(path, record_path, &record, names));
    else if (strcmp(text, record.next_sum) == 0)
        TRY(check_next(path, record_path, names));
    else
        TRY(mo_fail(MOCO_ERR_FORMAT,
                    "%s: has %lld rows of %lld numbers with checksum %s, '%s' tells of %lld of %lld with %s: damaged, "
                    "or of another call (without that file they are taken as they are)",
                    path, (long long)rows, (long long)dimension, text, record_path, (long long)record.rows,
                    (long long)record.dimension, record.rows_sum));
cleanup:
    mo_free(record_path);
    mo_free(names);
    return status;
}

/* ---- other rows ---- */

static moco_status_t write_record(const mo_embedding_record_t *record, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t file = {0};
    char *text = NULL;
    TRY(mo_embedding_record_text(record, &text));
    TRY(mo_atomic_open(&file, path));
    TRY(mo_atomic_write(&file, text, strlen(text)));
    TRY(mo_atomic_commit(&file));
cleanup:
    mo_atomic_abort(&file);
    mo_free(text);
    return status;
}

moco_status_t mo_embedding_replace(const char *path, const float *values, int64_t rows, int64_t dimension, int *tied,
                                   int *same)
{
    moco_status_t status = MOCO_OK, read;
    mo_embedding_record_t record;
    char *record_path = NULL, text[MO_CHECKSUM_TEXT];
    *tied = *same = 0;
    TRY(mo_embedding_beside(path, MO_RECORD_ENDING, &record_path));
    if (!mo_file_exists(record_path))
        goto cleanup;
    read = mo_embedding_record_read(record_path, &record);
    if (read == MOCO_ERR_FORMAT) /* a file of the host's */
        goto cleanup;
    TRY(read);
    sum_of_rows(values, rows, dimension, text);
    *same = rows == record.rows && dimension == record.dimension && strcmp(text, record.rows_sum) == 0;
    if (*same) /* it goes on telling of them */
        goto cleanup;
    record.version = MO_RECORD_VERSION;
    strcpy(record.next_sum, text);
    TRY(write_record(&record, record_path));
    *tied = 1;
cleanup:
    mo_free(record_path);
    return status;
}

static moco_status_t remove_file(const char *path)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return MOCO_OK;
    const int error = errno;
    return mo_fail(MOCO_ERR_IO, "%s: cannot remove it: %s", path, strerror(error));
}

/* The text beside `path`, if it is still what the record says. */
static moco_status_t remove_text(const char *path, const char *ending, const char *written)
{
    moco_status_t status = MOCO_OK;
    char *beside = NULL, text[MO_CHECKSUM_TEXT];
    TRY(mo_embedding_beside(path, ending, &beside));
    if (!mo_file_exists(beside))
        goto cleanup;
    TRY(mo_embedding_sum_file(beside, text));
    if (strcmp(text, written) == 0)
        TRY(remove_file(beside));
    else
        mo_log(MOCO_LOG_WARNING, "%s: stays, and does not belong to the new rows of '%s'", beside, path);
cleanup:
    mo_free(beside);
    return status;
}

moco_status_t mo_embedding_forget(const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_embedding_record_t record;
    char *record_path = NULL;
    TRY(mo_embedding_beside(path, MO_RECORD_ENDING, &record_path));
    TRY(mo_embedding_record_read(record_path, &record));
    TRY(remove_text(path, MO_NAMES_ENDING, record.names_sum));
    TRY(remove_text(path, MO_SKIPPED_ENDING, record.skipped_sum));
    TRY(remove_file(record_path)); /* last: until then it says what the others are */
cleanup:
    mo_free(record_path);
    return status;
}
