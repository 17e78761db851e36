/* The threads of the loader: claim the next position of the order and a row, decode, draw the
 * views, mark it done. */
#include "data/loader.h"

#include <errno.h>
#include <string.h>

#include "util/fault.h"
#include "util/thread.h"

#define KEPT_PIXEL_BYTES ((size_t)64 << 20)

static moco_status_t decode(mo_worker_t *worker, int64_t entry, mo_position_t *item)
{
    mo_loader_t *loader = worker->loader;
    if (mo_dataset_broken_reason(loader->dataset, entry) != NULL)
        return MOCO_ERR_IMAGE;
    if (loader->is_callback)
        return mo_dataset_decode_bytes(loader->dataset, entry, &item->bytes, &worker->pixels);
    return mo_dataset_decode(loader->dataset, entry, &worker->pixels);
}

static moco_status_t fill_row(mo_worker_t *worker, int64_t epoch, int64_t entry, mo_position_t *item)
{
    const mo_loader_t *loader = worker->loader;
    const mo_loader_spec_t *spec = &loader->spec;
    moco_status_t status = decode(worker, entry, item);
    if (status != MOCO_OK)
        return status;
    if (!spec->train)
        return mo_view_eval(&worker->work, &worker->pixels, spec->resize, spec->size, mo_row_at(loader, item->row, 0));
    for (int view = 0; view < loader->views && status == MOCO_OK; view++)
        status = mo_view_draw(&worker->work, &spec->views, &worker->pixels, spec->seed, epoch, entry, view,
                              mo_row_at(loader, item->row, view));
    return status;
}

static int can_claim(const mo_loader_t *loader)
{
    return !loader->paused && loader->head < loader->delivered && loader->free_count > 0 &&
           loader->head - loader->scan < loader->ring_size;
}

/* With the lock held; gives it up while the image is worked on. */
static void claim_and_fill(mo_worker_t *worker)
{
    mo_loader_t *loader = worker->loader;
    const int64_t position = loader->head++, epoch = loader->epoch, entry = mo_entry_at(loader, position);
    const int wanted = mo_entry_wanted(loader, entry);
    mo_position_t *item = mo_position_at(loader, position);
    item->state = MO_POSITION_WAITING;
    item->row = loader->free_rows[--loader->free_count];
    loader->active++;
    pthread_mutex_unlock(&loader->lock);

    const moco_status_t status = wanted ? fill_row(worker, epoch, entry, item) : MOCO_ERR_NO_DATA;

    if (worker->pixels.capacity > KEPT_PIXEL_BYTES) /* one huge image must not be paid for until the end */
        mo_pixels_free(&worker->pixels);

    pthread_mutex_lock(&loader->lock);
    loader->active--;
    item->state = !wanted                    ? MO_POSITION_PASSED
                  : status == MOCO_OK        ? MO_POSITION_GOOD
                  : status == MOCO_ERR_IMAGE ? MO_POSITION_BROKEN
                                             : MO_POSITION_FAILED;
    item->status = status;
    if (status != MOCO_OK)
        loader->free_rows[loader->free_count++] = item->row;
    if (item->state == MO_POSITION_FAILED && (loader->failed_at < 0 || position < loader->failed_at)) {
        loader->failed_at = position; /* the caller comes to the first of them */
        mo_message_copy(loader->message);
    }
    if (position == loader->scan || loader->paused || loader->is_callback)
        pthread_cond_signal(&loader->done); /* one caller only, and it waits for nothing else */
}

static void *work(void *argument)
{
    mo_worker_t *worker = argument;
    mo_loader_t *loader = worker->loader;
    pthread_mutex_lock(&loader->lock);
    while (!loader->stop) {
        if (can_claim(loader))
            claim_and_fill(worker);
        else
            pthread_cond_wait(&loader->work, &loader->lock);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

moco_status_t mo_loader_start_workers(mo_loader_t *loader)
{
    int error = 0;
    while (error == 0 && loader->started < loader->spec.threads) {
        mo_worker_t *worker = &loader->workers[loader->started];
        worker->loader = loader;
        error = mo_fault(MO_FAULT_ALLOC) ? EAGAIN : mo_thread_start(&worker->thread, 0, work, worker);
        loader->started += error == 0;
    }
    return error == 0 ? MOCO_OK
                      : mo_fail(MOCO_ERR_THREAD, "loader thread %d of %d could not be started: %s", loader->started + 1,
                                loader->spec.threads, strerror(error));
}
