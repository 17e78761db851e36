/* Listings: opening, sorting and limits, whatever the source. What differs between sources is in
 * folder.c, list.c and tar.c, classes are in classes.c, reading in listing_read.c. Called by
 * dataset.c. */
#define _GNU_SOURCE /* qsort_r */
#include "data/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/decode.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/file_kind.h"
#include "util/retry.h"
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

int mo_listing_hides(const char *path)
{
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part += part != path; /* past the slash */
        if (*part == '.')
            return 1;
    }
    return 0;
}

int mo_listing_wants(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !mo_listing_hides(path) && mo_image_has_ending(slash == NULL ? path : slash + 1);
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

/* ---- opening ---- */

static int is_tar(const char *path)
{
    const size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".tar") == 0;
}

moco_status_t mo_listing_refuse_kind(const mo_listing_t *listing, const mo_file_kind_t *kind)
{
    const char *more = kind->group == MO_FILE_TAR          ? ", but its name does not end in .tar"
                       : kind->group == MO_FILE_COMPRESSED ? ", which is packed"
                                                           : "";
    return mo_fail(MOCO_ERR_FORMAT, "'%s' is %s%s; wanted a folder, an uncompressed .tar or a list of paths",
                   listing->path, kind->what, more);
}

static moco_status_t fill(mo_listing_t *listing)
{
    struct stat info;
    if (mo_fstat(listing->fd, &info) != 0)
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

static moco_status_t refuse_empty(const mo_listing_t *listing)
{
    char endings[MO_ENDINGS_TEXT], left[MO_LEFT_OUT_TEXT];
    mo_image_endings(endings);
    mo_left_out_text(&listing->left_out, 0, left);
    if (listing->source == MO_SOURCE_LIST)
        return mo_fail(MOCO_ERR_NO_DATA, "'%s' names no image; wanted one path per line", listing->path);
    return mo_fail(MOCO_ERR_NO_DATA, "'%s' names no image; wanted files ending in %s%s%s", listing->path, endings,
                   left[0] != '\0' ? ", found " : "", left);
}

/* What the listing does not take is told once, here. */
static void tell_left_out(const mo_listing_t *listing)
{
    char endings[MO_ENDINGS_TEXT], left[MO_LEFT_OUT_TEXT];
    const int64_t images = mo_left_out_images(&listing->left_out);
    if (images == 0)
        return;
    mo_image_endings(endings);
    mo_left_out_text(&listing->left_out, 1, left);
    mo_log(MOCO_LOG_WARNING, "'%s': %lld pictures are left out (%s)%s: only files ending in %s are read, %lld here",
           listing->path, (long long)images, left, images > listing->count ? ", more than are read" : "", endings,
           (long long)listing->count);
}

moco_status_t mo_listing_open(mo_listing_t *listing, const char *path, int64_t limit)
{
    moco_status_t status = MOCO_OK;
    *listing = (mo_listing_t){.fd = -1};
    TRY(mo_strdup(path, &listing->path));
    /* Non-blocking: opening a pipe must not wait for somebody to write to it. */
    listing->fd = mo_fault(MO_FAULT_FILE) ? -1 : mo_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (listing->fd < 0)
        return mo_fail(MOCO_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    TRY(fill(listing));
    if (listing->count == 0)
        return refuse_empty(listing);
    TRY(mo_listing_make_classes(listing));
    tell_left_out(listing);
    mo_listing_limit(listing, limit);
cleanup:
    return status;
}
