/* Bank and queries through the evaluation transform, then the index's weighted vote; classes are matched by name. */
#include "eval/knn.h"

#include <string.h>

#include "eval/model.h"
#include "util/alloc.h"
#include "util/status.h"

#define DEFAULT_K 200
#define DEFAULT_TEMPERATURE 0.1

/* Embeddings of one data set with labels in the bank's numbering (-1 = a class the bank does not have). */
typedef struct side {
    moco_dataset_t *dataset;
    const int32_t *map; /* class of this data set -> class of the bank; NULL = itself */
    float *rows;
    int32_t *labels;
    int64_t count, done_before, total;
    int32_t width;
    moco_progress_fn progress;
    void *user;
} side_t;

static int32_t take_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    side_t *s = user;
    for (int64_t i = 0; i < count; i++) {
        int32_t label = moco_dataset_label(s->dataset, indices[i]);
        if (label >= 0 && s->map != NULL)
            label = s->map[label];
        if (label < 0 && s->map == NULL)
            continue; /* an image without class cannot vote */
        memcpy(s->rows + s->count * s->width, rows + i * s->width, (size_t)s->width * sizeof(float));
        s->labels[s->count++] = label;
    }
    if (s->progress == NULL)
        return 0;
    return s->progress(s->user, s->done_before + indices[count - 1] + 1, s->total);
}

static moco_status_t embed_side(moco_model_t *model, int32_t tap, side_t *s, int32_t loader_threads)
{
    moco_status_t status = MOCO_OK;
    size_t images = (size_t)moco_dataset_count(s->dataset);
    s->width = mo_model_width(model, tap);
    TRY(mo_calloc(images * (size_t)s->width, sizeof *s->rows, &s->rows));
    TRY(mo_calloc(images, sizeof *s->labels, &s->labels));
    TRY(mo_embed_dataset(model, tap, s->dataset, loader_threads, take_rows, s));
cleanup:
    return status;
}

static moco_status_t match_classes(moco_dataset_t *bank, moco_dataset_t *test, int32_t *map)
{
    int32_t shared = 0;
    for (int32_t i = 0; i < moco_dataset_classes(test); i++) {
        map[i] = -1;
        for (int32_t j = 0; j < moco_dataset_classes(bank) && map[i] < 0; j++)
            if (strcmp(moco_dataset_class_name(test, i), moco_dataset_class_name(bank, j)) == 0)
                map[i] = j;
        shared += map[i] >= 0;
    }
    if (shared == 0)
        return mo_fail(MOCO_ERR_MISMATCH, "bank and test share no class: the bank has '%s', the test set '%s'",
                       moco_dataset_class_name(bank, 0), moco_dataset_class_name(test, 0));
    return MOCO_OK;
}

static moco_status_t vote(moco_index_t *index, const side_t *test, int64_t k, double temperature, int32_t classes,
                          moco_knn_result_t *result)
{
    moco_status_t status = MOCO_OK;
    int32_t *top = NULL, wide = classes < 5 ? classes : 5;
    int64_t first = 0, fifth = 0;
    TRY(mo_calloc((size_t)test->count * (size_t)wide, sizeof *top, &top));
    TRY(moco_index_classify(index, test->rows, test->count, k, temperature, classes, top));
    for (int64_t i = 0; i < test->count; i++) {
        first += top[i * wide] == test->labels[i];
        for (int32_t j = 0; j < wide; j++)
            fifth += top[i * wide + j] == test->labels[i];
    }
    result->top1 = 100.0 * (double)first / (double)test->count;
    result->top5 = 100.0 * (double)fifth / (double)test->count;
cleanup:
    mo_free(top);
    return status;
}

moco_status_t mo_knn_accuracy(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test, int64_t k,
                              double temperature, int32_t loader_threads, moco_progress_fn progress, void *user,
                              moco_knn_result_t *result)
{
    moco_status_t status = MOCO_OK;
    int32_t tap = model->unit >= 0 ? MOCO_TAP_PROJECTION : MOCO_TAP_BACKBONE, *map = NULL;
    int32_t classes = moco_dataset_classes(bank);
    moco_index_t *index = NULL;
    int64_t total = moco_dataset_count(bank) + moco_dataset_count(test);
    side_t b = {.dataset = bank, .total = total, .progress = progress, .user = user};
    side_t q = {.dataset = test, .total = total, .done_before = moco_dataset_count(bank), .progress = progress,
                .user = user};
    if (k == 0)
        k = DEFAULT_K;
    if (temperature == 0)
        temperature = DEFAULT_TEMPERATURE;
    if (classes == 0 || moco_dataset_classes(test) == 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "the %s set has no classes: wanted images in sub-folders or labels",
                       classes == 0 ? "bank" : "test");
    TRY(mo_calloc((size_t)moco_dataset_classes(test), sizeof *map, &map));
    TRY(match_classes(bank, test, map));
    q.map = map;
    TRY(embed_side(model, tap, &b, loader_threads));
    TRY(embed_side(model, tap, &q, loader_threads));
    TRY(moco_index_create(b.width, model->device, &index));
    TRY(moco_index_add(index, b.rows, b.labels, b.count));
    TRY(vote(index, &q, k, temperature, classes, result));
    result->k = k < b.count ? k : b.count;
    result->bank = b.count;
    result->queries = q.count;
    result->chance = 100.0 / classes;
cleanup:
    moco_index_free(index);
    mo_free(map);
    mo_free(b.rows);
    mo_free(b.labels);
    mo_free(q.rows);
    mo_free(q.labels);
    return status;
}
