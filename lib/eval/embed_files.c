/* A data set's embeddings as files: X.npy with the rows, X.names.txt with a name for each,
 * X.skipped.txt with the images that were broken and why, X.embed.json with what ties them. All
 * four get their names together. Until then they grow as part files, and from time to time a
 * journal says how much of them is good: a call that was cut short, even by a kill, is gone on with
 * by the next one for the same model and data set. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "eval/embed_job.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/printable.h"

/* ---- names and reasons ---- */

static moco_status_t put_line(mo_atomic_file_t *file, mo_checksum_t *sum, int64_t *bytes, const char *line)
{
    const size_t size = strlen(line);
    mo_checksum_add(sum, line, size);
    *bytes += (int64_t)size;
    return mo_atomic_write(file, line, size);
}

static moco_status_t put_name(mo_embed_job_t *job, int64_t index)
{
    moco_status_t status = MOCO_OK;
    char *line = NULL;
    TRY(mo_name_text(mo_dataset_name(job->dataset, index), &line));
    TRY(put_line(&job->names, &job->names_sum, &job->record.names_bytes, line));
    TRY(put_line(&job->names, &job->names_sum, &job->record.names_bytes, "\n"));
cleanup:
    mo_free(line);
    return status;
}

static moco_status_t put_skipped(mo_embed_job_t *job, int64_t index, const char *reason)
{
    moco_status_t status = MOCO_OK;
    char *line = NULL, *name = NULL;
    TRY(mo_name_text(mo_dataset_name(job->dataset, index), &name));
    TRY(mo_strprintf(&line, "%s\t%s\n", name, reason));
    TRY(put_line(&job->skipped, &job->skipped_sum, &job->record.skipped_bytes, line));
    job->record.skipped++;
cleanup:
    mo_free(line);
    mo_free(name);
    return status;
}

/* The broken images up to `end` of the listing. */
static moco_status_t put_broken(mo_embed_job_t *job, int64_t end)
{
    moco_status_t status = MOCO_OK;
    for (; job->record.position < end; job->record.position++) {
        const char *reason = mo_dataset_broken_reason(job->dataset, job->record.position);
        if (reason != NULL)
            TRY(put_skipped(job, job->record.position, reason));
    }
cleanup:
    return status;
}

/* ---- rows ---- */

static moco_status_t take_rows(mo_embed_job_t *job, int64_t count, const int64_t *indices, const float *rows)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_npy_rows(&job->npy, rows, count));
    mo_checksum_add(&job->rows_sum, rows, (uint64_t)(count * job->record.dimension) * sizeof *rows);
    job->record.rows += count;
    for (int64_t i = 0; i < count; i++)
        TRY(put_name(job, indices[i]));
    TRY(put_broken(job, indices[count - 1] + 1));
    TRY(mo_embed_safe_point_if_due(job));
cleanup:
    return status;
}

static int32_t write_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    mo_embed_job_t *job = user;
    job->status = take_rows(job, count, indices, rows);
    if (job->status != MOCO_OK) {
        mo_message_copy(job->message); /* the call that this ends has a message of its own */
        return 1;
    }
    if (job->o->progress == NULL)
        return 0;
    return job->o->progress(job->o->user, indices[count - 1] + 1, mo_dataset_count(job->dataset));
}

/* ---- beginning ---- */

/* In the steps in which files get their times. */
static int64_t system_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static moco_status_t begin(mo_embed_job_t *job, moco_model_t *model)
{
    moco_status_t status = MOCO_OK;
    const uint64_t identity = mo_dataset_identity(job->dataset);
    const int32_t tap = job->o->tap;
    mo_checksum_t sum;
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, &tap, sizeof tap);
    TRY(mo_model_sum(model, &sum));
    mo_checksum_text(mo_checksum_value(&sum), job->record.model);
    if (identity != 0)
        mo_checksum_text(identity, job->record.dataset);
    job->record.version = MO_RECORD_VERSION;
    job->record.started = system_time();
    job->record.images = mo_dataset_count(job->dataset);
    job->record.dimension = mo_model_width(model, tap);
    TRY(mo_embed_paths_make(job->path, &job->paths));
    TRY(mo_embed_outputs_check(job));
    TRY(mo_embed_journal_open(job));
cleanup:
    return status;
}

/* ---- end ---- */

static moco_status_t finish(mo_embed_job_t *job)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t record = {0};
    mo_atomic_file_t *const all[] = {&job->names, &job->skipped, &record, &job->npy.file};
    int journaled = 0;
    TRY(job->status = put_broken(job, job->record.images)); /* half a line is no safe point */
    TRY(mo_embed_write_journal(job)); /* a kill between two of the names leaves files that a later call knows */
    journaled = 1;
    TRY(mo_npy_finish(&job->npy));
    TRY(mo_embed_put_record(job, &record, job->paths.record));
    for (int i = 0; i < 4; i++)
        all[i]->kept = i != 2 && job->recorded;
    TRY(mo_atomic_commit_all(all, 4));
cleanup:
    if (journaled && (status == MOCO_OK || !job->recorded))
        unlink(job->paths.journal);
    mo_atomic_abort(&record);
    return status;
}

/* What was done is kept, however the call ends: the failure may pass. Where the files themselves do
 * not take what is written, an earlier safe point is kept. */
static moco_status_t leave(mo_embed_job_t *job, moco_status_t status)
{
    char message[MO_MESSAGE_SIZE];
    mo_message_copy(message);
    if (job->status == MOCO_OK && job->npy.file.fd != 0 && mo_embed_safe_point(job) == MOCO_OK && job->recorded)
        status = mo_fail(status, "%.400s; the same call will go on from there", message);
    else
        status = mo_message_set(status, message);
    mo_embed_close_parts(job, job->recorded);
    return status;
}

moco_status_t mo_embed_to_npy(moco_model_t *model, moco_dataset_t *dataset, const char *path,
                              const moco_embed_options_t *o, moco_embed_result_t *result)
{
    moco_status_t status = MOCO_OK;
    mo_embed_job_t job = {.path = path, .dataset = dataset, .o = o};
    TRY(begin(&job, model));
    status = mo_embed_dataset_from(model, dataset, job.record.position, job.record.rows, o, write_rows, &job);
    if (job.status != MOCO_OK)
        status = mo_message_set(job.status, job.message);
    TRY(status);
    TRY(mo_cancel_check(o->cancel));
    TRY(finish(&job));
    *result =
        (moco_embed_result_t){.struct_size = sizeof *result, .rows = job.record.rows, .skipped = job.record.skipped};
cleanup:
    if (status != MOCO_OK)
        status = leave(&job, status);
    mo_embed_paths_free(&job.paths);
    mo_free(job.doubts);
    return status;
}
