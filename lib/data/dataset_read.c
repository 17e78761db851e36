/* From an entry of a data set to its pixels, on any number of threads at once. Buffers of read
 * bytes are kept for the next reader. */
#include "data/dataset.h"
#include "data/decode.h"
#include "util/alloc.h"
#include "util/status.h"

moco_status_t mo_dataset_read(moco_dataset_t *dataset, int64_t index, mo_bytes_t *bytes)
{
    const char *reason = mo_dataset_broken_reason(dataset, index);
    if (reason != NULL)
        return mo_dataset_fail_broken(dataset, index, reason);
    const moco_status_t status = mo_dataset_is_callback(dataset)
                                     ? mo_dataset_call(dataset, index, bytes)
                                     : mo_listing_read(&dataset->listing, index, (uint64_t)dataset->max_bytes, bytes);
    return status == MOCO_OK ? MOCO_OK : mo_dataset_note_broken(dataset, index, status);
}

moco_status_t mo_dataset_decode_bytes(moco_dataset_t *dataset, int64_t index, const mo_bytes_t *bytes, mo_pixels_t *out)
{
    int64_t warnings = 0;
    const moco_status_t status = mo_image_decode(bytes->data, bytes->size, dataset->max_pixels, out, &warnings);
    if (status != MOCO_OK)
        return mo_dataset_note_broken(dataset, index, status);
    if (warnings > 0 && atomic_exchange(&dataset->warned[index], 1) == 0) /* once, not once an epoch */
        atomic_fetch_add(&dataset->warnings, warnings);
    return MOCO_OK;
}

static mo_bytes_t take_buffer(moco_dataset_t *dataset)
{
    mo_bytes_t bytes = {0};
    pthread_mutex_lock(&dataset->lock);
    if (dataset->idle_count > 0)
        bytes = dataset->idle[--dataset->idle_count];
    pthread_mutex_unlock(&dataset->lock);
    return bytes;
}

static void give_buffer(moco_dataset_t *dataset, mo_bytes_t bytes)
{
    pthread_mutex_lock(&dataset->lock);
    const int kept = dataset->idle_count < MO_IDLE_BUFFERS;
    if (kept)
        dataset->idle[dataset->idle_count++] = bytes;
    pthread_mutex_unlock(&dataset->lock);
    if (!kept)
        mo_free(bytes.data);
}

moco_status_t mo_dataset_decode(moco_dataset_t *dataset, int64_t index, mo_pixels_t *out)
{
    moco_status_t status = MOCO_OK;
    if (index < 0 || index >= dataset->listing.count)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld; wanted 0..%lld", (long long)index,
                       (long long)dataset->listing.count - 1);
    mo_bytes_t bytes = take_buffer(dataset);
    TRY(mo_dataset_read(dataset, index, &bytes));
    TRY(mo_dataset_decode_bytes(dataset, index, &bytes, out));
cleanup:
    give_buffer(dataset, bytes);
    return status;
}
