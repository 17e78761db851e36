/* Matching the classes of two data sets by their names, and refusing what measures nothing. Called
 * by kNN, the linear probe and fine-tuning before anything is embedded. */
#define _GNU_SOURCE /* qsort_r */
#include "eval/class_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "util/alloc.h"
#include "util/status.h"

#define NAMED_CLASSES 3 /* in the message when classes are missing */

static int by_name(const void *a, const void *b, void *dataset)
{
    return strcmp(mo_dataset_class_name(dataset, *(const int32_t *)a),
                  mo_dataset_class_name(dataset, *(const int32_t *)b));
}

/* Numbers of the classes in order of their names. */
static moco_status_t sorted_classes(const moco_dataset_t *dataset, int32_t **out)
{
    const int32_t count = mo_dataset_classes(dataset);
    const moco_status_t status = mo_calloc((size_t)count, sizeof **out, out);
    if (status != MOCO_OK)
        return status;
    for (int32_t i = 0; i < count; i++)
        (*out)[i] = i;
    qsort_r(*out, (size_t)count, sizeof **out, by_name, (void *)dataset); /* the cast: qsort_r predates const */
    return MOCO_OK;
}

/* map[i] = -1 where class i of `to` is not among those of `from`. Both in order: one walk. */
static moco_status_t map_classes(const moco_dataset_t *from, const moco_dataset_t *to, int32_t *map)
{
    moco_status_t status = MOCO_OK;
    int32_t *left = NULL, *right = NULL, at = 0;
    TRY(sorted_classes(from, &left));
    TRY(sorted_classes(to, &right));
    for (int32_t i = 0; i < mo_dataset_classes(to); i++) {
        const char *name = mo_dataset_class_name(to, right[i]);
        while (at < mo_dataset_classes(from) && strcmp(mo_dataset_class_name(from, left[at]), name) < 0)
            at++;
        const int same = at < mo_dataset_classes(from) && strcmp(mo_dataset_class_name(from, left[at]), name) == 0;
        map[right[i]] = same ? left[at] : -1;
    }
cleanup:
    mo_free(left);
    mo_free(right);
    return status;
}

static moco_status_t check_count(const char *what, const moco_dataset_t *dataset, int32_t least)
{
    const int32_t classes = mo_dataset_classes(dataset);
    if (classes >= least)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT,
                   "the %s has %d classes%s%s%s, wanted at least %d: images in sub-folders, or labels", what, classes,
                   classes == 1 ? " ('" : "", classes == 1 ? mo_dataset_class_name(dataset, 0) : "",
                   classes == 1 ? "')" : "", least);
}

static moco_status_t refuse_missing(const char *what, const moco_dataset_t *train, const moco_dataset_t *test,
                                    const int32_t *map)
{
    char names[256] = "";
    size_t used = 0;
    int32_t missing = 0;
    for (int32_t i = 0; i < mo_dataset_classes(test); i++) {
        if (map[i] >= 0)
            continue;
        if (missing++ < NAMED_CLASSES && used + 1 < sizeof names) {
            const int length = snprintf(names + used, sizeof names - used, "%s'%.60s'", used > 0 ? ", " : "",
                                        mo_dataset_class_name(test, i));
            used += (size_t)length < sizeof names - used ? (size_t)length : sizeof names - used - 1;
        }
    }
    if (missing == 0)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_MISMATCH,
                   "the test set has %d classes that are none of the %d of the %s: %s%s; that has '%s'", missing,
                   mo_dataset_classes(train), what, names, missing > NAMED_CLASSES ? ", …" : "",
                   mo_dataset_class_name(train, 0));
}

moco_status_t mo_classes_match(const char *what, const moco_dataset_t *train, const moco_dataset_t *test, int32_t *map)
{
    moco_status_t status = MOCO_OK;
    TRY(check_count(what, train, 2));
    TRY(check_count("test set", test, 1));
    TRY(map_classes(train, test, map));
    TRY(refuse_missing(what, train, test, map));
cleanup:
    return status;
}

moco_status_t mo_classes_check(const char *what, const moco_dataset_t *train, const moco_dataset_t *test)
{
    int32_t *map = NULL;
    moco_status_t status = mo_calloc((size_t)mo_dataset_classes(test), sizeof *map, &map);
    if (status == MOCO_OK)
        status = mo_classes_match(what, train, test, map);
    mo_free(map);
    return status;
}

moco_status_t mo_classes_labelled(const moco_dataset_t *train, int64_t batch, int64_t *labelled)
{
    *labelled = 0;
    for (int64_t i = 0; i < mo_dataset_count(train); i++)
        *labelled += mo_dataset_label(train, i) >= 0;
    if (*labelled >= batch)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_NO_DATA, "the training set has %lld images with a class, a batch takes %lld",
                   (long long)*labelled, (long long)batch);
}
