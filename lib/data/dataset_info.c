/* A data set as JSON: where it comes from, what it holds, and what was broken. And as a number that
 * tells it from others. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/json.h"
#include "util/retry.h"
#include "util/status.h"

#define LISTED_BROKEN 20

/* Those with the lowest numbers: the same whichever thread found them first. */
static json_t *broken_names(const moco_dataset_t *dataset)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < dataset->listing.count && json_array_size(list) < LISTED_BROKEN; i++) {
        const char *reason = mo_dataset_broken_reason(dataset, i);
        if (reason != NULL &&
            json_array_append_new(list, json_pack("{so so}", "name", mo_json_bytes(mo_dataset_name(dataset, i)),
                                                  "reason", mo_json_bytes(reason))) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

uint64_t mo_dataset_identity(const moco_dataset_t *dataset)
{
    const mo_listing_t *listing = &dataset->listing;
    uint64_t hash = mo_hash_add(mo_hash_add(MO_HASH_START, dataset->name_hash), (uint64_t)listing->count);
    char link[64], place[PATH_MAX];
    struct stat info;
    if (listing->source == MO_SOURCE_CALLBACK)
        return 0;
    hash = mo_hash_add(hash, (uint64_t)dataset->max_pixels); /* the limits decide which images are broken */
    hash = mo_hash_add(hash, (uint64_t)dataset->max_bytes);
    snprintf(link, sizeof link, "/proc/self/fd/%d", listing->fd); /* the whole path, wherever the process is now */
    ssize_t length = readlink(link, place, sizeof place);
    if (length < 0)
        length = snprintf(place, sizeof place, "%.4000s", listing->path);
    for (ssize_t i = 0; i < length; i++)
        hash = mo_hash_add(hash, (uint8_t)place[i]);
    if (listing->source == MO_SOURCE_TAR && fstat(listing->fd, &info) == 0) {
        hash = mo_hash_add(hash, (uint64_t)info.st_size);
        hash = mo_hash_add(hash, (uint64_t)info.st_mtim.tv_sec);
        hash = mo_hash_add(hash, (uint64_t)info.st_mtim.tv_nsec);
    }
    return hash;
}

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

/* What a file is known again by. */
static uint64_t state_of(int64_t index, const struct stat *info)
{
    uint64_t hash = mo_hash_add(MO_HASH_START, (uint64_t)index);
    hash = mo_hash_add(hash, (uint64_t)info->st_dev);
    hash = mo_hash_add(hash, (uint64_t)info->st_ino);
    hash = mo_hash_add(hash, (uint64_t)info->st_size);
    hash = mo_hash_add(hash, (uint64_t)nanoseconds(&info->st_mtim));
    return mo_hash_add(hash, (uint64_t)nanoseconds(&info->st_ctim));
}

moco_status_t mo_dataset_doubts(const moco_dataset_t *dataset, int64_t since, mo_dataset_doubt_t **list, int64_t *count)
{
    moco_status_t status = MOCO_OK;
    const mo_listing_t *listing = &dataset->listing;
    const int archive = listing->source == MO_SOURCE_TAR;
    mo_dataset_doubt_t *made = NULL;
    int64_t used = 0, capacity = 0;
    struct stat info;
    for (int64_t i = 0; i < (archive ? 1 : listing->count); i++) {
        const int failed = archive ? mo_fstat(listing->fd, &info)
                                   : mo_fstatat(listing->fd, mo_dataset_name(dataset, i), &info, 0);
        if (failed || (nanoseconds(&info.st_mtim) < since && nanoseconds(&info.st_ctim) < since))
            continue;
        TRY(mo_reserve(&made, used + 1, &capacity, sizeof *made));
        made[used++] = (mo_dataset_doubt_t){i, state_of(i, &info)};
    }
    *list = made;
    *count = used;
    made = NULL;
cleanup:
    mo_free(made);
    return status;
}

static json_t *left_out(const mo_left_out_t *left)
{
    int32_t order[MO_LEFT_OUT_KINDS];
    json_t *counts = json_object();
    int failed = 0;
    mo_left_out_order(left, order);
    for (int32_t i = 0; i < left->kind_count; i++) {
        char name[48];
        mo_left_out_name(&left->kinds[order[i]], name, sizeof name);
        failed |= json_object_set_new(counts, name, json_integer((json_int_t)left->kinds[order[i]].count));
    }
    if (left->others > 0)
        failed |= json_object_set_new(counts, "others", json_integer((json_int_t)left->others));
    if (!failed)
        return counts;
    json_decref(counts);
    return NULL;
}

/* The folders that all images share, without the last slash; NULL for none. */
static json_t *shared_folder(const mo_listing_t *listing)
{
    char text[512];
    if (listing->shared_length == 0)
        return NULL;
    const uint64_t length = listing->shared_length - 1;
    snprintf(text, sizeof text, "%.*s", (int)(length < sizeof text ? length : sizeof text - 1),
             listing->text + listing->entries[0].name);
    return mo_json_bytes(text);
}

moco_status_t mo_dataset_json(const moco_dataset_t *dataset, char *text, uint64_t capacity, uint64_t *needed)
{
    static const char *const kinds[] = {"folder", "tar", "list", "callback"};
    const mo_listing_t *listing = &dataset->listing;
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, dataset->name_hash);
    json_t *root =
        json_pack("{so ss sI si so* ss so sI sI sI sI sI sI so}", "source", mo_json_bytes(listing->path), "kind",
                  kinds[listing->source], "count", (json_int_t)listing->count, "classes", (int)listing->class_count,
                  "shared_folder", shared_folder(listing), "name_hash", hash, "left_out", left_out(&listing->left_out),
                  "left_out_images", (json_int_t)mo_left_out_images(&listing->left_out), "skipped_folders",
                  (json_int_t)listing->skipped_folders, "examined", (json_int_t)atomic_load(&dataset->examined),
                  "broken", (json_int_t)mo_dataset_broken(dataset), "warnings",
                  (json_int_t)atomic_load(&dataset->warnings), "turned", (json_int_t)atomic_load(&dataset->turned),
                  "broken_names", broken_names(dataset));
    return mo_json_text(root, text, capacity, needed);
}
