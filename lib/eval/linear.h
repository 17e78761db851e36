/* Linear classifiers on rows of features, several learning rates side by side: softmax
 * cross-entropy by SGD with momentum. Every number is summed in one fixed order, so the bits depend
 * neither on lanes nor on which other classifiers learn beside one. Called by the linear probe. */
#ifndef MO_EVAL_LINEAR_H
#define MO_EVAL_LINEAR_H

#include <stdint.h>
#include <moco/device.h>
#include <moco/status.h>

/* H classifiers of C classes on F features; a block of one classifier follows the other. */
typedef struct mo_linear {
    moco_device_t *device; /* borrowed */
    int32_t heads, classes, features;
    int64_t batch; /* rows that one call may have at the most */
    double momentum, decay;
    int64_t step;                        /* taken                                  */
    float *weights, *bias;               /* [H,C,F], [H,C]                         */
    float *weights_buffer, *bias_buffer; /* of momentum, likewise     */
    float *packed;                       /* [batch,F], rows that an order has picked */
    float *gradient;                     /* [batch,H,C], by the logits              */
    double *losses;                      /* [batch,H]                               */
    int32_t *ranks, *best;               /* [batch,H] of the true class, from 0; the class that won */
} mo_linear_t;

/* Bias 0, weights normal with deviation `std` from (seed, MO_STREAM_PROBE_WEIGHTS), the same for
 * every classifier. */
moco_status_t mo_linear_create(moco_device_t *device, int32_t heads, int32_t classes, int32_t features, int64_t batch,
                               mo_linear_t *out);
void mo_linear_init(mo_linear_t *linear, uint64_t seed, double std);
void mo_linear_free(mo_linear_t *linear); /* safe on a zeroed struct */

/* `count` rows: the i-th is row (order == NULL ? i : order[i]) of rows[…,F] and labels. */
typedef struct mo_linear_rows {
    const float *rows;
    const int32_t *labels; /* 0 … C-1 */
    const int32_t *order;
    int64_t count; /* >= 1; of a step at most `batch` */
} mo_linear_rows_t;

/* One step of SGD on the mean loss: d = g + decay w, v = momentum v + d, w -= lr v. lr[H]. Adds the
 * summed loss of each classifier before the step to loss[H]. */
moco_status_t mo_linear_step(mo_linear_t *linear, const mo_linear_rows_t *rows, const double *lr, double *loss);

typedef struct mo_linear_score {
    int64_t first, fifth; /* rows whose class is the best, among the five best */
    double loss;          /* summed                                            */
} mo_linear_score_t;
/* Any number of rows, in pieces. scores[H] are set; confusion [C,C] (true class, winner) gets the
 * counts of classifier `head` added, NULL = none. Equal logits: the lower class first. */
moco_status_t mo_linear_score(mo_linear_t *linear, const mo_linear_rows_t *rows, mo_linear_score_t *scores,
                              int32_t head, int64_t *confusion);

#endif
