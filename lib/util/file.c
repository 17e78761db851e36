/* Files: whole reads, and what a path leads to. Called by persist, data and eval. Every request to
 * the system passes a fault point; every failure names the path and what the system said. */
#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/retry.h"
#include "util/size.h"
#include "util/status.h"

static moco_status_t failed(const char *path, const char *what)
{
    int error = errno;
    return mo_fail(MOCO_ERR_IO, "%s: cannot %s: %s", path, what, strerror(error));
}

/* ---- reading ---- */

moco_status_t mo_file_open_regular(const char *path, int *fd, uint64_t *size, struct timespec *changed)
{
    if (path == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "path is NULL");
    /* O_NONBLOCK: opening a named pipe without a writer must fail below, not wait. */
    const int opened = mo_fault_file() ? -1 : mo_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (opened < 0)
        return failed(path, "open");
    struct stat info;
    moco_status_t status = MOCO_OK;
    if (mo_fault_file() || mo_fstat(opened, &info) != 0)
        status = failed(path, "read its size");
    else if (S_ISDIR(info.st_mode))
        status = mo_fail(MOCO_ERR_IO, "%s: is a folder, wanted a file", path);
    else if (!S_ISREG(info.st_mode))
        status = mo_fail(MOCO_ERR_IO, "%s: is not a regular file", path);
    if (status != MOCO_OK) {
        close(opened);
        return status;
    }
    *fd = opened;
    *size = (uint64_t)info.st_size;
    *changed = info.st_mtim;
    return MOCO_OK;
}

static moco_status_t read_all(int fd, const char *path, uint8_t *data, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t got;
        MO_RETRY(got, mo_fault_file() ? -1 : read(fd, data + done, size - done));
        if (got < 0)
            return failed(path, "read");
        if (got == 0)
            return mo_fail(MOCO_ERR_IO, "%s: ends after %llu bytes, wanted %llu: it shrank while it was read", path,
                           (unsigned long long)done, (unsigned long long)size);
        done += (uint64_t)got;
    }
    return MOCO_OK;
}

moco_status_t mo_file_read(const char *path, uint64_t limit, uint8_t **data, uint64_t *size)
{
    moco_status_t status = MOCO_OK;
    int fd = -1;
    uint8_t *bytes = NULL;
    uint64_t length = 0;
    struct timespec changed;
    TRY(mo_file_open_regular(path, &fd, &length, &changed));
    if (length > limit) {
        status = mo_fail(MOCO_ERR_IO, "%s: has %s, the limit is %s", path, mo_size(length).text, mo_size(limit).text);
        goto cleanup;
    }
    TRY(mo_calloc(length, 1, &bytes));
    TRY(read_all(fd, path, bytes, length));
    *data = bytes;
    *size = length;
    bytes = NULL;
cleanup:
    mo_free(bytes);
    if (fd >= 0)
        close(fd);
    return status;
}

int mo_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

int mo_file_same(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}
