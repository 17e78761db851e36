/* What a trainer has learnt: all that a checkpoint holds, and nothing of what does the learning. No
 * device and no plan: training, resuming and importing begin with one, and importing needs nothing
 * else. */
#ifndef MO_TRAIN_STATE_H
#define MO_TRAIN_STATE_H

#include <stdint.h>
#include <moco/trainer.h>

#include "contrast/contrast.h"
#include "nets/encoder.h"
#include "optim/optim.h"
#include "persist/tensor_file.h"
#include "train/methods/method.h"
#include "engine/blocks.h"
#include "util/folder.h"

#define MO_COUNTER_MAX ((int64_t)1 << 48) /* no run gets there, and counting on from it cannot overflow */

typedef struct mo_state {
    moco_trainer_options_t options;
    mo_method_t method;
    int32_t shard;                          /* images of one                                                      */
    mo_encoder_t query;                     /* backbone, projection, [predictor,] normalisation                   */
    mo_encoder_t key;                       /* the same without predictor; not with NT-Xent                       */
    mo_buffer_t optimizer[MO_OPTIM_BLOCKS]; /* [query.net.params]; {0} where the optimizer has none */
    mo_keys_t queue;                        /* with the queue's loss */
    int64_t step, epoch, step_in_epoch, position; /* position in listing entries              */
    int64_t queue_seen;    /* keys ever enqueued                                                 */
    int64_t pushed;        /* images that were pushed and used, or discarded: keys the draws of the next */
    double epoch_loss_sum; /* of the epoch at work                                            */
    int64_t listing_count; /* of the data set trained on; 0 = none yet                        */
    uint64_t listing_hash;
    char *origin;       /* what a converted checkpoint came from; NULL = trained here from the start */
    mo_blocks_t blocks; /* weights, optimizer, queue, running statistics                      */
} mo_state_t;

/* Options are full; they are checked. Nets and the list of blocks, no memory. Free with _free, also
 * after a failure. */
moco_status_t mo_state_build(mo_state_t *state, const moco_trainer_options_t *options);
/* The memory, zeroed; where `device` has it, or the host's, where it is NULL. */
moco_status_t mo_state_take(mo_state_t *state, moco_device_t *device);
moco_status_t mo_state_start(mo_state_t *state); /* first values: weights, statistics, queue              */
void mo_state_free(mo_state_t *state);           /* safe on a zeroed struct                                */

/* The query encoder as a model has it: no predictor, no loss. Borrowed from the state. */
mo_encoder_t mo_state_model(const mo_state_t *state);
double mo_queue_fill(const mo_state_t *state); /* share of real keys; 0 without a queue */

/* save.c. `shard`, data set and counters are part of it; the numbering of pushed images goes on
 * behind those that steps have used or that were discarded. */
moco_status_t mo_state_save(mo_state_t *state, const mo_folder_t *folder, const char *path);
/* The keys of a file, a column each, and the pointer; `at` NULL: 0. Both are checked. */
moco_status_t mo_queue_read(const mo_file_tensor_t *keys, const mo_file_tensor_t *at, mo_keys_t *queue);
/* The options of a checkpoint of this library, without the rest of it. */
moco_status_t mo_checkpoint_options(const char *path, moco_trainer_options_t *options);
void mo_transpose(const float *from, int64_t rows, int64_t columns, float *to); /* [rows,columns] -> [columns,rows] */

#endif
