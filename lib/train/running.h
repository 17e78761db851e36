/* Running statistics of a batch norm. Called by the commits of trainers and of fine-tuning. */
#ifndef MO_TRAIN_RUNNING_H
#define MO_TRAIN_RUNNING_H

#include "engine/net.h"

/* One update: running <- 0.9 running + 0.1 batch; the batch's values are the mean over groups [from, to) of their means
 * and of their unbiased variances (m/(m-1), m values per channel). staged: rows [net->stats], one of each group. */
void mo_running_fold(const mo_net_t *net, const mo_bn_t *bn, const float *staged, int32_t from, int32_t to, double m,
                     float *running);

#endif
