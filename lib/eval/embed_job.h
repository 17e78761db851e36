/* What the parts of embedding to files give each other: embed_files.c writes the rows and ends the
 * call, embed_outputs.c says where files go and what may be replaced, embed_journal.c keeps safe
 * points and goes on from them. */
#ifndef MO_EVAL_EMBED_JOB_H
#define MO_EVAL_EMBED_JOB_H

#include "eval/embedding_record.h"
#include "eval/model.h"
#include "persist/npy.h"
#include "util/status.h"

typedef struct mo_embed_paths {
    char *names, *skipped, *record, *journal;
} mo_embed_paths_t;

typedef struct mo_embed_job {
    const char *path; /* of the rows */
    moco_dataset_t *dataset;
    const moco_embed_options_t *o;
    mo_embed_paths_t paths;
    mo_npy_writer_t npy;
    mo_atomic_file_t names, skipped;
    mo_checksum_t rows_sum, names_sum, skipped_sum;
    mo_embedding_record_t record; /* of all that is written, safe or not */
    mo_dataset_doubt_t *doubts;   /* images that are not older than the record's beginning, as they were … */
    int64_t doubt_count;          /* … before this call read any                                           */
    double started, next_point;
    int recorded; /* a journal is on the disk: the part files are worth keeping */
    moco_status_t status;
    char message[MO_MESSAGE_SIZE];
} mo_embed_job_t;

/* ---- embed_outputs.c ---- */

moco_status_t mo_embed_paths_make(const char *path, mo_embed_paths_t *paths);
void mo_embed_paths_free(mo_embed_paths_t *paths);
/* MOCO_ERR_EXISTS where a file of the host's would be replaced. */
moco_status_t mo_embed_outputs_check(const mo_embed_job_t *job);
/* Once the part files are this call's: removes what a call that was cut short between two names has
 * put in place, since its journal, which alone knows these files, is about to go. */
moco_status_t mo_embed_outputs_clear(const mo_embed_job_t *job);

/* ---- embed_journal.c ---- */

/* Opens the part files, at what an earlier call has left of the same work or empty. The record's
 * model, data set, beginning and sizes are set. */
moco_status_t mo_embed_journal_open(mo_embed_job_t *job);
/* Brings all that is written to the disk, and then a journal that says so. */
moco_status_t mo_embed_write_journal(mo_embed_job_t *job);
/* The same where a later call could go on from there. */
moco_status_t mo_embed_safe_point(mo_embed_job_t *job);
moco_status_t mo_embed_safe_point_if_due(mo_embed_job_t *job);
/* Opens and writes `file`, which the caller commits. */
moco_status_t mo_embed_put_record(const mo_embed_job_t *job, mo_atomic_file_t *file, const char *path);
void mo_embed_close_parts(mo_embed_job_t *job, int keep);

#endif
