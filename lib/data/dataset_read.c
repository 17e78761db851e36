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

/* What is found out of an image once, and not once an epoch. */
static void examine(moco_dataset_t *dataset, int64_t index, const mo_bytes_t *bytes)
{
    if (!mo_dataset_mark(dataset, index, MO_MARK_EXAMINED))
        return;
    atomic_fetch_add(&dataset->examined, 1);
    if (mo_image_orientation(bytes->data, bytes->size) > 1 && mo_dataset_mark(dataset, index, MO_MARK_TURNED))
        atomic_fetch_add(&dataset->turned, 1);
}

moco_status_t mo_dataset_decode_bytes(moco_dataset_t *dataset, int64_t index, const mo_bytes_t *bytes, mo_pixels_t *out)
{
    int64_t warnings = 0;
    examine(dataset, index, bytes);
    const moco_status_t status = mo_image_decode(bytes->data, bytes->size, dataset->max_pixels, out, &warnings);
    if (status != MOCO_OK)
        return mo_dataset_note_broken(dataset, index, status);
    if (warnings > 0 && mo_dataset_mark(dataset, index, MO_MARK_WARNED))
        atomic_fetch_add(&dataset->warnings, warnings);
    return MOCO_OK;
}

static moco_status_t take_buffer(moco_dataset_t *dataset, mo_bytes_t **bytes)
{
    for (int32_t i = 0; i < MO_IDLE_BUFFERS; i++) {
        *bytes = atomic_exchange(&dataset->idle[i], NULL);
        if (*bytes != NULL)
            return MOCO_OK;
    }
    return mo_calloc(1, sizeof **bytes, bytes);
}

static void give_buffer(moco_dataset_t *dataset, mo_bytes_t *bytes)
{
    if (bytes->capacity <= MO_IDLE_BUFFER_BYTES)
        for (int32_t i = 0; i < MO_IDLE_BUFFERS; i++) {
            mo_bytes_t *none = NULL;
            if (atomic_compare_exchange_strong(&dataset->idle[i], &none, bytes))
                return;
        }
    mo_free(bytes->data);
    mo_free(bytes);
}

moco_status_t mo_dataset_decode(moco_dataset_t *dataset, int64_t index, mo_pixels_t *out)
{
    moco_status_t status = MOCO_OK;
    mo_bytes_t *bytes = NULL;
    if (index < 0 || index >= dataset->listing.count)
        return mo_fail(MOCO_ERR_ARGUMENT, "image %lld; wanted 0..%lld", (long long)index,
                       (long long)dataset->listing.count - 1);
    TRY(take_buffer(dataset, &bytes));
    TRY(mo_dataset_read(dataset, index, bytes));
    TRY(mo_dataset_decode_bytes(dataset, index, bytes, out));
cleanup:
    if (bytes != NULL)
        give_buffer(dataset, bytes);
    return status;
}
