/* Where the files of an embedding go, and which files that are there may be replaced: those of an
 * earlier call alone. Called by embed_files.c. */
#include <string.h>
#include <unistd.h>

#include "eval/embed_job.h"
#include "persist/output.h"
#include "util/alloc.h"
#include "util/atomic_file.h"
#include "util/file.h"

moco_status_t mo_embed_paths_make(const char *path, mo_embed_paths_t *paths)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_embedding_beside(path, MO_NAMES_ENDING, &paths->names));
    TRY(mo_embedding_beside(path, MO_SKIPPED_ENDING, &paths->skipped));
    TRY(mo_embedding_beside(path, MO_RECORD_ENDING, &paths->record));
    TRY(mo_atomic_part_path(paths->record, &paths->journal));
cleanup:
    return status;
}

void mo_embed_paths_free(mo_embed_paths_t *paths)
{
    mo_free(paths->names);
    mo_free(paths->skipped);
    mo_free(paths->record);
    mo_free(paths->journal);
    *paths = (mo_embed_paths_t){0};
}

/* A list beside the rows is what a user has, too. */
static moco_status_t check_target(const char *path, const moco_dataset_t *dataset)
{
    const char *source = mo_dataset_source(dataset);
    if (source != NULL && mo_file_same(path, source))
        return mo_fail(MOCO_ERR_EXISTS, "%s would be replaced, and is what the data set was opened from", path);
    return MOCO_OK;
}

/* Text files tell nothing of who wrote them: they are ours where the record has their checksum, or
 * the journal of a call that was cut short while its files got their names. A newer version's
 * record says nothing that this one could compare. */
static moco_status_t check_text(const mo_embed_job_t *job, const char *text, const char *written, const char *journal,
                                int *orphan)
{
    moco_status_t status = MOCO_OK;
    char sum[MO_CHECKSUM_TEXT];
    *orphan = 0;
    if (!mo_file_exists(text))
        return MOCO_OK;
    TRY(mo_embedding_sum_file(text, sum));
    *orphan = strcmp(sum, written) != 0 && strcmp(sum, journal) == 0;
    if (*orphan || strcmp(sum, written) == 0)
        return MOCO_OK;
    if (!mo_file_exists(job->paths.record))
        status = mo_fail(MOCO_ERR_EXISTS, "%s: is there, without the '%s' that it would belong to: wanted another name",
                         text, job->paths.record);
    else
        status = mo_fail(MOCO_ERR_EXISTS,
                         "%s: is there and is not what an earlier call has written, as '%s' says: wanted another name, "
                         "or that this one is removed",
                         text, job->paths.record);
cleanup:
    return status;
}

/* orphans[2]: whether names and skipped images are in place by a call that was cut short. */
static moco_status_t check_texts(const mo_embed_job_t *job, int orphans[2])
{
    moco_status_t status = MOCO_OK, read = MOCO_ERR_IO;
    const mo_embed_paths_t *p = &job->paths;
    mo_embedding_record_t record = {0}, journal = {0};
    orphans[0] = orphans[1] = 0;
    if (mo_file_exists(p->record)) {
        read = mo_embedding_record_read(p->record, &record);
        if (read == MOCO_ERR_FORMAT)
            TRY(mo_fail(MOCO_ERR_EXISTS, "%s, and would be replaced: wanted another name", moco_last_message()));
        if (read != MOCO_OK && read != MOCO_ERR_VERSION)
            TRY(read);
    }
    const moco_status_t read_journal = mo_file_exists(p->journal) ? mo_embedding_record_read(p->journal, &journal)
                                                                  : MOCO_OK;
    if (read == MOCO_ERR_VERSION || read_journal == MOCO_ERR_VERSION)
        goto cleanup;
    TRY(check_text(job, p->names, record.names_sum, journal.names_sum, &orphans[0]));
    TRY(check_text(job, p->skipped, record.skipped_sum, journal.skipped_sum, &orphans[1]));
cleanup:
    return status;
}

moco_status_t mo_embed_outputs_check(const mo_embed_job_t *job)
{
    moco_status_t status = MOCO_OK;
    const mo_embed_paths_t *p = &job->paths;
    const char *const all[] = {job->path, p->names, p->skipped, p->record};
    int orphans[2] = {0};
    for (int i = 0; i < 4; i++)
        TRY(check_target(all[i], job->dataset));
    TRY(mo_output_check(job->path, MO_OUTPUT_NPY));
    TRY(check_texts(job, orphans));
cleanup:
    return status;
}

moco_status_t mo_embed_outputs_clear(const mo_embed_job_t *job)
{
    int orphans[2] = {0};
    const moco_status_t status = check_texts(job, orphans);
    if (status == MOCO_OK && orphans[0])
        unlink(job->paths.names);
    if (status == MOCO_OK && orphans[1])
        unlink(job->paths.skipped);
    return status;
}
