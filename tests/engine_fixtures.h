/* A small network ready to run forward and backward through mo_pass_run, and the same network in
 * double precision. Used by the tests of gradients, shards and plans. */
#ifndef TESTS_ENGINE_FIXTURES_H
#define TESTS_ENGINE_FIXTURES_H

#include <check.h>
#include <stdint.h>

#include <moco/status.h>

#include "engine/plan.h"
#include "device_of_tests.h"
#include "engine_reference.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

typedef struct rig_shape { /* how a batch is cut, and where it runs */
    int32_t batch, groups, shards_per_group, sets, lanes;
    int32_t primitives;       /* 1: oneDNN primitives also where the library has loops */
    int32_t nt_xent;          /* 1: that loss, over the batch as both views, instead of the queue's */
    int32_t places;           /* 1: the queue has each row's own key somewhere, which is no negative */
    mo_precision_t precision; /* of the body */
    int32_t apart; /* 1: every shard has a statistics row and a dictionary of its own, as on engines of their own */
} rig_shape_t;

typedef struct rig {
    rig_shape_t shape;
    int32_t shard, leaves, input, keys_tensor, loss_tensor, place_tensor; /* the last: -1, none */
    int64_t feature, queue_length;
    moco_status_t made; /* of the plan: with another precision the rest is there only where it is OK */
    int32_t width;      /* of queries and keys */
    int32_t key_width;  /* with NT-Xent 1: its place in the batch is what a row has instead of a key */
    moco_device_t *device;
    mo_net_t net;
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_buffer_t *arenas;
    mo_buffer_t on_params, on_stats, on_grads; /* what the engine sees of those below: rows of stats [leaves] */
    mo_buffer_t *on_queue;                     /* [in flight] */
    mo_instance_t **instances;
    mo_pass_t pass;
    float *params, *images, *keys, *queue;     /* inputs */
    float *stats, *grads, *results, *d_images; /* outputs: [groups], [leaves], [batch], [batch] */
} rig_t;

/* Lists operations from net->input; returns the vector that is normalised and contrasted. */
typedef int32_t (*rig_body_t)(mo_net_t *net, int32_t input);

#define RIG_OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())
#define RIG_TEMPERATURE 0.2

static inline float *rig_block(int64_t floats)
{
    float *block = NULL;
    RIG_OK(mo_block_create((size_t)floats * sizeof *block, &block));
    return block;
}

static inline void rig_normal(float *values, int64_t count, double mean, double spread, uint32_t number)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 7, 100, number, 0);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(mean + spread * mo_rng_normal(&rng));
}

static inline void rig_units(float *rows, int64_t count, int32_t width, uint32_t number)
{
    rig_normal(rows, count * width, 0, 1, number);
    for (int64_t n = 0; n < count; n++) {
        double sum = 0;
        for (int32_t i = 0; i < width; i++)
            sum += (double)rows[n * width + i] * rows[n * width + i];
        for (int32_t i = 0; i < width; i++)
            rows[n * width + i] = (float)(rows[n * width + i] / sqrt(sum));
    }
}

/* Weights that keep activations near one; batch-norm scales near 1 and shifts near 0, none of them
 * equal. */
static inline void rig_params(rig_t *r)
{
    for (int32_t i = 0; i < r->net.parameter_count; i++) {
        const mo_parameter_t *s = &r->net.parameters[i];
        double fan = s->rank == 1 ? 16.0 : (double)(s->count / s->dims[0]);
        rig_normal(r->params + s->offset, s->count, s->init == MO_INIT_ONE ? 1.0 : 0.0, sqrt(2.0 / fan),
                   (uint32_t)(10 + i));
    }
}

static inline int64_t rig_place(const rig_t *r, int64_t row)
{
    return (5 * row + 3) % r->queue_length;
}

static inline moco_status_t rig_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    rig_t *r = ctx;
    moco_status_t status = MOCO_OK;
    int64_t leaf = (int64_t)group * r->shape.shards_per_group + shard, first = leaf * r->shard;
    float *values;
    const int64_t row = r->shape.apart ? leaf : leaf - shard;
    TRY(mo_instance_bind(instance, MO_IN_STATS, mo_buffer_floats(r->on_stats, row * r->net.stats, r->net.stats)));
    TRY(mo_instance_bind(instance, MO_IN_GRADS, mo_buffer_floats(r->on_grads, leaf * r->net.params, r->net.params)));
    TRY(mo_instance_map(instance, r->input, MO_WRITE, &values));
    memcpy(values, r->images + first * r->feature, (size_t)(r->shard * r->feature) * sizeof(float));
    mo_instance_unmap(instance, r->input, values);
    TRY(mo_instance_map(instance, r->keys_tensor, MO_WRITE, &values));
    memcpy(values, r->keys + first * r->key_width, (size_t)(r->shard * r->key_width) * sizeof(float));
    mo_instance_unmap(instance, r->keys_tensor, values);
    if (r->place_tensor >= 0) {
        TRY(mo_instance_map(instance, r->place_tensor, MO_WRITE, &values));
        for (int64_t n = 0; n < r->shard; n++)
            values[n] = (float)rig_place(r, first + n);
        mo_instance_unmap(instance, r->place_tensor, values);
    }
cleanup:
    return status;
}

static inline moco_status_t rig_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    rig_t *r = ctx;
    moco_status_t status = MOCO_OK;
    int64_t first = ((int64_t)group * r->shape.shards_per_group + shard) * r->shard;
    float *values;
    TRY(mo_instance_map(instance, r->loss_tensor, MO_READ, &values));
    memcpy(r->results + first * MO_LOSS_WIDTH, values, (size_t)r->shard * MO_LOSS_WIDTH * sizeof(float));
    mo_instance_unmap(instance, r->loss_tensor, values);
    TRY(mo_instance_map_gradient(instance, r->input, MO_READ, &values));
    memcpy(r->d_images + first * r->feature, values, (size_t)(r->shard * r->feature) * sizeof(float));
    mo_instance_unmap_gradient(instance, r->input, values);
cleanup:
    return status;
}

static inline moco_status_t rig_bind_queue(mo_lane_t *lane, void *ctx)
{
    rig_t *r = ctx;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int32_t i = 0; i < r->shape.sets * r->shape.shards_per_group && status == MOCO_OK; i++)
        status = mo_instance_bind(r->instances[i], MO_IN_DICTIONARY, r->on_queue[r->shape.apart ? i : 0]);
    return status;
}

static inline void rig_build(rig_t *r, mo_shape_t image, rig_body_t body)
{
    r->input = r->net.input = mo_net_tensor(&r->net, image.c, image.h, image.w);
    int32_t vector = body(&r->net, r->input);
    r->net.body_ops = r->net.op_count;
    int32_t unit = vector == r->input ? vector : mo_l2norm(&r->net, vector);
    r->width = r->net.shapes[unit].c;
    r->key_width = r->shape.nt_xent ? 1 : r->width;
    r->keys_tensor = mo_net_tensor(&r->net, r->key_width, 1, 1);
    r->place_tensor = r->shape.places ? mo_net_tensor(&r->net, 1, 1, 1) : -1;
    mo_infonce_spec_t loss = {.queries = unit,
                              .keys = r->keys_tensor,
                              .place = r->place_tensor,
                              .count = r->queue_length,
                              .temperature = RIG_TEMPERATURE,
                              .batch = r->shape.batch,
                              .scale = 1};
    r->loss_tensor = r->shape.nt_xent ? mo_nt_xent(&r->net, unit, r->keys_tensor, r->shape.batch, RIG_TEMPERATURE, 1)
                                      : mo_infonce(&r->net, &loss);
    RIG_OK(mo_net_done(&r->net));
    mo_plan_spec_t spec = {.net = &r->net,
                           .mode = MO_MODE_TRAIN,
                           .shard = r->shard,
                           .shards_per_group = r->shape.shards_per_group,
                           .inputs = {r->keys_tensor, r->place_tensor, -1, -1},
                           .outputs = {r->loss_tensor, r->input, -1, -1},
                           .primitives = r->shape.primitives,
                           .precision = r->shape.precision};
    r->made = mo_plan_create(r->device, &spec, &r->plan);
    if (r->shape.precision == MO_PRECISION_FLOAT32)
        RIG_OK(r->made);
}

static inline void rig_open(rig_t *r, rig_shape_t shape, mo_shape_t image, int64_t queue_length, rig_body_t body)
{
    int32_t in_flight = shape.sets * shape.shards_per_group;
    *r = (rig_t){.shape = shape, .queue_length = queue_length, .feature = (int64_t)image.c * image.h * image.w};
    r->leaves = shape.groups * shape.shards_per_group;
    r->shard = shape.batch / r->leaves;
    RIG_OK(device_of_tests(shape.lanes, &r->device));
    rig_build(r, image, body);
    if (r->made != MOCO_OK)
        return;
    r->params = rig_block(r->net.params);
    r->images = rig_block(shape.batch * r->feature);
    r->keys = rig_block((int64_t)shape.batch * r->key_width);
    r->queue = rig_block(queue_length * r->width);
    r->stats = rig_block(shape.groups * r->net.stats);
    r->grads = rig_block(r->leaves * r->net.params);
    r->results = rig_block((int64_t)shape.batch * MO_LOSS_WIDTH);
    r->d_images = rig_block(shape.batch * r->feature);
    rig_params(r);
    rig_normal(r->images, shape.batch * r->feature, 0.3, 1, 1);
    for (int32_t n = 0; n < shape.batch && shape.nt_xent; n++)
        r->keys[n] = (float)n;
    if (!shape.nt_xent)
        rig_units(r->keys, shape.batch, r->width, 2);
    rig_units(r->queue, queue_length, r->width, 3);
    RIG_OK(mo_buffer_create(r->device, (size_t)r->net.params * sizeof(float), &r->on_params));
    RIG_OK(mo_buffer_create(r->device, (size_t)(r->leaves * r->net.stats) * sizeof(float), &r->on_stats));
    RIG_OK(mo_buffer_create(r->device, (size_t)(r->leaves * r->net.params) * sizeof(float), &r->on_grads));
    RIG_OK(mo_packed_create(r->plan, r->on_params, &r->packed));
    RIG_OK(mo_calloc((size_t)in_flight, sizeof *r->arenas, &r->arenas));
    RIG_OK(mo_calloc((size_t)in_flight, sizeof *r->on_queue, &r->on_queue));
    RIG_OK(mo_calloc((size_t)in_flight, sizeof *r->instances, &r->instances));
    for (int32_t i = 0; i < in_flight; i++) {
        RIG_OK(mo_buffer_create(r->device, mo_plan_arena_bytes(r->plan), &r->arenas[i]));
        RIG_OK(mo_buffer_create(r->device, (size_t)(r->queue_length * r->width) * sizeof(float), &r->on_queue[i]));
        RIG_OK(mo_instance_create(r->plan, r->arenas[i], r->on_params, r->packed, &r->instances[i]));
    }
    RIG_OK(mo_device_call(r->device, rig_bind_queue, r));
    r->pass = (mo_pass_t){.plan = r->plan,
                          .instances = r->instances,
                          .sets = shape.sets,
                          .groups = shape.groups,
                          .begin = rig_begin,
                          .end = rig_end,
                          .ctx = r};
    RIG_OK(mo_pass_prepare(&r->pass));
}

static inline void rig_fill(mo_buffer_t buffer, int junk)
{
    void *bytes;
    RIG_OK(mo_buffer_map(buffer, MO_WRITE, &bytes));
    memset(bytes, junk, buffer.bytes);
    mo_buffer_unmap(buffer, bytes);
}

/* Row of each group; the rows of a group's shards, where they lie apart, are the same. */
static inline void rig_read_stats(rig_t *r)
{
    const int64_t width = r->net.stats;
    const int32_t shards = r->shape.shards_per_group;
    for (int64_t leaf = 0; leaf < r->leaves; leaf++) {
        float *row = r->stats + leaf / shards * width, *own = rig_block(width);
        RIG_OK(mo_buffer_read(mo_buffer_floats(r->on_stats, leaf * width, width), own));
        if (leaf % shards == 0)
            memcpy(row, own, (size_t)width * sizeof(float));
        else if (r->shape.apart)
            for (int32_t b = 0; b < r->net.bn_count; b++)
                ck_assert_mem_eq(row + r->net.bns[b].offset, own + r->net.bns[b].offset,
                                 (size_t)(2 * r->net.bns[b].channels) * sizeof(float));
        mo_block_free(own, 0);
    }
}

/* One pass. What is in the arenas and outputs before must not matter: they are filled with `junk`
 * bytes first. */
static inline void rig_run(rig_t *r, int junk)
{
    for (int32_t i = 0; i < r->shape.sets * r->shape.shards_per_group; i++) {
        rig_fill(r->arenas[i], junk);
        RIG_OK(mo_buffer_write(r->on_queue[i], r->queue));
    }
    rig_fill(r->on_stats, junk);
    rig_fill(r->on_grads, junk);
    RIG_OK(mo_buffer_write(r->on_params, r->params));
    RIG_OK(mo_packed_refresh(r->packed));
    RIG_OK(mo_pass_run(r->device, &r->pass));
    rig_read_stats(r);
    RIG_OK(mo_buffer_read(r->on_grads, r->grads));
}

static inline void rig_close(rig_t *r)
{
    mo_pass_free(&r->pass);
    for (int32_t i = 0; r->made == MOCO_OK && i < r->shape.sets * r->shape.shards_per_group; i++) {
        mo_instance_free(r->instances[i]);
        mo_buffer_free(&r->arenas[i]);
        mo_buffer_free(&r->on_queue[i]);
    }
    mo_buffer_t *buffers[] = {&r->on_params, &r->on_stats, &r->on_grads};
    for (int i = 0; i < 3; i++)
        mo_buffer_free(buffers[i]);
    mo_free(r->on_queue);
    mo_free(r->instances);
    mo_free(r->arenas);
    mo_packed_free(r->packed);
    mo_plan_free(r->plan);
    float *blocks[] = {r->params, r->images, r->keys, r->queue, r->stats, r->grads, r->results, r->d_images};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        mo_block_free(blocks[i], 0);
    mo_net_free(&r->net);
    mo_device_release(r->device);
}

/* ---- the same in double ---- */

static inline double *rig_doubles(const float *from, int64_t count)
{
    double *to = calloc((size_t)count + 1, sizeof *to);
    for (int64_t i = 0; from != NULL && i < count; i++)
        to[i] = from[i];
    return to;
}

typedef struct twin {
    reference_t reference;
    rig_t *rig;
    double *params, *images, *keys, *queue, *stats, *results;
} twin_t;

static inline void twin_open(twin_t *t, rig_t *r)
{
    const mo_net_t *net = &r->net;
    *t = (twin_t){.rig = r, .params = rig_doubles(r->params, net->params)};
    t->images = rig_doubles(r->images, r->shape.batch * r->feature);
    t->keys = rig_doubles(r->keys, (int64_t)r->shape.batch * r->key_width);
    t->queue = rig_doubles(r->queue, r->queue_length * r->width);
    t->stats = rig_doubles(NULL, r->shape.groups * net->stats);
    t->results = rig_doubles(NULL, (int64_t)r->shape.batch * MO_LOSS_WIDTH);
    t->reference =
        (reference_t){.net = net, .rows = r->shape.batch / r->shape.groups, .params = t->params, .queue = t->queue};
    t->reference.tensor = calloc((size_t)net->tensors, sizeof *t->reference.tensor);
    for (int32_t i = 0; i < net->tensors; i++)
        t->reference.tensor[i] = rig_doubles(NULL, ref_size(&t->reference, i));
}

/* The loss of the batch: mean over its rows, group after group. */
static inline double twin_loss(twin_t *t)
{
    const rig_t *r = t->rig;
    reference_t *ref = &t->reference;
    double sum = 0;
    for (int64_t g = 0; g < r->shape.groups; g++) {
        memcpy(ref->tensor[r->input], t->images + g * ref->rows * r->feature,
               (size_t)(ref->rows * r->feature) * sizeof(double));
        memcpy(ref->tensor[r->keys_tensor], t->keys + g * ref->rows * r->key_width,
               (size_t)(ref->rows * r->key_width) * sizeof(double));
        for (int64_t n = 0; n < ref->rows && r->place_tensor >= 0; n++)
            ref->tensor[r->place_tensor][n] = (double)rig_place(r, g * ref->rows + n);
        ref->stats = t->stats + g * r->net.stats;
        ref_forward(ref);
        memcpy(t->results + g * ref->rows * MO_LOSS_WIDTH, ref->tensor[r->loss_tensor],
               (size_t)ref->rows * MO_LOSS_WIDTH * sizeof(double));
        for (int32_t n = 0; n < ref->rows; n++)
            sum += ref->tensor[r->loss_tensor][n * MO_LOSS_WIDTH + MO_LOSS_VALUE];
    }
    return sum / r->shape.batch;
}

static inline void twin_close(twin_t *t)
{
    for (int32_t i = 0; i < t->rig->net.tensors; i++)
        free(t->reference.tensor[i]);
    free(t->reference.tensor);
    free(t->params);
    free(t->images);
    free(t->keys);
    free(t->queue);
    free(t->stats);
    free(t->results);
}

/* ---- comparing the two ---- */

/* Losses, ranks and batch statistics. float32 sums of some thousand products are good to about 1e-5
 * of their size. */
static inline void rig_assert_forward(const rig_t *r, twin_t *t)
{
    double loss = twin_loss(t), ours = 0;
    for (int64_t n = 0; n < r->shape.batch; n++) {
        const float *row = r->results + n * MO_LOSS_WIDTH;
        ck_assert_double_eq_tol(row[MO_LOSS_VALUE], t->results[n * MO_LOSS_WIDTH + MO_LOSS_VALUE], 2e-4);
        ck_assert_double_eq(row[MO_LOSS_RANK], t->results[n * MO_LOSS_WIDTH + MO_LOSS_RANK]);
        ours += row[MO_LOSS_VALUE];
    }
    ck_assert_double_eq_tol(ours / r->shape.batch, loss, 5e-5);
    for (int64_t i = 0; i < r->shape.groups * r->net.stats; i++)
        ck_assert_msg(fabs(r->stats[i] - t->stats[i]) <= 2e-5 * (1 + fabs(t->stats[i])),
                      "statistic %lld is %g, wanted %g", (long long)i, r->stats[i], t->stats[i]);
}

/* The gradient `ours` of `values` along a direction, against central differences of the double
 * loss. The step of 1e-7 leaves 1e-8 of rounding; float32 gradients are good to some 1e-5 of their
 * norm. */
static inline void rig_assert_along(twin_t *t, const char *what, double *values, const double *ours, int64_t count,
                                    const double *direction)
{
    const double step = 1e-7;
    double along = 0, norm = 0, length = 0;
    ck_assert_int_gt(count, 0);
    double *kept = calloc((size_t)count, sizeof *kept);
    memcpy(kept, values, (size_t)count * sizeof *kept);
    for (int64_t i = 0; i < count; i++) {
        along += ours[i] * direction[i];
        norm += ours[i] * ours[i];
        length += direction[i] * direction[i];
        values[i] = kept[i] + step * direction[i];
    }
    double above = twin_loss(t);
    for (int64_t i = 0; i < count; i++)
        values[i] = kept[i] - step * direction[i];
    double below = twin_loss(t), wanted = (above - below) / (2 * step);
    memcpy(values, kept, (size_t)count * sizeof *kept);
    free(kept);
    double tolerance = 1e-4 * sqrt(norm) * fmax(1, sqrt(length / (double)count)) + 1e-7;
    ck_assert_msg(sqrt(norm) > 1e-5, "%s: the gradient's norm is %g, too small to compare", what, sqrt(norm));
    ck_assert_msg(fabs(along - wanted) <= tolerance, "%s: slope %.9g, wanted %.9g to within %.2g", what, along, wanted,
                  tolerance);
}

/* Along random directions, and along the coordinates where the gradient is largest and in the
 * middle. */
static inline void rig_assert_gradient(twin_t *t, const char *what, double *values, const double *ours, int64_t count,
                                       int directions)
{
    double *direction = calloc((size_t)count, sizeof *direction);
    int64_t largest = 0;
    mo_rng_t rng;
    mo_rng_start(&rng, 11, 101, 0, 0);
    for (int d = 0; d < directions; d++) {
        for (int64_t i = 0; i < count; i++)
            direction[i] = mo_rng_normal(&rng);
        rig_assert_along(t, what, values, ours, count, direction);
    }
    for (int64_t i = 0; i < count; i++)
        if (fabs(ours[i]) > fabs(ours[largest]))
            largest = i;
    int64_t places[] = {largest, count / 2};
    for (int p = 0; p < 2; p++) {
        memset(direction, 0, (size_t)count * sizeof *direction);
        direction[places[p]] = 1;
        rig_assert_along(t, what, values, ours, count, direction);
    }
    free(direction);
}

/* Every parameter tensor and the images. */
static inline void rig_assert_gradients(const rig_t *r, twin_t *t, int directions)
{
    double *sum = calloc((size_t)r->net.params + 1, sizeof *sum);
    double *d_images = rig_doubles(r->d_images, r->shape.batch * r->feature);
    for (int64_t leaf = 0; leaf < r->leaves; leaf++)
        for (int64_t i = 0; i < r->net.params; i++)
            sum[i] += r->grads[leaf * r->net.params + i];
    for (int32_t i = 0; i < r->net.parameter_count; i++) {
        const mo_parameter_t *s = &r->net.parameters[i];
        for (int64_t j = 0; s->frozen && j < s->count; j++)
            ck_assert_msg(sum[s->offset + j] == 0, "%s is frozen and has a gradient", s->name);
        if (s->frozen)
            continue;
        rig_assert_gradient(t, s->name, t->params + s->offset, sum + s->offset, s->count, directions);
    }
    rig_assert_gradient(t, "images", t->images, d_images, r->shape.batch * r->feature, directions);
    free(sum);
    free(d_images);
}

#endif
