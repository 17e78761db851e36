/* Which class each entry of a listing is of: the class of its line in a list, otherwise the first
 * folder of its name below those that all images share. Called by listing.c with the entries in
 * order. */
#define _GNU_SOURCE /* qsort_r */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/listing.h"
#include "util/alloc.h"
#include "util/status.h"

/* A part of the text, by offset: the text may move. */
typedef struct part {
    uint64_t at, length;
} part_t;

static part_t class_of(const mo_listing_t *listing, const mo_entry_t *entry)
{
    if (listing->source == MO_SOURCE_LIST)
        return entry->class_name == MO_NO_CLASS
                   ? (part_t){0}
                   : (part_t){entry->class_name, strlen(listing->text + entry->class_name)};
    const char *name = listing->text + entry->name + listing->shared_length, *slash = strchr(name, '/');
    return slash == NULL ? (part_t){0} : (part_t){(uint64_t)(name - listing->text), (uint64_t)(slash - name)};
}

static int by_part(const void *a, const void *b, void *text)
{
    const part_t *first = a, *second = b;
    const size_t shorter = first->length < second->length ? first->length : second->length;
    const int order = memcmp((char *)text + first->at, (char *)text + second->at, shorter);
    return order != 0 ? order : (first->length > second->length) - (first->length < second->length);
}

static int same_part(const mo_listing_t *listing, const part_t *a, const part_t *b)
{
    return a->length == b->length && by_part(a, b, listing->text) == 0;
}

/* Class names where they change along the listing; entries of a class mostly stand together. NULL
 * counts only. */
static size_t class_changes(const mo_listing_t *listing, part_t *changes)
{
    size_t count = 0;
    part_t before = {0};
    for (int64_t i = 0; i < listing->count; i++) {
        const part_t now = class_of(listing, &listing->entries[i]);
        if (now.length != 0 && !same_part(listing, &now, &before)) {
            if (changes != NULL)
                changes[count] = now;
            count++;
        }
        before = now;
    }
    return count;
}

static int32_t find_class(const mo_listing_t *listing, const part_t *classes, int32_t count, const part_t *wanted)
{
    for (int32_t low = 0, high = count; low < high;) {
        const int32_t middle = low + (high - low) / 2;
        const int order = by_part(wanted, &classes[middle], listing->text);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

static void label_entries(mo_listing_t *listing, const part_t *classes, int32_t count)
{
    part_t before = {0};
    int32_t label = -1;
    for (int64_t i = 0; i < listing->count; i++) {
        const part_t now = class_of(listing, &listing->entries[i]);
        if (!same_part(listing, &now, &before))
            label = now.length == 0 ? -1 : find_class(listing, classes, count, &now);
        listing->entries[i].label = label;
        before = now;
    }
}

static moco_status_t name_classes(mo_listing_t *listing, const part_t *classes, int32_t count)
{
    moco_status_t status = MOCO_OK;
    uint64_t bytes = 0;
    for (int32_t i = 0; i < count; i++)
        bytes += classes[i].length + 1;
    /* So that appending parts of the text to itself does not move it. */
    TRY(mo_reserve(&listing->text, (int64_t)(listing->text_size + bytes), &listing->text_capacity, 1));
    TRY(mo_calloc((size_t)count, sizeof *listing->classes, &listing->classes));
    for (int32_t i = 0; i < count; i++)
        TRY(mo_listing_text(listing, listing->text + classes[i].at, classes[i].length, &listing->classes[i]));
    listing->class_count = count;
cleanup:
    return status;
}

/* The distinct class names, in bytewise order. */
static moco_status_t find_classes(const mo_listing_t *listing, part_t **out, size_t *distinct)
{
    moco_status_t status = MOCO_OK;
    part_t *changes = NULL;
    const size_t count = class_changes(listing, NULL);
    *distinct = 0;
    TRY(mo_calloc(count, sizeof *changes, &changes));
    class_changes(listing, changes);
    qsort_r(changes, count, sizeof *changes, by_part, listing->text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !same_part(listing, &changes[i], &changes[*distinct - 1]))
            changes[(*distinct)++] = changes[i];
    *out = changes;
    changes = NULL;
cleanup:
    mo_free(changes);
    return status;
}

/* ---- folders that all images share ---- */

/* Bytes of the folders that all names begin with, the last slash included. Names are in bytewise
 * order, so what the first and the last share, all share. */
static uint64_t shared_folders(const mo_listing_t *listing)
{
    if (listing->source == MO_SOURCE_LIST || listing->count == 0)
        return 0;
    const char *first = listing->text + listing->entries[0].name;
    const char *last = listing->text + listing->entries[listing->count - 1].name;
    uint64_t length = 0;
    for (uint64_t i = 0; first[i] != '\0' && first[i] == last[i]; i++)
        if (first[i] == '/')
            length = i + 1;
    return length;
}

/* Of "a/b/": the bytes before the last folder. */
static uint64_t without_last_folder(const mo_listing_t *listing, uint64_t length)
{
    const char *name = listing->text + listing->entries[0].name;
    length--; /* its slash */
    while (length > 0 && name[length - 1] != '/')
        length--;
    return length;
}

/* ---- what is guessed is told ---- */

static void tell_shared(const mo_listing_t *listing)
{
    if (listing->shared_length == 0 || listing->class_count < 2)
        return;
    mo_log(MOCO_LOG_WARNING, "'%s': all images lie in '%.*s', so the classes are its %d sub-folders, '%s' and others",
           listing->path, (int)(listing->shared_length - 1), listing->text + listing->entries[0].name,
           listing->class_count, listing->text + listing->classes[0]);
}

static int is_split(const char *name)
{
    static const char *const splits[] = {"train", "training",   "val",     "valid",     "validation",
                                         "test",  "evaluation", "testing", "unlabeled", "unlabelled"};
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++)
        if (strcasecmp(name, splits[i]) == 0)
            return 1;
    return 0;
}

/* A folder too high, where the sets for training and for tests lie side by side. */
static void warn_of_splits(const mo_listing_t *listing)
{
    for (int32_t i = 0; i < listing->class_count; i++)
        if (!is_split(listing->text + listing->classes[i]))
            return;
    if (listing->class_count > 1 && listing->source != MO_SOURCE_LIST)
        mo_log(MOCO_LOG_WARNING,
               "the classes of '%s' are '%s' and '%s'%s, which are mostly parts of a data set: open one "
               "of them instead",
               listing->path, listing->text + listing->classes[0], listing->text + listing->classes[1],
               listing->class_count > 2 ? ", …" : "");
}

moco_status_t mo_listing_make_classes(mo_listing_t *listing)
{
    moco_status_t status = MOCO_OK;
    part_t *classes = NULL;
    size_t count = 0;
    listing->shared_length = shared_folders(listing);
    TRY(find_classes(listing, &classes, &count));
    if (count < 2 && listing->shared_length > 0) { /* nothing to tell apart below: the last shared folder it is */
        mo_free(classes);
        classes = NULL;
        listing->shared_length = without_last_folder(listing, listing->shared_length);
        TRY(find_classes(listing, &classes, &count));
    }
    label_entries(listing, classes, (int32_t)count);
    TRY(name_classes(listing, classes, (int32_t)count));
    tell_shared(listing);
    warn_of_splits(listing);
cleanup:
    mo_free(classes);
    return status;
}
