/* What earlier runs that could not save have left beside RUN; see run_files.h. Called when a run
 * begins. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "train/run_files.h"
#include "util/alloc.h"
#include "util/status.h"

/* "RUN.rescue-PID" or "RUN.rescue-PID-NUMBER". */
static int is_rescue(const char *entry, const char *name)
{
    const size_t length = strnlen(name, MO_RUN_STEM);
    return strncmp(entry, name, length) == 0 && strncmp(entry + length, ".rescue-", 8) == 0 &&
           entry[length + 8] >= '0' && entry[length + 8] <= '9';
}

/* The folder whose checkpoint has learnt most: *best (mo_free) and *steps. */
static moco_status_t compare(const mo_folder_t *parent, const char *entry, char **best, int64_t *steps)
{
    moco_status_t status = MOCO_OK;
    char *folder = NULL, *path = NULL;
    TRY(mo_folder_path(parent, entry, &folder));
    TRY(mo_strprintf(&path, "%s/" MO_RUN_CHECKPOINT, folder));
    const int64_t found = mo_run_steps_in(path);
    if (found == INT64_MAX || found <= *steps)
        goto cleanup;
    mo_free(*best);
    *best = folder;
    *steps = found;
    folder = NULL;
cleanup:
    mo_free(folder);
    mo_free(path);
    return status;
}

moco_status_t mo_run_rescues_tell(const mo_run_folder_t *run, int64_t step)
{
    moco_status_t status = MOCO_OK;
    const int fd = openat(run->parent.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    char *best = NULL;
    int64_t steps = -1;
    if (dir == NULL) { /* a folder that may not be listed */
        if (fd >= 0)
            close(fd);
        return MOCO_OK;
    }
    for (struct dirent *entry; status == MOCO_OK && (entry = readdir(dir)) != NULL;)
        if (is_rescue(entry->d_name, run->name))
            status = compare(&run->parent, entry->d_name, &best, &steps);
    closedir(dir);
    if (status == MOCO_OK && best != NULL)
        mo_log(MOCO_LOG_WARNING, "'%s' holds what a run that could not save in '%s' had learnt until step %lld: %s",
               best, run->folder.path, (long long)steps,
               steps > step ? "more than this one begins with; its checkpoint can be loaded"
                            : "no more than this one begins with; it may be removed");
    mo_free(best);
    return status;
}
