/* What goes into and comes out of every shard of a stage: images or features in; keys, features,
 * losses, gradients out. Hooks run on lanes. */
#include <string.h>

#include "train/trainer.h"
#include "util/cancel.h"
#include "util/status.h"

mo_place_t mo_stage_place(const mo_stage_t *s, int32_t group, int32_t shard, int64_t row)
{
    const moco_trainer_t *t = s->trainer;
    int64_t batch = t->state.options.batch_size, at = (int64_t)shard * s->learner.cut.shard + row;
    int is_key = s->kind == MO_STAGE_KEY || s->kind == MO_STAGE_KEY_BODY;
    const int32_t *order = is_key && t->state.options.shuffle ? t->permutation : NULL;
    if (s->mixed) {
        int64_t index =
            mo_member(t->state.options.membership, batch * s->views, s->learner.cut.groups, group, at, NULL);
        return (mo_place_t){(int32_t)(index / batch), index % batch};
    }
    int32_t per_view = s->learner.cut.groups / s->views;
    return (mo_place_t){s->first_view + group / per_view,
                        mo_member(t->state.options.membership, batch, per_view, group % per_view, at, order)};
}

/* Row of this stage's per-batch buffers: its views one after the other. */
static int64_t index_of(const mo_stage_t *s, mo_place_t place)
{
    return (int64_t)(place.view - s->first_view) * s->trainer->state.options.batch_size + place.image;
}

/* ---- rows in and out ---- */

/* Rows of a tensor [c], or of its gradient, from a buffer [.., c] or into it. */
typedef enum mo_way { ROWS_IN, ROWS_OUT, GRADIENT_IN, GRADIENT_OUT } mo_way_t;

static moco_status_t move_rows(const mo_stage_t *s, mo_instance_t *instance, int32_t tensor, int32_t group,
                               int32_t shard, float *buffer, mo_way_t way)
{
    int64_t width = s->learner.encoder->net.shapes[tensor].c;
    int gradient = way == GRADIENT_IN || way == GRADIENT_OUT, in = way == ROWS_IN || way == GRADIENT_IN;
    float *rows;
    const mo_access_t access = in ? MO_WRITE : MO_READ;
    moco_status_t status = gradient ? mo_instance_map_gradient(instance, tensor, access, &rows)
                                    : mo_instance_map(instance, tensor, access, &rows);
    if (status != MOCO_OK)
        return status;
    for (int64_t row = 0; row < s->learner.cut.shard; row++) {
        float *there = buffer + index_of(s, mo_stage_place(s, group, shard, row)) * width, *here = rows + row * width;
        memcpy(in ? here : there, in ? there : here, (size_t)width * sizeof(float));
    }
    if (gradient)
        mo_instance_unmap_gradient(instance, tensor, rows);
    else
        mo_instance_unmap(instance, tensor, rows);
    return MOCO_OK;
}

static moco_status_t load_images(const mo_stage_t *s, const mo_views_t *views, mo_instance_t *instance, int32_t group,
                                 int32_t shard)
{
    const moco_trainer_t *t = s->trainer;
    float *input;
    moco_status_t status = mo_instance_map(instance, s->learner.encoder->net.input, MO_WRITE, &input);
    if (status != MOCO_OK)
        return status;
    for (int64_t row = 0; row < s->learner.cut.shard; row++) {
        mo_place_t p = mo_stage_place(s, group, shard, row);
        float *to = input + row * t->feature;
        if (views->bytes[p.view] != NULL)
            mo_input_bytes(t->lut, views->bytes[p.view][p.image], t->feature, to);
        else
            mo_input_floats(views->floats[p.view] + p.image * t->feature, views->layout, t->feature, to);
    }
    mo_instance_unmap(instance, s->learner.encoder->net.input, input);
    return MOCO_OK;
}

/* ---- what the losses need beside the queries ---- */

mo_buffer_t mo_keys_for(const moco_trainer_t *t, int32_t view)
{
    return mo_trainer_keys(t, t->state.method.key_views > 1 ? 1 - view : 0);
}

/* Every row of the loss's tensor of keys gets the key of its image. */
static moco_status_t load_keys(const mo_stage_t *s, mo_instance_t *instance, int32_t group, int32_t shard, int32_t view)
{
    const moco_trainer_t *t = s->trainer;
    const int64_t width = t->state.options.dimension;
    moco_status_t status = MOCO_OK;
    float *values = NULL;
    TRY(mo_instance_map(instance, t->loss.keys, MO_WRITE, &values));
    for (int64_t row = 0; row < s->learner.cut.shard; row++)
        TRY(mo_buffer_read(mo_buffer_floats(mo_keys_for(t, view), mo_stage_place(s, group, shard, row).image * width,
                                            width),
                           values + row * width));
cleanup:
    if (values != NULL)
        mo_instance_unmap(instance, t->loss.keys, values);
    return status;
}

static moco_status_t load_contrast(const mo_stage_t *s, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const moco_trainer_t *t = s->trainer;
    moco_status_t status = MOCO_OK;
    mo_place_t first = mo_stage_place(s, group, shard, 0);
    float *values;
    if (t->state.method.loss->dictionary != NULL)
        TRY(mo_instance_bind(instance, MO_IN_DICTIONARY, t->state.method.loss->dictionary(t, first.view)));
    if (t->loss.keys >= 0)
        TRY(load_keys(s, instance, group, shard, first.view));
    if (t->loss.place >= 0) {
        TRY(mo_instance_map(instance, t->loss.place, MO_WRITE, &values));
        for (int64_t row = 0; row < s->learner.cut.shard; row++) {
            mo_place_t p = mo_stage_place(s, group, shard, row);
            values[row] = (float)(s->mixed ? index_of(s, p) : p.image);
        }
        mo_instance_unmap(instance, t->loss.place, values);
    }
cleanup:
    return status;
}

/* ---- hooks ---- */

static float *features(const mo_stage_t *s)
{
    return s->trainer->features[s->learner.encoder == &s->trainer->state.key];
}

static moco_status_t before(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const mo_stage_run_t *run = ctx;
    mo_stage_t *s = run->stage;
    moco_trainer_t *t = s->trainer;
    moco_status_t status = MOCO_OK;
    int32_t backbone = s->learner.encoder->net.backbone;
    TRY(mo_cancel_check(t->cancel));
    if (s->kind == MO_STAGE_KEY_HEAD || s->kind == MO_STAGE_HEAD)
        TRY(move_rows(s, instance, backbone, group, shard, features(s), ROWS_IN));
    else
        TRY(load_images(s, run->views, instance, group, shard));
    if (s->kind == MO_STAGE_BODY_BACK)
        TRY(move_rows(s, instance, backbone, group, shard, t->feature_gradients, GRADIENT_IN));
    if (s->kind == MO_STAGE_QUERY || s->kind == MO_STAGE_HEAD)
        TRY(load_contrast(s, instance, group, shard));
cleanup:
    return status;
}

/* Keys, each to the place of its image. */
static moco_status_t keep_keys(const mo_stage_t *s, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const moco_trainer_t *t = s->trainer;
    const int64_t width = t->state.options.dimension;
    const int32_t tensor = s->learner.encoder->embedding;
    moco_status_t status = MOCO_OK;
    float *rows = NULL;
    TRY(mo_instance_map(instance, tensor, MO_READ, &rows));
    for (int64_t row = 0; row < s->learner.cut.shard; row++) {
        const mo_place_t p = mo_stage_place(s, group, shard, row);
        TRY(mo_buffer_write(mo_buffer_floats(mo_trainer_keys(t, p.view - s->first_view), p.image * width, width),
                            rows + row * width));
    }
cleanup:
    if (rows != NULL)
        mo_instance_unmap(instance, tensor, rows);
    return status;
}

/* Keys and features of shuffled images go to the place of their image: the inverse of the
 * shuffle. */
static moco_status_t after(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    mo_stage_t *s = ((const mo_stage_run_t *)ctx)->stage;
    moco_trainer_t *t = s->trainer;
    moco_status_t status = MOCO_OK;
    int32_t backbone = s->learner.encoder->net.backbone;
    if (s->kind == MO_STAGE_KEY || s->kind == MO_STAGE_KEY_HEAD)
        TRY(keep_keys(s, instance, group, shard));
    if (s->kind == MO_STAGE_KEY_BODY || s->kind == MO_STAGE_BODY)
        TRY(move_rows(s, instance, backbone, group, shard, features(s), ROWS_OUT));
    if (s->kind == MO_STAGE_QUERY || s->kind == MO_STAGE_HEAD)
        TRY(move_rows(s, instance, t->loss.result, group, shard, t->results, ROWS_OUT));
    if (s->kind == MO_STAGE_HEAD)
        TRY(move_rows(s, instance, backbone, group, shard, t->feature_gradients, GRADIENT_OUT));
cleanup:
    return status;
}

moco_status_t mo_stage_run(moco_trainer_t *t, mo_stage_kind_t kind, const mo_views_t *views)
{
    mo_stage_run_t run = {&t->stages[kind], views};
    mo_feed_t feed = {before, after, &run, t->cancel}; /* nothing of a step is committed yet */
    moco_status_t status = MOCO_OK;
    if (mo_device_is_gpu(t->device)) {
        feed.before = mo_gpu_before;
        feed.after = mo_gpu_after;
        TRY(mo_gpu_stage_begin(run.stage));
    }
    TRY(mo_learner_run(&run.stage->learner, t->device, &feed));
cleanup:
    return status;
}
