/* The data set handle: a listing, how its bytes become pixels, and which images turned out to be broken. Any number of
 * threads may decode at once. Called by the border, the loader and the evaluators. */
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/augment.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/json.h"
#include "util/status.h"

#define MAX_LABEL 999999
#define LISTED_BROKEN 20

/* ---- making and freeing ---- */

static uint64_t hash_names(const mo_listing_t *listing)
{
    uint64_t hash = MO_HASH_START;
    for (int64_t i = 0; i < listing->count; i++) {
        const char *name = listing->text + listing->entries[i].name;
        for (; *name != '\0'; name++)
            hash = mo_hash_add(hash, (uint8_t)*name);
        hash = mo_hash_add(hash, '\n');
    }
    return hash;
}

static moco_status_t create(const moco_dataset_options_t *options, moco_dataset_t **out)
{
    moco_dataset_t *dataset = NULL;
    const moco_status_t status = mo_calloc(1, sizeof *dataset, &dataset);
    if (status != MOCO_OK)
        return status;
    atomic_init(&dataset->references, 1);
    dataset->listing.fd = -1;
    dataset->max_pixels = options->max_pixels;
    dataset->max_bytes = options->max_bytes;
    pthread_mutex_init(&dataset->lock, NULL); /* default attributes: cannot fail */
    *out = dataset;
    return MOCO_OK;
}

/* What needs the final number of entries. */
static moco_status_t finish(moco_dataset_t *dataset)
{
    moco_status_t status = MOCO_OK;
    const size_t count = (size_t)dataset->listing.count;
    TRY(mo_calloc(count, sizeof *dataset->reasons, &dataset->reasons));
    TRY(mo_calloc(count, sizeof *dataset->warned, &dataset->warned));
    dataset->name_hash = hash_names(&dataset->listing);
cleanup:
    return status;
}

moco_status_t mo_dataset_open(const char *path, const moco_dataset_options_t *options, moco_dataset_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_dataset_t *dataset = NULL;
    TRY(create(options, &dataset));
    TRY(mo_listing_open(&dataset->listing, path, options->limit));
    TRY(finish(dataset));
    *out = dataset;
    dataset = NULL;
cleanup:
    mo_dataset_release(dataset);
    return status;
}

static moco_status_t add_numbers(mo_listing_t *listing, int64_t count, const int32_t *labels, int32_t *classes)
{
    moco_status_t status = MOCO_OK;
    *classes = 0;
    for (int64_t i = 0; i < count; i++) {
        mo_entry_t entry = {.label = labels == NULL ? -1 : labels[i]};
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

/* After `limit`, an entry's own number is no longer its index: `size` keeps it for the callback. */
static void number_entries(mo_listing_t *listing)
{
    for (int64_t i = 0; i < listing->count; i++)
        listing->entries[i].size = (uint64_t)i;
}

moco_status_t mo_dataset_from_callback(int64_t count, moco_read_fn read, void *user, const int32_t *labels,
                                       const moco_dataset_options_t *options, moco_dataset_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_dataset_t *dataset = NULL;
    int32_t classes;
    TRY(create(options, &dataset));
    dataset->listing.source = MO_SOURCE_CALLBACK;
    dataset->read = read;
    dataset->user = user;
    TRY(mo_strdup("callback", &dataset->listing.path));
    TRY(add_numbers(&dataset->listing, count, labels, &classes));
    TRY(name_numbers(&dataset->listing, classes));
    number_entries(&dataset->listing);
    mo_listing_limit(&dataset->listing, options->limit);
    TRY(finish(dataset));
    *out = dataset;
    dataset = NULL;
cleanup:
    mo_dataset_release(dataset);
    return status;
}

moco_dataset_t *mo_dataset_retain(moco_dataset_t *dataset)
{
    atomic_fetch_add_explicit(&dataset->references, 1, memory_order_relaxed);
    return dataset;
}

void mo_dataset_release(moco_dataset_t *dataset)
{
    if (dataset == NULL || atomic_fetch_sub_explicit(&dataset->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int64_t i = 0; dataset->reasons != NULL && i < dataset->listing.count; i++)
        mo_free(atomic_load_explicit(&dataset->reasons[i], memory_order_relaxed));
    for (int32_t i = 0; i < dataset->idle_count; i++)
        mo_free(dataset->idle[i].data);
    mo_free(dataset->reasons);
    mo_free(dataset->warned);
    mo_listing_free(&dataset->listing);
    pthread_mutex_destroy(&dataset->lock);
    mo_free(dataset);
}

static const char *name_of(const moco_dataset_t *dataset, int64_t index)
{
    return dataset->listing.text + dataset->listing.entries[index].name;
}

/* ---- broken images ---- */

int64_t mo_dataset_count(const moco_dataset_t *dataset)
{
    return dataset == NULL ? 0 : dataset->listing.count;
}

int32_t mo_dataset_classes(const moco_dataset_t *dataset)
{
    return dataset == NULL ? 0 : dataset->listing.class_count;
}

const char *mo_dataset_name(const moco_dataset_t *dataset, int64_t index)
{
    if (dataset == NULL || index < 0 || index >= dataset->listing.count)
        return NULL;
    return dataset->listing.text + dataset->listing.entries[index].name;
}

int32_t mo_dataset_label(const moco_dataset_t *dataset, int64_t index)
{
    if (dataset == NULL || index < 0 || index >= dataset->listing.count)
        return -1;
    return dataset->listing.entries[index].label;
}

const char *mo_dataset_class_name(const moco_dataset_t *dataset, int32_t label)
{
    if (dataset == NULL || label < 0 || label >= dataset->listing.class_count)
        return NULL;
    return dataset->listing.text + dataset->listing.classes[label];
}

uint64_t mo_dataset_name_hash(const moco_dataset_t *dataset)
{
    return dataset->name_hash;
}

int mo_dataset_is_callback(const moco_dataset_t *dataset)
{
    return dataset->listing.source == MO_SOURCE_CALLBACK;
}

int64_t mo_dataset_broken(const moco_dataset_t *dataset)
{
    return atomic_load(&dataset->broken);
}

const char *mo_dataset_broken_reason(const moco_dataset_t *dataset, int64_t index)
{
    if (index < 0 || index >= dataset->listing.count)
        return NULL;
    return atomic_load_explicit(&dataset->reasons[index], memory_order_acquire);
}

static moco_status_t fail_broken(const moco_dataset_t *dataset, int64_t index, const char *reason)
{
    return mo_fail(MOCO_ERR_IMAGE, "'%s': %s", name_of(dataset, index), reason);
}

/* `status` just failed with the bare reason as its message. */
static moco_status_t note_broken(moco_dataset_t *dataset, int64_t index, moco_status_t status)
{
    char message[MO_MESSAGE_SIZE];
    char *reason = NULL;
    mo_message_copy(message);
    if (status != MOCO_ERR_IMAGE)
        return mo_fail(status, "'%s': %s", name_of(dataset, index), message);
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
    return fail_broken(dataset, index, message);
}

/* ---- reading and decoding ---- */

static moco_status_t read_callback(moco_dataset_t *dataset, int64_t index, mo_bytes_t *bytes)
{
    const uint8_t *data = NULL;
    uint64_t size = 0;
    const int32_t answer = dataset->read(dataset->user, (int64_t)dataset->listing.entries[index].size, &data, &size);
    if (answer != 0)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: the callback returned %d", answer);
    if (data == NULL && size != 0)
        return mo_fail(MOCO_ERR_IMAGE, "unreadable: the callback gave no data");
    if (size > (uint64_t)dataset->max_bytes)
        return mo_fail(MOCO_ERR_IMAGE, "has %llu bytes; the limit is %lld", (unsigned long long)size,
                       (long long)dataset->max_bytes);
    const moco_status_t status = mo_bytes_reserve(&bytes->data, &bytes->capacity, size);
    if (status != MOCO_OK)
        return status;
    if (size > 0)
        memcpy(bytes->data, data, size);
    bytes->size = size;
    return MOCO_OK;
}

moco_status_t mo_dataset_read(moco_dataset_t *dataset, int64_t index, mo_bytes_t *bytes)
{
    const char *reason = mo_dataset_broken_reason(dataset, index);
    if (reason != NULL)
        return fail_broken(dataset, index, reason);
    const moco_status_t status = mo_dataset_is_callback(dataset)
                                     ? read_callback(dataset, index, bytes)
                                     : mo_listing_read(&dataset->listing, index, (uint64_t)dataset->max_bytes, bytes);
    return status == MOCO_OK ? MOCO_OK : note_broken(dataset, index, status);
}

moco_status_t mo_dataset_decode_bytes(moco_dataset_t *dataset, int64_t index, const mo_bytes_t *bytes,
                                      mo_pixels_t *out)
{
    int64_t warnings = 0;
    const moco_status_t status = mo_jpeg_decode(bytes->data, bytes->size, dataset->max_pixels, out, &warnings);
    if (status != MOCO_OK)
        return note_broken(dataset, index, status);
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

/* ---- as JSON ---- */

/* Those with the lowest numbers: the same whichever thread found them first. */
static json_t *broken_names(const moco_dataset_t *dataset)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < dataset->listing.count && json_array_size(list) < LISTED_BROKEN; i++) {
        const char *reason = mo_dataset_broken_reason(dataset, i);
        if (reason != NULL)
            json_array_append_new(list, json_pack("{so so}", "name", mo_json_bytes(name_of(dataset, i)),
                                                  "reason", mo_json_bytes(reason)));
    }
    return list;
}

moco_status_t mo_dataset_json(const moco_dataset_t *dataset, char *text, uint64_t capacity, uint64_t *needed)
{
    static const char *const kinds[] = {"folder", "tar", "list", "callback"};
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, dataset->name_hash);
    json_t *root = json_pack("{so ss sI si ss sI sI so}", "source", mo_json_bytes(dataset->listing.path), "kind",
                             kinds[dataset->listing.source], "count", (json_int_t)dataset->listing.count, "classes",
                             (int)dataset->listing.class_count, "name_hash", hash, "broken",
                             (json_int_t)atomic_load(&dataset->broken), "warnings",
                             (json_int_t)atomic_load(&dataset->warnings), "broken_names", broken_names(dataset));
    char *made = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (made == NULL)
        return mo_fail(MOCO_ERR_MEMORY, "no memory to describe the data set");
    const moco_status_t status = mo_text_out(made, text, capacity, needed);
    mo_free(made);
    return status;
}
