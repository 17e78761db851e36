/* Opened folders; see folder.h. Called by writers of files and by runs. */
#define _GNU_SOURCE /* O_PATH */
#include "util/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/retry.h"
#include "util/status.h"

static moco_status_t failed(const char *path, const char *what)
{
    const int error = errno;
    (void)mo_fail(MOCO_ERR_IO, "%s: cannot %s: %s", path, what, strerror(error));
    errno = error; /* for callers with more to say */
    return MOCO_ERR_IO;
}

/* ---- descriptors ---- */

int mo_fd_high(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), error = errno;
    close(fd);
    errno = error;
    return copy;
}

static int write_all(int fd, const void *bytes, uint64_t size)
{
    const uint8_t *from = bytes;
    while (size > 0) {
        ssize_t written;
        MO_RETRY(written, mo_fault_file() ? -1 : write(fd, from, size));
        if (written == 0)
            errno = ENOSPC; /* a system that takes nothing will go on taking nothing */
        if (written <= 0)
            return -1;
        from += written;
        size -= (uint64_t)written;
    }
    return 0;
}

/* Past the limit of RLIMIT_FSIZE the system also sends the thread a SIGXFSZ, which would end the
 * host: the error is enough. A host that has blocked the signal itself finds it pending. */
int mo_fd_write(int fd, const void *bytes, uint64_t size)
{
    sigset_t too_large, before;
    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &too_large, &before);
    const int result = write_all(fd, bytes, size), error = errno;
    if (result != 0 && error == EFBIG && !sigismember(&before, SIGXFSZ))
        while (sigtimedwait(&too_large, NULL, &(struct timespec){0}) < 0 && errno == EINTR) {
        }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return result;
}

int mo_fd_sync(int fd)
{
    int result;
    MO_RETRY(result, mo_fault_file() ? -1 : fsync(fd));
    return result;
}

int mo_sync_unsupported(int error)
{
    return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP /* which Linux also calls ENOTSUP */;
}

/* ---- folders ---- */

/* Without the permission to list a folder it can still be written into, but not synced. */
static int open_folder(int base, const char *path)
{
    int fd = mo_fault_file() ? -1 : mo_openat(base, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        fd = mo_openat(base, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return mo_fd_high(fd);
}

moco_status_t mo_folder_open(mo_folder_t *folder, const mo_folder_t *base, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_folder_t made = {0};
    if (base != NULL && path[0] != '/')
        TRY(mo_folder_path(base, path, &made.path));
    else
        TRY(mo_strdup(path, &made.path));
    made.fd = open_folder(base != NULL ? base->fd : AT_FDCWD, path);
    if (made.fd < 0) {
        status = failed(made.path, "open the folder");
        goto cleanup;
    }
    *folder = made;
    made = (mo_folder_t){0};
cleanup:
    mo_folder_close(&made);
    return status;
}

/* The folder that holds the last component of `path`, in which the name is then on the disk. */
static moco_status_t sync_parent(const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_folder_t parent = {0};
    char *copy = NULL;
    TRY(mo_strdup(path, &copy));
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/')
        length--;
    while (length > 0 && copy[length - 1] != '/')
        length--;
    copy[length] = '\0';
    TRY(mo_folder_open(&parent, NULL, length > 0 ? copy : "."));
    TRY(mo_folder_sync(&parent));
cleanup:
    mo_folder_close(&parent);
    mo_free(copy);
    return status;
}

moco_status_t mo_folder_make(mo_folder_t *folder, const char *path)
{
    const int made = mo_fault_file() ? -1 : mkdir(path, 0777);
    if (made != 0 && errno != EEXIST)
        return failed(path, "make this folder");
    moco_status_t status = made == 0 ? sync_parent(path) : MOCO_OK;
    return status == MOCO_OK ? mo_folder_open(folder, NULL, path) : status;
}

void mo_folder_close(mo_folder_t *folder)
{
    if (folder->fd > STDERR_FILENO)
        close(folder->fd);
    mo_free(folder->path);
    *folder = (mo_folder_t){0};
}

moco_status_t mo_folder_path(const mo_folder_t *folder, const char *name, char **path)
{
    const size_t length = strlen(folder->path);
    const char *slash = length > 0 && folder->path[length - 1] == '/' ? "" : "/";
    return strcmp(folder->path, ".") == 0 ? mo_strdup(name, path)
                                          : mo_strprintf(path, "%s%s%s", folder->path, slash, name);
}

moco_status_t mo_folder_sync(const mo_folder_t *folder)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (mo_fd_sync(folder->fd) == 0)
        return MOCO_OK;
    /* Permission: network file systems check it here; EBADF: this descriptor is a path's. */
    if (!mo_sync_unsupported(errno) && errno != EBADF && errno != EACCES && errno != EPERM)
        return failed(folder->path, "sync this folder");
    const int error = errno;
    if (!atomic_flag_test_and_set(&said))
        mo_log(MOCO_LOG_WARNING,
               "%s: this file system cannot sync folders (%s): after a power cut the newest files may have their "
               "old content",
               folder->path, strerror(error));
    return MOCO_OK;
}

/* ---- leftovers ---- */

/* "0" of NAME.moco-part-0, "17-0" of NAME.part-17-0. */
static int is_numbers(const char *text, int groups)
{
    while (groups-- > 0) {
        const size_t digits = strspn(text, "0123456789");
        if (digits == 0 || text[digits] != (groups > 0 ? '-' : '\0'))
            return 0;
        text += digits + 1;
    }
    return 1;
}

static int is_leftover(const char *entry, const char *name)
{
    static const char part[] = ".moco-part-", older[] = ".part-";
    const size_t length = strlen(name);
    if (strncmp(entry, name, length) != 0)
        return 0;
    entry += length;
    if (strncmp(entry, part, sizeof part - 1) == 0)
        return is_numbers(entry + sizeof part - 1, 1);
    return strncmp(entry, older, sizeof older - 1) == 0 && is_numbers(entry + sizeof older - 1, 2);
}

/* The writer of a temporary file holds a lock on it, which a killed one no longer does. */
int mo_leftover_remove(int folder, const char *name)
{
    struct stat opened, named;
    int removed = 0;
    const int fd = mo_fd_high(openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0)
        return errno == ENOENT;
    if (fstat(fd, &opened) == 0 && S_ISREG(opened.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && opened.st_dev == named.st_dev &&
        opened.st_ino == named.st_ino)
        removed = unlinkat(folder, name, 0) == 0;
    close(fd);
    return removed;
}

moco_status_t mo_folder_sweep(const mo_folder_t *folder, const char *const *names)
{
    const int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        const moco_status_t status = failed(folder->path, "list this folder");
        if (fd >= 0)
            close(fd);
        return status;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        for (int i = 0; names[i] != NULL; i++)
            if (is_leftover(entry->d_name, names[i]))
                mo_leftover_remove(folder->fd, entry->d_name);
    closedir(dir);
    return MOCO_OK;
}
