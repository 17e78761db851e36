/* moco_queue_t. Contrast runs in tiles of 32 rows, each on one lane, so a row's result does not
 * depend on how many come with it; the plan is remade when the temperature changes. */
#include "contrast/queue.h"

#include <math.h>
#include <string.h>

#include "engine/plan.h"
#include "util/alloc.h"
#include "util/rows.h"
#include "util/status.h"

#define TILE 32

typedef struct tile {
    mo_buffer_t arena;
    mo_instance_t *instance;
} tile_t;

struct moco_queue {
    moco_device_t *device;
    mo_keys_t keys;
    /* the plan, for one temperature */
    double temperature; /* 0 = none yet */
    mo_net_t net;
    int32_t queries, positives, results;
    mo_plan_t *plan;
    tile_t *tiles; /* one per lane */
};

static void drop_plan(moco_queue_t *q)
{
    for (int32_t i = 0; q->tiles != NULL && i < mo_device_lanes(q->device); i++) {
        mo_instance_free(q->tiles[i].instance);
        mo_buffer_free(&q->tiles[i].arena);
    }
    mo_free(q->tiles);
    q->tiles = NULL;
    mo_plan_free(q->plan);
    q->plan = NULL;
    mo_net_free(&q->net);
    q->temperature = 0;
}

static moco_status_t bind_queue(mo_lane_t *lane, void *ctx)
{
    moco_queue_t *q = ctx;
    moco_status_t status = MOCO_OK;
    (void)lane;
    for (int32_t i = 0; i < mo_device_lanes(q->device); i++)
        TRY(mo_instance_bind(q->tiles[i].instance, MO_IN_DICTIONARY, q->keys.rows));
cleanup:
    return status;
}

static moco_status_t make_plan(moco_queue_t *q, double temperature)
{
    moco_status_t status = MOCO_OK;
    int32_t lanes = mo_device_lanes(q->device), width = q->keys.dimension;
    drop_plan(q);
    q->queries = mo_net_tensor(&q->net, width, 1, 1);
    q->positives = mo_net_tensor(&q->net, width, 1, 1);
    mo_infonce_spec_t loss = {.queries = q->queries,
                              .keys = q->positives,
                              .place = -1,
                              .count = q->keys.length,
                              .temperature = temperature,
                              .batch = 1.0,
                              .scale = 1.0};
    q->results = mo_infonce(&q->net, &loss);
    TRY(mo_net_done(&q->net));
    mo_plan_spec_t spec = {.net = &q->net,
                           .mode = MO_MODE_TRAIN,
                           .shard = TILE,
                           .shards_per_group = 1,
                           .inputs = {-1, q->positives, -1, -1},
                           .outputs = {q->results, q->queries, -1, -1}};
    TRY(mo_plan_create(q->device, &spec, &q->plan));
    TRY(mo_calloc((size_t)lanes, sizeof *q->tiles, &q->tiles));
    for (int32_t i = 0; i < lanes; i++) {
        TRY(mo_buffer_create(q->device, mo_plan_arena_bytes(q->plan), &q->tiles[i].arena));
        TRY(mo_instance_create(q->plan, q->tiles[i].arena, (mo_buffer_t){0}, NULL, &q->tiles[i].instance));
    }
    TRY(mo_device_call(q->device, bind_queue, q));
    q->temperature = temperature;
cleanup:
    if (status != MOCO_OK)
        drop_plan(q);
    return status;
}

moco_status_t mo_queue_create(int64_t length, int32_t dimension, uint64_t seed, moco_device_t *device,
                              moco_queue_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_queue_t *q = NULL;
    TRY(mo_calloc(1, sizeof *q, &q));
    TRY(mo_device_default(device, &q->device));
    TRY(mo_keys_create(&q->keys, length, dimension, seed, q->device));
    *out = q;
    q = NULL;
cleanup:
    mo_queue_free(q);
    return status;
}

void mo_queue_free(moco_queue_t *q)
{
    if (q == NULL)
        return;
    drop_plan(q);
    mo_keys_free(&q->keys);
    mo_device_release(q->device);
    mo_free(q);
}

const mo_keys_t *mo_queue_keys(const moco_queue_t *q)
{
    return &q->keys;
}

moco_status_t mo_queue_enqueue(moco_queue_t *q, const float *keys, int64_t count)
{
    moco_status_t status = mo_rows_check_unit("keys", keys, count, q->keys.dimension);
    float *rows = NULL;
    if (status == MOCO_OK)
        status = mo_buffer_map(q->keys.rows, MO_UPDATE, &rows);
    if (status == MOCO_OK)
        mo_keys_enqueue(&q->keys, rows, keys, count);
    mo_buffer_unmap(q->keys.rows, rows);
    return status;
}

moco_status_t mo_queue_copy(const moco_queue_t *q, float *keys, int64_t *pointer)
{
    const moco_status_t status = mo_buffer_read(q->keys.rows, keys);
    if (status == MOCO_OK && pointer != NULL)
        *pointer = q->keys.pointer;
    return status;
}

moco_status_t mo_queue_restore(moco_queue_t *q, const float *keys, int64_t pointer)
{
    if (pointer < 0 || pointer >= q->keys.length)
        return mo_fail(MOCO_ERR_ARGUMENT, "pointer is %lld, wanted 0 to %lld", (long long)pointer,
                       (long long)q->keys.length - 1);
    moco_status_t status = mo_rows_check_unit("keys", keys, q->keys.length, q->keys.dimension);
    if (status != MOCO_OK)
        return status;
    status = mo_buffer_write(q->keys.rows, keys);
    if (status == MOCO_OK)
        q->keys.pointer = pointer;
    return status;
}

typedef struct contrast {
    moco_queue_t *queue;
    const float *queries, *keys;
    float *d_queries, *results;
    int64_t count;
} contrast_t;

static moco_status_t fill(const contrast_t *c, mo_instance_t *instance, int32_t tensor, const float *from,
                          int64_t first, int64_t rows)
{
    float *to;
    size_t width = (size_t)c->queue->keys.dimension;
    moco_status_t status = mo_instance_map(instance, tensor, MO_WRITE, &to);
    if (status != MOCO_OK)
        return status;
    memcpy(to, from + (size_t)first * width, (size_t)rows * width * sizeof(float));
    memset(to + (size_t)rows * width, 0, (size_t)(TILE - rows) * width * sizeof(float));
    mo_instance_unmap(instance, tensor, to);
    return MOCO_OK;
}

static moco_status_t contrast_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    contrast_t *c = ctx;
    moco_queue_t *q = c->queue;
    mo_instance_t *instance = q->tiles[mo_lane_number(lane)].instance;
    int64_t first = part * TILE, rows = c->count - first < TILE ? c->count - first : TILE;
    int32_t width = q->keys.dimension;
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(fill(c, instance, q->queries, c->queries, first, rows));
    TRY(fill(c, instance, q->positives, c->keys, first, rows));
    TRY(mo_instance_run(lane, instance));
    TRY(mo_instance_map(instance, q->results, MO_READ, &values));
    memcpy(c->results + first * MO_LOSS_WIDTH, values, (size_t)rows * MO_LOSS_WIDTH * sizeof(float));
    mo_instance_unmap(instance, q->results, values);
    if (c->d_queries != NULL) {
        TRY(mo_instance_map_gradient(instance, q->queries, MO_READ, &values));
        for (int64_t i = 0; i < rows * width; i++) /* the plan's loss is a sum; the caller's a mean */
            c->d_queries[first * width + i] = (float)((double)values[i] / (double)c->count);
        mo_instance_unmap_gradient(instance, q->queries, values);
    }
cleanup:
    return status;
}

moco_status_t mo_queue_contrast(moco_queue_t *q, const float *queries, const float *keys, int64_t count,
                                const moco_contrast_options_t *o, moco_contrast_result_t *result)
{
    moco_status_t status = MOCO_OK;
    contrast_t c = {.queue = q, .queries = queries, .keys = keys, .d_queries = o->d_queries, .count = count};
    double sum = 0;
    int64_t first = 0, fifth = 0;
    TRY(mo_rows_check_unit("queries", queries, count, q->keys.dimension));
    TRY(mo_rows_check_unit("keys", keys, count, q->keys.dimension));
    if (q->temperature != o->temperature)
        TRY(make_plan(q, o->temperature));
    TRY(mo_calloc((size_t)count * MO_LOSS_WIDTH, sizeof *c.results, &c.results));
    TRY(mo_device_run(q->device, (count + TILE - 1) / TILE, contrast_part, &c, 1));
    for (int64_t i = 0; i < count; i++) {
        sum += c.results[i * MO_LOSS_WIDTH + MO_LOSS_VALUE];
        first += c.results[i * MO_LOSS_WIDTH + MO_LOSS_RANK] < 1;
        fifth += c.results[i * MO_LOSS_WIDTH + MO_LOSS_RANK] < 5;
    }
    result->loss = sum / (double)count;
    result->chance_loss = log(1.0 + (double)q->keys.length);
    result->top1 = 100.0 * (double)first / (double)count;
    result->top5 = 100.0 * (double)fifth / (double)count;
cleanup:
    mo_free(c.results);
    return status;
}
