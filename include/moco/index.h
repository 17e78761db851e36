/* Vectors for search and for the weighted k-nearest-neighbour classifier. */
#ifndef MOCO_INDEX_H
#define MOCO_INDEX_H

#include <stdint.h>
#include <moco/cancel.h>
#include <moco/dataset.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/** An index: vectors to search among. */
typedef struct moco_index moco_index_t;

/** How an index is made. */
typedef struct moco_index_options {
    uint64_t struct_size; /**< set by _init                                                            */
    int64_t capacity;     /**< vectors to take memory for at once, 0..2^40; 0 = it grows as they come  */
} moco_index_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_index_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_index_options_init(moco_index_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_index_options_set(moco_index_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_index_options_json(const moco_index_options_t *options, char *text, uint64_t capacity,
                                               uint64_t *needed);

/**
 * Create an empty index for cosine similarity.
 * @param dimension  width of a vector, 1..65536.
 * @param options    NULL for the defaults.
 * @param device     NULL for a private default.
 * @param out        receives the index; free with moco_index_free.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY, and
 *         what work on a device returns (moco_device_t). Threads: one thread at a time while
 *         adding, any number at once afterwards. Since: 0.1.
 */
MOCO_API moco_status_t moco_index_create(int32_t dimension, const moco_index_options_t *options, moco_device_t *device,
                                         moco_index_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_index_free(moco_index_t *index);

/**
 * Add vectors; each is divided by its L2 norm, max(norm, 1e-12).
 * @param vectors  [count, dimension] float32, finite.
 * @param labels   [count] class numbers >= 0, or NULL (then classify is refused).
 * @return MOCO_ERR_ARGUMENT (a number that is not finite, a negative label: the row is named),
 *         MOCO_ERR_MEMORY; nothing is added then. Since: 0.1.
 */
MOCO_API moco_status_t moco_index_add(moco_index_t *index, int64_t count, const float *vectors, const int32_t *labels);

/** @return vectors held. Since: 0.1. */
MOCO_API int64_t moco_index_count(const moco_index_t *index);
/** @return width of a vector. Since: 0.1. */
MOCO_API int32_t moco_index_dimension(const moco_index_t *index);

/** How moco_index_search searches. */
typedef struct moco_search_options {
    uint64_t struct_size;  /**< set by _init                                             */
    moco_cancel_t *cancel; /**< NULL, or what stops the call from another thread         */
    int64_t k;             /**< neighbours of each query, 1..moco_index_count; default 1 */
} moco_search_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_search_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_search_options_init(moco_search_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_search_options_set(moco_search_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_search_options_json(const moco_search_options_t *options, char *text, uint64_t capacity,
                                                uint64_t *needed);

/**
 * The k most similar vectors of each query, best first; equal similarities in order of their
 * numbers.
 * @param count         queries, >= 0.
 * @param queries       [count, dimension] float32; normalised inside.
 * @param options       NULL for the defaults.
 * @param ids           receives [count, k] numbers in order of adding.
 * @param similarities  receives [count, k] cosines; may be NULL.
 * @return MOCO_ERR_ARGUMENT (k, or a number that is not finite), MOCO_ERR_VERSION (options of a
 *         newer header), MOCO_ERR_CANCELLED, MOCO_ERR_MEMORY, and what work on a device returns
 *         (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_index_search(moco_index_t *index, int64_t count, const float *queries,
                                         const moco_search_options_t *options, int64_t *ids, float *similarities);

/** How moco_index_classify votes. */
typedef struct moco_classify_options {
    uint64_t struct_size;  /**< set by _init                                                                      */
    moco_cancel_t *cancel; /**< NULL, or what stops the call from another thread                                  */
    double temperature;    /**< divides the cosines, 1e-3..1e3; default 0.1                                       */
    int64_t k;             /**< neighbours that vote, >= 1; more than the index holds means all; default 200      */
    int32_t classes;       /**< C, more than the largest label; 0 = one more than the largest label               */
    int32_t reserved;      /**< 0                                                                                 */
} moco_classify_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_classify_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_classify_options_init(moco_classify_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_classify_options_set(moco_classify_options_t *options, const char *name,
                                                 const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_classify_options_json(const moco_classify_options_t *options, char *text,
                                                  uint64_t capacity, uint64_t *needed);

/**
 * Weighted kNN (Wu et al., arXiv 1805.01978): score(class) = sum of exp(cosine / temperature) over
 * those of the k nearest vectors that have it.
 * @param queries  [count, dimension] float32; normalised inside.
 * @param options  NULL for the defaults.
 * @param top      receives [count, min(5, C)] class numbers, best first (equal scores: lower number
 * first).
 * @return MOCO_ERR_STATE if a vector of the index has no label, MOCO_ERR_NO_DATA if it holds none,
 *         MOCO_ERR_ARGUMENT (an option, or a number that is not finite), MOCO_ERR_VERSION (options
 *         of a newer header), MOCO_ERR_CANCELLED, MOCO_ERR_MEMORY, and what work on a device
 *         returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_index_classify(moco_index_t *index, int64_t count, const float *queries,
                                           const moco_classify_options_t *options, int32_t *top);

/** Read vectors from a .npy file: two dimensions, float32, little-endian, C order. @param options
 * NULL for the defaults.
 * @return MOCO_ERR_IO, MOCO_ERR_FORMAT (damaged, or no such array), MOCO_ERR_ARGUMENT (an option,
 *         or a number that is not finite), MOCO_ERR_VERSION (a newer .npy, or options of a newer
 *         header), MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_index_load_npy(const char *path, const moco_index_options_t *options,
                                           moco_device_t *device, moco_index_t **out);

/** Write the normalised vectors as .npy, by temporary file, sync and rename. Where `path` holds the
 * rows of moco_model_embed_to_npy and the vectors are others, what lies beside it (`.names.txt`,
 * `.skipped.txt`, `.embed.json`) is removed after that.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_IO, MOCO_ERR_EXISTS (a file of another kind is there),
 *         MOCO_ERR_VERSION (the record of embeddings beside it is of a newer library),
 *         MOCO_ERR_MEMORY; an older file of that name is then as it was. Since: 0.1. */
MOCO_API moco_status_t moco_index_save_npy(const moco_index_t *index, const char *path);

/** Where kNN takes its embeddings. AUTO: behind the projection head, where the model has one. */
enum moco_knn_tap { MOCO_KNN_TAP_AUTO = 0, MOCO_KNN_TAP_BACKBONE = 1, MOCO_KNN_TAP_PROJECTION = 2 };

/** How moco_knn_measure measures. */
typedef struct moco_knn_options {
    uint64_t struct_size;      /**< set by _init                                                                  */
    moco_cancel_t *cancel;     /**< NULL, or what stops the call from another thread                              */
    moco_progress_fn progress; /**< NULL, or is told how many images of both sets are embedded                    */
    void *user;                /**< handed to `progress`                                                          */
    double temperature;        /**< divides the cosines, 1e-3..1e3; default 0.1                                   */
    int64_t k;                 /**< neighbours that vote, >= 1; more than the bank holds means all; default 200   */
    int32_t loader_threads;    /**< decoding threads, 1..256; 0 = one per lane                                    */
    int32_t tap;               /**< MOCO_KNN_TAP_…: where embeddings are taken; default AUTO                      */
} moco_knn_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_knn_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_knn_options_init(moco_knn_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_knn_options_set(moco_knn_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_knn_options_json(const moco_knn_options_t *options, char *text, uint64_t capacity,
                                             uint64_t *needed);

/** What moco_knn_measure measured. */
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
 * Weighted kNN accuracy of a model: bank and test images through the evaluation transform,
 * embeddings at the tap of the options, classes matched by name. A test image
 * without a class counts as a miss. The log warns of such images, and of a test set that repeats
 * the bank.
 * @param bank     labelled images that vote.
 * @param test     labelled images that are asked about.
 * @param options  NULL for the defaults.
 * @return MOCO_ERR_ARGUMENT if the bank has fewer than two classes or the test set has none, or for
 *         an option out of range, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MISMATCH
 *         if the test set has a class that the bank does not have, or the model no head for the
 *         tap, MOCO_ERR_NO_DATA if no image of a set was good, MOCO_ERR_NONFINITE (an embedding),
 *         MOCO_ERR_IO (an image could not be read for a reason that is not the image's),
 *         MOCO_ERR_CANCELLED, MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t).
 *         Threads: as the model. Since: 0.1.
 */
MOCO_API moco_status_t moco_knn_measure(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                                        const moco_knn_options_t *options, moco_knn_result_t *result);

MOCO_END_DECLS

#endif
