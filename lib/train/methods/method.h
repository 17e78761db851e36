/* A method is a row of a table: what its loss compares an embedding with, and what follows from
 * that for a step, for memory and for files. Adding one is a file here with its row, a line in the
 * table of method.c, a number MOCO_LOSS_… with its name, and, for a published run, a recipe. Only
 * the import of published checkpoints asks which method it is. */
#ifndef MO_TRAIN_METHODS_METHOD_H
#define MO_TRAIN_METHODS_METHOD_H

#include <stdint.h>
#include <moco/trainer.h>

#include "engine/buffer.h"
#include "engine/net.h"

struct mo_method;

/* The tensors of a loss in the query encoder's net; -1 = it has none. */
typedef struct mo_loss_tensors {
    int32_t keys;   /* [D]: the key of each query                                        */
    int32_t place;  /* [1]: the number of its row in the dictionary                      */
    int32_t result; /* [MO_LOSS_WIDTH]                                                   */
} mo_loss_tensors_t;

typedef struct mo_loss {
    const char *query_prefix, *key_prefix; /* of the encoders in checkpoints, as published; key NULL: no key encoder */
    int32_t joins_views;    /* both views go through the query encoder together and their groups hold both */
    int32_t joins_batch;    /* loss or heads see the whole batch: its groups wait for each other           */
    int32_t keeps_queue;    /* keys of earlier batches are part of the state                               */
    int32_t momentum_ahead; /* 1: the commit uses the key momentum that is scheduled for the next step    */
    /* Loss when all logits are equal; NULL: there are no negatives, so nothing can be won by
     * chance. */
    double (*chance)(const moco_trainer_options_t *options);
    /* What it needs of other options, whose ranges are checked; NULL = nothing. */
    moco_status_t (*check)(const moco_trainer_options_t *options);
    /* The loss behind `embedding` in the net, which reports its own failures. */
    void (*build)(mo_net_t *net, int32_t embedding, const moco_trainer_options_t *options,
                  const struct mo_method *method, mo_loss_tensors_t *tensors);
    /* What a query of `view` is compared with, bound as MO_IN_DICTIONARY; NULL = nothing beside its
     * key. */
    mo_buffer_t (*dictionary)(const moco_trainer_t *trainer, int32_t view);
    void (*after_commit)(moco_trainer_t *trainer); /* NULL = nothing to do; cannot fail */
} mo_loss_t;

extern const mo_loss_t mo_loss_queue, mo_loss_batch, mo_loss_nt_xent, mo_loss_regression;

/* The shape of a step, from the options: how many views are queries, what a mean runs over, whether
 * the backbone runs twice. */
typedef struct mo_method {
    const mo_loss_t *loss;
    int32_t query_views;    /* views that run through the query encoder, 1 or 2                   */
    int32_t key_views;      /* views that run through the key encoder; 0 = there is no key encoder */
    int32_t first_key_view; /* the number of the first of them                                    */
    int64_t rows;           /* of the loss: query_views * B                                       */
    double mean_rows;       /* that its mean runs over: B, both halves of a symmetric loss are summed; 2B if joined */
    double scale;           /* factor on the mean                                                 */
    double chance;          /* loss when all logits are equal; not a number without negatives     */
    int two_pass;
    int mixed;      /* groups divide both views together                                  */
    int32_t groups; /* of the query encoder's backbone in a step                          */
} mo_method_t;

const mo_loss_t *mo_loss_of(int32_t loss); /* by MOCO_LOSS_… */
/* Ranges of the options are checked. */
mo_method_t mo_method_of(const moco_trainer_options_t *options);
/* What the method needs of options that each are in range. */
moco_status_t mo_method_check(const moco_trainer_options_t *options);
/* A plain ViT has no batch norm in its backbone. */
int mo_backbone_has_batchnorm(const moco_trainer_options_t *options);

#endif
