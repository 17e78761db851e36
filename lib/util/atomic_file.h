/* Writing files that appear under their name only when they are complete. */
#ifndef MO_UTIL_ATOMIC_FILE_H
#define MO_UTIL_ATOMIC_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <moco/status.h>
#include "util/folder.h"

/* The bytes go to a temporary file beside the one to write, NAME.moco-part-0; commit = flush,
 * fsync, rename, fsync of the folder. Abort (or a failed commit) removes it and leaves an older
 * file of that name as it was; only a commit whose very last request, the sync of the folder, fails
 * has already put the complete new file in place, and says so. A symbolic link stays one: the file
 * that it leads to is written. A file that is replaced hands its permissions on. Zeroed: none is
 * open. */
typedef struct mo_atomic_file {
    int fd;
    mo_folder_t folder; /* where the file is, links followed: a change of directory does not move it */
    char *path;         /* for messages                          */
    char *name;         /* in the folder                         */
    char *temporary;    /* in the folder; NULL: nothing to remove */
    uint8_t *buffer;    /* bytes that wait                       */
    size_t waiting;
    int error;    /* errno of the write that lost bytes; 0 = none                         */
    pid_t owner;  /* a forked child leaves the file to the process that opened it         */
    int kept;     /* its name is not a passing one: the next process goes on with it     */
    int exchange; /* a commit has swapped it with an older file, which now is `temporary` */
    int placed;   /* a commit has given it its name                                       */
} mo_atomic_file_t;
moco_status_t mo_atomic_open(mo_atomic_file_t *file, const char *path);
/* The same for `name` in an opened folder. */
moco_status_t mo_atomic_open_in(mo_atomic_file_t *file, const mo_folder_t *folder, const char *name);
/* A temporary file that outlives the process, PATH.moco-part, opened again with its first `size`
 * bytes; 0 starts it over. MOCO_ERR_STATE where another process has it open. MOCO_ERR_FORMAT where
 * fewer bytes are there. */
moco_status_t mo_atomic_resume(mo_atomic_file_t *file, const char *path, uint64_t size);
/* The path of that temporary file (mo_free): a name that gets too long for a file system is cut,
 * and ends in a checksum. */
moco_status_t mo_atomic_part_path(const char *path, char **part);
/* The bytes of a resumed file from `from` to its end as it was opened, piece by piece. */
moco_status_t mo_atomic_reread(mo_atomic_file_t *file, uint64_t from,
                               void (*take)(void *user, const void *bytes, uint64_t size), void *user);
moco_status_t mo_atomic_write(mo_atomic_file_t *file, const void *bytes, uint64_t size);
moco_status_t mo_atomic_seek(mo_atomic_file_t *file, uint64_t offset);
/* All that was written so far to the disk, under the temporary name. */
moco_status_t mo_atomic_sync(mo_atomic_file_t *file);
moco_status_t mo_atomic_commit(mo_atomic_file_t *file);
/* Several files together: all are on the disk before the first gets its name, in the order given.
 * Where a later one cannot get it, the earlier ones give theirs back to the older files. */
moco_status_t mo_atomic_commit_all(mo_atomic_file_t *const *files, int count);
void mo_atomic_abort(mo_atomic_file_t *file); /* safe after commit and on a zeroed struct */
/* Like abort, but the temporary file stays for mo_atomic_resume; a failed commit leaves it too. */
void mo_atomic_keep(mo_atomic_file_t *file);

#endif
