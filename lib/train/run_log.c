/* The log of a run as JSON lines. */
#include "train/run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "train/run_folder.h"
#include "util/alloc.h"
#include "util/atomic_file.h"
#include "util/fault.h"
#include "util/json.h"
#include "util/retry.h"
#include "util/status.h"

#define LOG_DEPTH 8 /* of the JSON of a line */
#define LOG_LIMIT ((uint64_t)1 << 32)

static moco_status_t failed(const mo_run_log_t *log, const char *what)
{
    const int error = errno;
    return mo_fail(MOCO_ERR_IO, "'%s/%s': cannot %s: %s", log->folder->path, MO_RUN_LOG, what,
                   error == ELOOP ? "it is a link, wanted a regular file" : strerror(error));
}

/* ---- reading ---- */

/* The whole file, in memory of its own. */
static moco_status_t read_whole(const mo_run_log_t *log, char **text, uint64_t *size)
{
    moco_status_t status = MOCO_OK;
    struct stat info;
    char *bytes = NULL;
    uint64_t done = 0;
    if (mo_fault_file() || fstat(log->fd, &info) != 0)
        TRY(failed(log, "read its size"));
    if ((uint64_t)info.st_size > LOG_LIMIT)
        TRY(mo_fail(MOCO_ERR_IO, "'%s/%s': has %lld bytes, the limit is %llu", log->folder->path, MO_RUN_LOG,
                    (long long)info.st_size, (unsigned long long)LOG_LIMIT));
    TRY(mo_calloc((size_t)info.st_size, 1, &bytes));
    while (done < (uint64_t)info.st_size) {
        ssize_t got;
        MO_RETRY(got, mo_fault_file() ? -1 : pread(log->fd, bytes + done, (uint64_t)info.st_size - done, (off_t)done));
        if (got < 0)
            TRY(failed(log, "read"));
        if (got == 0)
            break;
        done += (uint64_t)got;
    }
    *text = bytes;
    *size = done;
    bytes = NULL;
cleanup:
    mo_free(bytes);
    return status;
}

/* Lines up to `step`, none at 0, where a run tells everything anew; a torn last line of a killed
 * run is dropped too. */
static moco_status_t cut_back(const mo_run_log_t *log, int64_t step)
{
    moco_status_t status = MOCO_OK;
    char *data = NULL;
    uint64_t size = 0, keep = 0;
    TRY(read_whole(log, &data, &size));
    while (keep < size) {
        const char *end = memchr(data + keep, '\n', size - keep);
        if (end == NULL)
            break;
        json_t *line = NULL;
        char reason[MO_JSON_REASON];
        const moco_status_t read = mo_json_load(data + keep, (size_t)(end - data) - keep, LOG_DEPTH, &line, reason);
        if (read == MOCO_ERR_MEMORY)
            TRY(mo_fail(read, "'%s/%s': %s", log->folder->path, MO_RUN_LOG, reason));
        const int good = read == MOCO_OK && json_integer_value(json_object_get(line, "step")) <= step && step > 0;
        json_decref(line);
        if (!good)
            break;
        keep = (uint64_t)(end - data) + 1;
    }
    if (keep < size && (mo_fault_file() || ftruncate(log->fd, (off_t)keep) != 0))
        TRY(failed(log, "cut it back to the step that the run goes on from"));
cleanup:
    mo_free(data);
    return status;
}

/* O_NONBLOCK: a named pipe must be refused, not waited for. */
static moco_status_t open_log(mo_run_log_t *log)
{
    const int flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    struct stat info;
    const int fd = mo_fault_file() ? -1 : mo_fd_high(openat(log->folder->fd, MO_RUN_LOG, flags, 0666));
    if (fd < 0)
        return failed(log, "open it for writing");
    if (mo_fault_file() || fstat(fd, &info) != 0) {
        const moco_status_t status = failed(log, "read its size");
        close(fd);
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return mo_fail(MOCO_ERR_IO, "'%s/%s': is not a regular file", log->folder->path, MO_RUN_LOG);
    }
    log->fd = fd;
    return MOCO_OK;
}

moco_status_t mo_run_log_open(mo_run_log_t *log, const mo_folder_t *folder, int64_t step)
{
    moco_status_t status = MOCO_OK;
    mo_run_log_t made = {.folder = folder};
    TRY(open_log(&made));
    TRY(cut_back(&made, step));
    *log = made;
    made = (mo_run_log_t){0};
cleanup:
    mo_run_log_close(&made, 0);
    return status;
}

/* ---- writing ---- */

moco_status_t mo_run_log_copy(const mo_run_log_t *log, const mo_folder_t *to)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t file = {0};
    char *text = NULL;
    uint64_t size = 0;
    TRY(read_whole(log, &text, &size));
    TRY(mo_atomic_open_in(&file, to, MO_RUN_LOG));
    TRY(mo_atomic_write(&file, text, size));
    TRY(mo_atomic_write(&file, log->waiting, (uint64_t)log->bytes));
    TRY(mo_atomic_commit(&file));
cleanup:
    mo_atomic_abort(&file);
    mo_free(text);
    return status;
}

/* Whether the name still leads to the file that is open. */
static int is_in_place(const mo_run_log_t *log)
{
    struct stat opened, named;
    return fstat(log->fd, &opened) == 0 && fstatat(log->folder->fd, MO_RUN_LOG, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* A log that was deleted or replaced is still open, and is written anew with all of its lines. */
static moco_status_t restore(mo_run_log_t *log)
{
    moco_status_t status = MOCO_OK;
    mo_run_log_t again = {.folder = log->folder};
    TRY(mo_run_log_copy(log, log->folder));
    TRY(open_log(&again));
    close(log->fd);
    log->fd = again.fd;
    log->bytes = 0;
    mo_log(MOCO_LOG_WARNING, "'%s/%s' was deleted or replaced while the run was at work: it is written anew",
           log->folder->path, MO_RUN_LOG);
cleanup:
    return status;
}

moco_status_t mo_run_log_sync(const mo_run_log_t *log)
{
    return log->folder == NULL || mo_fd_sync(log->fd) == 0 || mo_sync_unsupported(errno) ? MOCO_OK
                                                                                         : failed(log, "sync");
}

/* null where the method has no negatives. */
static json_t *measured(double percent)
{
    return percent >= 0 ? json_real(percent) : json_null();
}

static json_t *line_of(const moco_step_report_t *r)
{
    json_t *line = json_pack("{s:I, s:I}", "step", (json_int_t)r->step, "epoch", (json_int_t)r->epoch);
    if (line != NULL && r->step_seconds > 0) { /* else an evaluation without a step: before the first one */
        json_t *step = json_pack("{s:f, s:f, s:f, s:o, s:o, s:f, s:f, s:f}", "loss", r->loss, "lr", r->lr, "momentum",
                                 r->key_momentum, "contrast_top1", measured(r->contrast_top1), "contrast_top5",
                                 measured(r->contrast_top5), "gradient_norm", r->gradient_norm, "queue_fill",
                                 r->queue_fill, "images_per_second", r->images_per_second);
        if (step == NULL || json_object_update(line, step) != 0) {
            json_decref(line);
            line = NULL;
        }
        json_decref(step);
    }
    if (line != NULL && r->knn_top1 >= 0 && json_object_set_new(line, "knn", json_real(r->knn_top1)) != 0) {
        json_decref(line);
        line = NULL;
    }
    return line;
}

/* The line of the report that has none yet, behind those that wait. */
static moco_status_t make_line(mo_run_log_t *log)
{
    moco_status_t status = MOCO_OK;
    json_t *line = NULL;
    char *text = NULL;
    if (!log->has_report)
        return MOCO_OK;
    line = line_of(&log->report);
    TRY(mo_json_dump(line, JSON_COMPACT | JSON_REAL_PRECISION(9), &text));
    const int64_t length = (int64_t)strlen(text);
    TRY(mo_reserve(&log->waiting, log->bytes + length + 1, &log->capacity, 1));
    memcpy(log->waiting + log->bytes, text, (size_t)length);
    log->waiting[log->bytes + length] = '\n';
    log->bytes += length + 1;
    log->has_report = 0;
cleanup:
    json_decref(line);
    mo_free(text);
    return status;
}

moco_status_t mo_run_log_flush(mo_run_log_t *log)
{
    struct stat before;
    const moco_status_t made = make_line(log);
    if (made != MOCO_OK)
        return made;
    if (log->folder == NULL || (log->bytes == 0 && is_in_place(log)))
        return MOCO_OK;
    if (!is_in_place(log))
        return restore(log);
    const int known = fstat(log->fd, &before) == 0;
    if (mo_fd_write(log->fd, log->waiting, (uint64_t)log->bytes) != 0) {
        const moco_status_t status = failed(log, "write");
        if (known && ftruncate(log->fd, before.st_size) != 0) { /* part of a line must not stand before the next */
        }
        return status;
    }
    log->bytes = 0;
    return MOCO_OK;
}

moco_status_t mo_run_log_line(mo_run_log_t *log, const moco_step_report_t *report)
{
    const moco_status_t status = make_line(log);
    if (status != MOCO_OK)
        return status;
    log->report = *report;
    log->has_report = 1;
    return mo_run_log_flush(log);
}

void mo_run_log_close(mo_run_log_t *log, int unused)
{
    struct stat info;
    if (log->fd > 0) {
        if (unused && fstat(log->fd, &info) == 0 && info.st_size == 0 && is_in_place(log))
            unlinkat(log->folder->fd, MO_RUN_LOG, 0);
        close(log->fd);
    }
    mo_free(log->waiting);
    *log = (mo_run_log_t){0};
}
