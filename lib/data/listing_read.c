/* From an entry of a listing to its bytes, and whose fault it is where that fails. Called by
 * dataset_read.c on any number of threads. */
#include "data/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/augment.h"
#include "util/fault.h"
#include "util/retry.h"
#include "util/size.h"
#include "util/status.h"

int64_t mo_read_at(int fd, void *to, uint64_t size, uint64_t offset)
{
    uint64_t done = 0;
    while (done < size) {
        const uint64_t wanted = size - done < ((uint64_t)1 << 30) ? size - done : (uint64_t)1 << 30;
        const ssize_t got = mo_pread(fd, (char *)to + done, (size_t)wanted, (off_t)(offset + done));
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (uint64_t)got;
    }
    return (int64_t)done;
}

/* Not among them: EIO, ESTALE, ETIMEDOUT, ENOTCONN, EAGAIN, EMFILE, ENOMEM and whatever a file
 * system may yet think of. A run that stops can go on; an image that was dropped is missing for
 * good. */
int mo_error_is_of_file(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENAMETOOLONG:
    case EISDIR:
    case ENXIO: /* a socket */
    case EINVAL:
    case EOVERFLOW:
    case EFBIG:
    case EILSEQ: return 1;
    default: return 0;
    }
}

static moco_status_t unreadable(int error)
{
    if (mo_error_is_of_file(error))
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: %s", strerror(error));
    return mo_fail(MOCO_ERR_IO, "cannot be read now: %s (nothing is held against the image)", strerror(error));
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
        return unreadable(errno);
    if ((uint64_t)got < size) /* somebody is writing it */
        return mo_fail(MOCO_ERR_IO, "ends after %lld of %llu bytes: it became shorter while it was read",
                       (long long)got, (unsigned long long)size);
    bytes->size = size;
    return MOCO_OK;
}

/* A folder without a name, whose files are gone with it: a run must not go on without any image. */
static int is_removed(const mo_listing_t *listing)
{
    struct stat info;
    return listing->source == MO_SOURCE_FOLDER && mo_fstat(listing->fd, &info) == 0 && info.st_nlink == 0;
}

static moco_status_t fail_to_open(const mo_listing_t *listing, const char *name, int error)
{
    char hint[MO_LIST_HINT] = "";
    if (error == ENOENT && is_removed(listing))
        return mo_fail(MOCO_ERR_IO, "the folder '%s' was removed", listing->path);
    if (listing->source == MO_SOURCE_LIST && (error == ENOENT || error == ENOTDIR))
        mo_list_hint(listing, name, hint);
    if (hint[0] == '\0')
        return unreadable(error);
    return mo_fail(MOCO_ERR_IMAGE, "unreadable: %s%s", strerror(error), hint);
}

static moco_status_t read_file(const mo_listing_t *listing, const char *name, uint64_t max_bytes, mo_bytes_t *bytes)
{
    struct stat info;
    moco_status_t status;
    const int fault = mo_fault(MO_FAULT_FILE);
    const int fd = fault ? -1 : mo_openat(listing->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_to_open(listing, name, fault ? EMFILE : errno);
    if (mo_fstat(fd, &info) != 0)
        status = unreadable(errno);
    else if (!S_ISREG(info.st_mode))
        status = mo_fail(MOCO_ERR_IMAGE, "unreadable: %s",
                         S_ISDIR(info.st_mode) ? "a folder, not a file" : "not a regular file");
    else
        status = read_into(fd, 0, (uint64_t)info.st_size, max_bytes, bytes);
    close(fd);
    return status;
}

static moco_status_t read_member(const mo_listing_t *listing, const mo_entry_t *entry, uint64_t max_bytes,
                                 mo_bytes_t *bytes)
{
    if (entry->kind == MO_ENTRY_LINK)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: a link to no image of the archive");
    if (entry->kind == MO_ENTRY_SPARSE)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: a sparse member, which is not read (pack it without --sparse)");
    if (entry->kind == MO_ENTRY_OTHER)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: not a regular file");
    return read_into(listing->fd, entry->member.offset, entry->member.size, max_bytes, bytes);
}

moco_status_t mo_listing_read(const mo_listing_t *listing, int64_t index, uint64_t max_bytes, mo_bytes_t *bytes)
{
    const mo_entry_t *entry = &listing->entries[index];
    if (listing->source == MO_SOURCE_TAR)
        return read_member(listing, entry, max_bytes, bytes);
    return read_file(listing, listing->text + entry->name, max_bytes, bytes);
}
