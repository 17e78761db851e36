/* Sources of bytes; see source.h. Called by the readers of tensor files and of .npy files. */
#include "util/source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/file.h"
#include "util/file_kind.h"
#include "util/retry.h"
#include "util/status.h"

#define MAX_REQUEST ((uint64_t)1 << 30) /* bytes of one read */

struct mo_source {
    int fd;               /* -1 = memory */
    const uint8_t *bytes; /* memory      */
    uint64_t size;
    struct timespec changed;
    char *path;
};

static moco_status_t create(const char *path, mo_source_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_source_t *source = NULL;
    TRY(mo_calloc(1, sizeof *source, &source));
    source->fd = -1;
    TRY(mo_strdup(path, &source->path));
    *out = source;
    source = NULL;
cleanup:
    mo_source_close(source);
    return status;
}

moco_status_t mo_source_open(const char *path, mo_source_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_source_t *source = NULL;
    if (path == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "path is NULL");
    TRY(create(path, &source));
    TRY(mo_file_open_regular(path, &source->fd, &source->size, &source->changed));
    *out = source;
    source = NULL;
cleanup:
    mo_source_close(source);
    return status;
}

moco_status_t mo_source_lend(const uint8_t *bytes, uint64_t size, const char *path, mo_source_t **out)
{
    moco_status_t status = create(path, out);
    if (status == MOCO_OK) {
        (*out)->bytes = bytes;
        (*out)->size = size;
    }
    return status;
}

void mo_source_close(mo_source_t *source)
{
    if (source == NULL)
        return;
    if (source->fd >= 0)
        close(source->fd);
    mo_free(source->path);
    mo_free(source);
}

uint64_t mo_source_size(const mo_source_t *source)
{
    return source->size;
}

const char *mo_source_path(const mo_source_t *source)
{
    return source->path;
}

/* One request of the system. */
static ssize_t read_some(const mo_source_t *s, uint64_t offset, uint64_t size, uint8_t *out)
{
    if (mo_fault(MO_FAULT_FILE)) {
        errno = EIO;
        return -1;
    }
    return mo_pread(s->fd, out, size < MAX_REQUEST ? size : MAX_REQUEST, (off_t)offset);
}

static moco_status_t read_file(const mo_source_t *s, uint64_t offset, uint64_t size, uint8_t *out)
{
    for (uint64_t done = 0; done < size;) {
        const ssize_t got = read_some(s, offset + done, size - done, out + done);
        if (got < 0) {
            const int error = errno;
            return mo_fail(MOCO_ERR_IO, "%s: cannot read: %s", s->path, strerror(error));
        }
        if (got == 0)
            return mo_fail(MOCO_ERR_IO, "%s: ends at byte %llu, it had %llu bytes: it shrank while it was read",
                           s->path, (unsigned long long)(offset + done), (unsigned long long)s->size);
        done += (uint64_t)got;
    }
    return MOCO_OK;
}

moco_status_t mo_source_read(const mo_source_t *s, uint64_t offset, uint64_t size, void *out)
{
    if (offset > s->size || size > s->size - offset)
        return mo_fail(MOCO_ERR_FORMAT, "%s: %llu bytes wanted at byte %llu of %llu", s->path, (unsigned long long)size,
                       (unsigned long long)offset, (unsigned long long)s->size);
    if (s->fd >= 0)
        return read_file(s, offset, size, out);
    if (size > 0)
        memcpy(out, s->bytes + offset, size);
    return MOCO_OK;
}

moco_status_t mo_source_take(const mo_source_t *s, uint64_t offset, uint64_t size, uint8_t **out)
{
    moco_status_t status = MOCO_OK;
    uint8_t *bytes = NULL;
    TRY(mo_calloc(size, 1, &bytes));
    TRY(mo_source_read(s, offset, size, bytes));
    *out = bytes;
    bytes = NULL;
cleanup:
    mo_free(bytes);
    return status;
}

moco_status_t mo_source_kind(const mo_source_t *s, const char **kind)
{
    uint8_t first[MO_FILE_KIND_BYTES];
    const uint64_t size = s->size < sizeof first ? s->size : sizeof first;
    const moco_status_t status = mo_source_read(s, 0, size, first);
    if (status != MOCO_OK)
        return status;
    const mo_file_kind_t *found = mo_file_kind(first, size);
    *kind = found != NULL ? found->what : size == 0 ? "empty" : "of no kind that this library knows";
    return MOCO_OK;
}

moco_status_t mo_source_check(const mo_source_t *s)
{
    struct stat now;
    if (s->fd < 0 || mo_fstat(s->fd, &now) != 0)
        return MOCO_OK;
    if ((uint64_t)now.st_size == s->size && now.st_mtim.tv_sec == s->changed.tv_sec &&
        now.st_mtim.tv_nsec == s->changed.tv_nsec)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_IO, "%s: changed while it was read; a file should be replaced by a rename, not rewritten",
                   s->path);
}
