/* Files that appear when they are complete; see whole_file.h. Called by sheet.c and confusion.c. */
#define _GNU_SOURCE /* asprintf */
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum {
    MOST_NAME = 200, /* bytes of a name that are taken over: all of it and an ending might be too long */
    MOST_LINKS = 40  /* as the system itself follows */
};

static int failed(whole_file_t *file)
{
    const int error = errno;

    if (file->stream != NULL)
        fclose(file->stream);
    if (file->temporary != NULL)
        unlink(file->temporary);
    fail("'%s' cannot be written: %s", file->name, strerror(error));
    free(file->temporary);
    free(file->path);
    memset(file, 0, sizeof *file);
    return EXIT_FAILED;
}

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Where the links lead that the last component may be, also to a file that is not there yet: a link
 * stays one. NULL and errno where that cannot be told. */
static char *follow(const char *path)
{
    char *at = strdup(path), link[PATH_MAX];

    for (int links = 0; at != NULL; links++) {
        char *next = NULL;
        const ssize_t length = readlink(at, link, sizeof link - 1);
        if (length < 0 && (errno == EINVAL || errno == ENOENT))
            return at;
        if (length >= 0 && links < MOST_LINKS) {
            link[length] = '\0';
            if (asprintf(&next, "%.*s%s", link[0] == '/' ? 0 : (int)(name_in(at) - at), at, link) < 0)
                next = NULL;
        } else if (length >= 0) {
            errno = ELOOP;
        }
        free(at);
        at = next;
    }
    return at;
}

/* NULL, and no path, where there is no memory. */
static char *name_temporary(const char *path)
{
    const char *name = name_in(path);
    char *made = NULL;

    if (asprintf(&made, "%.*s%.*s.moco-part-%ld", (int)(name - path), path, MOST_NAME, name, (long)getpid()) < 0)
        return NULL;
    return made;
}

int whole_open(whole_file_t *file, const char *path)
{
    struct stat info;
    int fd;

    memset(file, 0, sizeof *file);
    file->name = path;
    file->path = follow(path);
    if (file->path == NULL)
        return failed(file);
    if (stat(file->path, &info) == 0 && access(file->path, W_OK) != 0)
        return failed(file); /* a rename would not ask */
    file->temporary = name_temporary(file->path);
    if (file->temporary == NULL)
        return failed(file);
    unlink(file->temporary); /* of a process that had this number before */
    fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || (file->stream = fdopen(fd, "wb")) == NULL) {
        if (fd >= 0)
            close(fd);
        return failed(file);
    }
    if (stat(file->path, &info) == 0)
        (void)fchmod(fd, info.st_mode & 07777); /* where it cannot, the file is as new as any other */
    return EXIT_DONE;
}

/* File systems that cannot sync say EINVAL; that is no failure. */
static int sync_stream(FILE *stream)
{
    int result;
    do
        result = fsync(fileno(stream));
    while (result != 0 && errno == EINTR);
    return result != 0 && errno != EINVAL && errno != ENOTSUP ? -1 : 0;
}

int whole_close(whole_file_t *file, int keep)
{
    const int bad = keep && (fflush(file->stream) != 0 || ferror(file->stream) ||
                             (!file->unsynced && sync_stream(file->stream) != 0));
    FILE *stream = file->stream;

    if (bad)
        return failed(file);
    file->stream = NULL;
    if ((fclose(stream) != 0 && errno != EINTR) || (keep && rename(file->temporary, file->path) != 0))
        return failed(file); /* the bytes were flushed: a close that a signal has interrupted tells nothing of them */
    if (!keep)
        unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    memset(file, 0, sizeof *file);
    return EXIT_DONE;
}
