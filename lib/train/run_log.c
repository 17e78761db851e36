/* The log of a run as JSON lines. */
#include "train/run_log.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/atomic_file.h"
#include "util/file.h"
#include "util/status.h"

#define LOG_LIMIT ((uint64_t)1 << 32)

/* Lines up to `step`, none at 0, where a run tells everything anew; a torn last line of a killed
 * run is dropped too. */
static moco_status_t cut_back(const char *path, int64_t step)
{
    moco_status_t status = MOCO_OK;
    uint8_t *data = NULL;
    uint64_t size = 0, keep = 0;
    mo_atomic_file_t file = {0};
    TRY(mo_file_read(path, LOG_LIMIT, &data, &size));
    while (keep < size) {
        const uint8_t *end = memchr(data + keep, '\n', size - keep);
        if (end == NULL)
            break;
        json_t *line = json_loadb((const char *)data + keep, (size_t)(end - data) - keep, 0, NULL);
        json_int_t at = json_integer_value(json_object_get(line, "step"));
        int good = line != NULL && at <= step && step > 0;
        json_decref(line);
        if (!good)
            break;
        keep = (uint64_t)(end - data) + 1;
    }
    TRY(mo_atomic_open(&file, path));
    TRY(mo_atomic_write(&file, data, keep));
    TRY(mo_atomic_commit(&file));
cleanup:
    mo_atomic_abort(&file);
    mo_free(data);
    return status;
}

moco_status_t mo_run_log_open(const char *folder, int64_t step, FILE **out)
{
    moco_status_t status = MOCO_OK;
    char *path = NULL;
    TRY(mo_strprintf(&path, "%s/log.jsonl", folder));
    FILE *old = fopen(path, "re");
    if (old != NULL) {
        fclose(old);
        TRY(cut_back(path, step));
    }
    *out = fopen(path, "ae");
    if (*out == NULL)
        TRY(mo_fail(MOCO_ERR_IO, "'%s' could not be opened for writing: %s", path, strerror(errno)));
cleanup:
    mo_free(path);
    return status;
}

/* null where the method has no negatives. */
static json_t *measured(double percent)
{
    return percent >= 0 ? json_real(percent) : json_null();
}

moco_status_t mo_run_log_line(FILE *log, const moco_step_report_t *r)
{
    json_t *line = json_pack("{s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:f, s:f, s:f}", "step", (json_int_t)r->step, "epoch",
                             (json_int_t)r->epoch, "loss", r->loss, "lr", r->lr, "momentum", r->key_momentum,
                             "contrast_top1", measured(r->contrast_top1), "contrast_top5", measured(r->contrast_top5),
                             "gradient_norm", r->gradient_norm, "queue_fill", r->queue_fill, "images_per_second",
                             r->images_per_second);
    if (line != NULL && r->knn_top1 >= 0)
        json_object_set_new(line, "knn", json_real(r->knn_top1));
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    if (text == NULL)
        return mo_fail(MOCO_ERR_MEMORY, "no memory for a log line");
    int bad = fprintf(log, "%s\n", text) < 0 || fflush(log) != 0;
    free(text);
    return bad ? mo_fail(MOCO_ERR_IO, "the log could not be written: %s", strerror(errno)) : MOCO_OK;
}

void mo_run_log_close(const char *folder, FILE *log, int unused)
{
    char *path = NULL;
    if (log == NULL)
        return;
    int empty = fseeko(log, 0, SEEK_END) == 0 && ftello(log) == 0;
    fclose(log);
    if (unused && empty && mo_strprintf(&path, "%s/log.jsonl", folder) == MOCO_OK)
        unlink(path);
    mo_free(path);
}
