/* Listings of folders and of list files. Called by listing.c with listing->fd open; file systems
 * are taken as hostile: links may dangle or loop, names may be anything, folders may be deep. */
#include "data/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/size.h"
#include "util/status.h"

#define MAX_DEPTH 128
#define MAX_PATH 4096
#define MAX_LIST_BYTES ((uint64_t)1 << 30)

/* ---- folders ---- */

typedef struct walker {
    mo_listing_t *listing;
    struct {
        dev_t device;
        ino_t inode;
    } above[MAX_DEPTH]; /* folders being walked: meeting one again is a loop of links */
    char path[MAX_PATH];
} walker_t;

static moco_status_t walk(walker_t *walker, int fd, size_t length, int depth);

static int is_folder(int fd, const struct dirent *item)
{
    struct stat info;
    if (item->d_type != DT_LNK && item->d_type != DT_UNKNOWN)
        return item->d_type == DT_DIR;
    return fstatat(fd, item->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
}

static moco_status_t visit(walker_t *walker, int fd, const struct dirent *item, size_t length, int depth)
{
    const size_t name_length = strlen(item->d_name);
    mo_entry_t entry = {0};
    if (item->d_name[0] == '.')
        return MOCO_OK;
    const int wanted = mo_listing_wants(item->d_name);
    if (!wanted && !is_folder(fd, item))
        return MOCO_OK;
    if (length + name_length + 2 > MAX_PATH)
        return mo_fail(MOCO_ERR_IO, "in '%s': a path has more than %d bytes", walker->listing->path, MAX_PATH - 2);
    memcpy(walker->path + length, item->d_name, name_length + 1);
    if (wanted) {
        const moco_status_t status = mo_listing_text(walker->listing, walker->path, length + name_length, &entry.name);
        return status == MOCO_OK ? mo_listing_add(walker->listing, &entry) : status;
    }
    const int below = mo_fault(MO_FAULT_FILE) ? -1 : openat(fd, item->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (below < 0)
        return mo_fail(MOCO_ERR_IO, "cannot open folder '%s' in '%s': %s", walker->path, walker->listing->path,
                       strerror(errno));
    walker->path[length + name_length] = '/';
    return walk(walker, below, length + name_length + 1, depth + 1);
}

/* `fd` is closed here. `length` bytes of walker->path lead to it, slash included. */
static moco_status_t walk(walker_t *walker, int fd, size_t length, int depth)
{
    moco_status_t status = MOCO_OK;
    struct stat info;
    DIR *folder = fdopendir(fd);
    if (folder == NULL || fstat(fd, &info) != 0 || depth >= MAX_DEPTH) {
        status = depth >= MAX_DEPTH
                     ? mo_fail(MOCO_ERR_IO, "'%s' has folders more than %d deep", walker->listing->path, MAX_DEPTH - 1)
                     : mo_fail(MOCO_ERR_IO, "cannot read '%s': %s", walker->listing->path, strerror(errno));
        goto cleanup;
    }
    for (int i = 0; i < depth; i++)
        if (walker->above[i].device == info.st_dev && walker->above[i].inode == info.st_ino)
            goto cleanup;
    walker->above[depth].device = info.st_dev;
    walker->above[depth].inode = info.st_ino;
    for (;;) {
        errno = 0;
        const struct dirent *item = readdir(folder);
        if (item == NULL)
            break;
        TRY(visit(walker, fd, item, length, depth));
    }
    if (errno != 0)
        status = mo_fail(MOCO_ERR_IO, "cannot read a folder in '%s': %s", walker->listing->path, strerror(errno));
cleanup:
    if (folder != NULL)
        closedir(folder);
    else
        close(fd);
    return status;
}

moco_status_t mo_folder_list(mo_listing_t *listing)
{
    walker_t *walker = NULL;
    moco_status_t status = mo_calloc(1, sizeof *walker, &walker);
    if (status != MOCO_OK)
        return status;
    walker->listing = listing;
    const int fd = openat(listing->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    status = fd < 0 ? mo_fail(MOCO_ERR_IO, "cannot read '%s': %s", listing->path, strerror(errno))
                    : walk(walker, fd, 0, 0);
    mo_free(walker);
    if (status == MOCO_OK)
        mo_listing_sort(listing);
    return status;
}

/* ---- list files ---- */

static moco_status_t list_line(mo_listing_t *listing, const char *line, size_t length)
{
    moco_status_t status = MOCO_OK;
    mo_entry_t entry = {.class_name = MO_NO_CLASS};
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0 || line[0] == '#')
        return MOCO_OK;
    const char *tab = memchr(line, '\t', length);
    const size_t name_length = tab == NULL ? length : (size_t)(tab - line);
    if (name_length == 0)
        return mo_fail(MOCO_ERR_FORMAT, "'%s': entry %lld has a class but no path", listing->path,
                       (long long)listing->count);
    TRY(mo_listing_text(listing, line, name_length, &entry.name));
    if (tab != NULL && name_length + 1 < length)
        TRY(mo_listing_text(listing, tab + 1, length - name_length - 1, &entry.class_name));
    TRY(mo_listing_add(listing, &entry));
cleanup:
    return status;
}

static moco_status_t parse_list(mo_listing_t *listing, const char *text, size_t size)
{
    moco_status_t status = mo_listing_refuse_compressed(listing->path, (const uint8_t *)text, size);
    if (status == MOCO_OK && memchr(text, '\0', size) != NULL)
        status = mo_fail(MOCO_ERR_FORMAT,
                         "'%s' is neither a folder nor a .tar, and no list of paths: it holds a zero "
                         "byte",
                         listing->path);
    for (const char *line = text, *end = text + size; status == MOCO_OK && line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        status = list_line(listing, line, (size_t)(stop - line));
        line = stop + 1;
    }
    return status;
}

/* From here on listing->fd is the folder that paths are relative to. */
static moco_status_t enter_folder_of_list(mo_listing_t *listing)
{
    moco_status_t status = MOCO_OK;
    char *folder = NULL;
    TRY(mo_strdup(listing->path, &folder));
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder] = '\0';
    const int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        status = mo_fail(MOCO_ERR_IO, "cannot open the folder of '%s': %s", listing->path, strerror(errno));
        goto cleanup;
    }
    close(listing->fd);
    listing->fd = fd;
cleanup:
    mo_free(folder);
    return status;
}

moco_status_t mo_list_list(mo_listing_t *listing, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    char *text = NULL;
    if (size > MAX_LIST_BYTES)
        return mo_fail(MOCO_ERR_FORMAT, "'%s' has %s; a list of paths may have %s", listing->path, mo_size(size).text,
                       mo_size(MAX_LIST_BYTES).text);
    TRY(mo_calloc(size, 1, &text));
    const int64_t got = mo_read_at(listing->fd, text, size, 0);
    if (got < 0) {
        status = mo_fail(MOCO_ERR_IO, "cannot read '%s': %s", listing->path, strerror(errno));
        goto cleanup;
    }
    TRY(parse_list(listing, text, (size_t)got));
    TRY(enter_folder_of_list(listing));
cleanup:
    mo_free(text);
    return status;
}
