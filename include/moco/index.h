/* Vectors for search and for the weighted k-nearest-neighbour classifier. */
#ifndef MOCO_INDEX_H
#define MOCO_INDEX_H

#include <stdint.h>
#include <moco/dataset.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/** An index: vectors to search among. */
typedef struct moco_index moco_index_t;

/**
 * Create an empty index for cosine similarity. @param dimension  1..65536. @param device  NULL for a private default.
 * Threads: one thread at a time while adding, any number at once afterwards. Since: 0.1.
 */
MOCO_API moco_status_t moco_index_create(int32_t dimension, moco_device_t *device, moco_index_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_index_free(moco_index_t *index);

/**
 * Add vectors; each is divided by its L2 norm, max(norm, 1e-12).
 * @param vectors  [count, dimension] float32, finite. @param labels  [count] class numbers >= 0, or NULL (then classify
 * is refused). Since: 0.1.
 */
MOCO_API moco_status_t moco_index_add(moco_index_t *index, const float *vectors, const int32_t *labels, int64_t count);

/** @return vectors held. Since: 0.1. */
MOCO_API int64_t moco_index_count(const moco_index_t *index);
/** @return width of a vector. Since: 0.1. */
MOCO_API int32_t moco_index_dimension(const moco_index_t *index);

/**
 * The k most similar vectors of each query, best first; equal similarities in order of their numbers.
 * @param queries  [count, dimension] float32; normalised inside. @param k  1..moco_index_count.
 * @param ids      receives [count, k] numbers in order of adding. @param similarities  receives [count, k] cosines; may
 * be NULL. Since: 0.1.
 */
MOCO_API moco_status_t moco_index_search(moco_index_t *index, const float *queries, int64_t count, int64_t k,
                                         int64_t *ids, float *similarities);

/**
 * Weighted kNN (Wu et al., arXiv 1805.01978): score(class) = sum of exp(cosine / temperature) over those of the k
 * nearest vectors that have it.
 * @param k            neighbours, 1..; more than the index holds means all of it.
 * @param temperature  1e-3..1e3. @param classes  number of classes C, labels in the index are below it.
 * @param top          receives [count, min(5, C)] class numbers, best first (equal scores: lower number first). Since:
 * 0.1.
 */
MOCO_API moco_status_t moco_index_classify(moco_index_t *index, const float *queries, int64_t count, int64_t k,
                                           double temperature, int32_t classes, int32_t *top);

/** Read vectors from a .npy file: two dimensions, float32, little-endian, C order. Since: 0.1. */
MOCO_API moco_status_t moco_index_load_npy(const char *path, moco_device_t *device, moco_index_t **out);

/** Write the normalised vectors as .npy, by temporary file, sync and rename. @return MOCO_ERR_IO. Since: 0.1. */
MOCO_API moco_status_t moco_index_save_npy(const moco_index_t *index, const char *path);

/** What moco_knn measured. */
typedef struct moco_knn_result {
    uint64_t struct_size; /**< set by the caller to sizeof(moco_knn_result_t)   */
    double top1;          /**< percent                                          */
    double top5;          /**< percent                                          */
    int64_t k;            /**< neighbours used                                  */
    int64_t bank;         /**< images in the bank (broken ones left out)        */
    int64_t queries;      /**< test images (broken ones left out), as below     */
    double chance;        /**< percent, 100 / classes                           */
} moco_knn_result_t;

/**
 * Weighted kNN accuracy of a model: bank and test images through the evaluation transform, projection embeddings
 * (backbone if the model has no head), classes matched by name. A test image without a class, or of a class that the
 * bank does not have, counts as a miss. Threads: as the model.
 * @param k               0 = 200. @param temperature  0 = 0.1. @param loader_threads  0 = one per lane.
 * @param progress        may be NULL.
 * @return MOCO_ERR_ARGUMENT if a data set has no classes, MOCO_ERR_MISMATCH if they share none. Since: 0.1.
 */
MOCO_API moco_status_t moco_knn(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test, int64_t k,
                                double temperature, int32_t loader_threads, moco_progress_fn progress, void *user,
                                moco_knn_result_t *result);

MOCO_END_DECLS

#endif
