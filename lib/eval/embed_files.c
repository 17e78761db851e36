/* A data set's embeddings as files: X.npy with the rows, X.txt with a name for each, X.skipped.txt
 * with the images that were broken and why. */
#include <string.h>

#include "eval/model.h"
#include "persist/npy.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/file.h"
#include "util/status.h"

/* For files of one name a line: names in archives may have any byte. */
static void without_controls(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
}

typedef struct npy_job {
    moco_dataset_t *dataset;
    mo_npy_writer_t npy;
    mo_atomic_file_t names;
    const moco_embed_options_t *o;
    moco_status_t status;
    char message[MO_MESSAGE_SIZE];
} npy_job_t;

static int32_t write_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    npy_job_t *job = user;
    job->status = mo_npy_rows(&job->npy, rows, count);
    for (int64_t i = 0; i < count && job->status == MOCO_OK; i++) {
        char *name = NULL;
        job->status = mo_strdup(mo_dataset_name(job->dataset, indices[i]), &name);
        if (job->status == MOCO_OK) {
            without_controls(name);
            job->status = mo_atomic_write(&job->names, name, strlen(name));
        }
        if (job->status == MOCO_OK)
            job->status = mo_atomic_write(&job->names, "\n", 1);
        mo_free(name);
    }
    if (job->status != MOCO_OK) {
        mo_message_copy(job->message); /* the call that this ends has a message of its own */
        return 1;
    }
    if (job->o->progress == NULL)
        return 0;
    return job->o->progress(job->o->user, indices[count - 1] + 1, mo_dataset_count(job->dataset));
}

/* "X.npy" -> "X" + ending; another name keeps its own ending in front. */
static moco_status_t beside(const char *path, const char *ending, char **out)
{
    size_t length = strlen(path);
    int stem = length > 4 && strcmp(path + length - 4, ".npy") == 0 ? (int)length - 4 : (int)length;
    return mo_strprintf(out, "%.*s%s", stem, path, ending);
}

static moco_status_t write_skipped(moco_dataset_t *dataset, const char *path, int64_t *skipped)
{
    moco_status_t status = MOCO_OK;
    mo_atomic_file_t file = {0};
    char *line = NULL, *name = NULL;
    *skipped = 0;
    TRY(mo_atomic_open(&file, path));
    for (int64_t i = 0; i < mo_dataset_count(dataset); i++) {
        const char *reason = mo_dataset_broken_reason(dataset, i);
        if (reason == NULL)
            continue;
        TRY(mo_strdup(mo_dataset_name(dataset, i), &name));
        without_controls(name);
        TRY(mo_strprintf(&line, "%s\t%s\n", name, reason));
        TRY(mo_atomic_write(&file, line, strlen(line)));
        mo_free(name);
        name = NULL;
        mo_free(line);
        line = NULL;
        ++*skipped;
    }
    TRY(mo_atomic_commit(&file));
cleanup:
    mo_free(line);
    mo_free(name);
    mo_atomic_abort(&file);
    return status;
}

/* A list "photos.txt" beside "photos.npy" is what a list is naturally called. */
static moco_status_t check_target(const char *path, const moco_dataset_t *dataset)
{
    const char *source = mo_dataset_source(dataset);
    if (source != NULL && mo_file_same(path, source))
        return mo_fail(MOCO_ERR_EXISTS, "%s would be replaced, and is what the data set was opened from", path);
    return MOCO_OK;
}

moco_status_t mo_embed_to_npy(moco_model_t *model, moco_dataset_t *dataset, const char *path,
                              const moco_embed_options_t *o, moco_embed_result_t *result)
{
    moco_status_t status = MOCO_OK;
    npy_job_t job = {.dataset = dataset, .o = o};
    char *names = NULL, *broken = NULL;
    int64_t count = 0;
    TRY(beside(path, ".txt", &names));
    TRY(beside(path, ".skipped.txt", &broken));
    TRY(check_target(path, dataset));
    TRY(check_target(names, dataset));
    TRY(check_target(broken, dataset));
    TRY(mo_npy_open(&job.npy, path, mo_model_width(model, o->tap)));
    TRY(mo_atomic_open(&job.names, names));
    status = mo_embed_dataset(model, dataset, o, write_rows, &job);
    if (job.status != MOCO_OK)
        status = mo_message_set(job.status, job.message);
    TRY(status);
    TRY(mo_cancel_check(o->cancel));
    TRY(write_skipped(dataset, broken, &count));
    TRY(mo_atomic_commit(&job.names));
    *result = (moco_embed_result_t){.struct_size = sizeof *result, .rows = job.npy.rows, .skipped = count};
    TRY(mo_npy_commit(&job.npy));
cleanup:
    mo_npy_abort(&job.npy);
    mo_atomic_abort(&job.names);
    mo_free(names);
    mo_free(broken);
    return status;
}
