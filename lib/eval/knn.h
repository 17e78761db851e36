/* Weighted kNN accuracy of a model on labelled data sets (Wu et al., arXiv 1805.01978). */
#ifndef MO_EVAL_KNN_H
#define MO_EVAL_KNN_H

#include <moco/index.h>

#include "util/options.h"

extern const mo_option_table_t mo_knn_options; /* index_options.c */

/* What can be refused before anything is embedded, and warnings of what measures little: once for
 * each pair of data sets. */
moco_status_t mo_knn_check(moco_dataset_t *bank, moco_dataset_t *test);
/* The public call moco_knn_measure on checked options, without the check. */
moco_status_t mo_knn_accuracy(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                              const moco_knn_options_t *options, moco_knn_result_t *result);

#endif
