/* A data set as JSON: where it comes from, what it holds, and what was broken. */
#include <inttypes.h>
#include <stdio.h>

#include "data/dataset.h"
#include "util/json.h"

#define LISTED_BROKEN 20

/* Those with the lowest numbers: the same whichever thread found them first. */
static json_t *broken_names(const moco_dataset_t *dataset)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < dataset->listing.count && json_array_size(list) < LISTED_BROKEN; i++) {
        const char *reason = mo_dataset_broken_reason(dataset, i);
        if (reason != NULL)
            json_array_append_new(list, json_pack("{so so}", "name", mo_json_bytes(mo_dataset_name(dataset, i)),
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
                             (json_int_t)mo_dataset_broken(dataset), "warnings",
                             (json_int_t)atomic_load(&dataset->warnings), "broken_names", broken_names(dataset));
    return mo_json_text(root, text, capacity, needed);
}
