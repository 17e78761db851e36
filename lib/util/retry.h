/* System calls that a signal may interrupt, tried again until they have an answer. close is not
 * among them: on Linux it has closed the descriptor even when it was interrupted. */
#ifndef MO_UTIL_RETRY_H
#define MO_UTIL_RETRY_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* `result` = `call`, again while it is -1 by EINTR. */
#define MO_RETRY(result, call) \
    do {                       \
        (result) = (call);     \
    } while ((result) == -1 && errno == EINTR)

static inline int mo_open(const char *path, int flags, mode_t mode)
{
    int fd;
    MO_RETRY(fd, open(path, flags, mode));
    return fd;
}

static inline int mo_openat(int folder, const char *path, int flags)
{
    int fd;
    MO_RETRY(fd, openat(folder, path, flags));
    return fd;
}

static inline int mo_fstat(int fd, struct stat *info)
{
    int result;
    MO_RETRY(result, fstat(fd, info));
    return result;
}

static inline int mo_stat(const char *path, struct stat *info)
{
    int result;
    MO_RETRY(result, stat(path, info));
    return result;
}

static inline int mo_fstatat(int folder, const char *path, struct stat *info, int flags)
{
    int result;
    MO_RETRY(result, fstatat(folder, path, info, flags));
    return result;
}

static inline ssize_t mo_pread(int fd, void *to, size_t size, off_t offset)
{
    ssize_t got;
    MO_RETRY(got, pread(fd, to, size, offset));
    return got;
}

#endif
