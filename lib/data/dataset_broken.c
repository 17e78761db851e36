/* Which images of a data set turned out to be broken, and why: each is remembered once, with its
 * first reason, by whichever thread met it. The log tells of it on the calling thread, which is the
 * one that has a sink. */
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
    char *none = NULL;
    if (atomic_compare_exchange_strong(&dataset->reasons[index], &none, reason)) {
        atomic_fetch_add(&dataset->broken, 1);
        reason = NULL;
    }
    mo_free(reason);
    if (mo_dataset_mark(dataset, index, MO_MARK_EXAMINED))
        atomic_fetch_add(&dataset->examined, 1);
    return mo_dataset_fail_broken(dataset, index, message);
}

int mo_dataset_mark(moco_dataset_t *dataset, int64_t index, int mark)
{
    return (atomic_fetch_or(&dataset->marks[index], (unsigned char)mark) & mark) == 0;
}

void mo_dataset_tell_broken(moco_dataset_t *dataset, int64_t index)
{
    const char *reason = mo_dataset_broken_reason(dataset, index);
    if (reason == NULL || !mo_dataset_mark(dataset, index, MO_MARK_TOLD))
        return;
    const int64_t before = atomic_fetch_add(&dataset->told, 1);
    if (before < MO_NAMED_WARNINGS)
        mo_log(MOCO_LOG_WARNING, "image '%s' is left out: %s", mo_dataset_name(dataset, index), reason);
    else if (before == MO_NAMED_WARNINGS)
        mo_log(MOCO_LOG_WARNING, "more images are left out; only the first %d are named", MO_NAMED_WARNINGS);
}

void mo_dataset_tell_turned(moco_dataset_t *dataset, int64_t index)
{
    if (atomic_exchange(&dataset->turned_told, 1) == 0)
        mo_log(MOCO_LOG_WARNING,
               "image '%s' has an EXIF orientation, which is not followed: pictures are seen as they are stored, and "
               "others may lie on their side too",
               mo_dataset_name(dataset, index));
}
