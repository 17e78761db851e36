/* Reading files by name; see input.h. */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "output.h"

static void too_large(const char *path, uint64_t limit)
{
    char text[32];

    fail("'%s' has more than %s, which is the limit", path, output_bytes((double)limit, text));
}

/* Why a file is not read; 0 if it is. */
static int refused(const struct stat *info, const char *path, uint64_t limit, int pipes)
{
    if (S_ISDIR(info->st_mode))
        fail("'%s' is a folder, wanted a file", path);
    else if (!S_ISREG(info->st_mode) && !(pipes && S_ISFIFO(info->st_mode)))
        fail("'%s' is not a regular file", path);
    else if (S_ISREG(info->st_mode) && (uint64_t)info->st_size > limit)
        too_large(path, limit);
    else
        return 0;
    return 1;
}

/* *most: the bytes that a regular file has, or `limit` of a pipe. Files of /proc say that they have
 * none, and some of them never end. */
static FILE *open_file(const char *path, uint64_t limit, int pipes, uint64_t *most)
{
    /* A pipe without a writer has an end at once where it is opened so; a writer is waited for. */
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    FILE *file = NULL;
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0)
        fail("'%s' cannot be read: %s", path, strerror(errno));
    else if (!refused(&info, path, limit, pipes)) {
        *most = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : limit;
        if (fcntl(fd, F_SETFL, O_RDONLY) != 0 || (file = fdopen(fd, "rb")) == NULL)
            fail("'%s' cannot be read: %s", path, strerror(errno));
    }
    if (file == NULL && fd >= 0)
        close(fd);
    return file;
}

FILE *input_open(const char *path, uint64_t limit)
{
    uint64_t most;

    return open_file(path, limit, 0, &most);
}

/* Up to `most` bytes, and one more where there are more. */
static uint8_t *read_up_to(FILE *file, const char *path, uint64_t most, size_t *used)
{
    enum { CHUNK = 1 << 16 };
    uint8_t *bytes = NULL, *grown;
    size_t capacity = 0, got = 1;

    for (*used = 0; got > 0 && *used <= most; *used += got) {
        if (capacity - *used < CHUNK) {
            capacity = capacity * 2 + CHUNK;
            if ((grown = realloc(bytes, capacity)) == NULL) {
                fail("out of memory");
                free(bytes);
                return NULL;
            }
            bytes = grown;
        }
        got = fread(bytes + *used, 1, CHUNK < most - *used + 1 ? CHUNK : (size_t)(most - *used + 1), file);
    }
    if (!ferror(file))
        return bytes;
    fail("'%s' cannot be read: %s", path, strerror(errno));
    free(bytes);
    return NULL;
}

uint8_t *input_read(const char *path, uint64_t limit, uint64_t *size)
{
    uint64_t most = 0;
    size_t used = 0;
    FILE *file = open_file(path, limit, 1, &most);
    uint8_t *bytes = NULL;

    if (file != NULL && most == 0)
        fail("'%s' is empty", path);
    else if (file != NULL)
        bytes = read_up_to(file, path, most, &used);
    if (bytes != NULL && used > most) {
        too_large(path, most);
        free(bytes);
        bytes = NULL;
    }
    if (file != NULL)
        fclose(file);
    *size = used;
    return bytes;
}
