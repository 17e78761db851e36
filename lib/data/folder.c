/* Listings of folders. Called by listing.c with listing->fd open; file systems are taken as
 * hostile: links may dangle or loop, names may be anything, folders may be deep. A folder below
 * that may not be read, as lost+found, is left out with a warning; the data set's own must be
 * readable. */
#include "data/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/retry.h"
#include "util/status.h"

#define MAX_DEPTH 128
#define MAX_PATH 4096
#define NAMED_FOLDERS 5 /* that are left out, in warnings */

typedef struct walker {
    mo_listing_t *listing;
    struct {
        dev_t device;
        ino_t inode;
    } above[MAX_DEPTH]; /* folders being walked: meeting one again is a loop of links */
    char path[MAX_PATH];
} walker_t;

static moco_status_t walk(walker_t *walker, int fd, size_t length, int depth);

enum { ITEM_OTHER, ITEM_FILE, ITEM_FOLDER };

static int item_of_mode(mode_t mode)
{
    return S_ISDIR(mode) ? ITEM_FOLDER : S_ISREG(mode) ? ITEM_FILE : ITEM_OTHER;
}

/* What an item is, links followed. One that leads nowhere is nothing. */
static moco_status_t examine(const walker_t *walker, int fd, const struct dirent *item, int *what)
{
    struct stat info;
    *what = item->d_type == DT_DIR ? ITEM_FOLDER : item->d_type == DT_REG ? ITEM_FILE : ITEM_OTHER;
    if (item->d_type != DT_LNK && item->d_type != DT_UNKNOWN)
        return MOCO_OK;
    if (mo_fstatat(fd, item->d_name, &info, 0) == 0)
        *what = item_of_mode(info.st_mode);
    else if (!mo_error_is_of_file(errno))
        return mo_fail(MOCO_ERR_IO, "cannot examine '%s' in '%s': %s", item->d_name, walker->listing->path,
                       strerror(errno));
    return MOCO_OK;
}

static void leave_out(walker_t *walker, int fd, const char *name)
{
    mo_left_out_kind_t *kind = mo_left_out_add(&walker->listing->left_out, name);
    uint8_t first[MO_FILE_KIND_BYTES];
    if (!mo_left_out_wants_look(kind))
        return;
    const int file = mo_openat(fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const int64_t got = file < 0 ? -1 : mo_read_at(file, first, sizeof first, 0);
    if (got > 0)
        mo_left_out_look(kind, first, (uint64_t)got);
    if (file >= 0)
        close(file);
}

static moco_status_t skip_folder(walker_t *walker, int error)
{
    mo_listing_t *listing = walker->listing;
    if (!mo_error_is_of_file(error))
        return mo_fail(MOCO_ERR_IO, "cannot open folder '%s' in '%s': %s", walker->path, listing->path,
                       strerror(error));
    if (listing->skipped_folders++ < NAMED_FOLDERS)
        mo_log(MOCO_LOG_WARNING, "folder '%s' in '%s' is left out: %s", walker->path, listing->path, strerror(error));
    return MOCO_OK;
}

static moco_status_t visit(walker_t *walker, int fd, const struct dirent *item, size_t length, int depth)
{
    moco_status_t status = MOCO_OK;
    const size_t name_length = strlen(item->d_name);
    mo_entry_t entry = {0};
    int what = ITEM_OTHER;
    if (item->d_name[0] == '.')
        return MOCO_OK;
    const int wanted = mo_listing_wants(item->d_name);
    if (!wanted)
        TRY(examine(walker, fd, item, &what));
    if (what == ITEM_FILE)
        leave_out(walker, fd, item->d_name);
    if (!wanted && what != ITEM_FOLDER)
        return MOCO_OK;
    if (length + name_length + 2 > MAX_PATH)
        return mo_fail(MOCO_ERR_IO, "in '%s': a path has more than %d bytes", walker->listing->path, MAX_PATH - 2);
    memcpy(walker->path + length, item->d_name, name_length + 1);
    if (wanted) {
        TRY(mo_listing_text(walker->listing, walker->path, length + name_length, &entry.name));
        return mo_listing_add(walker->listing, &entry);
    }
    const int fault = mo_fault(MO_FAULT_FILE);
    const int below = fault ? -1 : mo_openat(fd, item->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (below < 0)
        return skip_folder(walker, fault ? EIO : errno);
    walker->path[length + name_length] = '/';
    status = walk(walker, below, length + name_length + 1, depth + 1);
cleanup:
    return status;
}

/* `fd` is closed here. `length` bytes of walker->path lead to it, slash included. */
static moco_status_t walk(walker_t *walker, int fd, size_t length, int depth)
{
    moco_status_t status = MOCO_OK;
    struct stat info;
    DIR *folder = fdopendir(fd);
    if (folder == NULL || mo_fstat(fd, &info) != 0 || depth >= MAX_DEPTH) {
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
        if (item == NULL && errno == EINTR)
            continue;
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
    const int fd = mo_openat(listing->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    status = fd < 0 ? mo_fail(MOCO_ERR_IO, "cannot read '%s': %s", listing->path, strerror(errno))
                    : walk(walker, fd, 0, 0);
    mo_free(walker);
    if (status == MOCO_OK)
        mo_listing_sort(listing);
    return status;
}
