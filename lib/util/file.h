/* Files: whole reads and mapped views. */
#ifndef MO_UTIL_FILE_H
#define MO_UTIL_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

/* Whole file into memory (mo_free). Refuses more than `limit` bytes. */
moco_status_t mo_file_read(const char *path, uint64_t limit, uint8_t **data, uint64_t *size);

int mo_file_exists(const char *path); /* anything of that name */
/* Whether both paths lead to one file, by links and other names too; 0 where one is not there. */
int mo_file_same(const char *a, const char *b);

/* Read-only mapping; an empty file has bytes NULL. Another process that shortens the file meanwhile
 * raises SIGBUS. */
typedef struct mo_file_view {
    const uint8_t *bytes;
    uint64_t size;
} mo_file_view_t;
moco_status_t mo_file_view_open(mo_file_view_t *view, const char *path);
void mo_file_view_close(mo_file_view_t *view);

#endif
