/* Safe points of an embedding to files: from time to time a journal says how much of the part files
 * is on the disk, and a later call for the same model and images goes on from there. Called by
 * embed_files.c. */
#include <string.h>
#include <unistd.h>

#include "eval/embed_job.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/file.h"

#define FIRST_POINT 1.0 /* seconds of work before the first safe point */
#define LAST_POINT 30.0 /* and between two of them at most             */
#define POINT_SHARE 0.1 /* of the work done may be lost in between     */
/* Times of files are cut down to steps of up to two seconds by some file systems: an image that was
 * written so long before the call may have been written after it, too. */
#define TIME_STEP INT64_C(2000000000) /* nanoseconds */

/* ---- images that may change ---- */

/* Those of the first `position` images whose times do not say that they are older than the call:
 * just written ones, or times in the future. They are known again by size and times. */
static void write_doubts(const mo_embed_job_t *job, int64_t position, char text[MO_CHECKSUM_TEXT])
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < job->doubt_count; i++)
        if (job->doubts[i].index < position)
            sum += job->doubts[i].state;
    mo_checksum_text(sum, text);
}

static moco_status_t list_doubts(mo_embed_job_t *job, int64_t started)
{
    mo_free(job->doubts);
    job->doubts = NULL;
    job->doubt_count = 0;
    return mo_dataset_doubts(job->dataset, started - TIME_STEP, &job->doubts, &job->doubt_count);
}

/* ---- safe points ---- */

static void write_sums(mo_embed_job_t *job)
{
    mo_checksum_text(mo_checksum_value(&job->rows_sum), job->record.rows_sum);
    mo_checksum_text(mo_checksum_value(&job->names_sum), job->record.names_sum);
    mo_checksum_text(mo_checksum_value(&job->skipped_sum), job->record.skipped_sum);
    write_doubts(job, job->record.position, job->record.in_doubt);
}

moco_status_t mo_embed_put_record(const mo_embed_job_t *job, mo_atomic_file_t *file, const char *path)
{
    moco_status_t status = MOCO_OK;
    char *text = NULL;
    TRY(mo_embedding_record_text(&job->record, &text));
    TRY(mo_atomic_open(file, path));
    TRY(mo_atomic_write(file, text, strlen(text)));
cleanup:
    mo_free(text);
    return status;
}

/* Images of a host's callback cannot be known again. */
static int can_go_on(const mo_embed_job_t *job)
{
    return job->record.dataset[0] != '\0';
}

/* What the journal tells of is on the disk before the journal is. */
moco_status_t mo_embed_write_journal(mo_embed_job_t *job)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t journal = {0};
    TRY(mo_atomic_sync(&job->npy.file));
    TRY(mo_atomic_sync(&job->names));
    TRY(mo_atomic_sync(&job->skipped));
    write_sums(job);
    TRY(mo_embed_put_record(job, &journal, job->paths.journal));
    TRY(mo_atomic_commit(&journal));
    job->recorded = can_go_on(job);
cleanup:
    mo_atomic_abort(&journal);
    return status;
}

moco_status_t mo_embed_safe_point(mo_embed_job_t *job)
{
    return job->record.rows > 0 && can_go_on(job) ? mo_embed_write_journal(job) : MOCO_OK;
}

moco_status_t mo_embed_safe_point_if_due(mo_embed_job_t *job)
{
    const double now = mo_seconds();
    double wait = (now - job->started) * POINT_SHARE;
    if (now < job->next_point)
        return MOCO_OK;
    wait = wait < FIRST_POINT ? FIRST_POINT : wait > LAST_POINT ? LAST_POINT : wait;
    job->next_point = now + wait;
    return mo_embed_safe_point(job);
}

/* ---- going on ---- */

static void add_to(void *sum, const void *bytes, uint64_t size)
{
    mo_checksum_add(sum, bytes, size);
}

static int same_sum(const mo_checksum_t *sum, const char *written)
{
    char text[MO_CHECKSUM_TEXT];
    mo_checksum_text(mo_checksum_value(sum), text);
    return strcmp(text, written) == 0;
}

static void start_sums(mo_embed_job_t *job)
{
    mo_checksum_start(&job->rows_sum);
    mo_checksum_start(&job->names_sum);
    mo_checksum_start(&job->skipped_sum);
}

/* The three part files with what `from` says of them; all zero begins anew. */
static moco_status_t open_parts(mo_embed_job_t *job, const mo_embedding_record_t *from)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_npy_resume(&job->npy, job->path, (int32_t)job->record.dimension, from->rows));
    TRY(mo_atomic_resume(&job->names, job->paths.names, (uint64_t)from->names_bytes));
    TRY(mo_atomic_resume(&job->skipped, job->paths.skipped, (uint64_t)from->skipped_bytes));
cleanup:
    return status;
}

void mo_embed_close_parts(mo_embed_job_t *job, int keep)
{
    void (*const close_one)(mo_atomic_file_t * file) = keep ? mo_atomic_keep : mo_atomic_abort;
    close_one(&job->npy.file);
    close_one(&job->names);
    close_one(&job->skipped);
}

/* Whether the part files are what the journal says: MOCO_OK and *whole. */
static moco_status_t reread_parts(mo_embed_job_t *job, const mo_embedding_record_t *from, int *whole)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_atomic_reread(&job->npy.file, mo_npy_header_size(), add_to, &job->rows_sum));
    TRY(mo_atomic_reread(&job->names, 0, add_to, &job->names_sum));
    TRY(mo_atomic_reread(&job->skipped, 0, add_to, &job->skipped_sum));
    *whole = same_sum(&job->rows_sum, from->rows_sum) && same_sum(&job->names_sum, from->names_sum) &&
             same_sum(&job->skipped_sum, from->skipped_sum);
cleanup:
    return status;
}

/* NULL, or why the journal is of no use. Takes the doubts of its beginning. */
static moco_status_t compare(mo_embed_job_t *job, const mo_embedding_record_t *from, const char **why)
{
    const mo_embedding_record_t *now = &job->record;
    char in_doubt[MO_CHECKSUM_TEXT];
    moco_status_t status = MOCO_OK;
    *why = NULL;
    if (strcmp(from->model, now->model) != 0 || from->dimension != now->dimension)
        *why = "it is of another model or tap";
    else if (strcmp(from->dataset, now->dataset) != 0 || from->images != now->images)
        *why = "it is of another data set";
    else if (from->position > now->images || from->rows < 1 || from->rows > from->position || from->dimension < 1)
        *why = "its journal is damaged";
    else if (from->version < 2)
        *why = "an older version has written its journal, which does not say what its images were";
    if (*why != NULL)
        return MOCO_OK;
    TRY(list_doubts(job, from->started));
    write_doubts(job, from->position, in_doubt);
    if (strcmp(in_doubt, from->in_doubt) != 0)
        *why = "some of its images were written since";
cleanup:
    return status;
}

/* MOCO_OK and *why: what was left cannot be gone on with. */
static moco_status_t take_up(mo_embed_job_t *job, const mo_embedding_record_t *from, const char **why)
{
    int whole = 0;
    moco_status_t status = open_parts(job, from);
    job->recorded = status != MOCO_ERR_FORMAT; /* what a failing request hides is kept; a part cut short is not */
    if (job->recorded)
        TRY(status);
    if (status == MOCO_OK)
        TRY(reread_parts(job, from, &whole));
    status = MOCO_OK;
    if (whole) {
        job->record = *from;
        mo_log(MOCO_LOG_INFO, "%s: goes on after %lld of %lld images", job->path, (long long)from->position,
               (long long)from->images);
        return MOCO_OK;
    }
    *why = "its part files are not what its journal says";
    mo_embed_close_parts(job, 1);
    start_sums(job);
    job->recorded = 0;
cleanup:
    return status;
}

/* Where an earlier call of the same model and data set has left off. */
static moco_status_t resume(mo_embed_job_t *job)
{
    moco_status_t status = MOCO_OK;
    mo_embedding_record_t from;
    const char *why = NULL;
    if (!mo_file_exists(job->paths.journal))
        return MOCO_OK;
    const moco_status_t read = mo_embedding_record_read(job->paths.journal, &from);
    if (read == MOCO_OK)
        TRY(compare(job, &from, &why));
    else if (read == MOCO_ERR_FORMAT || read == MOCO_ERR_VERSION)
        why = read == MOCO_ERR_FORMAT ? "its journal is damaged" : "a newer version has written its journal";
    else
        TRY(read); /* what cannot be read now is not thrown away */
    if (why == NULL)
        TRY(take_up(job, &from, &why));
    if (why != NULL)
        mo_log(MOCO_LOG_WARNING, "%s: what a call before has left of it is not gone on with, because %s", job->path,
               why);
cleanup:
    return status;
}

moco_status_t mo_embed_journal_open(mo_embed_job_t *job)
{
    const mo_embedding_record_t none = {0};
    moco_status_t status = MOCO_OK;
    start_sums(job);
    job->started = mo_seconds();
    job->next_point = job->started + FIRST_POINT;
    if (can_go_on(job))
        TRY(resume(job));
    if (!job->recorded)
        TRY(open_parts(job, &none)); /* first: another process may be writing them */
    TRY(mo_embed_outputs_clear(job));
    if (job->recorded)
        goto cleanup;
    unlink(job->paths.journal); /* of another model or data set, or of files that are gone */
    if (can_go_on(job))
        TRY(list_doubts(job, job->record.started));
cleanup:
    return status;
}
