/* The end of every learner's step: its numbers are mapped, loss and gradient norm are looked at,
 * and then the optimizer moves the parameters, which cannot fail. Pre-training and fine-tuning hang
 * on what else their steps change. */
#ifndef MO_TRAIN_UPDATE_H
#define MO_TRAIN_UPDATE_H

#include <stdint.h>

#include "engine/buffer.h"
#include "engine/device.h"
#include "optim/optim.h"

/* A buffer that a step needs on the host, and where it is mapped. One without memory stays NULL. */
typedef struct mo_hold {
    mo_buffer_t buffer;
    mo_access_t access;
    float **mapped;
} mo_hold_t;

/* After a failure some are mapped and some are not: _release takes both. */
moco_status_t mo_holds_map(const mo_hold_t *holds, int32_t count);
void mo_holds_release(const mo_hold_t *holds, int32_t count);

/* A key encoder, which has the first `count` of the parameters and follows them part by part. */
typedef struct mo_follower {
    mo_buffer_t at;
    float *params; /* mapped; on a GPU not */
    int64_t count; /* 0: there is none */
    double momentum;
} mo_follower_t;

/* What moves the parameters of one step. */
typedef struct mo_update {
    mo_optim_t *optim; /* its parameters, gradients and state mapped; on a GPU not */
    mo_optim_rates_t rates;
    mo_spared_fn spared; /* NULL: all are decayed */
    mo_follower_t follower;
} mo_update_t;

/* On a GPU the sums that _prepare looks at; queued, and there after mo_device_wait. */
moco_status_t mo_update_measure(const mo_update_t *update, moco_device_t *device);

/* All that can be refused: MOCO_ERR_NONFINITE names the step where loss or gradient norm is no
 * finite number. Nothing has changed yet. */
moco_status_t mo_update_prepare(const mo_update_t *update, moco_device_t *device, double loss, double *norm);
/* The lanes have run for _prepare, so that this can count on them. What a GPU does not take is told
 * by the next call that it gets. */
void mo_update_commit(mo_update_t *update, moco_device_t *device);

#endif
