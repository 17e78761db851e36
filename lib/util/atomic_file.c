/* Atomic writes; see atomic_file.h. Called by persist, eval and the log of a run. Every request to
 * the system whose failure matters passes a fault point; every failure names the path and what the
 * system said. */
#define _GNU_SOURCE /* renameat2 */
#include "util/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/checksum.h"
#include "util/fault.h"
#include "util/printable.h"
#include "util/retry.h"
#include "util/status.h"

#define PART ".moco-part"
#define SUFFIX_SIZE 24     /* PART, "-", a number, end           */
#define MAX_WRITERS 1000   /* of one path at a time              */
#define MAX_LINKS 40       /* as the system itself follows       */
#define BUFFER_SIZE 131072 /* small writes come in thousands     */

static moco_status_t failed(const mo_atomic_file_t *file, const char *what)
{
    const int error = errno;
    return mo_fail(MOCO_ERR_IO, "%s: cannot %s: %s", file->path, what, strerror(error));
}

/* ---- where ---- */

/* The folder of `path` below `base`, and the last component, which points into `path`. */
static moco_status_t open_holder(const mo_folder_t *base, char *path, mo_folder_t *folder, const char **name)
{
    char *slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;
    if (slash == NULL)
        return mo_folder_open(folder, base, ".");
    if (slash == path)
        return mo_folder_open(folder, base, "/");
    *slash = '\0';
    return mo_folder_open(folder, base, path);
}

/* Follows the links that the last component may be: the file is written where they lead. */
static moco_status_t find_place(mo_atomic_file_t *file, const mo_folder_t *base, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_folder_t folder = {0};
    const char *name = NULL;
    char *at = NULL, link[PATH_MAX];
    TRY(mo_strdup(path, &at));
    for (int links = 0;; links++) {
        TRY(open_holder(base, at, &folder, &name));
        const ssize_t length = mo_fault_file() ? -1 : readlinkat(folder.fd, name, link, sizeof link - 1);
        mo_folder_close(&file->folder);
        file->folder = folder;
        folder = (mo_folder_t){0};
        if (length < 0 && (errno == EINVAL || errno == ENOENT))
            break;
        if (length >= 0 && links == MAX_LINKS)
            errno = ELOOP;
        if (length < 0 || links == MAX_LINKS)
            TRY(failed(file, "follow the link"));
        link[length] = '\0';
        mo_free(at);
        at = NULL;
        TRY(mo_strdup(link, &at));
        base = &file->folder;
    }
    TRY(mo_strdup(name, &file->name));
cleanup:
    mo_folder_close(&folder);
    mo_free(at);
    return status;
}

/* *mode: the permissions of the file that will be replaced, or -1. */
static moco_status_t check_target(mo_atomic_file_t *file, int *mode)
{
    struct stat info;
    *mode = -1;
    if (file->name[0] == '\0')
        return mo_fail(MOCO_ERR_IO, "%s: names a folder, wanted a file", file->path);
    if (fstatat(file->folder.fd, file->name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return MOCO_OK;
    if (!S_ISREG(info.st_mode))
        return mo_fail(MOCO_ERR_IO, "%s: exists and is not a regular file", file->path);
    *mode = (int)(info.st_mode & 0777);
    return MOCO_OK;
}

/* ---- opening ---- */

/* A lock tells the living writer of a temporary file from one that was killed. A file system
 * without locks leaves all to the names. */
static int lock_is_taken(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* 0 where somebody else has the lock or has just removed the file. */
static int claim(int fd)
{
    struct stat info;
    return !lock_is_taken(fd) && (fstat(fd, &info) != 0 || info.st_nlink > 0); /* what cannot be asked is there */
}

static moco_status_t name_temporary(mo_atomic_file_t *file)
{
    return mo_calloc(strlen(file->name) + SUFFIX_SIZE, 1, &file->temporary);
}

/* NAME.moco-part. Where that is too long for a name, its end is a checksum of the whole name:
 * others that begin alike have another one. */
static moco_status_t part_name(const char *name, char **out)
{
    mo_checksum_t sum;
    char text[MO_CHECKSUM_TEXT];
    const size_t size = strlen(name), most = NAME_MAX - (sizeof PART - 1);
    if (size <= most)
        return mo_strprintf(out, "%s" PART, name);
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, name, size);
    mo_checksum_text(mo_checksum_value(&sum), text);
    return mo_strprintf(out, "%.*s-%s" PART, (int)mo_utf8_fit(name, most - sizeof text), name, text);
}

moco_status_t mo_atomic_part_path(const char *path, char **part)
{
    const char *slash = strrchr(path, '/');
    const int folder = slash != NULL ? (int)(slash + 1 - path) : 0;
    char *name = NULL;
    moco_status_t status = part_name(path + folder, &name);
    if (status == MOCO_OK)
        status = mo_strprintf(part, "%.*s%s", folder, path, name);
    mo_free(name);
    return status;
}

/* A new file of a name that nobody living uses; what a killed process has left of it goes. */
static int create_temporary(const mo_atomic_file_t *file)
{
    const int most = (int)mo_utf8_fit(file->name, NAME_MAX - SUFFIX_SIZE);
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    for (int number = 0, tries = 0; tries < MAX_WRITERS; tries++) {
        snprintf(file->temporary, strlen(file->name) + SUFFIX_SIZE, "%.*s" PART "-%d", most, file->name, number);
        int fd;
        MO_RETRY(fd, mo_fault_file() ? -1 : mo_fd_high(openat(file->folder.fd, file->temporary, flags, 0666)));
        if (fd >= 0 && claim(fd))
            return fd;
        if (fd >= 0)
            close(fd);
        else if (errno != EEXIST)
            return -1;
        number += !mo_leftover_remove(file->folder.fd, file->temporary);
    }
    errno = EEXIST;
    return -1;
}

static moco_status_t open_new(mo_atomic_file_t *file, const mo_folder_t *folder, const char *path)
{
    moco_status_t status = MOCO_OK;
    int mode = -1;
    TRY(find_place(file, folder, path));
    TRY(check_target(file, &mode));
    TRY(mo_calloc(BUFFER_SIZE, 1, &file->buffer));
    TRY(name_temporary(file));
    file->fd = create_temporary(file);
    if (file->fd < 0) {
        file->fd = 0;
        status = failed(file, "create a temporary file beside it");
        mo_free(file->temporary); /* there is no file to remove */
        file->temporary = NULL;
    } else if (mode >= 0)
        (void)fchmod(file->fd, (mode_t)mode); /* where it cannot, the file is as new as any other */
cleanup:
    return status;
}

moco_status_t mo_atomic_open_in(mo_atomic_file_t *file, const mo_folder_t *folder, const char *name)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t made = {0};
    if (name == NULL || name[0] == '\0')
        return mo_fail(MOCO_ERR_ARGUMENT, "path to write is %s", name == NULL ? "NULL" : "empty");
    TRY(folder != NULL ? mo_folder_path(folder, name, &made.path) : mo_strdup(name, &made.path));
    made.owner = getpid();
    TRY(open_new(&made, folder, name));
    *file = made;
    made = (mo_atomic_file_t){0};
cleanup:
    mo_atomic_abort(&made);
    return status;
}

moco_status_t mo_atomic_open(mo_atomic_file_t *file, const char *path)
{
    return mo_atomic_open_in(file, NULL, path);
}

/* ---- opening again ---- */

/* Whether the file still has the part file's name: between its opening and its lock the process
 * that had the lock may have finished it and given it its final name. */
static int is_still_part(const mo_atomic_file_t *file)
{
    struct stat opened, named;
    return fstat(file->fd, &opened) != 0 ||
           (fstatat(file->folder.fd, file->temporary, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            opened.st_dev == named.st_dev && opened.st_ino == named.st_ino);
}

/* Opens the part file and locks it. */
static moco_status_t claim_part(mo_atomic_file_t *file)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    for (int tries = 0; tries < MAX_WRITERS; tries++) {
        int fd;
        MO_RETRY(fd, mo_fault_file() ? -1 : mo_fd_high(openat(file->folder.fd, file->temporary, flags, 0666)));
        if (fd < 0)
            return failed(file, "open its part file");
        file->fd = fd;
        if (lock_is_taken(fd))
            break;
        if (is_still_part(file))
            return MOCO_OK;
        close(fd);
        file->fd = 0;
    }
    return mo_fail(MOCO_ERR_STATE, "%s: another process is writing it", file->path);
}

static moco_status_t open_part(mo_atomic_file_t *file, uint64_t size)
{
    struct stat info;
    const moco_status_t status = claim_part(file);
    if (status != MOCO_OK)
        return status;
    const int fd = file->fd;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return mo_fail(MOCO_ERR_IO, "%s: its part file is not a regular file", file->path);
    if ((uint64_t)info.st_size < size)
        return mo_fail(MOCO_ERR_FORMAT, "%s: its part file has %llu bytes, wanted %llu", file->path,
                       (unsigned long long)info.st_size, (unsigned long long)size);
    if (mo_fault_file() || ftruncate(fd, (off_t)size) != 0 || lseek(fd, (off_t)size, SEEK_SET) < 0)
        return failed(file, "cut back its part file");
    return MOCO_OK;
}

moco_status_t mo_atomic_resume(mo_atomic_file_t *file, const char *path, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t made = {.kept = 1, .owner = getpid()};
    int mode = -1;
    TRY(mo_strdup(path, &made.path));
    TRY(find_place(&made, NULL, path));
    TRY(check_target(&made, &mode));
    TRY(mo_calloc(BUFFER_SIZE, 1, &made.buffer));
    TRY(part_name(made.name, &made.temporary));
    TRY(open_part(&made, size));
    if (mode >= 0)
        (void)fchmod(made.fd, (mode_t)mode);
    *file = made;
    made = (mo_atomic_file_t){0};
cleanup:
    mo_atomic_keep(&made);
    return status;
}

moco_status_t mo_atomic_reread(mo_atomic_file_t *file, uint64_t from,
                               void (*take)(void *user, const void *bytes, uint64_t size), void *user)
{
    for (ssize_t got;; from += (uint64_t)got) { /* nothing waits in the buffer yet */
        MO_RETRY(got, mo_fault_file() ? -1 : pread(file->fd, file->buffer, BUFFER_SIZE, (off_t)from));
        if (got < 0)
            return failed(file, "read its part file");
        if (got == 0)
            return MOCO_OK;
        take(user, file->buffer, (uint64_t)got);
    }
}

/* ---- writing ---- */

/* A forked child shares the descriptor and its place with the process that opened the file. */
static moco_status_t need_own(const mo_atomic_file_t *file)
{
    return file->owner == getpid() ? MOCO_OK
                                   : mo_fail(MOCO_ERR_IO, "the file belongs to the process that forked this one");
}

/* A file that has once lost bytes never again says that all is well. */
static moco_status_t put(mo_atomic_file_t *file, const void *bytes, uint64_t size)
{
    const moco_status_t status = need_own(file);
    if (status != MOCO_OK)
        return status;
    if (file->error == 0 && mo_fd_write(file->fd, bytes, size) != 0)
        file->error = errno;
    errno = file->error;
    return file->error == 0 ? MOCO_OK : failed(file, "write");
}

static moco_status_t flush(mo_atomic_file_t *file)
{
    const size_t size = file->waiting;
    file->waiting = 0;
    return put(file, file->buffer, size);
}

moco_status_t mo_atomic_write(mo_atomic_file_t *file, const void *bytes, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    if (size > BUFFER_SIZE - file->waiting)
        TRY(flush(file));
    if (size > BUFFER_SIZE)
        return put(file, bytes, size);
    if (size > 0)
        memcpy(file->buffer + file->waiting, bytes, size);
    file->waiting += size;
cleanup:
    return status;
}

moco_status_t mo_atomic_seek(mo_atomic_file_t *file, uint64_t offset)
{
    const moco_status_t status = flush(file);
    if (status != MOCO_OK)
        return status;
    if (!mo_fault_file() && lseek(file->fd, (off_t)offset, SEEK_SET) >= 0)
        return MOCO_OK;
    file->error = errno != 0 ? errno : EIO;
    return failed(file, "write");
}

moco_status_t mo_atomic_sync(mo_atomic_file_t *file)
{
    moco_status_t status = need_own(file);
    if (status == MOCO_OK)
        status = flush(file);
    if (status != MOCO_OK)
        return status;
    if (mo_fd_sync(file->fd) == 0 || mo_sync_unsupported(errno))
        return MOCO_OK;
    file->error = errno; /* the system tells a lost write once: a second sync would be content */
    return failed(file, "sync");
}

/* ---- commit ---- */

/* Network file systems tell at a close that bytes were lost. A copy is closed, because the lock on
 * the temporary name has to outlive the rename. A close that a signal has interrupted tells
 * nothing: the bytes were synced before, and Linux has closed the descriptor. */
static moco_status_t close_copy(const mo_atomic_file_t *file)
{
    const int copy = fcntl(file->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int fault = mo_fault_file();
    return fault || (copy >= 0 && close(copy) != 0 && errno != EINTR) ? failed(file, "close") : MOCO_OK;
}

/* Each file gets the other's name. musl has the system call without a function of its own. */
static int swap_names(int folder, const char *a, const char *b)
{
#ifdef __GLIBC__
    return renameat2(folder, a, folder, b, RENAME_EXCHANGE);
#else
    return (int)syscall(SYS_renameat2, folder, a, folder, b, 2u /* exchange */);
#endif
}

/* `swap`: an older file is kept under the temporary name, where the file system can do that. */
static moco_status_t put_in_place(mo_atomic_file_t *file, int swap)
{
    const int folder = file->folder.fd;
    const int fault = mo_fault_file();
    if (!fault && swap && swap_names(folder, file->temporary, file->name) == 0) {
        file->exchange = 1;
    } else if (fault || renameat(folder, file->temporary, folder, file->name) != 0) {
        return failed(file, "put the finished file in place");
    }
    file->placed = 1;
    return MOCO_OK;
}

/* A later file of the same commit failed. What replaced an older file without a swap has to
 * stay. */
static void take_back(mo_atomic_file_t *file, int had_older)
{
    const int folder = file->folder.fd;
    if (file->exchange && swap_names(folder, file->temporary, file->name) != 0) {
        mo_free(file->temporary); /* the older file: better kept under a strange name than removed */
        file->temporary = NULL;
    } else if (!file->exchange && !had_older && renameat(folder, file->name, folder, file->temporary) != 0)
        (void)unlinkat(folder, file->name, 0); /* alone it would stand in the way of the next call */
    file->exchange = file->placed = 0;
}

static int has_older(const mo_atomic_file_t *file)
{
    struct stat info;
    return fstatat(file->folder.fd, file->name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

static moco_status_t place_all(mo_atomic_file_t *const *files, int count)
{
    enum { MOST = 8 };
    int older[MOST] = {0}, done = 0;
    moco_status_t status = MOCO_OK;
    if (count > MOST)
        return mo_fail(MOCO_ERR_ARGUMENT, "%d files, at most %d are committed together", count, MOST);
    for (; done < count && status == MOCO_OK; done += status == MOCO_OK) {
        older[done] = has_older(files[done]);
        status = put_in_place(files[done], count > 1 && older[done]);
    }
    while (status != MOCO_OK && done-- > 0)
        take_back(files[done], older[done]);
    return status;
}

/* Without this a power cut could forget the rename. */
static moco_status_t sync_folder(mo_atomic_file_t *file)
{
    if (mo_folder_sync(&file->folder) == MOCO_OK)
        return MOCO_OK;
    return failed(file, "sync its folder (the new file is in place)");
}

static void leave(mo_atomic_file_t *file, int remove)
{
    if (remove && file->temporary != NULL && file->owner == getpid() && (!file->placed || file->exchange))
        unlinkat(file->folder.fd, file->temporary, 0);
    if (file->fd > 0)
        close(file->fd);
    mo_folder_close(&file->folder);
    mo_free(file->buffer);
    mo_free(file->temporary);
    mo_free(file->name);
    mo_free(file->path);
    *file = (mo_atomic_file_t){0};
}

moco_status_t mo_atomic_commit_all(mo_atomic_file_t *const *files, int count)
{
    moco_status_t status = MOCO_OK;
    for (int i = 0; i < count; i++)
        if (files[i]->fd == 0)
            return mo_fail(MOCO_ERR_STATE, "no file is open for writing");
    for (int i = 0; i < count; i++) {
        TRY(mo_atomic_sync(files[i]));
        TRY(close_copy(files[i]));
    }
    TRY(place_all(files, count));
    for (int i = 0; i < count; i++)
        TRY(sync_folder(files[i]));
cleanup:
    for (int i = 0; i < count; i++)
        leave(files[i], status == MOCO_OK || !files[i]->kept || files[i]->placed);
    return status;
}

moco_status_t mo_atomic_commit(mo_atomic_file_t *file)
{
    return mo_atomic_commit_all(&file, 1);
}

void mo_atomic_abort(mo_atomic_file_t *file)
{
    leave(file, 1);
}

void mo_atomic_keep(mo_atomic_file_t *file)
{
    leave(file, 0); /* bytes that wait are after the last mo_atomic_sync */
}
