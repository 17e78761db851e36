/* Running statistics of a batch norm. Called by the commits of trainers and of fine-tuning. */
#ifndef MO_TRAIN_RUNNING_H
#define MO_TRAIN_RUNNING_H

#include "engine/buffer.h"
#include "nets/encoder.h"

/* What a step stages of an encoder's batch statistics until its commit. */
typedef struct mo_staged {
    mo_buffer_t values; /* [rows][net.stats]                                                      */
    int32_t rows;
    int32_t body_groups, head_groups; /* how many of the rows the backbone and the head fill      */
} mo_staged_t;

/* An update of all running statistics of an encoder for each of `forwards` passes, which share the
 * rows of `staged` (its values, mapped) evenly: views that go through an encoder one after the
 * other give one each. `rows`: images of a pass. first: 1 takes the first group of a pass alone, 0
 * the mean of all. */
void mo_running_commit(mo_encoder_t *encoder, const mo_staged_t *staged, const float *values, int64_t rows,
                       int32_t forwards, int first);
/* One update: running <- 0.9 running + 0.1 batch; the batch's values are the mean over groups
 * [from, to) of their means and of their unbiased variances (m/(m-1), m values per channel).
 * staged: rows [net->stats], one of each group. */
void mo_running_fold(const mo_net_t *net, const mo_bn_t *bn, const float *staged, int32_t from, int32_t to, double m,
                     float *running);

#endif
