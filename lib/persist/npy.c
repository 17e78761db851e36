/* NumPy .npy files of float32 matrices: rows written as they come, whole files read. Called by
 * embedding to files and by the index. The reader treats the header as hostile. Assumes a
 * little-endian machine. */
#include "persist/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/source.h"
#include "util/status.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_SIZE 6
#define HEADER_SIZE 128  /* of files written here: a multiple of 64 with space for any row count */
#define MAX_HEADER 65536 /* of files read here */

/* ---- writing ---- */

static moco_status_t write_header(mo_npy_writer_t *npy)
{
    char header[HEADER_SIZE];
    char dictionary[HEADER_SIZE - 10];
    int length = snprintf(dictionary, sizeof dictionary,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64 ", %" PRId32 "), }", npy->rows,
                          npy->dimension);
    memset(header, ' ', sizeof header); /* padding up to the closing newline */
    memcpy(header, MAGIC "\x01\x00", 8);
    header[8] = HEADER_SIZE - 10;
    header[9] = 0;
    memcpy(header + 10, dictionary, (size_t)length);
    header[HEADER_SIZE - 1] = '\n';
    return mo_atomic_write(&npy->file, header, HEADER_SIZE);
}

moco_status_t mo_npy_open(mo_npy_writer_t *npy, const char *path, int32_t dimension)
{
    mo_npy_writer_t made = {.dimension = dimension};
    if (dimension < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "dimension is %d, wanted 0 or more", (int)dimension);
    moco_status_t status = mo_atomic_open(&made.file, path);
    if (status == MOCO_OK)
        status = write_header(&made); /* holds the place until the rows are counted */
    if (status == MOCO_OK)
        *npy = made;
    else
        mo_atomic_abort(&made.file);
    return status;
}

moco_status_t mo_npy_rows(mo_npy_writer_t *npy, const float *rows, int64_t count)
{
    if (count < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted 0 or more", (long long)count);
    if (count == 0 || npy->dimension == 0) {
        npy->rows += count;
        return MOCO_OK;
    }
    moco_status_t status = mo_atomic_write(&npy->file, rows, (uint64_t)count * (uint64_t)npy->dimension * sizeof *rows);
    if (status == MOCO_OK)
        npy->rows += count;
    return status;
}

uint64_t mo_npy_header_size(void)
{
    return HEADER_SIZE;
}

moco_status_t mo_npy_resume(mo_npy_writer_t *npy, const char *path, int32_t dimension, int64_t rows)
{
    mo_npy_writer_t made = {.dimension = dimension, .rows = rows};
    const uint64_t row = (uint64_t)dimension * sizeof(float);
    moco_status_t status = mo_atomic_resume(&made.file, path, rows > 0 ? HEADER_SIZE + (uint64_t)rows * row : 0);
    if (status == MOCO_OK && rows == 0)
        status = write_header(&made);
    if (status == MOCO_OK)
        *npy = made;
    else
        mo_atomic_keep(&made.file);
    return status;
}

moco_status_t mo_npy_finish(mo_npy_writer_t *npy)
{
    moco_status_t status = MOCO_OK;
    if (npy->file.fd == 0)
        return mo_fail(MOCO_ERR_STATE, "no .npy file is open for writing");
    TRY(mo_atomic_seek(&npy->file, 0));
    TRY(write_header(npy));
cleanup:
    return status;
}

moco_status_t mo_npy_commit(mo_npy_writer_t *npy)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_npy_finish(npy));
    TRY(mo_atomic_commit(&npy->file));
cleanup:
    mo_npy_abort(npy);
    return status;
}

void mo_npy_abort(mo_npy_writer_t *npy)
{
    mo_atomic_abort(&npy->file);
    *npy = (mo_npy_writer_t){0};
}

/* ---- reading ---- */

/* The header is the text of a Python dictionary. `at` walks over it; nothing is read at or past
 * `end`. */
typedef struct cursor {
    const char *at, *end;
} cursor_t;

static void skip_spaces(cursor_t *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\t'))
        text->at++;
}

static int take(cursor_t *text, const char *token)
{
    size_t length = strlen(token);
    skip_spaces(text);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, token, length) != 0)
        return 0;
    text->at += length;
    return 1;
}

static int next_is(cursor_t *text, char c)
{
    skip_spaces(text);
    return text->at < text->end && *text->at == c;
}

/* A quoted word of plain characters. */
static int take_word(cursor_t *text, char *word, size_t capacity)
{
    const char *quote = take(text, "'") ? "'" : take(text, "\"") ? "\"" : NULL;
    size_t length = 0;
    if (quote == NULL)
        return 0;
    while (text->at < text->end && *text->at != *quote) {
        if (length + 1 >= capacity || *text->at < ' ' || *text->at > '~')
            return 0;
        word[length++] = *text->at++;
    }
    word[length] = '\0';
    return take(text, quote);
}

static int take_number(cursor_t *text, int64_t *number)
{
    int64_t value = 0;
    skip_spaces(text);
    const char *start = text->at;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        if (__builtin_mul_overflow(value, INT64_C(10), &value) ||
            __builtin_add_overflow(value, *text->at - '0', &value))
            return 0;
    }
    *number = value;
    return text->at > start;
}

typedef struct header {
    char descr[16];
    int has_descr, has_order, has_shape, fortran;
    int64_t dims[2];
    int rank;
} header_t;

static int take_shape(cursor_t *text, header_t *header)
{
    int64_t dim;
    header->rank = 0;
    if (!take(text, "("))
        return 0;
    while (!take(text, ")")) {
        if (!take_number(text, &dim))
            return 0;
        if (header->rank < 2)
            header->dims[header->rank] = dim;
        header->rank++;
        if (!take(text, ",") && !next_is(text, ')'))
            return 0;
    }
    return 1;
}

/* One `'key': value`; each key once. */
static int take_item(cursor_t *text, header_t *header)
{
    char key[16];
    if (!take_word(text, key, sizeof key) || !take(text, ":"))
        return 0;
    if (strcmp(key, "descr") == 0 && !header->has_descr)
        return header->has_descr = take_word(text, header->descr, sizeof header->descr);
    if (strcmp(key, "fortran_order") == 0 && !header->has_order) {
        header->fortran = take(text, "True");
        return header->has_order = header->fortran || take(text, "False");
    }
    if (strcmp(key, "shape") == 0 && !header->has_shape)
        return header->has_shape = take_shape(text, header);
    return 0;
}

static int take_dictionary(cursor_t *text, header_t *header)
{
    if (!take(text, "{"))
        return 0;
    while (!take(text, "}")) {
        if (!take_item(text, header))
            return 0;
        if (!take(text, ",") && !next_is(text, '}'))
            return 0;
    }
    skip_spaces(text);
    return text->at == text->end && header->has_descr && header->has_order && header->has_shape;
}

/* The dictionary as text of its own (mo_free); *data is the byte that follows it. */
static moco_status_t take_header(const mo_source_t *file, uint8_t **text, uint64_t *length, uint64_t *data)
{
    moco_status_t status = MOCO_OK;
    const char *path = mo_source_path(file);
    const uint64_t size = mo_source_size(file);
    uint8_t head[12] = {0};
    uint64_t prefix = 10;
    TRY(mo_source_read(file, 0, size < sizeof head ? size : sizeof head, head));
    if (!mo_npy_begins(head, sizeof head)) {
        const char *kind = NULL;
        TRY(mo_source_kind(file, &kind));
        return mo_fail(MOCO_ERR_FORMAT, "%s: not a .npy file: it is %s", path, kind);
    }
    if (size < prefix)
        return mo_fail(MOCO_ERR_FORMAT, "%s: a .npy file that ends inside its header", path);
    int version = head[6];
    if (version < 1 || version > 3)
        return mo_fail(MOCO_ERR_VERSION, "%s: .npy version %d, versions 1 to 3 are read", path, version);
    *length = 0;
    if (version == 1)
        *length = (uint64_t)head[8] | (uint64_t)head[9] << 8;
    if (version > 1 && size >= (prefix = 12))
        for (int i = 3; i >= 0; i--)
            *length = *length << 8 | head[8 + i];
    if (size < prefix || *length > size - prefix || *length > MAX_HEADER)
        return mo_fail(MOCO_ERR_FORMAT, "%s: .npy header of %llu bytes claimed in a file of %llu; at most %d are read",
                       path, (unsigned long long)*length, (unsigned long long)size, MAX_HEADER);
    TRY(mo_source_take(file, prefix, *length, text));
    *data = prefix + *length;
cleanup:
    return status;
}

static moco_status_t check_header(const header_t *header, uint64_t bytes, const char *path)
{
    uint64_t wanted;
    if (strcmp(header->descr, "<f4") != 0 || header->fortran || header->rank != 2)
        return mo_fail(MOCO_ERR_FORMAT, "%s: holds '%s' in %s order with %d dimensions, wanted '<f4' in C order with 2",
                       path, header->descr, header->fortran ? "Fortran" : "C", header->rank);
    if (__builtin_mul_overflow((uint64_t)header->dims[0], (uint64_t)header->dims[1], &wanted) ||
        __builtin_mul_overflow(wanted, (uint64_t)sizeof(float), &wanted) || wanted != bytes)
        return mo_fail(MOCO_ERR_FORMAT, "%s: %lld rows of %lld numbers claimed, %llu bytes follow", path,
                       (long long)header->dims[0], (long long)header->dims[1], (unsigned long long)bytes);
    return MOCO_OK;
}

/* What the file claims and its length bears out; the numbers begin at byte *data. */
static moco_status_t read_header(const mo_source_t *file, const char *path, header_t *header, uint64_t *data)
{
    moco_status_t status = MOCO_OK;
    uint8_t *text = NULL;
    uint64_t length = 0;
    TRY(take_header(file, &text, &length, data));
    cursor_t cursor = {(const char *)text, (const char *)text + length};
    if (!take_dictionary(&cursor, header))
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: damaged .npy header", path));
    TRY(check_header(header, mo_source_size(file) - *data, path));
cleanup:
    mo_free(text);
    return status;
}

int mo_npy_begins(const uint8_t *bytes, uint64_t size)
{
    return size >= MAGIC_SIZE && memcmp(bytes, MAGIC, MAGIC_SIZE) == 0;
}

moco_status_t mo_npy_shape(const mo_source_t *file, int64_t *rows, int64_t *dimension)
{
    header_t header = {0};
    uint64_t data = 0;
    const moco_status_t status = read_header(file, mo_source_path(file), &header, &data);
    *rows = header.dims[0];
    *dimension = header.dims[1];
    return status;
}

moco_status_t mo_npy_read(const char *path, float **values, int64_t *rows, int64_t *dimension)
{
    moco_status_t status = MOCO_OK;
    mo_source_t *file = NULL;
    header_t header = {0};
    uint8_t *numbers = NULL;
    uint64_t data = 0;
    TRY(mo_source_open(path, &file));
    TRY(read_header(file, path, &header, &data));
    TRY(mo_source_take(file, data, mo_source_size(file) - data, &numbers));
    TRY(mo_source_check(file));
    *values = (float *)numbers;
    numbers = NULL;
    *rows = header.dims[0];
    *dimension = header.dims[1];
cleanup:
    mo_free(numbers);
    mo_source_close(file);
    return status;
}
