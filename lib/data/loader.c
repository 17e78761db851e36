/* The loader as its caller sees it: making, placing, gathering rows in order, batches. Called by
 * the trainer's run and by the evaluators, one thread at a time; the threads are in
 * loader_worker.c, how both work together is in loader.h. */
#include "data/loader.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/augment.h"
#include "util/alloc.h"
#include "util/cancel.h"
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

/* Whether this process is a child of the one that the threads belong to. The lock may be held by
 * one of them, for ever. */
static int is_foreign(const mo_loader_t *loader)
{
    return loader->process != getpid();
}

static moco_status_t refuse_foreign(void)
{
    return mo_fail(MOCO_ERR_FORKED, "the process was forked while images were loaded: the threads that load them are "
                                    "the parent's");
}

void mo_loader_free(mo_loader_t *loader)
{
    if (loader == NULL)
        return;
    if (is_foreign(loader)) { /* its threads died at any place: what they used must stay as it is */
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

/* With the lock held: no worker is at an image and none takes one. */
static void hold_workers(mo_loader_t *loader)
{
    loader->paused = 1;
    while (loader->active > 0)
        pthread_cond_wait(&loader->done, &loader->lock);
}

/* With the workers held: give back all rows but those of a batch that is out, begin at `position`,
 * let workers go. */
static void place(mo_loader_t *loader, int64_t epoch, int64_t position)
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
    if (is_foreign(loader))
        return refuse_foreign();
    pthread_mutex_lock(&loader->lock);
    hold_workers(loader);
    const moco_status_t status = draw_order(loader, epoch);
    if (status == MOCO_OK)
        place(loader, epoch, position);
    else if (loader->epoch >= 0) { /* go on as before */
        loader->paused = 0;
        pthread_cond_broadcast(&loader->work);
    }
    pthread_mutex_unlock(&loader->lock);
    return status;
}

/* ---- gathering ---- */

static moco_status_t too_many_broken(const mo_loader_t *loader)
{
    char names[MO_MESSAGE_SIZE] = "";
    size_t used = 0;
    for (int64_t i = 0; i < loader->broken && i < MO_NAMED_BROKEN; i++) {
        const int64_t entry = loader->first_broken[i];
        const char *reason = mo_dataset_broken_reason(loader->dataset, entry);
        const char *name = loader->dataset->listing.text + loader->dataset->listing.entries[entry].name;
        const int length = snprintf(names + used, sizeof names - used, "%s'%.80s' (%.*s)", i ? ", " : "", name,
                                    i == 0 ? 240 : 60, reason == NULL ? "broken" : reason);
        used += (size_t)length < sizeof names - used ? (size_t)length : sizeof names - used - 1;
    }
    return mo_fail(MOCO_ERR_BROKEN_DATA, "%lld of %lld images are broken, the limit is %lld: %s%s",
                   (long long)loader->broken, (long long)loader->count, (long long)loader->spec.max_broken, names,
                   loader->broken > MO_NAMED_BROKEN ? ", …" : "");
}

static moco_status_t refuse_short(const mo_loader_t *loader)
{
    const int64_t first = loader->first_broken[0];
    const char *reason = loader->broken > 0 ? mo_dataset_broken_reason(loader->dataset, first) : NULL;
    return mo_fail(MOCO_ERR_NO_DATA,
                   "epoch %lld has %lld good images left from position %lld on; a batch takes %lld%s%.150s%s%s",
                   (long long)loader->epoch, (long long)loader->gathered, (long long)loader->front,
                   (long long)loader->spec.batch, reason != NULL ? "; broken is '" : "",
                   reason != NULL ? mo_dataset_name(loader->dataset, first) : "", reason != NULL ? "': " : "",
                   reason != NULL ? reason : "");
}

static int over_limit(const mo_loader_t *loader)
{
    return loader->spec.max_broken >= 0 && loader->broken > loader->spec.max_broken;
}

/* Broken images count when their turn comes, so that a run fails at the same step for any number of
 * threads. */
static void count_broken(mo_loader_t *loader, int64_t entry)
{
    if (loader->counted[entry])
        return;
    loader->counted[entry] = 1;
    if (loader->broken < MO_NAMED_BROKEN)
        loader->first_broken[loader->broken] = entry;
    loader->broken++;
    if (!loader->spec.quiet && loader->to_tell_count <= MO_NAMED_WARNINGS)
        loader->to_tell[loader->to_tell_count++] = entry;
}

/* With the lock held: walk over what is finished, in order, until the batch is full. */
static moco_status_t gather(mo_loader_t *loader)
{
    const int ring_was_full = loader->head - loader->scan >= loader->ring_size;
    const int64_t from = loader->scan;
    while (loader->scan < loader->head && loader->gathered < loader->spec.batch && !over_limit(loader)) {
        const mo_position_t *item = mo_position_at(loader, loader->scan);
        const int64_t entry = mo_entry_at(loader, loader->scan);
        if (item->state == MO_POSITION_WAITING)
            break;
        if (item->state == MO_POSITION_FAILED) {
            loader->failed = 1;
            return mo_message_set(item->status, loader->message);
        }
        if (item->state == MO_POSITION_BROKEN) {
            count_broken(loader, entry);
        } else if (item->state == MO_POSITION_GOOD) {
            loader->batch_rows[loader->gathered] = item->row;
            for (int view = 0; view < loader->views; view++)
                loader->pointers[view][loader->gathered] = mo_row_at(loader, item->row, view);
            loader->indices[loader->gathered++] = entry;
            if (loader->turned < 0 && (atomic_load(&loader->dataset->marks[entry]) & MO_MARK_TURNED) != 0)
                loader->turned = entry;
        }
        loader->scan++;
    }
    if (ring_was_full && loader->scan > from)
        pthread_cond_broadcast(&loader->work);
    return over_limit(loader) ? too_many_broken(loader) : MOCO_OK;
}

/* ---- callback data sets: bytes are fetched by the calling thread, a batch or so ahead ---- */

static int can_deliver(const mo_loader_t *loader)
{
    const int64_t threads = 2 * (int64_t)loader->spec.threads;
    const int64_t ahead = loader->spec.batch > threads ? loader->spec.batch : threads;
    return loader->is_callback && loader->delivered < loader->count &&
           loader->delivered - loader->scan < loader->ring_size && loader->delivered - loader->head < ahead;
}

/* With the lock held; gives it up while the host is asked. A broken answer is remembered by the
 * data set, and the worker that claims the position finds it there. */
static moco_status_t deliver(mo_loader_t *loader)
{
    const int64_t position = loader->delivered, entry = mo_entry_at(loader, position);
    mo_position_t *item = mo_position_at(loader, position);
    pthread_mutex_unlock(&loader->lock);
    const moco_status_t status = mo_dataset_read(loader->dataset, entry, &item->bytes);
    pthread_mutex_lock(&loader->lock);
    if (status != MOCO_OK && status != MOCO_ERR_IMAGE)
        return status;
    loader->delivered++;
    pthread_cond_signal(&loader->work);
    return MOCO_OK;
}

/* ---- batches ---- */

/* Until a worker has news. A signal handler that asks to stop can wake nobody, so the request is
 * looked for a few times a second. */
static moco_status_t wait_for_workers(mo_loader_t *loader)
{
    enum { LOOK_EVERY = 50000000 /* nanoseconds */ };
    struct timespec until;
    moco_status_t status = mo_cancel_check(loader->spec.cancel);
    if (status != MOCO_OK)
        return status;
    if (loader->spec.cancel == NULL) {
        pthread_cond_wait(&loader->done, &loader->lock);
        return MOCO_OK;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_EVERY;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&loader->done, &loader->lock, &until);
    return MOCO_OK;
}

static moco_status_t wait_for_batch(mo_loader_t *loader)
{
    moco_status_t status = MOCO_OK;
    if (loader->failed) {
        hold_workers(loader);
        place(loader, loader->epoch, loader->front);
    }
    for (;;) {
        TRY(gather(loader));
        if (loader->gathered == loader->spec.batch || loader->scan == loader->count)
            break;
        if (can_deliver(loader))
            TRY(deliver(loader));
        else
            TRY(wait_for_workers(loader));
    }
    const int whole = loader->spec.train && !loader->spec.keep_last;
    if (loader->gathered == 0 || (whole && loader->gathered < loader->spec.batch))
        return refuse_short(loader);
    while (can_deliver(loader) && deliver(loader) == MOCO_OK) { /* so that workers have work during the step */
    }
cleanup:
    return status;
}

/* The host's log function may do anything but wait for this lock, so it is called without it. The
 * message of a failure outlives it. */
static void tell(mo_loader_t *loader)
{
    char message[MO_MESSAGE_SIZE];
    mo_message_copy(message);
    for (int32_t i = 0; i < loader->to_tell_count; i++)
        mo_dataset_tell_broken(loader->dataset, loader->to_tell[i]);
    loader->to_tell_count = 0;
    if (loader->turned >= 0)
        mo_dataset_tell_turned(loader->dataset, loader->turned);
    mo_message_set(MOCO_OK, message);
}

moco_status_t mo_loader_next(mo_loader_t *loader, const mo_batch_t **batch)
{
    moco_status_t status;
    if (is_foreign(loader))
        return refuse_foreign();
    pthread_mutex_lock(&loader->lock);
    if (loader->out)
        status = mo_fail(MOCO_ERR_STATE, "the last batch has not been returned");
    else if (loader->epoch < 0)
        status = mo_fail(MOCO_ERR_STATE, "the loader has not been placed: seek first");
    else
        status = wait_for_batch(loader);
    if (status == MOCO_OK) {
        loader->front = loader->scan;
        loader->out = 1;
        loader->batch = (mo_batch_t){.count = loader->gathered,
                                     .rows = {loader->pointers[0], loader->pointers[1]},
                                     .index = loader->indices,
                                     .epoch = loader->epoch,
                                     .position = loader->front};
        *batch = &loader->batch;
    }
    pthread_mutex_unlock(&loader->lock);
    if (loader->to_tell_count > 0 || loader->turned >= 0)
        tell(loader);
    return status;
}

void mo_loader_return(mo_loader_t *loader, const mo_batch_t *batch)
{
    if (is_foreign(loader))
        return;
    pthread_mutex_lock(&loader->lock);
    if (batch == &loader->batch && loader->out) {
        for (int64_t i = 0; i < loader->gathered; i++)
            loader->free_rows[loader->free_count++] = loader->batch_rows[i];
        loader->gathered = 0;
        loader->out = 0;
        pthread_cond_broadcast(&loader->work);
    }
    pthread_mutex_unlock(&loader->lock);
}
