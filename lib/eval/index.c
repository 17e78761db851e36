/* The store of unit vectors and the exact k nearest by cosine. Tiles of queries are compared with
 * segments of the store on the lanes; each pair keeps a bounded heap, and heaps of one query are
 * merged. Similarity first, lower number second is a total order, so the result does not depend on
 * how the work was cut. On a GPU lists of every so many-th vector take the place of segments
 * (index_gpu.c). */
#include "eval/index.h"

#include <string.h>

#include "engine/device.h"
#include "eval/dot.h"
#include "eval/index_gpu.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/rows.h"
#include "util/status.h"

#define QUERY_TILE 16 /* queries and vectors of one product: 16 KiB of results on a lane's stack */
#define VECTOR_TILE 256
#define MIN_SEGMENT 4096 /* vectors worth a part of their own */
#define WANTED_PARTS 16  /* few queries: cut the store until there is work for this many */

/* ---- the store ---- */

moco_status_t mo_index_create(int32_t dimension, moco_device_t *device, moco_index_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_index_t *index = NULL;
    if (dimension < 1 || dimension > 65536)
        return mo_fail(MOCO_ERR_ARGUMENT, "dimension is %d, wanted 1 to 65536", (int)dimension);
    TRY(mo_calloc(1, sizeof *index, &index));
    index->dimension = dimension;
    index->max_label = -1;
    TRY(mo_device_default(device, &index->device));
    TRY(mo_index_gpu_create(index->device, dimension, &index->gpu));
    *out = index;
    index = NULL;
cleanup:
    mo_index_free(index);
    return status;
}

void mo_index_free(moco_index_t *index)
{
    if (index == NULL)
        return;
    mo_index_gpu_free(index->gpu);
    mo_device_release(index->device);
    mo_free(index->vectors);
    mo_free(index->labels);
    mo_free(index);
}

static moco_status_t check_labels(const int32_t *labels, int64_t count)
{
    for (int64_t i = 0; labels != NULL && i < count; i++) {
        if (labels[i] < 0)
            return mo_fail(MOCO_ERR_ARGUMENT, "label %lld is %d, wanted 0 or more", (long long)i, (int)labels[i]);
    }
    return MOCO_OK;
}

moco_status_t mo_index_reserve(moco_index_t *index, int64_t count)
{
    moco_status_t status = MOCO_OK;
    int64_t row = index->dimension * (int64_t)sizeof *index->vectors, wanted;
    if (__builtin_add_overflow(index->count, count, &wanted) || wanted > INT64_MAX / 2 / row)
        return mo_fail(MOCO_ERR_MEMORY, "%lld more vectors are more than memory can hold", (long long)count);
    if (wanted <= index->capacity)
        return MOCO_OK;
    wanted = wanted > index->capacity * 2 ? wanted : index->capacity * 2;
    TRY(mo_grow(&index->vectors, (size_t)wanted, (size_t)row));
    TRY(mo_grow(&index->labels, (size_t)wanted, sizeof *index->labels));
    index->capacity = wanted;
cleanup:
    return status;
}

moco_status_t mo_index_add(moco_index_t *index, const float *vectors, const int32_t *labels, int64_t count)
{
    moco_status_t status = MOCO_OK;
    if (count == 0) /* an index that holds nothing has no memory to point into */
        return MOCO_OK;
    TRY(check_labels(labels, count));
    TRY(mo_index_reserve(index, count));
    /* Into the free rows: they count only once all are good. */
    TRY(mo_rows_normalise(vectors, count, index->dimension, index->vectors + index->count * index->dimension));
    for (int64_t i = 0; i < count; i++) {
        int32_t label = labels != NULL ? labels[i] : -1;
        index->labels[index->count + i] = label;
        index->max_label = label > index->max_label ? label : index->max_label;
    }
    index->unlabelled += labels == NULL ? count : 0;
    index->count += count;
cleanup:
    return status;
}

/* ---- bounded heaps ---- */

/* The best `size` so far; the worst of them is entry 0. */
typedef struct heap {
    mo_neighbour_t *entries;
    int64_t size, capacity;
} heap_t;

static int worse(mo_neighbour_t a, mo_neighbour_t b)
{
    return a.similarity != b.similarity ? a.similarity < b.similarity : a.id > b.id;
}

static void sink(mo_neighbour_t *entries, int64_t size, mo_neighbour_t entry)
{
    int64_t at = 0;
    for (int64_t child = 1; child < size; child = 2 * at + 1) {
        if (child + 1 < size && worse(entries[child + 1], entries[child]))
            child++;
        if (!worse(entries[child], entry))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = entry;
}

static void offer(heap_t *heap, mo_neighbour_t entry)
{
    if (heap->size == heap->capacity) {
        if (worse(heap->entries[0], entry))
            sink(heap->entries, heap->size, entry);
        return;
    }
    int64_t at = heap->size++;
    for (; at > 0 && worse(entry, heap->entries[(at - 1) / 2]); at = (at - 1) / 2)
        heap->entries[at] = heap->entries[(at - 1) / 2];
    heap->entries[at] = entry;
}

/* Heap to list, best first: the worst goes to the end, again and again. */
static void sort_heap(heap_t *heap)
{
    for (int64_t size = heap->size; size > 1; size--) {
        mo_neighbour_t worst = heap->entries[0];
        sink(heap->entries, size - 1, heap->entries[size - 1]);
        heap->entries[size - 1] = worst;
    }
}

/* ---- search ---- */

typedef struct search {
    const moco_index_t *index;
    const float *queries;
    int64_t count, k;
    int64_t segments, segment; /* the store is cut into `segments` of at most `segment` vectors */
    int64_t held;              /* neighbours kept per query and segment                         */
    mo_neighbour_t *entries;   /* [count, segments, held]                                       */
    heap_t *heaps;             /* [count, segments]                                             */
    mo_neighbour_t *out;       /* [count, k]                                                    */
    const moco_cancel_t *cancel;
    atomic_int stopped; /* a part was left out: the request may be taken back meanwhile  */
} search_t;

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static void scan_vectors(search_t *s, int64_t query, int64_t queries, int64_t vector, int64_t vectors, int64_t segment)
{
    float products[QUERY_TILE * VECTOR_TILE];
    const int64_t dim = s->index->dimension;
    mo_dot_tile(s->queries + query * dim, queries, s->index->vectors + vector * dim, vectors, s->index->dimension,
                products);
    for (int64_t q = 0; q < queries; q++) {
        heap_t *heap = &s->heaps[(query + q) * s->segments + segment];
        for (int64_t v = 0; v < vectors; v++) {
            float similarity = products[q * vectors + v];
            /* Numbers only rise here, so an equal similarity is no better than the worst held. */
            if (heap->size < heap->capacity || similarity > heap->entries[0].similarity)
                offer(heap, (mo_neighbour_t){vector + v, similarity});
        }
    }
}

/* One tile of queries against one segment of the store. */
static void scan_part(void *ctx, int64_t part)
{
    search_t *s = ctx;
    int64_t segment = part % s->segments, query = part / s->segments * QUERY_TILE;
    int64_t queries = s->count - query < QUERY_TILE ? s->count - query : QUERY_TILE;
    int64_t begin = segment * s->segment;
    int64_t end = begin + s->segment < s->index->count ? begin + s->segment : s->index->count;
    for (int64_t v = begin; v < end; v += VECTOR_TILE) {
        if (mo_cancelled(s->cancel)) {
            atomic_store_explicit(&s->stopped, 1, memory_order_relaxed);
            return;
        }
        scan_vectors(s, query, queries, v, end - v < VECTOR_TILE ? end - v : VECTOR_TILE, segment);
    }
}

/* All heaps of one query into its list. */
static void merge_part(void *ctx, int64_t query)
{
    search_t *s = ctx;
    heap_t all = {.entries = s->out + query * s->k, .capacity = s->k};
    for (int64_t i = 0; i < s->segments; i++) {
        const heap_t *heap = &s->heaps[query * s->segments + i];
        for (int64_t n = 0; n < heap->size; n++)
            offer(&all, heap->entries[n]);
    }
    sort_heap(&all);
}

static void cut(search_t *s)
{
    int64_t tiles = divide_up(s->count, QUERY_TILE), total = s->index->count;
    int64_t most = divide_up(total, MIN_SEGMENT), wanted = divide_up(WANTED_PARTS, tiles);
    s->segment = divide_up(total, wanted < most ? wanted : most);
    s->segments = divide_up(total, s->segment);
    s->held = s->k < s->segment ? s->k : s->segment;
}

static moco_status_t take_lists(search_t *s)
{
    moco_status_t status = MOCO_OK;
    const int64_t lists = s->count * s->segments;
    TRY(mo_calloc((size_t)lists, (size_t)s->held * sizeof *s->entries, &s->entries));
    TRY(mo_calloc((size_t)lists, sizeof *s->heaps, &s->heaps));
    for (int64_t i = 0; i < lists; i++)
        s->heaps[i] = (heap_t){.entries = s->entries + i * s->held, .capacity = s->held};
cleanup:
    return status;
}

static moco_status_t scan_on_lanes(search_t *s)
{
    moco_status_t status = MOCO_OK;
    cut(s);
    TRY(take_lists(s));
    TRY(mo_device_parallel(s->index->device, divide_up(s->count, QUERY_TILE) * s->segments, scan_part, s));
    if (atomic_load(&s->stopped))
        TRY(mo_cancel_fail());
cleanup:
    return status;
}

static moco_status_t scan_on_gpu(search_t *s)
{
    moco_status_t status = MOCO_OK;
    int64_t *sizes = NULL;
    s->segments = mo_index_gpu_lists(s->count, s->k);
    s->held = s->k < s->index->count ? s->k : s->index->count;
    TRY(take_lists(s));
    TRY(mo_calloc((size_t)(s->count * s->segments), sizeof *sizes, &sizes));
    const mo_index_scan_t scan = {.index = s->index,
                                  .queries = s->queries,
                                  .count = s->count,
                                  .lists = s->segments,
                                  .held = s->held,
                                  .entries = s->entries,
                                  .sizes = sizes,
                                  .cancel = s->cancel};
    TRY(mo_index_gpu_scan(&scan));
    for (int64_t i = 0; i < s->count * s->segments; i++)
        s->heaps[i].size = sizes[i];
cleanup:
    mo_free(sizes);
    return status;
}

moco_status_t mo_index_nearest(const moco_index_t *index, const float *queries, int64_t count, int64_t k,
                               const moco_cancel_t *cancel, mo_neighbour_t *out)
{
    moco_status_t status = MOCO_OK;
    search_t s = {.index = index, .queries = queries, .count = count, .k = k, .cancel = cancel, .out = out};
    if (count == 0)
        return MOCO_OK;
    TRY(index->gpu != NULL ? scan_on_gpu(&s) : scan_on_lanes(&s));
    TRY(mo_device_parallel(index->device, count, merge_part, &s));
cleanup:
    mo_free(s.entries);
    mo_free(s.heaps);
    return status;
}

int64_t mo_index_chunk(int64_t k)
{
    const int64_t most = 1024, neighbours = 1 << 20; /* 16 MiB of them */
    int64_t chunk = neighbours / k;
    return chunk < 1 ? 1 : chunk > most ? most : chunk;
}
