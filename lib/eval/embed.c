/* Images to embeddings: calls are cut into shards, shards go to the lanes, also between the operations of a training
 * step on the same device. */
#include <stdio.h>
#include <string.h>

#include "data/decode.h"
#include "eval/model.h"
#include "persist/npy.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/file.h"
#include "util/status.h"

#define DATASET_BATCH 256 /* rows a loader batch: several shards for every lane */
#define KEPT_PIXELS   (64 << 20) /* bytes of a decoded image that a lane keeps for its next one */

int32_t mo_model_width(const moco_model_t *model, int32_t tap)
{
    if (tap == MOCO_TAP_BACKBONE)
        return model->encoder.net.shapes[model->encoder.net.backbone].c;
    return tap == MOCO_TAP_PROJECTION && model->encoder.embedding >= 0 ? model->encoder.spec.dimension : 0;
}

moco_status_t mo_model_check_tap(const moco_model_t *model, int32_t tap)
{
    if (tap != MOCO_TAP_BACKBONE && tap != MOCO_TAP_PROJECTION)
        return mo_fail(MOCO_ERR_ARGUMENT, "tap is %d, wanted %d (backbone) or %d (projection)", tap, MOCO_TAP_BACKBONE,
                       MOCO_TAP_PROJECTION);
    if (mo_model_width(model, tap) == 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "the model has no projection head, wanted tap 'backbone'");
    return MOCO_OK;
}

typedef struct embedding {
    moco_model_t *model;
    const mo_source_t *source;
    const moco_embed_options_t *o;
    int64_t count;
    int32_t width;
    int size;
    float *out;
    moco_status_t *statuses; /* NULL: the first broken image fails the call              */
    char **reasons;          /* NULL, or for `failed`: [count] why an image is broken    */
} embedding_t;

/* Image `index` of the call as network input. */
static moco_status_t image_in(const embedding_t *e, mo_model_lane_t *lane, int64_t index, float *to)
{
    const moco_model_t *m = e->model;
    const mo_source_t *s = e->source;
    moco_status_t status = MOCO_OK;
    int64_t warnings = 0;
    if (s->rows != NULL) {
        mo_input_bytes(m->lut, s->rows[index], m->feature, to);
        return MOCO_OK;
    }
    if (s->floats != NULL) {
        mo_input_floats(s->floats + index * m->feature, s->layout, m->feature, to);
        return MOCO_OK;
    }
    if (s->encoded != NULL) {
        if (s->encoded[index] == NULL)
            TRY(mo_fail(MOCO_ERR_ARGUMENT, "data[%lld] is NULL", (long long)index));
        status = mo_image_decode(s->encoded[index], s->sizes[index], MO_MAX_PIXELS, &lane->pixels, &warnings);
        if (status != MOCO_OK)
            TRY(mo_fail(status, "data[%lld]: %s", (long long)index, moco_last_message()));
    } else
        TRY(mo_pixels_from_images(s->images, index, &lane->pixels));
    TRY(mo_view_eval(&lane->work, &lane->pixels, m->transform.eval_resize, m->transform.eval_crop, lane->view));
    mo_input_bytes(m->lut, lane->view, m->feature, to);
cleanup:
    if (lane->pixels.capacity > KEPT_PIXELS) /* one huge image must not be paid for until the model goes */
        mo_pixels_free(&lane->pixels);
    return status;
}

/* What became of an image, where the caller wants to know it; else its failure is that of the call. */
static moco_status_t note(embedding_t *e, int64_t image, moco_status_t item)
{
    char message[MO_MESSAGE_SIZE];
    if (e->statuses == NULL)
        return item;
    e->statuses[image] = item;
    if (item == MOCO_OK || e->reasons == NULL)
        return MOCO_OK;
    mo_message_copy(message);
    return mo_strdup(message, &e->reasons[image]);
}

/* One shard: broken images leave a row of zeros and their status. */
static moco_status_t embed_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    embedding_t *e = ctx;
    moco_model_t *m = e->model;
    mo_model_lane_t *own = &m->lanes[mo_lane_number(lane)];
    mo_instance_t *instance = own->instance[e->size];
    int32_t shard = mo_plan_shard(m->plan[e->size]),
            tensor = e->o->tap == MOCO_TAP_BACKBONE ? m->encoder.net.backbone : m->encoder.embedding;
    int64_t first = part * shard, rows = e->count - first < shard ? e->count - first : shard;
    uint8_t broken[MO_MANY] = {0};
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_cancel_check(e->o->cancel));
    TRY(mo_instance_map(instance, m->encoder.net.input, MO_WRITE, &values));
    for (int64_t i = 0; i < shard; i++) {
        moco_status_t item = i < rows ? image_in(e, own, first + i, values + i * m->feature) : MOCO_OK;
        broken[i] = item != MOCO_OK;
        if (broken[i] || i >= rows)
            memset(values + i * m->feature, 0, (size_t)m->feature * sizeof(float));
        if (i < rows && (status = note(e, first + i, item)) != MOCO_OK)
            break; /* its message, which names the image, is that of the call */
    }
    mo_instance_unmap(instance, m->encoder.net.input, values);
    TRY(status);
    TRY(mo_instance_run(lane, instance));
    TRY(mo_instance_map(instance, tensor, MO_READ, &values));
    for (int64_t i = 0; i < rows; i++)
        if (broken[i])
            memset(e->out + (first + i) * e->width, 0, (size_t)e->width * sizeof(float));
        else
            memcpy(e->out + (first + i) * e->width, values + i * e->width, (size_t)e->width * sizeof(float));
    mo_instance_unmap(instance, tensor, values);
cleanup:
    return status;
}

moco_status_t mo_embed(moco_model_t *model, int64_t count, const mo_source_t *source, int size,
                       const moco_embed_options_t *o, float *out)
{
    moco_status_t status = MOCO_OK, *own = NULL;
    embedding_t e = {.model = model, .source = source, .o = o, .count = count, .width = mo_model_width(model, o->tap),
                     .size = size, .out = out, .statuses = o->statuses};
    int64_t shard = mo_plan_shard(model->plan[size]);
    if (o->failed != NULL) {
        TRY(mo_calloc((size_t)count, sizeof *e.reasons, &e.reasons));
        if (e.statuses == NULL)
            TRY(mo_calloc((size_t)count, sizeof *own, &own));
    }
    if (own != NULL)
        e.statuses = own;
    TRY(mo_device_run(model->device, count / shard + (count % shard != 0), embed_part, &e, 1));
    for (int64_t i = 0; e.reasons != NULL && i < count; i++) /* on the caller's thread, in order */
        if (e.reasons[i] != NULL)
            o->failed(o->user, i, e.statuses[i], e.reasons[i]);
cleanup:
    for (int64_t i = 0; e.reasons != NULL && i < count; i++)
        mo_free(e.reasons[i]);
    mo_free(e.reasons);
    mo_free(own);
    return status;
}

/* ---- data sets ---- */

/* Tells of the broken images among entries [from, to) of the listing. */
static void tell_broken(moco_dataset_t *dataset, const moco_embed_options_t *o, int64_t from, int64_t to)
{
    for (int64_t i = from; o->failed != NULL && i < to; i++) {
        const char *reason = mo_dataset_broken_reason(dataset, i);
        if (reason != NULL)
            o->failed(o->user, i, MOCO_ERR_IMAGE, reason);
    }
}

moco_status_t mo_embed_dataset(moco_model_t *model, moco_dataset_t *dataset, const moco_embed_options_t *o,
                               moco_rows_fn rows, void *user)
{
    moco_status_t status = MOCO_OK;
    mo_loader_t *loader = NULL;
    const mo_batch_t *batch = NULL;
    float *values = NULL;
    int64_t done = 0, told = 0;
    const moco_embed_options_t plain = {.cancel = o->cancel, .tap = o->tap}; /* the rows of a batch are all good */
    mo_loader_spec_t spec = {.train = 0, .resize = model->transform.eval_resize, .size = model->transform.eval_crop,
                             .batch = DATASET_BATCH, .depth = 2, .max_broken = -1,
                             .threads = mo_loader_threads(o->loader_threads, mo_device_lanes(model->device))};
    TRY(mo_calloc((size_t)DATASET_BATCH * (size_t)mo_model_width(model, o->tap), sizeof *values, &values));
    TRY(mo_loader_create(&spec, dataset, &loader));
    TRY(mo_loader_seek(loader, 0, 0));
    while ((status = mo_loader_next(loader, &batch)) == MOCO_OK) {
        mo_source_t source = {.rows = batch->rows[0]};
        TRY(mo_embed(model, batch->count, &source, MO_SIZE_MANY, &plain, values));
        done += batch->count;
        tell_broken(dataset, o, told, batch->position);
        told = batch->position;
        if (rows(user, batch->count, batch->index, values) != 0)
            TRY(mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback after %lld images", (long long)done));
        mo_loader_return(loader, batch);
        batch = NULL;
    }
    if (status == MOCO_ERR_NO_DATA) {
        tell_broken(dataset, o, told, mo_dataset_count(dataset));
        status = done > 0 ? MOCO_OK : mo_fail(MOCO_ERR_NO_DATA, "none of the %lld images is good",
                                              (long long)mo_dataset_count(dataset));
    }
cleanup:
    if (loader != NULL && batch != NULL)
        mo_loader_return(loader, batch);
    mo_loader_free(loader);
    mo_free(values);
    return status;
}

/* ---- files ---- */

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
