/* Whether a test set repeats the set that it is measured against: figures would then be of memory,
 * not of learning. A warning, because it may be meant. Only a few images are looked for, so it
 * costs a walk over the names and some reads. */
#include <string.h>

#include "data/dataset.h"
#include "eval/class_match.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/status.h"

#define LOOKED_AT 32 /* images of the test set     */
#define READS 64     /* pairs of files at most     */

typedef struct sample {
    int64_t entry;
    const char *key;
    uint64_t hash;
    int found;
} sample_t;

/* Folder and file name alone: "cat/1.jpg" of "data/train/cat/1.jpg". Data sets that hold the same
 * images may lie in a folder, an archive or a list. */
static const char *key_of(const char *name)
{
    int slashes = 0;
    for (const char *at = name + strlen(name); at > name; at--)
        if (at[-1] == '/' && ++slashes == 2)
            return at;
    return name;
}

static uint64_t hash_of(const char *key)
{
    uint64_t hash = MO_HASH_START;
    for (; *key != '\0'; key++)
        hash = mo_hash_add(hash, (uint8_t)*key);
    return hash;
}

static int32_t draw_samples(const moco_dataset_t *test, sample_t samples[LOOKED_AT])
{
    const int64_t count = mo_dataset_count(test);
    const int32_t drawn = count < LOOKED_AT ? (int32_t)count : LOOKED_AT;
    for (int32_t i = 0; i < drawn; i++) {
        const int64_t entry = (int64_t)((__int128)i * count / drawn);
        const char *key = key_of(mo_dataset_name(test, entry));
        samples[i] = (sample_t){.entry = entry, .key = key, .hash = hash_of(key)};
    }
    return drawn;
}

typedef struct readers {
    moco_dataset_t *train, *test;
    mo_bytes_t first, second;
    int reads;
} readers_t;

/* A failure to read is none of this check's: the image will be needed, and met, again. */
static int same_bytes(readers_t *r, int64_t in_train, int64_t in_test)
{
    if (++r->reads > READS)
        return 0;
    if (mo_listing_read(&r->train->listing, in_train, (uint64_t)r->train->max_bytes, &r->first) != MOCO_OK ||
        mo_listing_read(&r->test->listing, in_test, (uint64_t)r->test->max_bytes, &r->second) != MOCO_OK)
        return 0;
    return r->first.size == r->second.size && r->first.size > 0 &&
           memcmp(r->first.data, r->second.data, r->first.size) == 0;
}

static void look_for(readers_t *r, sample_t *samples, int32_t drawn)
{
    for (int64_t i = 0; i < mo_dataset_count(r->train) && r->reads < READS; i++) {
        const char *key = key_of(mo_dataset_name(r->train, i));
        const uint64_t hash = hash_of(key);
        for (int32_t s = 0; s < drawn; s++)
            if (!samples[s].found && samples[s].hash == hash && strcmp(samples[s].key, key) == 0)
                samples[s].found = same_bytes(r, i, samples[s].entry);
    }
}

void mo_overlap_warn(const char *what, moco_dataset_t *train, moco_dataset_t *test)
{
    sample_t samples[LOOKED_AT];
    readers_t r = {.train = train, .test = test};
    int32_t found = 0, example = 0;
    if (train == test) {
        mo_log(MOCO_LOG_WARNING, "the test set is the %s itself: its figures tell nothing of other images", what);
        return;
    }
    if (mo_dataset_is_callback(train) || mo_dataset_is_callback(test))
        return;
    const int32_t drawn = draw_samples(test, samples);
    look_for(&r, samples, drawn);
    for (int32_t s = drawn - 1; s >= 0; s--)
        if (samples[s].found) {
            found++;
            example = s;
        }
    if (found > 0)
        mo_log(MOCO_LOG_WARNING,
               "the test set repeats the %s: %d of %d images that were looked at are in both, byte by byte, such "
               "as '%s'",
               what, found, drawn, mo_dataset_name(test, samples[example].entry));
    mo_free(r.first.data);
    mo_free(r.second.data);
}
