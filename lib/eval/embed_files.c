/* A data set's embeddings as files: X.npy with the rows, X.names.txt with a name for each,
 * X.skipped.txt with the images that were broken and why, X.embed.json with what ties them. All
 * four get their names together. Until then they grow as part files, and from time to time a
 * journal says how much of them is good: a call that was cut short, even by a kill, is gone on with
 * by the next one for the same model and data set. */
#include <string.h>
#include <unistd.h>

#include "eval/embedding_record.h"
#include "eval/model.h"
#include "persist/npy.h"
#include "persist/output.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/status.h"

#define FIRST_POINT 1.0 /* seconds of work before the first safe point */
#define LAST_POINT 30.0 /* and between two of them at most             */
#define POINT_SHARE 0.1 /* of the work done may be lost in between     */

typedef struct paths {
    char *names, *skipped, *record, *journal;
} paths_t;

typedef struct job {
    moco_dataset_t *dataset;
    const moco_embed_options_t *o;
    paths_t paths;
    mo_npy_writer_t npy;
    mo_atomic_file_t names, skipped;
    mo_checksum_t rows_sum, names_sum, skipped_sum;
    mo_embedding_record_t record; /* of all that is written, safe or not */
    double started, next_point;
    int recorded; /* a journal is on the disk: the part files are worth keeping */
    moco_status_t status;
    char message[MO_MESSAGE_SIZE];
} job_t;

/* ---- names and reasons ---- */

/* For files of one name a line: names in archives may have any byte. */
static void without_controls(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
}

static moco_status_t put_line(mo_atomic_file_t *file, mo_checksum_t *sum, int64_t *bytes, const char *line)
{
    const size_t size = strlen(line);
    mo_checksum_add(sum, line, size);
    *bytes += (int64_t)size;
    return mo_atomic_write(file, line, size);
}

static moco_status_t put_name(job_t *job, int64_t index)
{
    moco_status_t status = MOCO_OK;
    char *line = NULL;
    TRY(mo_strdup(mo_dataset_name(job->dataset, index), &line));
    without_controls(line);
    TRY(put_line(&job->names, &job->names_sum, &job->record.names_bytes, line));
    TRY(put_line(&job->names, &job->names_sum, &job->record.names_bytes, "\n"));
cleanup:
    mo_free(line);
    return status;
}

static moco_status_t put_skipped(job_t *job, int64_t index, const char *reason)
{
    moco_status_t status = MOCO_OK;
    char *line = NULL, *name = NULL;
    TRY(mo_strdup(mo_dataset_name(job->dataset, index), &name));
    without_controls(name);
    TRY(mo_strprintf(&line, "%s\t%s\n", name, reason));
    TRY(put_line(&job->skipped, &job->skipped_sum, &job->record.skipped_bytes, line));
    job->record.skipped++;
cleanup:
    mo_free(line);
    mo_free(name);
    return status;
}

/* The broken images up to `end` of the listing. */
static moco_status_t put_broken(job_t *job, int64_t end)
{
    moco_status_t status = MOCO_OK;
    for (; job->record.position < end && status == MOCO_OK; job->record.position++) {
        const char *reason = mo_dataset_broken_reason(job->dataset, job->record.position);
        if (reason != NULL)
            status = put_skipped(job, job->record.position, reason);
    }
    return status;
}

/* ---- safe points ---- */

static void write_sums(job_t *job)
{
    mo_checksum_text(mo_checksum_value(&job->rows_sum), job->record.rows_sum);
    mo_checksum_text(mo_checksum_value(&job->names_sum), job->record.names_sum);
    mo_checksum_text(mo_checksum_value(&job->skipped_sum), job->record.skipped_sum);
}

static moco_status_t put_record(const job_t *job, mo_atomic_file_t *file, const char *path)
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

/* What the journal tells of is on the disk before the journal is. */
static moco_status_t safe_point(job_t *job)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t journal = {0};
    if (job->record.rows == 0 || job->record.dataset[0] == '\0')
        return MOCO_OK;
    TRY(mo_atomic_sync(&job->npy.file));
    TRY(mo_atomic_sync(&job->names));
    TRY(mo_atomic_sync(&job->skipped));
    write_sums(job);
    TRY(put_record(job, &journal, job->paths.journal));
    TRY(mo_atomic_commit(&journal));
    job->recorded = 1;
cleanup:
    mo_atomic_abort(&journal);
    return status;
}

static moco_status_t safe_point_if_due(job_t *job)
{
    const double now = mo_seconds();
    double wait = (now - job->started) * POINT_SHARE;
    if (now < job->next_point)
        return MOCO_OK;
    wait = wait < FIRST_POINT ? FIRST_POINT : wait > LAST_POINT ? LAST_POINT : wait;
    job->next_point = now + wait;
    return safe_point(job);
}

/* ---- rows ---- */

static moco_status_t take_rows(job_t *job, int64_t count, const int64_t *indices, const float *rows)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_npy_rows(&job->npy, rows, count));
    mo_checksum_add(&job->rows_sum, rows, (uint64_t)(count * job->record.dimension) * sizeof *rows);
    job->record.rows += count;
    for (int64_t i = 0; i < count; i++)
        TRY(put_name(job, indices[i]));
    TRY(put_broken(job, indices[count - 1] + 1));
    TRY(safe_point_if_due(job));
cleanup:
    return status;
}

static int32_t write_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    job_t *job = user;
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

static moco_status_t make_paths(const char *path, paths_t *paths)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_embedding_beside(path, MO_NAMES_ENDING, &paths->names));
    TRY(mo_embedding_beside(path, MO_SKIPPED_ENDING, &paths->skipped));
    TRY(mo_embedding_beside(path, MO_RECORD_ENDING, &paths->record));
    TRY(mo_embedding_beside(path, MO_JOURNAL_ENDING, &paths->journal));
cleanup:
    return status;
}

/* A list beside the rows is what a user has, too. */
static moco_status_t check_target(const char *path, const moco_dataset_t *dataset)
{
    const char *source = mo_dataset_source(dataset);
    if (source != NULL && mo_file_same(path, source))
        return mo_fail(MOCO_ERR_EXISTS, "%s would be replaced, and is what the data set was opened from", path);
    return MOCO_OK;
}

/* Text files tell nothing of who wrote them: they are ours where rows or a record stand beside. */
static moco_status_t check_text(const char *text, const char *path, const paths_t *paths)
{
    mo_embedding_record_t record;
    if (!mo_file_exists(text) || mo_file_exists(path) || mo_file_exists(paths->journal) ||
        mo_embedding_record_read(paths->record, &record) == MOCO_OK)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_EXISTS, "%s: is there, without the '%s' that it would belong to: wanted another name", text,
                   path);
}

static moco_status_t check_outputs(const job_t *job, const char *path)
{
    moco_status_t status = MOCO_OK;
    const paths_t *p = &job->paths;
    mo_embedding_record_t record;
    const char *const all[] = {path, p->names, p->skipped, p->record};
    for (int i = 0; i < 4; i++)
        TRY(check_target(all[i], job->dataset));
    TRY(mo_output_check(path, MO_OUTPUT_NPY));
    TRY(check_text(p->names, path, p));
    TRY(check_text(p->skipped, path, p));
    if (mo_file_exists(p->record) && mo_embedding_record_read(p->record, &record) == MOCO_ERR_FORMAT)
        TRY(mo_fail(MOCO_ERR_EXISTS, "%s, and would be replaced: wanted another name", moco_last_message()));
cleanup:
    return status;
}

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

static void start_sums(job_t *job)
{
    mo_checksum_start(&job->rows_sum);
    mo_checksum_start(&job->names_sum);
    mo_checksum_start(&job->skipped_sum);
}

/* The three part files with what `from` says of them; all zero begins anew. */
static moco_status_t open_parts(job_t *job, const char *path, const mo_embedding_record_t *from)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_npy_resume(&job->npy, path, (int32_t)job->record.dimension, from->rows));
    TRY(mo_atomic_resume(&job->names, job->paths.names, (uint64_t)from->names_bytes));
    TRY(mo_atomic_resume(&job->skipped, job->paths.skipped, (uint64_t)from->skipped_bytes));
cleanup:
    return status;
}

static void close_parts(job_t *job, int keep)
{
    void (*const close_one)(mo_atomic_file_t * file) = keep ? mo_atomic_keep : mo_atomic_abort;
    close_one(&job->npy.file);
    close_one(&job->names);
    close_one(&job->skipped);
}

/* Whether the part files are what the journal says: MOCO_OK and *whole. */
static moco_status_t reread_parts(job_t *job, const mo_embedding_record_t *from, int *whole)
{
    moco_status_t status = MOCO_OK;
    const uint64_t row = (uint64_t)from->dimension * sizeof(float);
    TRY(mo_atomic_reread(&job->npy.file, mo_npy_header_size(), add_to, &job->rows_sum));
    TRY(mo_atomic_reread(&job->names, 0, add_to, &job->names_sum));
    TRY(mo_atomic_reread(&job->skipped, 0, add_to, &job->skipped_sum));
    *whole = row > 0 && same_sum(&job->rows_sum, from->rows_sum) && same_sum(&job->names_sum, from->names_sum) &&
             same_sum(&job->skipped_sum, from->skipped_sum);
cleanup:
    return status;
}

/* Where an earlier call of the same model and data set has left off. */
static moco_status_t resume(job_t *job, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_embedding_record_t from;
    const mo_embedding_record_t *now = &job->record;
    int whole = 0;
    if (now->dataset[0] == '\0' || mo_embedding_record_read(job->paths.journal, &from) != MOCO_OK ||
        strcmp(from.model, now->model) != 0 || strcmp(from.dataset, now->dataset) != 0 || from.images != now->images ||
        from.dimension != now->dimension || from.position > now->images || from.rows < 1 || from.rows > from.position ||
        mo_dataset_changed(job->dataset, from.position, from.started))
        return MOCO_OK;
    status = open_parts(job, path, &from);
    job->recorded = status != MOCO_ERR_FORMAT; /* what a failing request hides is kept; a part cut short is not */
    if (job->recorded)
        TRY(status);
    if (status == MOCO_OK)
        TRY(reread_parts(job, &from, &whole));
    if (whole) {
        job->record = from;
        mo_log(MOCO_LOG_INFO, "%s: goes on after %lld of %lld images", path, (long long)from.position,
               (long long)from.images);
        return MOCO_OK;
    }
    close_parts(job, 1);
    start_sums(job);
    job->recorded = 0;
    status = MOCO_OK;
cleanup:
    return status;
}

/* In the steps in which files get their times. */
static int64_t system_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static moco_status_t begin(job_t *job, moco_model_t *model, const char *path)
{
    moco_status_t status = MOCO_OK;
    const mo_embedding_record_t none = {0};
    const uint64_t identity = mo_dataset_identity(job->dataset);
    const int32_t tap = job->o->tap;
    mo_checksum_t sum;
    mo_checksum_start(&sum);
    mo_checksum_add(&sum, &tap, sizeof tap);
    TRY(mo_model_sum(model, &sum));
    mo_checksum_text(mo_checksum_value(&sum), job->record.model);
    if (identity != 0)
        mo_checksum_text(identity, job->record.dataset);
    job->record.started = system_time();
    job->record.images = mo_dataset_count(job->dataset);
    job->record.dimension = mo_model_width(model, tap);
    start_sums(job);
    job->started = mo_seconds();
    job->next_point = job->started + FIRST_POINT;
    TRY(make_paths(path, &job->paths));
    TRY(check_outputs(job, path));
    TRY(resume(job, path));
    if (!job->recorded) {
        TRY(open_parts(job, path, &none)); /* first: another process may be writing them */
        unlink(job->paths.journal);        /* of another model or data set, or of files that are gone */
    }
cleanup:
    return status;
}

/* ---- end ---- */

static moco_status_t finish(job_t *job)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t record = {0};
    mo_atomic_file_t *const all[] = {&job->names, &job->skipped, &record, &job->npy.file};
    TRY(put_broken(job, job->record.images));
    TRY(mo_npy_finish(&job->npy));
    write_sums(job);
    TRY(put_record(job, &record, job->paths.record));
    for (int i = 0; i < 4; i++)
        all[i]->kept = i != 2 && job->recorded;
    TRY(mo_atomic_commit_all(all, 4));
    unlink(job->paths.journal);
cleanup:
    mo_atomic_abort(&record);
    return status;
}

/* What a cancelled call has done is kept; a failed one keeps what an earlier safe point holds. */
static moco_status_t leave(job_t *job, moco_status_t status)
{
    char message[MO_MESSAGE_SIZE];
    mo_message_copy(message);
    if (status == MOCO_ERR_CANCELLED)
        (void)safe_point(job);
    close_parts(job, job->recorded);
    if (status == MOCO_ERR_CANCELLED && job->recorded)
        return mo_fail(status, "%.400s; the same call will go on from there", message);
    return mo_message_set(status, message);
}

moco_status_t mo_embed_to_npy(moco_model_t *model, moco_dataset_t *dataset, const char *path,
                              const moco_embed_options_t *o, moco_embed_result_t *result)
{
    moco_status_t status = MOCO_OK;
    job_t job = {.dataset = dataset, .o = o};
    TRY(begin(&job, model, path));
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
    mo_free(job.paths.names);
    mo_free(job.paths.skipped);
    mo_free(job.paths.record);
    mo_free(job.paths.journal);
    return status;
}
