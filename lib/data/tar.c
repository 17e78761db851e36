/* Index of an uncompressed tar archive: ustar, GNU (long names, base-256 numbers) and pax (path,
 * linkpath, size). Called by listing.c with listing->fd open. Archives are hostile: every number is
 * checked against the file's size before it is used, and names never reach the file system.
 * Anything damaged refuses the whole archive, naming the byte. An archive may end without its end
 * block where a member ends, and go on behind it, as archives do that were put together; both are
 * warned of. */
#include "data/listing.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "data/augment.h"
#include "data/tar_header.h"
#include "data/tar_links.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/retry.h"
#include "util/status.h"

#define BLOCK MO_TAR_BLOCK
#define MAX_NAME 65536u /* bytes of a path */
#define MAX_PAX ((uint64_t)1 << 20)
#define MAX_ZERO_BLOCKS 4096 /* between archives that were put together: the largest padding of writers is 2 MiB */

/* What is being read, and what extension headers say about the next member. */
typedef struct tar {
    mo_listing_t *listing;
    uint64_t size, at; /* of the file; of the header being read */
    int has_path, has_sparse_name, has_link, has_size, sparse;
    int64_t no_end, joined; /* ends without an end block; archives behind the first */
    uint64_t pax_size;
    char path[MAX_NAME + 1], link[MAX_NAME + 1];
    mo_bytes_t buffer; /* extension data */
} tar_t;

static moco_status_t damaged(const tar_t *tar, const char *what)
{
    return mo_fail(MOCO_ERR_FORMAT, "'%s' is damaged at byte %llu: %s", tar->listing->path, (unsigned long long)tar->at,
                   what);
}

static moco_status_t read_block(const tar_t *tar, void *to, uint64_t size, uint64_t offset)
{
    const int64_t got = mo_fault(MO_FAULT_FILE) ? -1 : mo_read_at(tar->listing->fd, to, size, offset);
    if (got < 0)
        return mo_fail(MOCO_ERR_IO, "cannot read '%s': %s", tar->listing->path, strerror(errno));
    return (uint64_t)got == size ? MOCO_OK : damaged(tar, "the file ends early");
}

/* ---- one header ---- */

static void name_from_header(tar_t *tar, const uint8_t *header)
{
    size_t length = 0;
    const size_t prefix = strnlen((const char *)header + 345, 155), name = strnlen((const char *)header, 100);
    if (memcmp(header + 257, "ustar\0", 6) == 0 && prefix > 0) { /* GNU keeps other things there */
        memcpy(tar->path, header + 345, prefix);
        tar->path[prefix] = '/';
        length = prefix + 1;
    }
    memcpy(tar->path + length, header, name);
    tar->path[length + name] = '\0';
}

/* ---- extension headers ---- */

static moco_status_t read_extension(tar_t *tar, uint64_t size, uint64_t limit)
{
    if (size > limit)
        return damaged(tar, "an extension header is too large");
    const moco_status_t status = mo_bytes_reserve(&tar->buffer.data, &tar->buffer.capacity, size + 1);
    if (status != MOCO_OK)
        return status;
    tar->buffer.data[size] = '\0';
    tar->buffer.size = size;
    return read_block(tar, tar->buffer.data, size, tar->at + BLOCK);
}

static moco_status_t take_text(tar_t *tar, const char *from, size_t length, char *to, int *has)
{
    if (length > MAX_NAME || length == 0 || memchr(from, '\0', length) != NULL)
        return damaged(tar, "a member's name is empty, too long or holds a zero byte");
    memcpy(to, from, length);
    to[length] = '\0';
    *has = 1;
    return MOCO_OK;
}

static moco_status_t pax_pair(tar_t *tar, const char *key, size_t key_length, const char *value, size_t length)
{
    if (key_length == 4 && memcmp(key, "path", 4) == 0 && !tar->has_sparse_name)
        return take_text(tar, value, length, tar->path, &tar->has_path);
    if (key_length == 8 && memcmp(key, "linkpath", 8) == 0)
        return take_text(tar, value, length, tar->link, &tar->has_link);
    if (key_length > 10 && memcmp(key, "GNU.sparse", 10) == 0)
        tar->sparse = 1;
    if (key_length == 15 && memcmp(key, "GNU.sparse.name", 15) == 0) /* "path" is a made-up one then */
        return take_text(tar, value, length, tar->path, &tar->has_sparse_name);
    if (key_length != 4 || memcmp(key, "size", 4) != 0)
        return MOCO_OK;
    tar->pax_size = 0;
    tar->has_size = 1;
    for (size_t i = 0; i < length; i++) {
        if (value[i] < '0' || value[i] > '9' || tar->pax_size > UINT64_MAX / 16)
            return damaged(tar, "a pax size is no number");
        tar->pax_size = tar->pax_size * 10 + (uint64_t)(value[i] - '0');
    }
    return MOCO_OK;
}

/* Records "LENGTH KEY=VALUE\n", LENGTH counting all of it. */
static moco_status_t pax_records(tar_t *tar)
{
    const char *at = (const char *)tar->buffer.data, *end = at + tar->buffer.size;
    while (at < end) {
        const char *record = at;
        uint64_t length = 0;
        while (at < end && *at >= '0' && *at <= '9' && length <= MAX_PAX)
            length = length * 10 + (uint64_t)(*at++ - '0');
        if (at == end || *at != ' ' || length > (uint64_t)(end - record) || record + length <= at + 1 ||
            record[length - 1] != '\n')
            return damaged(tar, "a pax record is malformed");
        const char *key = at + 1, *last = record + length - 1;
        const char *equals = memchr(key, '=', (size_t)(last - key));
        if (equals == NULL)
            return damaged(tar, "a pax record has no '='");
        const moco_status_t status =
            pax_pair(tar, key, (size_t)(equals - key), equals + 1, (size_t)(last - equals - 1));
        if (status != MOCO_OK)
            return status;
        at = record + length;
    }
    return MOCO_OK;
}

static moco_status_t take_extension(tar_t *tar, char type, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    TRY(read_extension(tar, size, type == 'x' ? MAX_PAX : MAX_NAME + 1));
    const char *text = (const char *)tar->buffer.data;
    if (type == 'x')
        TRY(pax_records(tar));
    else if (type == 'L')
        TRY(take_text(tar, text, strnlen(text, size), tar->path, &tar->has_path));
    else
        TRY(take_text(tar, text, strnlen(text, size), tar->link, &tar->has_link));
cleanup:
    return status;
}

/* ---- members ---- */

static const char *without_dot_slash(const char *name)
{
    while (name[0] == '/' || (name[0] == '.' && name[1] == '/'))
        name += 1 + (name[0] == '.');
    return name;
}

static moco_status_t add_link(tar_t *tar, const uint8_t *header, const char *name, mo_entry_t *entry)
{
    moco_status_t status = MOCO_OK;
    char *target = NULL;
    if (!tar->has_link) {
        const size_t length = strnlen((const char *)header + 157, 100);
        memcpy(tar->link, header + 157, length);
        tar->link[length] = '\0';
    }
    entry->kind = MO_ENTRY_LINK;
    if (header[156] == '1') { /* hard: names a member as the archive does */
        const char *member = without_dot_slash(tar->link);
        TRY(mo_listing_text(tar->listing, member, strlen(member), &entry->target));
    } else {
        TRY(mo_calloc(strlen(name) + strlen(tar->link) + 3, 1, &target));
        mo_tar_join_target(name, tar->link, target);
        TRY(mo_listing_text(tar->listing, target, strlen(target), &entry->target));
    }
cleanup:
    mo_free(target);
    return status;
}

static int is_regular(char type)
{
    return type == '0' || type == '\0' || type == '7';
}

static void leave_out(tar_t *tar, const char *name, uint64_t size)
{
    mo_left_out_kind_t *kind = mo_left_out_add(&tar->listing->left_out, name);
    uint8_t first[MO_FILE_KIND_BYTES];
    if (!mo_left_out_wants_look(kind))
        return;
    const int64_t got = mo_read_at(tar->listing->fd, first, size < sizeof first ? size : sizeof first, tar->at + BLOCK);
    if (got > 0)
        mo_left_out_look(kind, first, (uint64_t)got);
}

static moco_status_t add_member(tar_t *tar, const uint8_t *header, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    const char type = (char)header[156];
    mo_entry_t entry = {.member = {.offset = tar->at + BLOCK, .size = size}};
    if (!tar->has_path && !tar->has_sparse_name)
        name_from_header(tar, header);
    const char *name = without_dot_slash(tar->path);
    size_t length = strlen(name);
    const int is_folder = length > 0 && name[length - 1] == '/'; /* as oldest archives have them */
    while (length > 0 && name[length - 1] == '/')
        tar->path[(size_t)(name - tar->path) + --length] = '\0';
    if (!mo_listing_wants(name)) {
        if (is_regular(type) && !is_folder && length > 0 && !mo_listing_hides(name))
            leave_out(tar, name, size);
        return MOCO_OK;
    }
    if (type == '1' || type == '2')
        TRY(add_link(tar, header, name, &entry));
    else if (type == 'S' || tar->sparse)
        entry.kind = MO_ENTRY_SPARSE;
    else if (!is_regular(type))
        entry.kind = MO_ENTRY_OTHER;
    TRY(mo_listing_text(tar->listing, name, length, &entry.name));
    TRY(mo_listing_add(tar->listing, &entry));
cleanup:
    return status;
}

/* An old GNU sparse member has blocks of its map between header and data. */
static moco_status_t skip_sparse_map(tar_t *tar, const uint8_t *header)
{
    moco_status_t status = MOCO_OK;
    uint8_t block[BLOCK];
    for (int more = header[482]; more != 0; more = block[504]) {
        if (tar->size - tar->at < 2 * (uint64_t)BLOCK)
            return damaged(tar, "the map of a sparse member ends early");
        TRY(read_block(tar, block, BLOCK, tar->at + BLOCK));
        tar->at += BLOCK;
    }
cleanup:
    return status;
}

/* The archive ends where a header could be, or with less than a block of zeros. */
static moco_status_t end_of_file(tar_t *tar, int *end)
{
    moco_status_t status = MOCO_OK;
    uint8_t rest[BLOCK] = {0};
    TRY(read_block(tar, rest, tar->size - tar->at, tar->at));
    if (!mo_tar_is_zero(rest))
        return damaged(tar, "it ends within a header; is it whole?");
    if (tar->has_path || tar->has_sparse_name || tar->has_link || tar->has_size || tar->sparse)
        return damaged(tar, "it ends before the member that an extension header announces; is it whole?");
    tar->no_end = 1;
    *end = 1;
cleanup:
    return status;
}

/* At an end block: past the zeros to the next archive, where one follows. Other bytes there are
 * none of the archive's. */
static moco_status_t end_of_archive(tar_t *tar, int *end)
{
    moco_status_t status = MOCO_OK;
    uint8_t block[BLOCK];
    uint64_t at = tar->at;
    *end = 1;
    for (int i = 0; i < MAX_ZERO_BLOCKS && tar->size - at >= 2 * (uint64_t)BLOCK; i++) {
        at += BLOCK;
        TRY(read_block(tar, block, BLOCK, at));
        if (mo_tar_is_zero(block))
            continue;
        if (mo_tar_sum_is_right(block)) {
            tar->has_path = tar->has_sparse_name = tar->has_link = tar->has_size = tar->sparse = 0;
            tar->at = at;
            tar->joined++;
            *end = 0;
        }
        break;
    }
cleanup:
    return status;
}

/* Reads the header at tar->at and moves past the member; *end at the archive's end. */
static moco_status_t step(tar_t *tar, int *end)
{
    moco_status_t status = MOCO_OK;
    uint8_t header[BLOCK];
    uint64_t size = 0;
    if (tar->size - tar->at < BLOCK)
        return end_of_file(tar, end);
    TRY(read_block(tar, header, BLOCK, tar->at));
    if (mo_tar_is_zero(header))
        return end_of_archive(tar, end);
    if (!mo_tar_sum_is_right(header))
        return damaged(tar, tar->at == 0 ? "not a tar: the first header's checksum is wrong"
                                         : "a header's checksum is wrong");
    if (!mo_tar_number(header + 124, 12, &size))
        return damaged(tar, "a member's size is no number");
    const char type = (char)header[156];
    if (type == 'S')
        TRY(skip_sparse_map(tar, header));
    const int extension = type == 'x' || type == 'L' || type == 'K', global = type == 'g';
    if (tar->has_size && !extension && !global)
        size = tar->pax_size;
    if (type >= '1' && type <= '6')
        size = 0; /* links, devices and folders have no data, whatever the field says */
    if (size > tar->size - tar->at - BLOCK)
        return damaged(tar, "a member is larger than the rest of the file; is it whole?");
    if (extension)
        TRY(take_extension(tar, type, size));
    else if (!global) {
        TRY(add_member(tar, header, size));
        tar->has_path = tar->has_sparse_name = tar->has_link = tar->has_size = tar->sparse = 0;
    }
    const uint64_t left = tar->size - tar->at, used = BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
    tar->at += used < left ? used : left;
cleanup:
    return status;
}

/* ---- the archive ---- */

/* A file of another kind under the name of an archive is refused as what it is. */
static moco_status_t check_kind(const tar_t *tar)
{
    moco_status_t status = MOCO_OK;
    uint8_t first[MO_FILE_KIND_BYTES] = {0};
    const uint64_t size = tar->size < sizeof first ? tar->size : sizeof first;
    if (size == 0)
        return mo_fail(MOCO_ERR_FORMAT, "'%s' is damaged at byte 0: it is empty", tar->listing->path);
    TRY(read_block(tar, first, size, 0));
    if (size == BLOCK && (mo_tar_is_zero(first) || mo_tar_sum_is_right(first)))
        return MOCO_OK;
    const mo_file_kind_t *kind = mo_file_kind(first, size);
    if (kind != NULL && kind->group != MO_FILE_TAR)
        return mo_listing_refuse_kind(tar->listing, kind);
cleanup:
    return status;
}

static void tell_ends(const tar_t *tar)
{
    const char *path = tar->listing->path;
    if (tar->no_end)
        mo_log(MOCO_LOG_WARNING, "'%s' has no end-of-archive block: members may be missing at its end", path);
    if (tar->joined > 0)
        mo_log(MOCO_LOG_WARNING,
               "'%s' goes on behind its end-of-archive block, as archives that were put together: "
               "all members are read",
               path);
}

moco_status_t mo_tar_list(mo_listing_t *listing)
{
    moco_status_t status = MOCO_OK;
    tar_t *tar = NULL;
    struct stat info;
    int end = 0;
    TRY(mo_calloc(1, sizeof *tar, &tar));
    tar->listing = listing;
    if (mo_fstat(listing->fd, &info) != 0) {
        status = mo_fail(MOCO_ERR_IO, "cannot examine '%s': %s", listing->path, strerror(errno));
        goto cleanup;
    }
    tar->size = (uint64_t)info.st_size;
    TRY(check_kind(tar));
    while (!end)
        TRY(step(tar, &end));
    tell_ends(tar);
    mo_listing_sort(listing);
    mo_tar_resolve(listing);
cleanup:
    if (tar != NULL)
        mo_free(tar->buffer.data);
    mo_free(tar);
    return status;
}
