/* The dictionary of keys: a FIFO of K unit vectors, and the InfoNCE loss against it. Stands alone,
 * for hosts with their own networks; a trainer has one inside. */
#ifndef MOCO_QUEUE_H
#define MOCO_QUEUE_H

#include <stdint.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/** A queue of keys. */
typedef struct moco_queue moco_queue_t;

/** How a queue is made. */
typedef struct moco_queue_options {
    uint64_t struct_size; /**< set by _init                                */
    uint64_t seed;        /**< fixes the first content                     */
    int64_t length;       /**< K, keys held, 1..16,777,216; default 65,536 */
    int32_t dimension;    /**< D, width of a key, 1..65536; default 128    */
    int32_t reserved;     /**< 0                                           */
} moco_queue_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_queue_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_queue_options_init(moco_queue_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_queue_options_set(moco_queue_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_queue_options_json(const moco_queue_options_t *options, char *text, uint64_t capacity,
                                               uint64_t *needed);

/**
 * Create a queue filled with random unit vectors: standard normal, each key divided by its norm
 * (MoCo, arXiv 1911.05722).
 * @param options  NULL for the defaults.
 * @param device   where products run; NULL for a private default.
 * @param out      receives the queue; free with moco_queue_free.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY, and
 *         what work on a device returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_queue_create(const moco_queue_options_t *options, moco_device_t *device,
                                         moco_queue_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_queue_free(moco_queue_t *queue);

/** @return K. Since: 0.1. */
MOCO_API int64_t moco_queue_length(const moco_queue_t *queue);
/** @return D. Since: 0.1. */
MOCO_API int32_t moco_queue_dimension(const moco_queue_t *queue);
/** @return the row that the next key will overwrite, 0..K-1. Since: 0.1. */
MOCO_API int64_t moco_queue_pointer(const moco_queue_t *queue);

/**
 * Replace the oldest keys.
 * @param count  rows, >= 1; a batch may wrap past the end; beyond K only the last K rows stay.
 * @param keys   [count, D] float32, C-contiguous, each row of L2 norm 1 (checked to 1e-3).
 * @return MOCO_ERR_ARGUMENT if a row is not of unit length (its number and norm are named),
 *         MOCO_ERR_ENGINE (the device's memory could not be reached); the queue is then unchanged.
 *         `keys` is copied. Threads: one thread at a time per queue. Since: 0.1.
 */
MOCO_API moco_status_t moco_queue_enqueue(moco_queue_t *queue, int64_t count, const float *keys);

/** Copy the keys out. @param keys  [K, D] float32, row i is physical row i. @param pointer  may be
 * NULL.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_ENGINE as moco_queue_enqueue. Since: 0.1. */
MOCO_API moco_status_t moco_queue_keys(const moco_queue_t *queue, float *keys, int64_t *pointer);

/** Put keys in: the reverse of moco_queue_keys. Rows are checked as in moco_queue_enqueue. @param
 * pointer  0..K-1.
 * @return MOCO_ERR_ARGUMENT as there, and for a pointer out of range; MOCO_ERR_ENGINE as there.
 *         Since: 0.1. */
MOCO_API moco_status_t moco_queue_restore(moco_queue_t *queue, const float *keys, int64_t pointer);

/** What moco_queue_contrast computes. */
typedef struct moco_contrast_options {
    uint64_t struct_size; /**< set by _init                                                                          */
    double temperature;   /**< divides the products, 1e-3..1e3; default 0.2 (MoCo v2)                                */
    float *d_queries;     /**< NULL, or receives [count, D]: the gradient of the mean loss by the normalised queries */
} moco_contrast_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_contrast_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_contrast_options_init(moco_contrast_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_contrast_options_set(moco_contrast_options_t *options, const char *name,
                                                 const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_contrast_options_json(const moco_contrast_options_t *options, char *text,
                                                  uint64_t capacity, uint64_t *needed);

/** What moco_queue_contrast found. */
typedef struct moco_contrast_result {
    uint64_t struct_size; /**< set by the caller to sizeof(moco_contrast_result_t)   */
    double loss;          /**< mean, in nats                                         */
    double chance_loss;   /**< that of equal logits, ln(1+K)                         */
    double top1;          /**< percent of rows whose own key is the best             */
    double top5;          /**< percent of rows whose own key is among the best five  */
} moco_contrast_result_t;

/**
 * InfoNCE of queries against their own key and all K keys of the queue (MoCo, arXiv 1911.05722, eq.
 * 1): logits[n] = [<q_n,k_n>, <q_n,queue_0>, …, <q_n,queue_K-1>] / temperature, label 0; the mean
 * of the cross-entropies. The queue is read in place and not changed.
 *
 * @param count    rows, >= 1.
 * @param queries  [count, D] float32, rows of norm 1 (checked to 1e-3).
 * @param keys     [count, D] float32, rows of norm 1 (checked).
 * @param options  NULL for the defaults.
 * @param result   receives loss and accuracies.
 * @return MOCO_ERR_ARGUMENT (a row that is not of unit length is named), MOCO_ERR_VERSION (options
 *         of a newer header), MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t).
 *         Threads: one thread at a time per queue. Since: 0.1.
 */
MOCO_API moco_status_t moco_queue_contrast(moco_queue_t *queue, int64_t count, const float *queries, const float *keys,
                                           const moco_contrast_options_t *options, moco_contrast_result_t *result);

MOCO_END_DECLS

#endif
