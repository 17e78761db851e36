/* Bytes that are read piece by piece: of an open file, or of memory that the caller lends. What is
 * read is copied, so a file that another process shortens, or a disk that fails, is MOCO_ERR_IO; a
 * mapping would end the process by SIGBUS. Any number of threads may read one source. */
#ifndef MO_UTIL_SOURCE_H
#define MO_UTIL_SOURCE_H

#include <stdint.h>
#include <moco/status.h>

typedef struct mo_source mo_source_t;

/* A regular file: anything else (a folder, a pipe, a device) is MOCO_ERR_IO. */
moco_status_t mo_source_open(const char *path, mo_source_t **out);
/* `bytes` must live until the close; `path` names them in messages. */
moco_status_t mo_source_lend(const uint8_t *bytes, uint64_t size, const char *path, mo_source_t **out);
void mo_source_close(mo_source_t *source); /* NULL is fine */

uint64_t mo_source_size(const mo_source_t *source);
const char *mo_source_path(const mo_source_t *source);
/* Exactly `size` bytes from `offset` on. */
moco_status_t mo_source_read(const mo_source_t *source, uint64_t offset, uint64_t size, void *out);
/* The same into new memory (mo_free); the caller has bounded `size`. */
moco_status_t mo_source_take(const mo_source_t *source, uint64_t offset, uint64_t size, uint8_t **out);
/* What it is by its first bytes, for messages: "a JPEG file", "empty". */
moco_status_t mo_source_kind(const mo_source_t *source, const char **kind);
/* MOCO_ERR_IO if the file has another length or time of change than when it was opened: what was
 * read then may be of two versions. */
moco_status_t mo_source_check(const mo_source_t *source);

#endif
