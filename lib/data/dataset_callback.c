/* Data sets whose images a callback of the host delivers: names and classes are numbers. */
#include <stdio.h>
#include <string.h>

#include "data/augment.h"
#include "data/dataset.h"
#include "util/alloc.h"
#include "util/size.h"
#include "util/status.h"

#define MAX_LABEL 999999

static moco_status_t add_numbers(mo_listing_t *listing, int64_t count, const int32_t *labels, int32_t *classes)
{
    moco_status_t status = MOCO_OK;
    *classes = 0;
    for (int64_t i = 0; i < count; i++) {
        mo_entry_t entry = {.number = i, .label = labels == NULL ? -1 : labels[i]};
        char name[24];
        if (entry.label < -1 || entry.label > MAX_LABEL)
            return mo_fail(MOCO_ERR_ARGUMENT, "label of image %lld is %d; wanted -1..%d", (long long)i, entry.label,
                           MAX_LABEL);
        if (entry.label >= *classes)
            *classes = entry.label + 1;
        TRY(mo_listing_text(listing, name, (size_t)snprintf(name, sizeof name, "%lld", (long long)i), &entry.name));
        TRY(mo_listing_add(listing, &entry));
    }
cleanup:
    return status;
}

static moco_status_t name_numbers(mo_listing_t *listing, int32_t classes)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_calloc((size_t)classes, sizeof *listing->classes, &listing->classes));
    for (int32_t i = 0; i < classes; i++) {
        char name[16];
        TRY(mo_listing_text(listing, name, (size_t)snprintf(name, sizeof name, "%d", i), &listing->classes[i]));
    }
    listing->class_count = classes;
cleanup:
    return status;
}

moco_status_t mo_dataset_from_callback(int64_t count, moco_read_fn read, void *user, const int32_t *labels,
                                       const moco_dataset_options_t *options, moco_dataset_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_dataset_t *dataset = NULL;
    int32_t classes;
    TRY(mo_dataset_create(options, &dataset));
    dataset->listing.source = MO_SOURCE_CALLBACK;
    dataset->read = read;
    dataset->user = user;
    TRY(mo_strdup("callback", &dataset->listing.path));
    TRY(add_numbers(&dataset->listing, count, labels, &classes));
    TRY(name_numbers(&dataset->listing, classes));
    mo_listing_limit(&dataset->listing, options->limit);
    TRY(mo_dataset_finish(dataset));
    *out = dataset;
    dataset = NULL;
cleanup:
    mo_dataset_release(dataset);
    return status;
}

moco_status_t mo_dataset_call(moco_dataset_t *dataset, int64_t index, mo_bytes_t *bytes)
{
    const uint8_t *data = NULL;
    uint64_t size = 0;
    const int32_t answer = dataset->read(dataset->user, dataset->listing.entries[index].number, &data, &size);
    if (answer == MOCO_ERR_CANCELLED)
        return mo_fail(MOCO_ERR_CANCELLED, "stopped by the callback");
    if (answer != 0)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: the callback returned %d", answer);
    if (data == NULL && size != 0)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: the callback gave no data");
    if (size > (uint64_t)dataset->max_bytes)
        return mo_fail(MOCO_ERR_IMAGE, "has %s; the limit is %s", mo_size(size).text,
                       mo_size((uint64_t)dataset->max_bytes).text);
    const moco_status_t status = mo_bytes_reserve(&bytes->data, &bytes->capacity, size);
    if (status != MOCO_OK)
        return status;
    if (size > 0)
        memcpy(bytes->data, data, size);
    bytes->size = size;
    return MOCO_OK;
}
