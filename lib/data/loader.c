/* The loader as its caller sees it: making, freeing and placing it. Called by the trainer's run and
 * by the evaluators, one thread at a time; its batches are in loader_batch.c, the threads in
 * loader_worker.c, how both work together is in loader.h. */
#include "data/loader.h"

#include <unistd.h>

#include "data/augment.h"
#include "util/alloc.h"
#include "util/rng.h"

#define MAX_THREADS 256

/* ---- making and freeing ---- */

static size_t row_bytes_of(const mo_loader_spec_t *spec)
{
    const size_t size = (size_t)(spec->train ? spec->views.size : spec->size);
    return (size * size * 3 + 63) / 64 * 64;
}

static int views_of(const mo_loader_spec_t *spec)
{
    return spec->train && !spec->one_view ? 2 : 1;
}

uint64_t mo_loader_bytes(const mo_loader_spec_t *spec)
{
    return (uint64_t)spec->depth * (uint64_t)spec->batch * (uint64_t)views_of(spec) * row_bytes_of(spec);
}

int32_t mo_loader_threads(int32_t wanted, int32_t lanes)
{
    if (wanted > 0)
        return wanted;
    return lanes < MAX_THREADS ? lanes : MAX_THREADS;
}

static moco_status_t check_spec(const mo_loader_spec_t *spec)
{
    if (spec->batch < 1 || spec->batch > 1 << 24 || spec->depth < 2 || spec->depth > 1024)
        return mo_fail(MOCO_ERR_ARGUMENT, "loader batch is %lld and depth %d; wanted 1..16777216 and 2..1024",
                       (long long)spec->batch, spec->depth);
    if (spec->depth * spec->batch > INT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "a store of %d batches of %lld images; wanted at most 2147483647 images",
                       spec->depth, (long long)spec->batch);
    if (spec->threads < 1 || spec->threads > MAX_THREADS)
        return mo_fail(MOCO_ERR_ARGUMENT, "loader_threads is %d; wanted 1..%d", spec->threads, MAX_THREADS);
    if (spec->train && (spec->views.size < 1 || spec->views.size > 4096))
        return mo_fail(MOCO_ERR_ARGUMENT, "views are of %d pixels, wanted 1 to 4096", spec->views.size);
    if (spec->train) {
        mo_view_spec_warn(&spec->views);
        return mo_view_spec_check(&spec->views);
    }
    if (spec->resize < 1 || spec->resize > 16384 || spec->size < 1 || spec->size > 16384)
        return mo_fail(MOCO_ERR_ARGUMENT, "evaluation resize is %d and size %d; wanted 1..16384", spec->resize,
                       spec->size);
    return MOCO_OK;
}

static moco_status_t allocate(mo_loader_t *loader)
{
    moco_status_t status = MOCO_OK;
    const size_t batch = (size_t)loader->spec.batch, rows = (size_t)loader->rows, count = (size_t)loader->count;
    TRY(mo_calloc((size_t)loader->spec.threads, sizeof *loader->workers, &loader->workers));
    TRY(mo_calloc(rows, sizeof *loader->free_rows, &loader->free_rows));
    TRY(mo_calloc((size_t)loader->ring_size, sizeof *loader->ring, &loader->ring));
    TRY(mo_calloc(batch, sizeof *loader->batch_rows, &loader->batch_rows));
    TRY(mo_calloc(batch, sizeof *loader->indices, &loader->indices));
    for (int view = 0; view < loader->views; view++)
        TRY(mo_calloc(batch, sizeof *loader->pointers[view], &loader->pointers[view]));
    TRY(mo_calloc(count, 1, &loader->counted));
    if (loader->spec.train) {
        TRY(mo_calloc(count, sizeof *loader->order, &loader->order));
        TRY(mo_calloc(count, sizeof *loader->spare_order, &loader->spare_order));
    }
    for (; loader->free_count < loader->rows; loader->free_count++)
        loader->free_rows[loader->free_count] = (int32_t)(loader->rows - 1 - loader->free_count);
    TRY(mo_block_create(mo_loader_bytes(&loader->spec), &loader->store));
cleanup:
    return status;
}

moco_status_t mo_loader_create(const mo_loader_spec_t *spec, moco_dataset_t *dataset, mo_loader_t **out)
{
    mo_loader_t *loader = NULL;
    pthread_condattr_t clock;
    moco_status_t status = check_spec(spec);
    if (status == MOCO_OK)
        status = mo_calloc(1, sizeof *loader, &loader);
    if (status != MOCO_OK)
        return status;
    pthread_mutex_init(&loader->lock, NULL); /* default attributes: cannot fail */
    pthread_cond_init(&loader->work, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&loader->done, &clock);
    pthread_condattr_destroy(&clock);
    loader->spec = *spec;
    loader->dataset = mo_dataset_retain(dataset);
    loader->count = dataset->listing.count;
    loader->rows = (int64_t)spec->depth * spec->batch;
    loader->ring_size = loader->rows + spec->threads;
    loader->views = views_of(spec);
    loader->is_callback = mo_dataset_is_callback(dataset);
    loader->row_bytes = row_bytes_of(spec);
    loader->epoch = loader->order_epoch = loader->turned = -1;
    loader->process = getpid();
    loader->paused = 1;
    TRY(allocate(loader));
    TRY(mo_loader_start_workers(loader));
    *out = loader;
    loader = NULL;
cleanup:
    mo_loader_free(loader);
    return status;
}

int mo_loader_is_foreign(const mo_loader_t *loader)
{
    return loader->process != getpid();
}

moco_status_t mo_loader_refuse_foreign(void)
{
    return mo_fail(MOCO_ERR_FORKED, "the process was forked while images were loaded: the threads that load them are "
                                    "the parent's");
}

void mo_loader_free(mo_loader_t *loader)
{
    if (loader == NULL)
        return;
    if (mo_loader_is_foreign(loader)) { /* its threads died at any place: what they used must stay as it is */
        mo_dataset_release(loader->dataset);
        return;
    }
    pthread_mutex_lock(&loader->lock);
    loader->stop = 1;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (int32_t i = 0; i < loader->started; i++) {
        pthread_join(loader->workers[i].thread, NULL);
        mo_pixels_free(&loader->workers[i].pixels);
        mo_view_work_free(&loader->workers[i].work);
    }
    for (int64_t i = 0; loader->ring != NULL && i < loader->ring_size; i++)
        mo_free(loader->ring[i].bytes.data);
    mo_free(loader->workers);
    mo_free(loader->free_rows);
    mo_free(loader->ring);
    mo_free(loader->batch_rows);
    mo_free(loader->indices);
    mo_free(loader->pointers[0]);
    mo_free(loader->pointers[1]);
    mo_free(loader->counted);
    mo_free(loader->order);
    mo_free(loader->spare_order);
    mo_block_free(loader->store, mo_loader_bytes(&loader->spec));
    mo_dataset_release(loader->dataset);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->done);
    mo_free(loader);
}

/* ---- placing ---- */

void mo_loader_hold(mo_loader_t *loader)
{
    loader->paused = 1;
    while (loader->active > 0)
        pthread_cond_wait(&loader->done, &loader->lock);
}

void mo_loader_place(mo_loader_t *loader, int64_t epoch, int64_t position)
{
    for (int64_t p = loader->scan; p < loader->head; p++)
        if (mo_position_at(loader, p)->state == MO_POSITION_GOOD)
            loader->free_rows[loader->free_count++] = mo_position_at(loader, p)->row;
    if (!loader->out) {
        for (int64_t i = 0; i < loader->gathered; i++)
            loader->free_rows[loader->free_count++] = loader->batch_rows[i];
        loader->gathered = 0;
    }
    loader->epoch = epoch;
    loader->front = loader->scan = loader->head = position;
    loader->failed_at = -1;
    loader->delivered = loader->is_callback ? position : loader->count;
    loader->failed = 0;
    loader->paused = 0;
    pthread_cond_broadcast(&loader->work);
}

/* The order of `epoch` in place of the old one, which stays where that fails. */
static moco_status_t draw_order(mo_loader_t *loader, int64_t epoch)
{
    if (!loader->spec.train || loader->order_epoch == epoch)
        return MOCO_OK;
    const uint32_t stream = loader->spec.order_stream != 0 ? loader->spec.order_stream : MO_STREAM_ORDER;
    const moco_status_t status =
        mo_rng_permutation(loader->spec.seed, stream, (uint32_t)epoch, loader->count, loader->spare_order);
    if (status != MOCO_OK)
        return status;
    int32_t *drawn = loader->spare_order;
    loader->spare_order = loader->order;
    loader->order = drawn;
    loader->order_epoch = epoch;
    return MOCO_OK;
}

moco_status_t mo_loader_seek(mo_loader_t *loader, int64_t epoch, int64_t position)
{
    if (epoch < 0 || epoch > UINT32_MAX || position < 0 || position > loader->count)
        return mo_fail(MOCO_ERR_ARGUMENT, "epoch %lld, position %lld; wanted 0..4294967295 and 0..%lld",
                       (long long)epoch, (long long)position, (long long)loader->count);
    if (mo_loader_is_foreign(loader))
        return mo_loader_refuse_foreign();
    pthread_mutex_lock(&loader->lock);
    mo_loader_hold(loader);
    const moco_status_t status = draw_order(loader, epoch);
    if (status == MOCO_OK)
        mo_loader_place(loader, epoch, position);
    else if (loader->epoch >= 0) { /* go on as before */
        loader->paused = 0;
        pthread_cond_broadcast(&loader->work);
    }
    pthread_mutex_unlock(&loader->lock);
    return status;
}
