/* Files: whole reads and atomic writes. Called by persist, data and eval. Every
 * request to the system passes a fault point; every failure names the path and what the system
 * said. */
#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/status.h"

#define SUFFIX_SIZE 64     /* ".part-", two numbers, end */
#define MAX_LEFTOVERS 1000 /* of killed processes */

/* One failing request; a fault point pretends a disk that failed. */
static int faulted(void)
{
    if (!mo_fault(MO_FAULT_FILE))
        return 0;
    errno = EIO;
    return 1;
}

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
    int opened = faulted() ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return failed(path, "open");
    struct stat info;
    moco_status_t status = MOCO_OK;
    if (faulted() || fstat(opened, &info) != 0)
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
        ssize_t got = faulted() ? -1 : read(fd, data + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
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
        status = mo_fail(MOCO_ERR_IO, "%s: has %llu bytes, the limit is %llu", path, (unsigned long long)length,
                         (unsigned long long)limit);
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

/* ---- writing ---- */

/* The folder that holds `path`, as text that open takes. */
static moco_status_t folder_of(const char *path, char **folder)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return mo_strdup(".", folder);
    if (slash == path)
        return mo_strdup("/", folder);
    return mo_strprintf(folder, "%.*s", (int)(slash - path), path);
}

/* A new file beside `path`. The name holds the process number, so writers of one path do not meet;
 * a leftover of a killed process with the same number is stepped over. */
static int create_beside(const char *path, char *temporary, size_t capacity)
{
    for (int attempt = 0; attempt < MAX_LEFTOVERS; attempt++) {
        snprintf(temporary, capacity, "%s.part-%ld-%d", path, (long)getpid(), attempt);
        int fd = faulted() ? -1 : open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static moco_status_t check_target(const char *path)
{
    struct stat info;
    if (path == NULL || path[0] == '\0')
        return mo_fail(MOCO_ERR_ARGUMENT, "path to write is %s", path == NULL ? "NULL" : "empty");
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return mo_fail(MOCO_ERR_IO, "%s: exists and is not a regular file", path);
    return MOCO_OK;
}

moco_status_t mo_atomic_open(mo_atomic_file_t *file, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t made = {0};
    int fd = -1;
    TRY(check_target(path));
    TRY(mo_strdup(path, &made.path));
    TRY(mo_calloc(strlen(path) + SUFFIX_SIZE, 1, &made.temporary));
    fd = create_beside(path, made.temporary, strlen(path) + SUFFIX_SIZE);
    if (fd < 0) {
        status = failed(path, "create a temporary file beside it");
        mo_free(made.temporary); /* there is no file to remove */
        made.temporary = NULL;
        goto cleanup;
    }
    made.stream = faulted() ? NULL : fdopen(fd, "wb");
    if (made.stream == NULL) {
        status = failed(path, "open its temporary file");
        goto cleanup;
    }
    fd = -1;
    *file = made;
    made = (mo_atomic_file_t){0};
cleanup:
    if (fd >= 0)
        close(fd);
    mo_atomic_abort(&made);
    return status;
}

moco_status_t mo_atomic_write(mo_atomic_file_t *file, const void *bytes, uint64_t size)
{
    if (faulted() || fwrite(bytes, 1, size, file->stream) != size)
        return failed(file->path, "write");
    return MOCO_OK;
}

moco_status_t mo_atomic_seek(mo_atomic_file_t *file, uint64_t offset)
{
    if (faulted() || fseeko(file->stream, (off_t)offset, SEEK_SET) != 0)
        return failed(file->path, "write"); /* seeking flushes */
    return MOCO_OK;
}

static moco_status_t open_folder(const char *path, int *fd)
{
    char *folder = NULL;
    moco_status_t status = folder_of(path, &folder);
    if (status != MOCO_OK)
        return status;
    *fd = faulted() ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        status = failed(folder, "open the folder");
    mo_free(folder);
    return status;
}

static moco_status_t flush_to_disk(mo_atomic_file_t *file)
{
    if (faulted() || fflush(file->stream) != 0)
        return failed(file->path, "write");
    if (faulted() || fsync(fileno(file->stream)) != 0)
        return failed(file->path, "sync");
    FILE *stream = file->stream;
    file->stream = NULL; /* fclose frees it even when it fails */
    int closed = fclose(stream);
    if (faulted() || closed != 0)
        return failed(file->path, "close");
    return MOCO_OK;
}

moco_status_t mo_atomic_commit(mo_atomic_file_t *file)
{
    moco_status_t status = MOCO_OK;
    int folder = -1;
    if (file->stream == NULL)
        return mo_fail(MOCO_ERR_STATE, "no file is open for writing");
    TRY(flush_to_disk(file));
    TRY(open_folder(file->path, &folder)); /* before the rename: after it only the last sync can fail */
    if (faulted() || rename(file->temporary, file->path) != 0) {
        status = failed(file->path, "put the finished file in place");
        goto cleanup;
    }
    mo_free(file->temporary); /* it has its name: nothing to remove any more */
    file->temporary = NULL;
    /* Without this a power cut could forget the rename. EINVAL: a file system that cannot sync
     * folders. */
    if (faulted() || (fsync(folder) != 0 && errno != EINVAL))
        status = failed(file->path, "sync its folder (the new file is in place)");
cleanup:
    if (folder >= 0)
        close(folder);
    mo_atomic_abort(file);
    return status;
}

void mo_atomic_abort(mo_atomic_file_t *file)
{
    if (file->stream != NULL)
        fclose(file->stream);
    if (file->temporary != NULL)
        unlink(file->temporary);
    mo_free(file->temporary);
    mo_free(file->path);
    *file = (mo_atomic_file_t){0};
}
