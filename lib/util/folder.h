/* Folders that are opened once: names in them stay names in them when the folder is renamed or the
 * process changes its working directory. And descriptors and writes, as every file needs them. */
#ifndef MO_UTIL_FOLDER_H
#define MO_UTIL_FOLDER_H

#include <stdint.h>
#include <moco/status.h>

/* Zeroed: none. Descriptors here are never 0, 1 or 2. */
typedef struct mo_folder {
    int fd;
    char *path; /* as it was opened, for messages */
} mo_folder_t;

/* `base` is where a relative path begins; NULL is the working directory. */
moco_status_t mo_folder_open(mo_folder_t *folder, const mo_folder_t *base, const char *path);
/* The same, and makes the last component of the path where nothing is; an existing folder is fine.
 * A new folder's name is on the disk when this returns. */
moco_status_t mo_folder_make(mo_folder_t *folder, const char *path);
void mo_folder_close(mo_folder_t *folder);
/* Brings the names in it to the disk. A file system that cannot do so for folders is no failure: a
 * warning goes to the log, once in a process. */
moco_status_t mo_folder_sync(const mo_folder_t *folder);
/* The path of `name` in the folder, for messages and for others to open. */
moco_status_t mo_folder_path(const mo_folder_t *folder, const char *name, char **path);

/* What killed saves of a file have left is named after it: NAME.moco-part-0, and NAME.part-PID-0 of
 * versions before this rule. Removes both kinds for each of `names` (a list that ends in NULL),
 * except for those that a living process writes. The caller has seen that no older version is at
 * work in the folder. */
moco_status_t mo_folder_sweep(const mo_folder_t *folder, const char *const *names);

/* Removes the leftover `name` of the folder `fd` unless its writer lives; 1 if it is not there
 * now. */
int mo_leftover_remove(int fd, const char *name);

/* `fd`, or its copy where it is one of the standard streams' numbers: what the host or its children
 * print there must never end up in a file of ours. Keeps -1 and errno. */
int mo_fd_high(int fd);
/* All of the bytes, in as many requests as it takes. -1 with errno, which is never EINTR. */
int mo_fd_write(int fd, const void *bytes, uint64_t size);
/* fsync without EINTR; -1 with errno. */
int mo_fd_sync(int fd);
/* 1 if `error` says that a file system cannot sync what was asked, not that bytes were lost. */
int mo_sync_unsupported(int error);

#endif
