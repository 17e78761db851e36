/* Search where products are made on a GPU. Vectors go there once, before the first search that
 * needs them; then tiles of queries meet tiles of vectors, and what comes back are the lists of the
 * best. */
#include "eval/index_gpu.h"

#include <pthread.h>
#include <string.h>

#include "engine/emit.h"
#include "engine/kernel.h"
#include "util/alloc.h"
#include "util/status.h"

#define QUERY_TILE 64    /* rows of the plan                                             */
#define VECTOR_TILE 4096 /* columns: 1 MiB of products                                   */
#define LISTS 32         /* of a query: enough work-items, and a few entries each        */
#define ENTRIES 2097152  /* of all lists at most: 32 MiB, on the device and on the host  */

struct mo_index_gpu {
    moco_device_t *device; /* the index's */
    pthread_mutex_t busy;  /* of the lane that searches */
    int32_t dimension, queries, products;
    mo_net_t net;
    mo_plan_t *plan;
    mo_instance_t *instance;
    mo_buffer_t arena;
    mo_buffer_t vectors;        /* [capacity, dimension], whole tiles */
    int64_t capacity, uploaded; /* vectors                            */
    mo_buffer_t entries, sizes; /* as large as any search has wanted  */
    float rest[];               /* [QUERY_TILE, dimension]: queries of a tile that is not full */
};

/* ---- the product ---- */

/* src [rows, dimension] with each vector of the dictionary. */
static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const int32_t dimension = mo_tensor_channels(plan, op->src);
    mo_slot_id_t queries, vectors, products;
    TRY(mo_value(plan, op->src, &queries));
    TRY(mo_value(plan, op->dst, &products));
    TRY(mo_matrix(plan, queries, dimension, &queries));
    TRY(mo_matrix(plan, products, VECTOR_TILE, &products));
    TRY(mo_dictionary_slot(plan, 0, VECTOR_TILE, dimension, &vectors));
    TRY(mo_emit_matmul(plan, op, queries, vectors, VECTOR_TILE, dimension, 1, 1.0f, products));
cleanup:
    return status;
}

static const mo_op_kind_t similarity_kind = {.name = "similarities", .forward = forward};

static moco_status_t make_plan(mo_index_gpu_t *g)
{
    moco_status_t status = MOCO_OK;
    g->queries = g->net.input = mo_net_tensor(&g->net, g->dimension, 1, 1);
    g->products = mo_net_result(&g->net, mo_net_op(&g->net, &similarity_kind, g->queries, NULL, 0), VECTOR_TILE, 1, 1);
    TRY(mo_net_done(&g->net));
    const mo_plan_spec_t spec = {.net = &g->net,
                                 .mode = MO_MODE_INFER,
                                 .shard = QUERY_TILE,
                                 .shards_per_group = 1,
                                 .inputs = {g->queries, -1, -1, -1},
                                 .outputs = {g->products, -1, -1, -1}};
    TRY(mo_plan_create(g->device, &spec, &g->plan));
    TRY(mo_buffer_create(g->device, mo_plan_arena_bytes(g->plan), &g->arena));
    TRY(mo_instance_create(g->plan, g->arena, (mo_buffer_t){0}, NULL, &g->instance));
cleanup:
    return status;
}

moco_status_t mo_index_gpu_create(moco_device_t *device, int32_t dimension, mo_index_gpu_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_index_gpu_t *g = NULL;
    if (!mo_device_is_gpu(device))
        return MOCO_OK;
    TRY(mo_calloc(1, sizeof *g + QUERY_TILE * (size_t)dimension * sizeof *g->rest, &g));
    g->device = device;
    g->dimension = dimension;
    pthread_mutex_init(&g->busy, NULL);
    status = make_plan(g);
    if (status == MOCO_OK)
        *out = g;
    else
        mo_index_gpu_free(g);
cleanup:
    return status;
}

void mo_index_gpu_free(mo_index_gpu_t *g)
{
    if (g == NULL)
        return;
    mo_instance_free(g->instance);
    mo_plan_free(g->plan);
    mo_net_free(&g->net);
    mo_buffer_free(&g->arena);
    mo_buffer_free(&g->vectors);
    mo_buffer_free(&g->entries);
    mo_buffer_free(&g->sizes);
    pthread_mutex_destroy(&g->busy);
    mo_free(g);
}

/* ---- memory ---- */

static moco_status_t grow(mo_index_gpu_t *g, mo_buffer_t *buffer, size_t bytes)
{
    if (buffer->bytes >= bytes)
        return MOCO_OK;
    mo_buffer_free(buffer);
    return mo_buffer_create(g->device, bytes, buffer);
}

static moco_status_t bring_vectors(mo_index_gpu_t *g, const moco_index_t *index)
{
    moco_status_t status = MOCO_OK;
    const int64_t tiles = (index->count + VECTOR_TILE - 1) / VECTOR_TILE, dimension = index->dimension;
    if (tiles * VECTOR_TILE > g->capacity) {
        const int64_t reserved = (index->capacity + VECTOR_TILE - 1) / VECTOR_TILE * VECTOR_TILE;
        g->capacity = g->uploaded = 0;
        TRY(grow(g, &g->vectors, (size_t)(reserved * dimension) * sizeof(float)));
        g->capacity = reserved;
    }
    if (g->uploaded < index->count)
        TRY(mo_buffer_upload(mo_buffer_floats(g->vectors, g->uploaded * dimension,
                                              (index->count - g->uploaded) * dimension),
                             index->vectors + g->uploaded * dimension));
    g->uploaded = index->count;
cleanup:
    if (status != MOCO_OK)
        g->uploaded = 0;
    return status;
}

/* ---- search ---- */

int64_t mo_index_gpu_lists(int64_t count, int64_t k)
{
    const int64_t lists = ENTRIES / count / k;
    return lists < 1 ? 1 : lists > LISTS ? LISTS : lists;
}

static mo_buffer_t rows_of(mo_buffer_t block, int64_t from, int64_t count, size_t row)
{
    return mo_buffer_part(block, (size_t)from * row, (size_t)count * row);
}

/* Queries [from, from + now) with all vectors. */
static moco_status_t scan_tile(mo_lane_t *lane, const mo_index_scan_t *s, int64_t from, int64_t now)
{
    moco_status_t status = MOCO_OK;
    mo_index_gpu_t *g = s->index->gpu;
    const int64_t dimension = g->dimension, lists = now * s->lists;
    const float *rows = s->queries + from * dimension;
    const mo_kernel_arg_t entries = mo_arg_buffer(
                              rows_of(g->entries, from * s->lists, lists, (size_t)s->held * sizeof(mo_neighbour_t))),
                          sizes = mo_arg_buffer(rows_of(g->sizes, from * s->lists, lists, sizeof(int64_t)));
    mo_buffer_t queries, products;
    if (now < QUERY_TILE) { /* the last tile: what is behind its rows is finite, and nobody's */
        memcpy(g->rest, rows, (size_t)(now * dimension) * sizeof *rows);
        rows = g->rest;
    }
    TRY(mo_instance_value(g->instance, g->queries, &queries));
    TRY(mo_instance_value(g->instance, g->products, &products));
    TRY(mo_buffer_upload(queries, rows));
    for (int64_t v = 0; v < s->index->count; v += VECTOR_TILE) {
        const int64_t many = s->index->count - v < VECTOR_TILE ? s->index->count - v : VECTOR_TILE;
        TRY(mo_cancel_check(s->cancel));
        TRY(mo_instance_bind(g->instance, MO_IN_DICTIONARY,
                             mo_buffer_floats(g->vectors, v * dimension, VECTOR_TILE * dimension)));
        TRY(mo_instance_run(lane, g->instance));
        TRY(mo_kernel_run(g->device, MO_KERNEL_NEAREST, lists, mo_arg_buffer(products), mo_arg_whole(VECTOR_TILE),
                          mo_arg_whole(many), mo_arg_whole(v), mo_arg_whole(s->lists), mo_arg_whole(s->held), entries,
                          sizes));
    }
cleanup:
    return status;
}

static moco_status_t scan_all(mo_lane_t *lane, const mo_index_scan_t *s)
{
    moco_status_t status = MOCO_OK;
    mo_index_gpu_t *g = s->index->gpu;
    const int64_t lists = s->count * s->lists;
    const size_t bytes = (size_t)(lists * s->held) * sizeof *s->entries;
    TRY(grow(g, &g->entries, bytes));
    TRY(grow(g, &g->sizes, (size_t)lists * sizeof *s->sizes));
    TRY(bring_vectors(g, s->index));
    for (int64_t from = 0; from < s->count; from += QUERY_TILE)
        TRY(scan_tile(lane, s, from, s->count - from < QUERY_TILE ? s->count - from : QUERY_TILE));
    TRY(mo_buffer_fetch(mo_buffer_part(g->entries, 0, bytes), s->entries));
    TRY(mo_buffer_fetch(mo_buffer_part(g->sizes, 0, (size_t)lists * sizeof *s->sizes), s->sizes));
cleanup:
    return status;
}

/* On a lane, and the lock too: a forked child has none and is refused before it could wait. */
static moco_status_t scan_here(mo_lane_t *lane, void *ctx)
{
    const mo_index_scan_t *s = ctx;
    mo_index_gpu_t *g = s->index->gpu;
    pthread_mutex_lock(&g->busy);
    moco_status_t status = scan_all(lane, s);
    status = status == MOCO_OK ? mo_device_wait(g->device) : mo_device_drop(g->device, status);
    if (status != MOCO_OK)
        g->uploaded = 0; /* whether the vectors have arrived is not known */
    pthread_mutex_unlock(&g->busy);
    return status;
}

moco_status_t mo_index_gpu_scan(const mo_index_scan_t *scan)
{
    mo_index_scan_t s = *scan;
    return mo_device_call(s.index->device, scan_here, &s);
}
