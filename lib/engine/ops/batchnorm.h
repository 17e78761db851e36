/* What the two forms of batch norm share: the group's statistics and its synchronisations. */
#ifndef MO_ENGINE_BATCHNORM_H
#define MO_ENGINE_BATCHNORM_H

#include "engine/ops/emit_internal.h"

moco_status_t mo_norm_stats_slots(mo_plan_t *plan, const mo_op_t *op, int32_t *mean, int32_t *variance);
/* values: shard means, shard variances, then the group's mean and variance, which every shard
 * gets. */
moco_status_t mo_norm_sync_statistics(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards,
                                      float *const *values);
/* values: d_scale, d_shift of each shard; variance of the group; scale; k and c of each shard. */
moco_status_t mo_norm_sync_gradients(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards,
                                     float *const *values);

/* batchnorm_primitives.c */
moco_status_t mo_batchnorm_primitives(mo_plan_t *plan, const mo_op_t *op);
moco_status_t mo_batchnorm_primitives_backward(mo_plan_t *plan, const mo_op_t *op);

#endif
