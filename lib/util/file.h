/* Files: whole reads, and what a path leads to. */
#ifndef MO_UTIL_FILE_H
#define MO_UTIL_FILE_H

#include <stddef.h>
#include <stdint.h>
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

#endif
