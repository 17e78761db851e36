/* The dictionary of keys: a FIFO of K unit vectors, and the InfoNCE loss against it. Stands alone, for hosts with their
 * own networks; a trainer has one inside. */
#ifndef MOCO_QUEUE_H
#define MOCO_QUEUE_H

#include <stdint.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/** A queue of keys. */
typedef struct moco_queue moco_queue_t;

/**
 * Create a queue filled with random unit vectors: standard normal, each key divided by its norm (MoCo, arXiv
 * 1911.05722).
 * @param length     K, keys held, 1..16,777,216.
 * @param dimension  D, width of a key, 1..65536.
 * @param seed       fixes the first content.
 * @param device     where products run; NULL for a private default. Since: 0.1.
 */
MOCO_API moco_status_t moco_queue_create(int64_t length, int32_t dimension, uint64_t seed, moco_device_t *device,
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
 * @param keys   [count, D] float32, C-contiguous, each row of L2 norm 1 (checked to 1e-3).
 * @param count  rows, >= 1; a batch may wrap past the end; beyond K only the last K rows stay.
 * @return MOCO_ERR_ARGUMENT if a row is not of unit length (its number and norm are named); the queue is then
 * unchanged. `keys` is copied. Threads: one thread at a time per queue. Since: 0.1.
 */
MOCO_API moco_status_t moco_queue_enqueue(moco_queue_t *queue, const float *keys, int64_t count);

/** Copy the keys out. @param keys  [K, D] float32, row i is physical row i. @param pointer  may be NULL. Since: 0.1. */
MOCO_API moco_status_t moco_queue_snapshot(const moco_queue_t *queue, float *keys, int64_t *pointer);

/** Put keys in: the reverse of moco_queue_snapshot. Rows are checked as in moco_queue_enqueue. @param pointer  0..K-1.
 * @return MOCO_ERR_ARGUMENT as there, and for a pointer out of range. Since: 0.1. */
MOCO_API moco_status_t moco_queue_restore(moco_queue_t *queue, const float *keys, int64_t pointer);

/**
 * InfoNCE of queries against their own key and all K keys of the queue (MoCo, arXiv 1911.05722, eq. 1):
 * logits[n] = [<q_n,k_n>, <q_n,queue_0>, …, <q_n,queue_K-1>] / temperature, label 0; the mean of the cross-entropies.
 * The queue is read in place and not changed.
 *
 * @param queries      [count, D] float32, rows of norm 1 (checked to 1e-3).
 * @param keys         [count, D] float32, rows of norm 1 (checked).
 * @param temperature  1e-3..1e3.
 * @param loss         receives the mean loss in nats; chance level is ln(1+K).
 * @param d_queries    receives [count, D], the gradient of the mean loss by the normalised queries; may be NULL.
 * @param top1, top5   receive the percentage of rows whose own key is the best, among the best five; may be NULL.
 * Since: 0.1.
 */
MOCO_API moco_status_t moco_queue_contrast(moco_queue_t *queue, const float *queries, const float *keys, int64_t count,
                                           double temperature, double *loss, float *d_queries, double *top1,
                                           double *top5);

MOCO_END_DECLS

#endif
