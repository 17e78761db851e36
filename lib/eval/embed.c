/* Images to embeddings: calls are cut into shards, shards go to the lanes, also between the
 * operations of a training step on the same device. */
#include <string.h>

#include "data/decode.h"
#include "eval/model.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/finite.h"
#include "util/status.h"

#define KEPT_PIXELS (64 << 20) /* bytes of a decoded image that a lane keeps for its next one */

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
    const mo_image_source_t *source;
    const moco_embed_options_t *o;
    int64_t count;
    int32_t width;
    int size;
    float *out;
    moco_status_t *statuses; /* NULL: the first broken image fails the call              */
    char **reasons;          /* NULL, or for `failed`: [count] why an image is broken    */
} embedding_t;

/* Of what the host gave: image `index` of the call. */
static moco_status_t check_floats(const char *name, const float *values, int64_t count, int64_t index)
{
    const int64_t at = mo_find_nonfinite(values, count);
    return at < 0 ? MOCO_OK
                  : mo_fail(MOCO_ERR_NONFINITE, "%s[%lld]: number %lld is %g: wanted finite numbers", name,
                            (long long)index, (long long)at, (double)values[at]);
}

/* Weights and pixels are finite by now. */
static moco_status_t check_embedding(const embedding_t *e, const float *values, int64_t index)
{
    static const char why[] = "weights and pixels are finite, so numbers grew too large on the way through the network";
    const mo_image_source_t *s = e->source;
    const int64_t at = mo_find_nonfinite(values, e->width);
    if (at < 0)
        return MOCO_OK;
    if (s->dataset == NULL)
        return mo_fail(MOCO_ERR_NONFINITE, "embedding of image %lld: number %lld is %g: %s", (long long)index,
                       (long long)at, (double)values[at], why);
    return mo_fail(MOCO_ERR_NONFINITE, "'%.200s': number %lld of its embedding is %g: %s",
                   mo_dataset_name(s->dataset, s->indices[index]), (long long)at, (double)values[at], why);
}

/* Image `index` of the call as network input. */
static moco_status_t image_in(const embedding_t *e, mo_model_lane_t *lane, int64_t index, float *to)
{
    const moco_model_t *m = e->model;
    const mo_image_source_t *s = e->source;
    moco_status_t status = MOCO_OK;
    int64_t warnings = 0;
    if (s->rows != NULL) {
        mo_input_bytes(m->lut, s->rows[index], m->feature, to);
        return MOCO_OK;
    }
    if (s->floats != NULL) {
        TRY(check_floats("images", s->floats + index * m->feature, m->feature, index));
        mo_input_floats(s->floats + index * m->feature, s->layout, m->feature, to);
        return MOCO_OK;
    }
    if (s->encoded != NULL) {
        if (s->encoded[index] == NULL)
            TRY(mo_fail(MOCO_ERR_ARGUMENT, "data[%lld] is NULL", (long long)index));
        status = mo_image_decode(s->encoded[index], s->sizes[index], MO_MAX_PIXELS, &lane->pixels, &warnings);
        if (status != MOCO_OK && e->statuses == NULL) /* else the reason is told with the image's number */
            TRY(mo_fail(status, "data[%lld]: %s", (long long)index, moco_last_message()));
        TRY(status);
    } else
        TRY(mo_pixels_from_images(s->images, index, &lane->pixels));
    TRY(mo_view_eval(&lane->work, &lane->pixels, m->transform.eval_resize, m->transform.eval_crop, lane->view));
    mo_input_bytes(m->lut, lane->view, m->feature, to);
cleanup:
    if (lane->pixels.capacity > KEPT_PIXELS) /* one huge image must not be paid for until the model goes */
        mo_pixels_free(&lane->pixels);
    return status;
}

/* What became of an image, where the caller wants to know it; else its failure is that of the
 * call. */
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

/* Rows of a shard. Finite weights and pixels can still overflow on the way through the network. */
static moco_status_t take_rows(embedding_t *e, int64_t first, int64_t rows, const float *values, const uint8_t *broken)
{
    moco_status_t status = MOCO_OK;
    for (int64_t i = 0; i < rows && status == MOCO_OK; i++) {
        float *to = e->out + (first + i) * e->width;
        moco_status_t row = MOCO_OK;
        if (!broken[i] && (row = check_embedding(e, values + i * e->width, first + i)) != MOCO_OK)
            status = note(e, first + i, row);
        if (broken[i] || row != MOCO_OK)
            memset(to, 0, (size_t)e->width * sizeof(float));
        else
            memcpy(to, values + i * e->width, (size_t)e->width * sizeof(float));
    }
    return status;
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
    status = take_rows(e, first, rows, values, broken);
    mo_instance_unmap(instance, tensor, values);
cleanup:
    return status;
}

moco_status_t mo_embed(moco_model_t *model, int64_t count, const mo_image_source_t *source, int size,
                       const moco_embed_options_t *o, float *out)
{
    moco_status_t status = MOCO_OK, *own = NULL;
    embedding_t e = {.model = model,
                     .source = source,
                     .o = o,
                     .count = count,
                     .width = mo_model_width(model, o->tap),
                     .size = size,
                     .out = out,
                     .statuses = o->statuses};
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
