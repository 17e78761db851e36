/* The folder of a run; see run_folder.h. Called by run_files.c. */
#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/retry.h"
#include "util/status.h"

#define MAX_RESCUES 100 /* of one process beside one RUN */

/* "a/b//" -> "a" and "b", links followed. */
static moco_status_t split(const char *given, char **parent, char **name)
{
    moco_status_t status = MOCO_OK;
    char *real = realpath(given, NULL);
    const char *path = real != NULL ? real : given;
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    TRY(mo_strprintf(name, "%.*s", (int)(end - begin), path + begin));
    TRY(begin == 0 ? mo_strdup(".", parent) : mo_strprintf(parent, "%.*s", (int)begin, path));
cleanup:
    free(real);
    return status;
}

/* The lock is the opened folder's: it goes when the process ends, however that happens. A run has
 * it alone; saves share it, since each of them puts a whole file in place. */
static moco_status_t lock(mo_run_folder_t *run, int kind)
{
    int result;
    MO_RETRY(result, mo_fault_file() ? -1 : flock(run->folder.fd, kind | LOCK_NB));
    run->is_locked = result == 0;
    run->owner = getpid();
    if (result == 0)
        return MOCO_OK;
    if (errno == EWOULDBLOCK)
        return mo_fail(MOCO_ERR_EXISTS, "'%s': another run%s is at work in this folder", run->folder.path,
                       kind == LOCK_EX ? " or save" : "");
    if (errno != EBADF && errno != ENOLCK && errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP)
        return mo_fail(MOCO_ERR_IO, "'%s': cannot lock this folder: %s", run->folder.path, strerror(errno));
    const int error = errno;
    mo_log(MOCO_LOG_WARNING, "'%s': this file system has no locks for folders (%s): nothing keeps a second run out",
           run->folder.path, strerror(error));
    return MOCO_OK;
}

moco_status_t mo_run_folder_open(mo_run_folder_t *run, const char *path)
{
    static const char *const names[] = {MO_RUN_CHECKPOINT, MO_RUN_MODEL, MO_RUN_LOG, NULL};
    moco_status_t status = MOCO_OK;
    mo_run_folder_t made = {0};
    struct stat info;
    char *parent = NULL, why[MO_MESSAGE_SIZE];
    if (path[0] == '\0')
        TRY(mo_fail(MOCO_ERR_ARGUMENT, "the path of the run's folder is empty"));
    TRY(split(path, &parent, &made.name));
    if (mo_folder_open(&made.parent, NULL, parent) != MOCO_OK) {
        mo_message_copy(why);
        TRY(mo_fail(MOCO_ERR_IO, "'%s' cannot be made: %s", path, why));
    }
    made.is_new = stat(path, &info) != 0 && errno == ENOENT;
    TRY(mo_folder_make(&made.folder, path));
    TRY(lock(&made, LOCK_EX));
    TRY(mo_folder_sweep(&made.folder, names));
    *run = made;
    made = (mo_run_folder_t){0};
cleanup:
    mo_run_folder_close(&made, 1);
    mo_free(parent);
    return status;
}

moco_status_t mo_run_folder_guard(mo_run_folder_t *guard, const char *path)
{
    static const char *const names[] = {MO_RUN_CHECKPOINT, MO_RUN_MODEL};
    moco_status_t status = MOCO_OK;
    mo_run_folder_t made = {0};
    char *parent = NULL;
    int is_run = 0;
    *guard = (mo_run_folder_t){0};
    TRY(split(path, &parent, &made.name));
    for (int i = 0; i < 2; i++)
        is_run |= strcmp(made.name, names[i]) == 0;
    if (!is_run || access(parent, F_OK) != 0) /* no such folder: the write says so */
        goto cleanup;
    TRY(mo_folder_open(&made.folder, NULL, parent));
    TRY(lock(&made, LOCK_SH));
    *guard = made;
    made = (mo_run_folder_t){0};
cleanup:
    mo_run_folder_close(&made, 0);
    mo_free(parent);
    return status;
}

void mo_run_folder_close(mo_run_folder_t *run, int unused)
{
    if (unused && run->is_new && run->is_locked && run->owner == getpid() && !mo_run_folder_moved(run))
        unlinkat(run->parent.fd, run->name, AT_REMOVEDIR); /* only an empty one goes */
    /* Not only by closing, since a forked child has the descriptor too, and not in that child. */
    if (run->is_locked && run->owner == getpid())
        flock(run->folder.fd, LOCK_UN);
    mo_folder_close(&run->folder);
    mo_folder_close(&run->parent);
    mo_free(run->name);
    *run = (mo_run_folder_t){0};
}

int mo_run_folder_deleted(const mo_run_folder_t *run)
{
    struct stat info;
    return fstat(run->folder.fd, &info) != 0 || info.st_nlink == 0;
}

int mo_run_folder_moved(const mo_run_folder_t *run)
{
    struct stat opened, named;
    return fstat(run->folder.fd, &opened) != 0 || fstatat(run->parent.fd, run->name, &named, 0) != 0 ||
           opened.st_dev != named.st_dev || opened.st_ino != named.st_ino;
}

moco_status_t mo_run_folder_place(const mo_folder_t *folder, char **path)
{
    char link[64], place[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder->fd);
    const ssize_t length = readlink(link, place, sizeof place - 1);
    if (length <= 0 || place[0] != '/')
        return mo_strdup(folder->path, path);
    place[length] = '\0';
    return mo_strdup(place, path);
}

/* "RUN.rescue-PID", and with a further number where that is taken. */
static moco_status_t make_rescue(const mo_folder_t *parent, const char *name, mo_folder_t *out)
{
    moco_status_t status = MOCO_OK;
    char *rescue = NULL;
    int result = -1;
    for (int i = 0; i < MAX_RESCUES && result != 0; i++) {
        mo_free(rescue);
        rescue = NULL;
        TRY(i == 0 ? mo_strprintf(&rescue, "%.*s.rescue-%ld", MO_RUN_STEM, name, (long)getpid())
                   : mo_strprintf(&rescue, "%.*s.rescue-%ld-%d", MO_RUN_STEM, name, (long)getpid(), i));
        result = mo_fault_file() ? -1 : mkdirat(parent->fd, rescue, 0777);
        if (result != 0 && errno != EEXIST)
            break;
    }
    if (result != 0)
        TRY(mo_fail(MOCO_ERR_IO, "'%s': cannot make '%s' in it: %s", parent->path, rescue, strerror(errno)));
    TRY(mo_folder_open(out, parent, rescue));
cleanup:
    mo_free(rescue);
    return status;
}

moco_status_t mo_run_folder_rescue(const mo_run_folder_t *run, int number, mo_folder_t *out)
{
    static const char usual[] = "/tmp";
    const char *temporary = getenv("TMPDIR");
    mo_folder_t folder = {0};
    if (number == 0)
        return make_rescue(&run->parent, run->name, out);
    moco_status_t status = mo_folder_open(&folder, NULL, temporary != NULL && *temporary != '\0' ? temporary : usual);
    if (status == MOCO_OK)
        status = make_rescue(&folder, run->name, out);
    mo_folder_close(&folder);
    return status;
}
