/* Listings: opening, sorting, classes, limits and reading, whatever the source. What differs
 * between sources is in folder.c and tar.c. Called by dataset.c. */
#define _GNU_SOURCE /* qsort_r */
#include "data/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/augment.h"
#include "data/decode.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/size.h"
#include "util/status.h"

void mo_listing_free(mo_listing_t *listing)
{
    if (listing->fd >= 0)
        close(listing->fd);
    mo_free(listing->path);
    mo_free(listing->text);
    mo_free(listing->entries);
    mo_free(listing->classes);
    *listing = (mo_listing_t){.fd = -1};
}

/* ---- filling ---- */

moco_status_t mo_listing_text(mo_listing_t *listing, const char *from, size_t length, uint64_t *at)
{
    const moco_status_t status =
        mo_reserve(&listing->text, (int64_t)(listing->text_size + length + 1), &listing->text_capacity, 1);
    if (status != MOCO_OK)
        return status;
    *at = listing->text_size;
    memcpy(listing->text + *at, from, length);
    listing->text[*at + length] = '\0';
    listing->text_size += length + 1;
    return MOCO_OK;
}

moco_status_t mo_listing_add(mo_listing_t *listing, const mo_entry_t *entry)
{
    if (listing->count == INT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "'%s' names more than 2147483647 images", listing->path);
    const moco_status_t status =
        mo_reserve(&listing->entries, listing->count + 1, &listing->capacity, sizeof *listing->entries);
    if (status == MOCO_OK)
        listing->entries[listing->count++] = *entry;
    return status;
}

int mo_listing_wants(const char *path)
{
    const char *last = path;
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += part != path; /* past the slash */
        if (*part == '.')
            return 0;
        last = part;
    }
    return mo_image_has_ending(last);
}

static int by_name(const void *a, const void *b, void *text)
{
    const mo_entry_t *first = a, *second = b;
    const int order = strcmp((const char *)text + first->name, (const char *)text + second->name);
    return order != 0 ? order : (first->name > second->name) - (first->name < second->name);
}

void mo_listing_sort(mo_listing_t *listing)
{
    if (listing->count > 1)
        qsort_r(listing->entries, (size_t)listing->count, sizeof *listing->entries, by_name, listing->text);
}

void mo_listing_limit(mo_listing_t *listing, int64_t limit)
{
    const int64_t total = listing->count;
    if (limit <= 0 || limit >= total)
        return;
    for (int64_t i = 0; i < limit; i++)
        listing->entries[i] = listing->entries[(int64_t)((__int128)i * total / limit)];
    listing->count = limit;
}

/* ---- classes ---- */

/* A part of the text, by offset: the text may move. */
typedef struct part {
    uint64_t at, length;
} part_t;

static part_t class_of(const mo_listing_t *listing, const mo_entry_t *entry)
{
    if (listing->source == MO_SOURCE_LIST)
        return entry->class_name == MO_NO_CLASS
                   ? (part_t){0}
                   : (part_t){entry->class_name, strlen(listing->text + entry->class_name)};
    const char *name = listing->text + entry->name, *slash = strchr(name, '/');
    return slash == NULL ? (part_t){0} : (part_t){entry->name, (uint64_t)(slash - name)};
}

static int by_part(const void *a, const void *b, void *text)
{
    const part_t *first = a, *second = b;
    const size_t shorter = first->length < second->length ? first->length : second->length;
    const int order = memcmp((char *)text + first->at, (char *)text + second->at, shorter);
    return order != 0 ? order : (first->length > second->length) - (first->length < second->length);
}

static int same_part(const mo_listing_t *listing, const part_t *a, const part_t *b)
{
    return a->length == b->length && by_part(a, b, listing->text) == 0;
}

/* Class names where they change along the listing; entries of a class mostly stand together. NULL
 * counts only. */
static size_t class_changes(const mo_listing_t *listing, part_t *changes)
{
    size_t count = 0;
    part_t before = {0};
    for (int64_t i = 0; i < listing->count; i++) {
        const part_t now = class_of(listing, &listing->entries[i]);
        if (now.length != 0 && !same_part(listing, &now, &before)) {
            if (changes != NULL)
                changes[count] = now;
            count++;
        }
        before = now;
    }
    return count;
}

static int32_t find_class(const mo_listing_t *listing, const part_t *classes, int32_t count, const part_t *wanted)
{
    for (int32_t low = 0, high = count; low < high;) {
        const int32_t middle = low + (high - low) / 2;
        const int order = by_part(wanted, &classes[middle], listing->text);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static void label_entries(mo_listing_t *listing, const part_t *classes, int32_t count)
{
    part_t before = {0};
    int32_t label = -1;
    for (int64_t i = 0; i < listing->count; i++) {
        const part_t now = class_of(listing, &listing->entries[i]);
        if (!same_part(listing, &now, &before))
            label = now.length == 0 ? -1 : find_class(listing, classes, count, &now);
        listing->entries[i].label = label;
        before = now;
    }
}

static moco_status_t name_classes(mo_listing_t *listing, const part_t *classes, int32_t count)
{
    moco_status_t status = MOCO_OK;
    uint64_t bytes = 0;
    for (int32_t i = 0; i < count; i++)
        bytes += classes[i].length + 1;
    /* So that appending parts of the text to itself does not move it. */
    TRY(mo_reserve(&listing->text, (int64_t)(listing->text_size + bytes), &listing->text_capacity, 1));
    TRY(mo_calloc((size_t)count, sizeof *listing->classes, &listing->classes));
    for (int32_t i = 0; i < count; i++)
        TRY(mo_listing_text(listing, listing->text + classes[i].at, classes[i].length, &listing->classes[i]));
    listing->class_count = count;
cleanup:
    return status;
}

static moco_status_t make_classes(mo_listing_t *listing)
{
    moco_status_t status = MOCO_OK;
    part_t *changes = NULL;
    size_t distinct = 0;
    const size_t count = class_changes(listing, NULL);
    TRY(mo_calloc(count, sizeof *changes, &changes));
    class_changes(listing, changes);
    qsort_r(changes, count, sizeof *changes, by_part, listing->text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !same_part(listing, &changes[i], &changes[distinct - 1]))
            changes[distinct++] = changes[i];
    label_entries(listing, changes, (int32_t)distinct);
    TRY(name_classes(listing, changes, (int32_t)distinct));
cleanup:
    mo_free(changes);
    return status;
}

/* ---- opening ---- */

moco_status_t mo_listing_refuse_compressed(const char *path, const uint8_t *bytes, size_t size)
{
    static const struct {
        const char *name, *magic;
        size_t length;
    } kinds[] = {{"gzip", "\x1f\x8b", 2},
                 {"xz",
                  "\xfd"
                  "7zXZ",
                  5},
                 {"zstd", "\x28\xb5\x2f\xfd", 4},
                 {"bzip2", "BZh", 3},
                 {"zip", "PK\x03\x04", 4},
                 {"lz4", "\x04\x22\x4d\x18", 4}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (size >= kinds[i].length && memcmp(bytes, kinds[i].magic, kinds[i].length) == 0)
            return mo_fail(MOCO_ERR_FORMAT, "'%s' is compressed (%s); wanted a folder, an uncompressed .tar or a list",
                           path, kinds[i].name);
    return MOCO_OK;
}

static int is_tar(const char *path)
{
    const size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".tar") == 0;
}

static moco_status_t fill(mo_listing_t *listing)
{
    struct stat info;
    if (fstat(listing->fd, &info) != 0)
        return mo_fail(MOCO_ERR_IO, "cannot examine '%s': %s", listing->path, strerror(errno));
    if (S_ISDIR(info.st_mode)) {
        listing->source = MO_SOURCE_FOLDER;
        return mo_folder_list(listing);
    }
    if (!S_ISREG(info.st_mode))
        return mo_fail(MOCO_ERR_IO, "'%s' is neither a folder nor a regular file", listing->path);
    if (is_tar(listing->path)) {
        listing->source = MO_SOURCE_TAR;
        return mo_tar_list(listing);
    }
    listing->source = MO_SOURCE_LIST;
    return mo_list_list(listing, (uint64_t)info.st_size);
}

moco_status_t mo_listing_open(mo_listing_t *listing, const char *path, int64_t limit)
{
    moco_status_t status = MOCO_OK;
    *listing = (mo_listing_t){.fd = -1};
    TRY(mo_strdup(path, &listing->path));
    /* Non-blocking: opening a pipe must not wait for somebody to write to it. */
    listing->fd = mo_fault(MO_FAULT_FILE) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (listing->fd < 0)
        return mo_fail(MOCO_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    TRY(fill(listing));
    if (listing->count == 0) {
        char endings[MO_ENDINGS_TEXT];
        mo_image_endings(endings);
        return mo_fail(MOCO_ERR_NO_DATA, "'%s' names no image; wanted files ending in %s", path, endings);
    }
    TRY(make_classes(listing));
    mo_listing_limit(listing, limit);
cleanup:
    return status;
}

/* ---- reading ---- */

int64_t mo_read_at(int fd, void *to, uint64_t size, uint64_t offset)
{
    uint64_t done = 0;
    while (done < size) {
        const uint64_t wanted = size - done < ((uint64_t)1 << 30) ? size - done : (uint64_t)1 << 30;
        const ssize_t got = pread(fd, (char *)to + done, (size_t)wanted, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (uint64_t)got;
    }
    return (int64_t)done;
}

static moco_status_t read_into(int fd, uint64_t offset, uint64_t size, uint64_t max_bytes, mo_bytes_t *bytes)
{
    if (size > max_bytes)
        return mo_fail(MOCO_ERR_IMAGE, "has %s; the limit is %s", mo_size(size).text, mo_size(max_bytes).text);
    const moco_status_t status = mo_bytes_reserve(&bytes->data, &bytes->capacity, size);
    if (status != MOCO_OK)
        return status;
    const int64_t got = mo_read_at(fd, bytes->data, size, offset);
    if (got < 0)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: %s", strerror(errno));
    bytes->size = (uint64_t)got;
    return MOCO_OK;
}

static moco_status_t read_file(const mo_listing_t *listing, const char *name, uint64_t max_bytes, mo_bytes_t *bytes)
{
    struct stat info;
    moco_status_t status;
    const int fault = mo_fault(MO_FAULT_FILE);
    const int fd = fault ? -1 : openat(listing->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) { /* out of descriptors says nothing about the image */
        const int error = fault ? EMFILE : errno, ours = error == EMFILE || error == ENFILE || error == ENOMEM;
        return mo_fail(ours ? MOCO_ERR_IO : MOCO_ERR_IMAGE, "unreadable: %s", strerror(error));
    }
    if (fstat(fd, &info) != 0)
        status = mo_fail(MOCO_ERR_IMAGE, "unreadable: %s", strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = mo_fail(MOCO_ERR_IMAGE, "unreadable: %s",
                         S_ISDIR(info.st_mode) ? "a folder, not a file" : "not a regular file");
    else
        status = read_into(fd, 0, (uint64_t)info.st_size, max_bytes, bytes);
    close(fd);
    return status;
}

moco_status_t mo_listing_read(const mo_listing_t *listing, int64_t index, uint64_t max_bytes, mo_bytes_t *bytes)
{
    const mo_entry_t *entry = &listing->entries[index];
    if (listing->source != MO_SOURCE_TAR)
        return read_file(listing, listing->text + entry->name, max_bytes, bytes);
    if (entry->kind == MO_ENTRY_LINK)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: a link to no image of the archive");
    if (entry->kind == MO_ENTRY_OTHER)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: not a regular file");
    return read_into(listing->fd, entry->member.offset, entry->member.size, max_bytes, bytes);
}
