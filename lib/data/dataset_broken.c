/* Which images of a data set turned out to be broken, and why: each is remembered once, with its
 * first reason, by whichever thread met it. */
#include "data/dataset.h"
#include "util/alloc.h"
#include "util/status.h"

int64_t mo_dataset_broken(const moco_dataset_t *dataset)
{
    return dataset == NULL ? 0 : atomic_load(&dataset->broken);
}

const char *mo_dataset_broken_reason(const moco_dataset_t *dataset, int64_t index)
{
    if (dataset == NULL || index < 0 || index >= dataset->listing.count)
        return NULL;
    return atomic_load_explicit(&dataset->reasons[index], memory_order_acquire);
}

moco_status_t mo_dataset_fail_broken(const moco_dataset_t *dataset, int64_t index, const char *reason)
{
    return mo_fail(MOCO_ERR_IMAGE, "'%s': %s", mo_dataset_name(dataset, index), reason);
}

moco_status_t mo_dataset_note_broken(moco_dataset_t *dataset, int64_t index, moco_status_t status)
{
    char message[MO_MESSAGE_SIZE];
    char *reason = NULL;
    mo_message_copy(message);
    if (status != MOCO_ERR_IMAGE)
        return mo_fail(status, "'%s': %s", mo_dataset_name(dataset, index), message);
    const moco_status_t copied = mo_strdup(message, &reason);
    if (copied != MOCO_OK)
        return copied;
    pthread_mutex_lock(&dataset->lock);
    if (atomic_load_explicit(&dataset->reasons[index], memory_order_relaxed) == NULL) {
        atomic_store_explicit(&dataset->reasons[index], reason, memory_order_release);
        atomic_fetch_add(&dataset->broken, 1);
        reason = NULL;
    }
    pthread_mutex_unlock(&dataset->lock);
    mo_free(reason);
    return mo_dataset_fail_broken(dataset, index, message);
}
