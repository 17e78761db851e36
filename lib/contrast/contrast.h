/* The contrast module: the loss against the queue, the queue itself, the momentum update, the
 * shuffle of the keys. */
#ifndef MO_CONTRAST_CONTRAST_H
#define MO_CONTRAST_CONTRAST_H

#include <stdint.h>
#include <moco/queue.h>

#include "engine/buffer.h"
#include "engine/net.h"

/* ---- losses as operations of a network (infonce.c, ntxent.c, regression.c) ---- */
extern const mo_op_kind_t mo_kind_infonce, mo_kind_nt_xent, mo_kind_regression;
/* What each row of the loss leaves, in this order. */
enum { MO_LOSS_VALUE = 0, MO_LOSS_RANK = 1, MO_LOSS_WIDTH = 2 };
/* InfoNCE. queries, keys: tensors of width D, rows of unit length; negatives are the [count, D]
 * rows bound as MO_IN_DICTIONARY. `place`: -1, or a tensor [1] that holds, as a number, which of
 * those rows is the query's own key (v3: the keys of the batch); it is then no negative. The loss
 * is `scale` times a mean over `batch` rows, of which a shard holds some. Returns the tensor
 * [MO_LOSS_WIDTH] of per-row losses and ranks of the positive (0 = it won). */
typedef struct mo_infonce_spec {
    int32_t queries, keys, place;
    int64_t count;
    double temperature, batch, scale;
} mo_infonce_spec_t;
int32_t mo_infonce(mo_net_t *net, const mo_infonce_spec_t *spec); /* its form is the spec */
/* NT-Xent over all `rows` = 2B views of a batch, which must be one group. `embedding`: tensor of
 * width D, rows of unit length; `place`: tensor [1], number of the row, view 0 of all images before
 * view 1. The block bound as MO_IN_DICTIONARY holds rows * (D + 1) floats. The loss is `scale`
 * times the mean over all rows. */
typedef struct mo_nt_xent_form {
    int32_t place;
    int64_t rows;
    double temperature, scale;
} mo_nt_xent_form_t;
int32_t mo_nt_xent(mo_net_t *net, int32_t embedding, int32_t place, int64_t rows, double temperature, double scale);
/* Squared distance of a query from its key, rows of unit length; the rank it leaves is 0 and means
 * nothing. The loss is `scale` times a mean over `batch` rows, of which a shard holds some. */
typedef struct mo_regression_form {
    double batch, scale;
} mo_regression_form_t;
int32_t mo_regression(mo_net_t *net, int32_t queries, int32_t keys, double batch, double scale);

/* ---- queue (queue.c) ---- */
typedef struct mo_keys {
    mo_buffer_t rows; /* [length, dimension] */
    int64_t length;
    int32_t dimension;
    int64_t pointer; /* row that the next key overwrites */
} mo_keys_t;
moco_status_t mo_keys_create(mo_keys_t *keys, int64_t length, int32_t dimension, uint64_t seed, moco_device_t *device);
/* First values, where the rows lie in the caller's memory: random, of length 1. */
moco_status_t mo_keys_start(mo_keys_t *keys, uint64_t seed);
void mo_keys_free(mo_keys_t *keys);
/* Cannot fail: `mapped` is keys->rows on the host, mapped for an update. */
void mo_keys_enqueue(mo_keys_t *keys, float *mapped, const float *rows, int64_t count);
/* The same where both lie in buffers of a GPU: queued, and it fails where the device is lost. */
moco_status_t mo_keys_move_in(mo_keys_t *keys, mo_buffer_t rows, int64_t count);

/* ---- momentum (momentum.c) ---- */
/* k <- f32(k*m) + f32(q*(1-m)) over `count` numbers: two rounded products, one rounded sum. */
void mo_momentum_update(float *key, const float *query, int64_t count, double momentum);

/* ---- shuffle (shuffle.c) ---- */
/* Row of the batch that slot `row` of group `group` encodes, through `permutation` when it is not
 * NULL. */
int64_t mo_member(int32_t membership, int64_t batch, int32_t groups, int32_t group, int64_t row,
                  const int32_t *permutation);

#endif
