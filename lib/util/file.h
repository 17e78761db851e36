/* Files: whole reads, and writes that appear under their name only when complete. */
#ifndef MO_UTIL_FILE_H
#define MO_UTIL_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <moco/status.h>

/* Whole file into memory (mo_free). Refuses more than `limit` bytes. */
moco_status_t mo_file_read(const char *path, uint64_t limit, uint8_t **data, uint64_t *size);

int mo_file_exists(const char *path); /* anything of that name */
/* Whether both paths lead to one file, by links and other names too; 0 where one is not there. */
int mo_file_same(const char *a, const char *b);

/* A regular file's descriptor, size and time of change; anything else is MOCO_ERR_IO, and a named
 * pipe is not waited for. */
moco_status_t mo_file_open_regular(const char *path, int *fd, uint64_t *size, struct timespec *changed);

/* Write to a temporary file in the same folder; commit = flush, fsync, rename, fsync of the folder.
 * Abort (or a failed commit) removes it and leaves an older file of that name as it was; only a
 * commit whose very last request, the sync of the folder, fails has already put the complete new
 * file in place, and says so. */
typedef struct mo_atomic_file {
    FILE *stream;
    char *path, *temporary;
} mo_atomic_file_t;
moco_status_t mo_atomic_open(mo_atomic_file_t *file, const char *path);
moco_status_t mo_atomic_write(mo_atomic_file_t *file, const void *bytes, uint64_t size);
moco_status_t mo_atomic_seek(mo_atomic_file_t *file, uint64_t offset);
moco_status_t mo_atomic_commit(mo_atomic_file_t *file);
void mo_atomic_abort(mo_atomic_file_t *file); /* safe after commit and on a zeroed struct */

#endif
