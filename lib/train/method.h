/* What follows from the options about the shape of a step: how many views are queries, what a mean runs over, whether
 * the backbone runs twice. */
#ifndef MO_TRAIN_METHOD_H
#define MO_TRAIN_METHOD_H

#include <stdint.h>
#include <moco/trainer.h>

typedef struct mo_method {
    int32_t loss;           /* MOCO_LOSS_…                                                        */
    int32_t query_views;    /* views that run through the query encoder, 1 or 2                   */
    int32_t key_views;      /* views that run through the key encoder; 0 = there is no key encoder */
    int32_t first_key_view; /* the number of the first of them                                    */
    int64_t rows;           /* of the loss: query_views * B                                       */
    double mean_rows;       /* that its mean runs over: B, both halves of a symmetric loss are summed; NT-Xent 2B */
    double scale;           /* factor on the mean                                                 */
    double chance;          /* loss when all logits are equal                                     */
    int two_pass;
    int mixed;              /* groups divide both views together                                  */
    int32_t groups;         /* of the query encoder's backbone in a step                          */
} mo_method_t;

/* Options are checked. */
mo_method_t mo_method_of(const moco_trainer_options_t *options);
/* A plain ViT has no batch norm in its backbone. */
int mo_backbone_has_batchnorm(const moco_trainer_options_t *options);

#endif
