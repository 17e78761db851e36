/* Batches of a loader: rows are gathered in order while threads decode ahead. Called as loader.c
 * is. */
#include "data/loader.h"

#include <stdio.h>
#include <time.h>

#include "util/cancel.h"

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
        mo_loader_hold(loader);
        mo_loader_place(loader, loader->epoch, loader->front);
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
    if (mo_loader_is_foreign(loader))
        return mo_loader_refuse_foreign();
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
    if (mo_loader_is_foreign(loader))
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
