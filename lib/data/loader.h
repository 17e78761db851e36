/* Inside of the loader, shared by loader.c (the calling thread's side) and loader_worker.c (the
 * threads' side).
 *
 * Workers claim positions of the epoch's order one after the other, each with a row of the store,
 * and mark the position good, broken or passed over in a ring. The caller walks the ring strictly
 * in order and gathers good rows; so a batch depends on the order and on which images are broken,
 * never on who was quicker. Every number below lies in
 *     front <= scan <= head <= delivered <= count
 * with  front      first position of the next batch
 *       scan       first position that the caller has not looked at; [front, scan) is gathered or
 *                  left out
 *       head       first position that no worker has claimed
 *       delivered  first position that workers may not claim yet: for a callback data set its bytes
 *                  are still with the host, and only the calling thread may ask for them; otherwise
 *                  count.
 * The store cannot run dry: rows go to positions in order, so when all are taken, those of the next
 * batch are among them. */
#ifndef MO_DATA_LOADER_H
#define MO_DATA_LOADER_H

#include <pthread.h>
#include <sys/types.h>

#include "data/data.h"
#include "data/dataset.h"
#include "util/status.h"

#define MO_NAMED_BROKEN 3 /* in the message when there are too many */

enum { MO_POSITION_WAITING = 0, MO_POSITION_GOOD, MO_POSITION_BROKEN, MO_POSITION_PASSED, MO_POSITION_FAILED };

/* A position of the order that is being worked on, or waits for the caller. */
typedef struct mo_position {
    int32_t state, row;
    moco_status_t status; /* why it failed */
    mo_bytes_t bytes;     /* callback data sets */
} mo_position_t;

typedef struct mo_worker {
    mo_loader_t *loader;
    pthread_t thread;
    mo_pixels_t pixels;
    mo_view_work_t work;
} mo_worker_t;

struct mo_loader {
    mo_loader_spec_t spec;
    moco_dataset_t *dataset;
    int64_t count, rows; /* entries; rows of the store */
    int views, is_callback;
    size_t row_bytes;
    uint8_t *store; /* [rows][views][row_bytes] */

    pthread_mutex_t lock; /* guards what follows, but a position's bytes belong to whoever holds it */
    pthread_cond_t work, done;
    int stop, paused, active;
    mo_worker_t *workers;
    int32_t started;
    pid_t process; /* that the workers belong to: a child of fork has none of them */

    int64_t epoch, front, scan, head, delivered; /* epoch -1: not yet placed */
    int32_t *order, *spare_order;                /* train */
    int64_t order_epoch;                         /* what `order` holds; -1 = nothing */
    mo_position_t *ring;
    int64_t ring_size;
    int32_t *free_rows;
    int64_t free_count;

    int failed;        /* the last call failed on the way: start again at `front` */
    int64_t failed_at; /* the first position that failed, whose message is kept; -1 = none */
    char message[MO_MESSAGE_SIZE];
    uint8_t *counted; /* [count] broken images met so far, in order */
    int64_t broken, first_broken[MO_NAMED_BROKEN];
    int64_t to_tell[MO_NAMED_WARNINGS + 1]; /* entries that the log is to name once the lock is given up */
    int32_t to_tell_count;
    int64_t turned; /* the same of an image that asks to be turned; -1 = none */

    /* The batch being gathered, then handed out. */
    int out;
    int64_t gathered;
    int32_t *batch_rows;
    const uint8_t **pointers[2];
    int64_t *indices;
    mo_batch_t batch;
};

static inline int64_t mo_entry_at(const mo_loader_t *loader, int64_t position)
{
    return loader->spec.train ? loader->order[position] : position;
}

static inline int mo_entry_wanted(const mo_loader_t *loader, int64_t entry)
{
    return !loader->spec.labelled || loader->dataset->listing.entries[entry].label >= 0;
}

static inline mo_position_t *mo_position_at(mo_loader_t *loader, int64_t position)
{
    return &loader->ring[position % loader->ring_size];
}

static inline uint8_t *mo_row_at(const mo_loader_t *loader, int32_t row, int view)
{
    return loader->store + ((size_t)row * (size_t)loader->views + (size_t)view) * loader->row_bytes;
}

/* Start all of spec.threads workers; those that started are counted in loader->started even on
 * failure. */
moco_status_t mo_loader_start_workers(mo_loader_t *loader);

/* ---- loader.c ---- */

/* Whether this process is a child of the one that the threads belong to. The lock may be held by
 * one of them, for ever. */
int mo_loader_is_foreign(const mo_loader_t *loader);
moco_status_t mo_loader_refuse_foreign(void);
/* With the lock held: no worker is at an image and none takes one. */
void mo_loader_hold(mo_loader_t *loader);
/* With the workers held: give back all rows but those of a batch that is out, begin at `position`,
 * let workers go. */
void mo_loader_place(mo_loader_t *loader, int64_t epoch, int64_t position);

#endif
