/* RUN, the folder of a run: opened once, so that it may be renamed and the host may change its
 * working directory; locked, so that no two runs write the same files; and a place beside it for
 * what it does not take. */
#ifndef MO_TRAIN_RUN_FOLDER_H
#define MO_TRAIN_RUN_FOLDER_H

#include <sys/types.h>
#include "util/folder.h"

#define MO_RUN_CHECKPOINT "checkpoint.safetensors"
#define MO_RUN_MODEL "model.safetensors"
#define MO_RUN_LOG "log.jsonl"
#define MO_RUN_STEM 220 /* bytes of RUN's name that a rescue folder's begins with */

/* Zeroed: none. */
typedef struct mo_run_folder {
    mo_folder_t folder, parent;
    char *name;  /* in the parent */
    int is_new;  /* this run has made it */
    pid_t owner; /* the process that locked it */
    int is_locked;
} mo_run_folder_t;

/* Makes the last folder of the path where there is none, and removes what killed saves have left.
 * MOCO_ERR_EXISTS where another run, of this process or another one, is at work in it. */
moco_status_t mo_run_folder_open(mo_run_folder_t *run, const char *path);
/* Locks the folder of `path` for who writes a file there that may be a run's, by its name; else
 * does nothing. MOCO_ERR_EXISTS where a run is at work in it; other saves may be. Close it after
 * the write. */
moco_status_t mo_run_folder_guard(mo_run_folder_t *guard, const char *path);
/* Lets others in. With `unused`, a folder that this run has made goes, if it is empty. Safe on a
 * zeroed struct. */
void mo_run_folder_close(mo_run_folder_t *run, int unused);
int mo_run_folder_deleted(const mo_run_folder_t *run);
/* Whether another folder, or none, now has the path that this one was opened by. */
int mo_run_folder_moved(const mo_run_folder_t *run);

/* Where a folder is now, for messages: absolute, as far as the system says. mo_free it. */
moco_status_t mo_run_folder_place(const mo_folder_t *folder, char **path);
/* A new folder for what RUN does not take: number 0 is beside RUN, number 1 in $TMPDIR. */
moco_status_t mo_run_folder_rescue(const mo_run_folder_t *run, int number, mo_folder_t *out);

#endif
