/* What a step does where its numbers lie on a GPU: images go up once, before everything else; rows
 * come and go by kernels; losses, sums and batch statistics come down with the one wait, in front
 * of the commit. The hooks are those of stage_io.c without a map. */
#include <string.h>

#include "engine/kernel.h"
#include "train/trainer.h"
#include "util/cancel.h"
#include "util/status.h"

static int64_t batch_of(const moco_trainer_t *t)
{
    return t->state.options.batch_size;
}

void mo_gpu_step_list(moco_trainer_t *t, mo_blocks_t *b)
{
    const mo_method_t *m = &t->state.method;
    const mo_net_t *query = &t->state.query.net;
    mo_gpu_step_t *g = &t->gpu;
    const size_t f = sizeof(float), batch = (size_t)batch_of(t), rows = (size_t)m->rows,
                 features = (size_t)query->shapes[query->backbone].c;
    if (!mo_device_is_gpu(t->device))
        return;
    mo_blocks_count(b, "optimizer", mo_optim_gpu_bytes(query));
    mo_blocks_add_buffer(b, "views", 2 * batch * (size_t)t->feature, &g->images);
    mo_blocks_add_buffer(b, "views", sizeof t->lut, &g->table);
    mo_blocks_add_buffer(b, "batch_results", MO_STAGES * 2 * batch * sizeof(int32_t), &g->numbers);
    mo_blocks_add(b, "batch_results", MO_STAGES * 2 * batch * sizeof(int32_t), &g->host_numbers);
    mo_blocks_add_buffer(b, "batch_results", rows * MO_LOSS_WIDTH * f, &g->results);
    if (m->two_pass) {
        mo_blocks_add_buffer(b, "batch_results", rows * features * f, &g->features[0]);
        mo_blocks_add_buffer(b, "batch_results", (size_t)m->key_views * batch * features * f, &g->features[1]);
        mo_blocks_add_buffer(b, "batch_results", rows * features * f, &g->feature_gradients);
    }
    mo_blocks_add(b, "batch_results", mo_trainer_keys_bytes(t), &g->host_keys);
    mo_blocks_add(b, "statistics", (size_t)t->query_staged.rows * (size_t)query->stats * f, &g->staged[0]);
    mo_blocks_add(b, "statistics", (size_t)t->key_staged.rows * (size_t)t->state.key.net.stats * f, &g->staged[1]);
}

moco_status_t mo_gpu_step_take(moco_trainer_t *t)
{
    return mo_device_is_gpu(t->device) ? mo_buffer_write(t->gpu.table, t->lut) : MOCO_OK;
}

void mo_gpu_step_free(moco_trainer_t *t)
{
    mo_buffer_free(&t->gpu.floats);
}

/* ---- up ---- */

static moco_status_t upload_floats(moco_trainer_t *t, int view, const float *images)
{
    const int64_t count = batch_of(t) * t->feature;
    moco_status_t status = MOCO_OK;
    if (t->gpu.floats.memory == NULL) /* of pushed views alone, so it comes with the first of them */
        TRY(mo_buffer_create(t->device, 2 * (size_t)count * sizeof(float), &t->gpu.floats));
    TRY(mo_buffer_upload(mo_buffer_floats(t->gpu.floats, view * count, count), images));
cleanup:
    return status;
}

typedef struct upload {
    moco_trainer_t *trainer;
    const mo_views_t *views;
} upload_t;

static moco_status_t upload(mo_lane_t *lane, void *ctx)
{
    const upload_t *u = ctx;
    const size_t bytes = (size_t)(batch_of(u->trainer) * u->trainer->feature);
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int view = 0; view < 2; view++) {
        if (u->views->bytes[view] != NULL)
            TRY(mo_upload_rows(mo_buffer_part(u->trainer->gpu.images, (size_t)view * bytes, bytes),
                               u->views->bytes[view], batch_of(u->trainer)));
        else if (u->views->floats[view] != NULL)
            TRY(upload_floats(u->trainer, view, u->views->floats[view]));
    }
cleanup:
    return status;
}

moco_status_t mo_gpu_step_begin(moco_trainer_t *t, const mo_views_t *views)
{
    upload_t u = {t, views};
    return mo_device_is_gpu(t->device) ? mo_device_call(t->device, upload, &u) : MOCO_OK;
}

/* ---- rows of a stage ---- */

static mo_buffer_t numbers_of(const mo_stage_t *s)
{
    const size_t bytes = 2 * (size_t)batch_of(s->trainer) * sizeof(int32_t);
    return mo_buffer_part(s->trainer->gpu.numbers, (size_t)s->kind * bytes, bytes);
}

/* Of all rows of the stage in the order of the shards: view * B + image. */
static moco_status_t upload_numbers(mo_lane_t *lane, void *ctx)
{
    const mo_stage_t *s = ctx;
    const mo_cut_t *cut = &s->learner.cut;
    int32_t *all = s->trainer->gpu.host_numbers + (int64_t)s->kind * 2 * batch_of(s->trainer), *to = all;
    (void)lane;
    for (int32_t group = 0; group < cut->groups; group++)
        for (int32_t shard = 0; shard < cut->shards_per_group; shard++)
            for (int64_t row = 0; row < cut->shard; row++) {
                const mo_place_t p = mo_stage_place(s, group, shard, row);
                *to++ = (int32_t)(p.view * batch_of(s->trainer) + p.image);
            }
    return mo_buffer_upload(mo_buffer_part(numbers_of(s), 0, (size_t)(to - all) * sizeof *all), all);
}

moco_status_t mo_gpu_stage_begin(mo_stage_t *s)
{
    return mo_device_call(s->trainer->device, upload_numbers, s);
}

typedef struct shard {
    const mo_stage_t *stage;
    mo_kernel_arg_t numbers;
    int64_t rows;
} shard_t;

static shard_t shard_of(const mo_stage_t *s, int32_t group, int32_t shard)
{
    const mo_cut_t *cut = &s->learner.cut;
    const size_t bytes = (size_t)cut->shard * sizeof(int32_t);
    const int64_t leaf = (int64_t)group * cut->shards_per_group + shard;
    return (shard_t){s, mo_arg_buffer(mo_buffer_part(numbers_of(s), (size_t)leaf * bytes, bytes)), cut->shard};
}

/* Rows of a slot from a block by their numbers less `less`, or into it. */
static moco_status_t move_rows(const shard_t *s, mo_buffer_t slot, mo_buffer_t block, int64_t less, int64_t width,
                               int into_block)
{
    return mo_kernel_run(s->stage->trainer->device, into_block ? MO_KERNEL_PUT_ROWS : MO_KERNEL_TAKE_ROWS,
                         s->rows * width, mo_arg_buffer(slot), mo_arg_buffer(block), s->numbers, mo_arg_whole(less),
                         mo_arg_whole(width));
}

static int64_t width_of(const shard_t *s, int32_t tensor)
{
    return s->stage->learner.encoder->net.shapes[tensor].c;
}

static moco_status_t load_images(const shard_t *s, const mo_views_t *views, mo_buffer_t input)
{
    const moco_trainer_t *t = s->stage->trainer;
    const mo_kernel_arg_t to = mo_arg_buffer(input), floats = mo_arg_buffer(t->gpu.floats),
                          width = mo_arg_whole(t->feature);
    const int64_t count = s->rows * t->feature;
    if (views->bytes[s->stage->first_view] != NULL)
        return mo_kernel_run(t->device, MO_KERNEL_IMAGES, count, to, mo_arg_buffer(t->gpu.images), s->numbers, width,
                             mo_arg_buffer(t->gpu.table));
    if (views->layout == MOCO_LAYOUT_NHWC)
        return mo_kernel_run(t->device, MO_KERNEL_TAKE_ROWS, count, to, floats, s->numbers, mo_arg_whole(0), width);
    return mo_kernel_run(t->device, MO_KERNEL_PLANES, count, to, floats, s->numbers, width);
}

static moco_status_t load_contrast(const shard_t *s, mo_instance_t *instance, int32_t view)
{
    const moco_trainer_t *t = s->stage->trainer;
    const int64_t batch = batch_of(t), first = s->stage->mixed ? s->stage->first_view * batch : view * batch;
    moco_status_t status = MOCO_OK;
    mo_buffer_t slot;
    if (t->state.method.loss->dictionary != NULL)
        TRY(mo_instance_bind(instance, MO_IN_DICTIONARY, t->state.method.loss->dictionary(t, view)));
    if (t->loss.keys >= 0) {
        TRY(mo_instance_value(instance, t->loss.keys, &slot));
        TRY(move_rows(s, slot, mo_keys_for(t, view), view * batch, t->state.options.dimension, 0));
    }
    if (t->loss.place >= 0) {
        TRY(mo_instance_value(instance, t->loss.place, &slot));
        TRY(mo_kernel_run(t->device, MO_KERNEL_ROW_NUMBERS, s->rows, mo_arg_buffer(slot), s->numbers,
                          mo_arg_whole(first)));
    }
cleanup:
    return status;
}

static mo_buffer_t features(const mo_stage_t *s)
{
    return s->trainer->gpu.features[s->learner.encoder == &s->trainer->state.key];
}

moco_status_t mo_gpu_before(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const mo_stage_run_t *run = ctx;
    const mo_stage_t *stage = run->stage;
    moco_trainer_t *t = stage->trainer;
    const mo_net_t *net = &stage->learner.encoder->net;
    const shard_t s = shard_of(stage, group, shard);
    const int64_t first = stage->first_view * batch_of(t), width = width_of(&s, net->backbone);
    moco_status_t status = MOCO_OK;
    mo_buffer_t slot;
    TRY(mo_cancel_check(t->cancel));
    if (stage->kind == MO_STAGE_KEY_HEAD || stage->kind == MO_STAGE_HEAD) {
        TRY(mo_instance_value(instance, net->backbone, &slot));
        TRY(move_rows(&s, slot, features(stage), first, width, 0));
    } else {
        TRY(mo_instance_value(instance, net->input, &slot));
        TRY(load_images(&s, run->views, slot));
    }
    if (stage->kind == MO_STAGE_BODY_BACK) {
        TRY(mo_instance_gradient(instance, net->backbone, &slot));
        TRY(move_rows(&s, slot, t->gpu.feature_gradients, first, width, 0));
    }
    if (stage->kind == MO_STAGE_QUERY || stage->kind == MO_STAGE_HEAD)
        TRY(load_contrast(&s, instance, mo_stage_place(stage, group, shard, 0).view));
cleanup:
    return status;
}

moco_status_t mo_gpu_after(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const mo_stage_t *stage = ((const mo_stage_run_t *)ctx)->stage;
    moco_trainer_t *t = stage->trainer;
    const mo_encoder_t *e = stage->learner.encoder;
    const shard_t s = shard_of(stage, group, shard);
    const int64_t batch = batch_of(t), first = stage->first_view * batch, width = width_of(&s, e->net.backbone);
    const int32_t view = mo_stage_place(stage, group, shard, 0).view;
    moco_status_t status = MOCO_OK;
    mo_buffer_t slot;
    if (stage->kind == MO_STAGE_KEY || stage->kind == MO_STAGE_KEY_HEAD) {
        TRY(mo_instance_value(instance, e->embedding, &slot));
        TRY(move_rows(&s, slot, mo_trainer_keys(t, view - stage->first_view), view * batch, t->state.options.dimension,
                      1));
    }
    if (stage->kind == MO_STAGE_KEY_BODY || stage->kind == MO_STAGE_BODY) {
        TRY(mo_instance_value(instance, e->net.backbone, &slot));
        TRY(move_rows(&s, slot, features(stage), first, width, 1));
    }
    if (stage->kind == MO_STAGE_QUERY || stage->kind == MO_STAGE_HEAD) {
        TRY(mo_instance_value(instance, t->loss.result, &slot));
        TRY(move_rows(&s, slot, t->gpu.results, first, MO_LOSS_WIDTH, 1));
    }
    if (stage->kind == MO_STAGE_HEAD) {
        TRY(mo_instance_gradient(instance, e->net.backbone, &slot));
        TRY(move_rows(&s, slot, t->gpu.feature_gradients, first, width, 1));
    }
cleanup:
    return status;
}

/* ---- down ---- */

static moco_status_t fetch(mo_lane_t *lane, void *ctx)
{
    moco_trainer_t *t = ctx;
    moco_status_t status = MOCO_OK;
    (void)lane;
    TRY(mo_buffer_fetch(t->gpu.results, t->results));
    TRY(mo_buffer_fetch(t->keys, t->gpu.host_keys));
    TRY(mo_buffer_fetch(t->query_staged.values, t->gpu.staged[0]));
    TRY(mo_buffer_fetch(t->key_staged.values, t->gpu.staged[1]));
    TRY(mo_device_wait(t->device));
cleanup:
    return status;
}

moco_status_t mo_gpu_step_end(moco_trainer_t *t)
{
    if (!mo_device_is_gpu(t->device))
        return MOCO_OK;
    t->mapped.query_staged = t->gpu.staged[0];
    t->mapped.key_staged = t->gpu.staged[1];
    t->mapped.keys = t->gpu.host_keys; /* for the warning of a collapse */
    return mo_device_call(t->device, fetch, t);
}
