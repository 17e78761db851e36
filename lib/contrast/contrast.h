/* The contrast room: the loss against the queue, the queue itself, the momentum update, the shuffle of the keys. */
#ifndef MO_CONTRAST_CONTRAST_H
#define MO_CONTRAST_CONTRAST_H

#include <stdint.h>
#include <moco/queue.h>

#include "engine/net.h"

/* ---- InfoNCE as an operation of a network (infonce.c) ---- */
extern const mo_layer_t mo_layer_infonce;
/* What each row of the loss leaves, in this order. */
enum { MO_LOSS_VALUE = 0, MO_LOSS_RANK = 1, MO_LOSS_WIDTH = 2 };
/* queries, keys: tensors of width D, rows of unit length. The loss is a mean over `batch` rows, of which a shard holds
 * some. Returns the tensor [MO_LOSS_WIDTH] of per-row losses and ranks of the positive (0 = it won). */
int32_t mo_infonce(mo_net_t *net, int32_t queries, int32_t keys, int64_t queue_length, double temperature,
                   double batch);

/* ---- queue (queue.c) ---- */
typedef struct mo_keys {
    float *rows;      /* [length, dimension] */
    int64_t length;
    int32_t dimension;
    int64_t pointer;  /* row that the next key overwrites */
} mo_keys_t;
moco_status_t mo_keys_create(mo_keys_t *keys, int64_t length, int32_t dimension, uint64_t seed);
void mo_keys_free(mo_keys_t *keys);
void mo_keys_enqueue(mo_keys_t *keys, const float *rows, int64_t count); /* cannot fail */

/* ---- momentum (momentum.c) ---- */
/* k <- f32(k*m) + f32(q*(1-m)) over [from, to): two rounded products, one rounded sum. */
void mo_momentum_update(float *key, const float *query, int64_t count, double momentum);

/* ---- shuffle (shuffle.c) ---- */
/* Row of the batch that slot `row` of group `group` encodes, through `permutation` when it is not NULL. */
int64_t mo_member(int32_t membership, int64_t batch, int32_t groups, int32_t group, int64_t row,
                  const int32_t *permutation);

#endif
