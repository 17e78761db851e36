/* Reading a zip archive's central directory, with its 64-bit form. Every offset and length is
 * hostile. */
#include "persist/zip.h"

#include <stdlib.h>
#include <string.h>

#include "persist/tensor_file.h"
#include "util/alloc.h"
#include "util/size.h"
#include "util/status.h"

enum { END_SIZE = 22, END64_SIZE = 56, LOCATOR_SIZE = 20, ENTRY_SIZE = 46, LOCAL_SIZE = 30, MAX_COMMENT = 65535 };
#define MAX_DIRECTORY ((uint64_t)32 << 20) /* bytes: some 300,000 members */
enum { ENCRYPTED = 1, STORED = 0, ZIP64_FIELD = 1 };

static uint32_t u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t u32(const uint8_t *at)
{
    return u16(at) | u16(at + 2) << 16;
}

static uint64_t u64(const uint8_t *at)
{
    return u32(at) | (uint64_t)u32(at + 4) << 32;
}

static int is(const uint8_t *at, const char signature[4])
{
    return memcmp(at, signature, 4) == 0;
}

static moco_status_t damaged(const char *path, const char *what)
{
    return mo_fail(MOCO_ERR_FORMAT, "%s: damaged zip archive: %s", path, what);
}

typedef struct directory {
    uint64_t first, size, count;
} directory_t;

/* The record at the end of the archive's last `size` bytes; NULL if there is none. */
static const uint8_t *find_end(const uint8_t *tail, uint64_t size)
{
    for (uint64_t comment = 0; comment <= MAX_COMMENT && comment + END_SIZE <= size; comment++) {
        const uint8_t *at = tail + size - END_SIZE - comment;
        if (is(at, "PK\5\6") && u16(at + 20) == comment)
            return at;
    }
    return NULL;
}

/* The 64-bit record, which a locator in front of the record at byte `before` tells of. */
static moco_status_t find_directory64(const mo_source_t *source, uint64_t *before, directory_t *d)
{
    moco_status_t status = MOCO_OK;
    const char *path = mo_source_path(source);
    uint8_t locator[LOCATOR_SIZE], end[END64_SIZE];
    if (*before < LOCATOR_SIZE)
        return damaged(path, "its 64-bit end is missing");
    TRY(mo_source_read(source, *before - LOCATOR_SIZE, LOCATOR_SIZE, locator));
    if (!is(locator, "PK\6\7"))
        return damaged(path, "its 64-bit end is missing");
    *before = u64(locator + 8);
    if (*before > mo_source_size(source) || mo_source_size(source) - *before < END64_SIZE)
        return damaged(path, "its 64-bit end is not where it should be");
    TRY(mo_source_read(source, *before, END64_SIZE, end));
    if (!is(end, "PK\6\6"))
        return damaged(path, "its 64-bit end is not where it should be");
    *d = (directory_t){u64(end + 48), u64(end + 40), u64(end + 32)};
cleanup:
    return status;
}

static moco_status_t find_directory(const mo_source_t *source, directory_t *d)
{
    moco_status_t status = MOCO_OK;
    const char *path = mo_source_path(source);
    const uint64_t size = mo_source_size(source), most = MAX_COMMENT + END_SIZE, tail_size = size < most ? size : most;
    uint8_t *tail = NULL;
    TRY(mo_source_take(source, size - tail_size, tail_size, &tail));
    const uint8_t *end = find_end(tail, tail_size);
    if (end == NULL)
        TRY(damaged(path, "its end is missing: the file is cut short, or something follows it"));
    uint64_t before = size - tail_size + (uint64_t)(end - tail);
    *d = (directory_t){u32(end + 16), u32(end + 12), u16(end + 10)};
    if (d->first == UINT32_MAX || d->size == UINT32_MAX || d->count == UINT16_MAX)
        TRY(find_directory64(source, &before, d));
    if (d->first > before || d->size > before - d->first || d->count > d->size / ENTRY_SIZE)
        TRY(damaged(path, "its directory is larger than the file"));
    if (d->size > MAX_DIRECTORY)
        TRY(mo_fail(MOCO_ERR_FORMAT, "%s: the zip archive's directory has %s, at most %s are read", path,
                    mo_size(d->size).text, mo_size(MAX_DIRECTORY).text));
cleanup:
    mo_free(tail);
    return status;
}

/* Sizes and offset that do not fit 32 bits stand in an extra field, in this order. */
static int widen(const uint8_t *extra, uint64_t length, uint64_t *values[3])
{
    while (length >= 4) {
        uint64_t size = u16(extra + 2), left = size;
        const uint8_t *at = extra + 4;
        if (size > length - 4)
            return 0;
        for (int i = 0; i < 3 && u16(extra) == ZIP64_FIELD; i++) {
            if (*values[i] != UINT32_MAX)
                continue;
            if (left < 8)
                return 0;
            *values[i] = u64(at);
            at += 8;
            left -= 8;
        }
        extra += 4 + size;
        length -= 4 + size;
    }
    return 1;
}

/* The data begins behind a second header, whose extra field may have another length. */
static moco_status_t find_data(const mo_source_t *source, uint64_t local, mo_zip_member_t *m)
{
    moco_status_t status = MOCO_OK;
    const char *path = mo_source_path(source);
    const uint64_t size = mo_source_size(source);
    uint8_t header[LOCAL_SIZE], *name = NULL;
    if (local > size || size - local < LOCAL_SIZE)
        return damaged(path, "a member is not where its directory says");
    TRY(mo_source_read(source, local, LOCAL_SIZE, header));
    if (!is(header, "PK\3\4"))
        TRY(damaged(path, "a member is not where its directory says"));
    uint64_t length = u16(header + 26), extra = u16(header + 28), left = size - local - LOCAL_SIZE;
    if (length + extra > left || m->size > left - length - extra)
        TRY(damaged(path, "a member is longer than the file"));
    if (length != m->name_size)
        TRY(damaged(path, "a member has two names"));
    TRY(mo_source_take(source, local + LOCAL_SIZE, length, &name));
    if (memcmp(name, m->name, length) != 0)
        TRY(damaged(path, "a member has two names"));
    m->at = local + LOCAL_SIZE + length + extra;
cleanup:
    mo_free(name);
    return status;
}

/* The name of a member as a message can show it. */
static mo_shown_t shown(const mo_zip_member_t *m)
{
    char text[MO_SHOWN + 2];
    size_t length = m->name_size < MO_SHOWN + 1 ? m->name_size : MO_SHOWN + 1;
    memcpy(text, m->name, length);
    text[length] = '\0';
    return mo_show(text);
}

/* One entry of the directory at `at`, with `left` bytes up to its end; *length = its own. */
static moco_status_t read_member(const mo_source_t *source, const uint8_t *at, uint64_t left, mo_zip_member_t *m,
                                 uint64_t *length)
{
    const char *path = mo_source_path(source);
    if (left < ENTRY_SIZE || !is(at, "PK\1\2"))
        return damaged(path, "its directory ends early");
    uint64_t name = u16(at + 28), extra = u16(at + 30), comment = u16(at + 32);
    uint64_t packed = u32(at + 20), full = u32(at + 24), local = u32(at + 42), *wide[3] = {&full, &packed, &local};
    if (name + extra + comment > left - ENTRY_SIZE)
        return damaged(path, "its directory ends early");
    *length = ENTRY_SIZE + name + extra + comment;
    *m = (mo_zip_member_t){.name = at + ENTRY_SIZE, .name_size = (uint32_t)name, .crc = u32(at + 16)};
    if (!widen(at + ENTRY_SIZE + name, extra, wide))
        return damaged(path, "the extra field of a member ends early");
    m->method = (uint16_t)u16(at + 10);
    m->sealed = u16(at + 8) & ENCRYPTED || m->method != STORED || packed != full;
    m->size = m->sealed ? 0 : full;
    return find_data(source, local, m);
}

moco_status_t mo_zip_check_stored(const mo_zip_t *zip, const char *path)
{
    for (int64_t i = 0; i < zip->count; i++)
        if (zip->members[i].sealed)
            return mo_fail(MOCO_ERR_UNSUPPORTED,
                           "%s: member '%s' is compressed (method %u) or encrypted, wanted stored "
                           "members as torch.save writes them",
                           path, shown(&zip->members[i]).text, zip->members[i].method);
    return MOCO_OK;
}

static int compare(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
    uint32_t common = a_size < b_size ? a_size : b_size;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int by_name(const void *left, const void *right)
{
    const mo_zip_member_t *a = left, *b = right;
    return compare(a->name, a->name_size, b->name, b->name_size);
}

moco_status_t mo_zip_open(mo_zip_t *zip, const mo_source_t *source)
{
    moco_status_t status = MOCO_OK;
    directory_t d = {0};
    mo_zip_member_t *members = NULL;
    uint8_t *directory = NULL;
    uint64_t at = 0, length = 0;
    TRY(find_directory(source, &d));
    TRY(mo_source_take(source, d.first, d.size, &directory));
    TRY(mo_calloc(d.count, sizeof *members, &members));
    for (uint64_t i = 0; i < d.count; i++, at += length)
        TRY(read_member(source, directory + at, d.size - at, &members[i], &length));
    qsort(members, d.count, sizeof *members, by_name);
    for (uint64_t i = 1; i < d.count; i++)
        if (by_name(&members[i - 1], &members[i]) == 0)
            TRY(mo_fail(MOCO_ERR_FORMAT, "%s: damaged zip archive: member '%s' comes twice", mo_source_path(source),
                        shown(&members[i]).text));
    *zip = (mo_zip_t){members, (int64_t)d.count, directory};
    members = NULL;
    directory = NULL;
cleanup:
    mo_free(directory);
    mo_free(members);
    return status;
}

void mo_zip_close(mo_zip_t *zip)
{
    mo_free(zip->members);
    mo_free(zip->directory);
    *zip = (mo_zip_t){0};
}

const mo_zip_member_t *mo_zip_find(const mo_zip_t *zip, const char *name)
{
    const mo_zip_member_t wanted = {.name = (const uint8_t *)name, .name_size = (uint32_t)strlen(name)};
    return zip->count > 0 ? bsearch(&wanted, zip->members, (size_t)zip->count, sizeof wanted, by_name) : NULL;
}
