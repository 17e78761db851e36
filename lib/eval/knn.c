/* Bank and queries through the evaluation transform, then the index's weighted vote; classes are
 * matched by name. */
#include "eval/knn.h"

#include "eval/class_match.h"
#include "eval/classify.h"
#include "eval/features.h"
#include "eval/model.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/status.h"

static moco_status_t vote(moco_index_t *index, const mo_features_t *test, const moco_knn_options_t *o, int32_t classes,
                          moco_knn_result_t *result)
{
    moco_status_t status = MOCO_OK;
    const moco_classify_options_t votes = {
        .cancel = o->cancel, .temperature = o->temperature, .k = o->k, .classes = classes};
    int32_t *top = NULL, wide = classes < 5 ? classes : 5;
    int64_t first = 0, fifth = 0;
    TRY(mo_calloc((size_t)test->count * (size_t)wide, sizeof *top, &top));
    TRY(mo_index_classify(index, test->rows, test->count, &votes, top));
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

static moco_status_t tap_of(const moco_model_t *model, int32_t wanted, int32_t *tap)
{
    const int has_head = model->encoder.embedding >= 0;
    if (wanted == MOCO_KNN_TAP_PROJECTION && !has_head)
        return mo_fail(MOCO_ERR_MISMATCH, "tap is projection and the model has no projection head, wanted backbone");
    *tap = has_head && wanted != MOCO_KNN_TAP_BACKBONE ? MOCO_TAP_PROJECTION : MOCO_TAP_BACKBONE;
    return MOCO_OK;
}

/* Images without a class beside others that have one are seldom meant. */
static void warn_unlabelled(const char *what, const moco_dataset_t *dataset, const char *consequence)
{
    int64_t without = 0;
    for (int64_t i = 0; i < mo_dataset_count(dataset); i++)
        without += mo_dataset_label(dataset, i) < 0;
    if (without > 0)
        mo_log(MOCO_LOG_WARNING, "%lld of %lld images of the %s have no class and %s", (long long)without,
               (long long)mo_dataset_count(dataset), what, consequence);
}

moco_status_t mo_knn_check(moco_dataset_t *bank, moco_dataset_t *test)
{
    const moco_status_t status = mo_classes_check("bank", bank, test);
    if (status != MOCO_OK)
        return status;
    warn_unlabelled("bank", bank, "do not vote");
    warn_unlabelled("test set", test, "count as misses");
    mo_overlap_warn("bank", bank, test);
    return MOCO_OK;
}

/* Bank, its copy in the index, and queries. */
static moco_status_t check_memory(const moco_model_t *model, int32_t tap, int64_t bank, int64_t test)
{
    const uint64_t row = (uint64_t)mo_model_width(model, tap) * sizeof(float) + sizeof(int32_t);
    return mo_headroom_check(MOCO_ERR_MEMORY, "the embeddings of both sets need",
                             (2 * (uint64_t)bank + (uint64_t)test) * row, "; fewer images take less");
}

moco_status_t mo_knn_accuracy(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                              const moco_knn_options_t *o, moco_knn_result_t *result)
{
    moco_status_t status = MOCO_OK;
    int32_t *map = NULL;
    int32_t classes = mo_dataset_classes(bank);
    moco_index_t *index = NULL;
    mo_features_t b = {0}, q = {0};
    mo_features_spec_t spec = {.loader_threads = o->loader_threads,
                               .progress = o->progress,
                               .user = o->user,
                               .cancel = o->cancel,
                               .total = mo_dataset_count(bank) + mo_dataset_count(test)};
    TRY(tap_of(model, o->tap, &spec.tap));
    TRY(check_memory(model, spec.tap, mo_dataset_count(bank), mo_dataset_count(test)));
    TRY(mo_calloc((size_t)mo_dataset_classes(test), sizeof *map, &map));
    TRY(mo_classes_match("bank", bank, test, map));
    TRY(mo_features_collect(model, bank, &spec, &b)); /* an image without class cannot vote … */
    spec.map = map;
    spec.keep = 1; /* … but can be asked about */
    spec.done_before = mo_dataset_count(bank);
    TRY(mo_features_collect(model, test, &spec, &q));
    TRY(mo_index_create(b.width, model->device, &index));
    TRY(mo_index_add(index, b.rows, b.labels, b.count));
    TRY(vote(index, &q, o, classes, result));
    result->k = o->k < b.count ? o->k : b.count;
    result->bank = b.count;
    result->queries = q.count;
    result->chance = 100.0 / classes;
cleanup:
    mo_index_free(index);
    mo_free(map);
    mo_features_free(&b);
    mo_features_free(&q);
    return status;
}
