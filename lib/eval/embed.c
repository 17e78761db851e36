/* Images to embeddings: calls are cut into shards, shards go to the lanes, also between the
 * operations of a training step on the same device. */
#include <string.h>

#include "data/decode.h"
#include "eval/model.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/finite.h"
#include "util/status.h"

#define LARGE 1e6f             /* inputs of a network, after mean and standard deviation; usual ones are below ten */
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
    uint8_t broken[MO_MANY]; /* of one image on all lanes */
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

static int64_t rows_from(const embedding_t *e, int64_t first)
{
    const int32_t shard = mo_plan_shard(e->model->plan[e->size]);
    return e->count - first < shard ? e->count - first : shard;
}

/* The images of a shard from `first` on; broken ones leave zeros and their status. */
static moco_status_t fill(embedding_t *e, mo_lane_t *lane, mo_instance_t *instance, int64_t first,
                          uint8_t broken[MO_MANY])
{
    moco_model_t *m = e->model;
    const int32_t shard = mo_plan_shard(m->plan[e->size]);
    const int64_t rows = rows_from(e, first);
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_cancel_check(e->o->cancel));
    TRY(mo_instance_map(instance, m->encoder.net.input, MO_WRITE, &values));
    for (int64_t i = 0; i < shard; i++) {
        moco_status_t item = i < rows ? image_in(e, &m->lanes[mo_lane_number(lane)], first + i, values + i * m->feature)
                                      : MOCO_OK;
        broken[i] = item != MOCO_OK;
        if (broken[i] || i >= rows)
            memset(values + i * m->feature, 0, (size_t)m->feature * sizeof(float));
        if (i < rows && (status = note(e, first + i, item)) != MOCO_OK)
            break; /* its message, which names the image, is that of the call */
    }
    mo_instance_unmap(instance, m->encoder.net.input, values);
cleanup:
    return status;
}

static moco_status_t take(embedding_t *e, mo_instance_t *instance, int64_t first, const uint8_t *broken)
{
    const mo_encoder_t *encoder = &e->model->encoder;
    const int32_t tensor = e->o->tap == MOCO_TAP_BACKBONE ? encoder->net.backbone : encoder->embedding;
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_instance_map(instance, tensor, MO_READ, &values));
    status = take_rows(e, first, rows_from(e, first), values, broken);
    mo_instance_unmap(instance, tensor, values);
cleanup:
    return status;
}

/* One shard on one lane. */
static moco_status_t embed_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    embedding_t *e = ctx;
    mo_instance_t *instance = e->model->lanes[mo_lane_number(lane)].instance[e->size];
    const int64_t first = part * mo_plan_shard(e->model->plan[e->size]);
    uint8_t broken[MO_MANY] = {0};
    moco_status_t status = MOCO_OK;
    TRY(fill(e, lane, instance, first, broken));
    TRY(mo_instance_run(lane, instance));
    TRY(take(e, instance, first, broken));
cleanup:
    return status;
}

/* ---- one image on all lanes ---- */

static moco_status_t team_begins(void *ctx, mo_lane_t *lane, mo_instance_t *instance)
{
    embedding_t *e = ctx;
    return fill(e, lane, instance, 0, e->broken);
}

static moco_status_t team_ends(void *ctx, mo_instance_t *instance)
{
    embedding_t *e = ctx;
    return take(e, instance, 0, e->broken);
}

/* Callers of one image each keep the lanes busy without it, so only one of them at a time has all
 * lanes. Both ways run the same instructions. */
static moco_status_t embed_parts(embedding_t *e)
{
    moco_model_t *m = e->model;
    const int64_t shard = mo_plan_shard(m->plan[e->size]);
    const mo_team_t team = {
        .instance = m->shared, .begin = team_begins, .end = team_ends, .ctx = e, .cancel = e->o->cancel};
    if (e->size == MO_SIZE_ONE && e->count == 1 && m->shared != NULL && pthread_mutex_trylock(&m->sharing) == 0) {
        const moco_status_t status = mo_team_run(m->device, &team);
        pthread_mutex_unlock(&m->sharing);
        return status;
    }
    return mo_device_run(m->device, e->count / shard + (e->count % shard != 0), embed_part, e, 1);
}

/* Winograd's convolutions add and subtract numbers before they multiply, so where a direct one
 * gives an infinite result they may give no number, which a ReLU turns into 0. Images come nowhere
 * near; who gives such inputs has the plan with direct convolutions. */
static int is_large(const moco_model_t *m, const mo_image_source_t *source, int64_t count)
{
    if (source->floats != NULL)
        return mo_has_larger(source->floats, count * m->feature, LARGE);
    return mo_has_larger(m->lut[0], 3 * 256, LARGE);
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
                     .size = is_large(model, source, count) ? MO_SIZE_ONE : size,
                     .out = out,
                     .statuses = o->statuses};
    if (o->failed != NULL) {
        TRY(mo_calloc((size_t)count, sizeof *e.reasons, &e.reasons));
        if (e.statuses == NULL)
            TRY(mo_calloc((size_t)count, sizeof *own, &own));
    }
    if (own != NULL)
        e.statuses = own;
    TRY(embed_parts(&e));
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
