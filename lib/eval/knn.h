/* Weighted kNN accuracy of a model on labelled data sets (Wu et al., arXiv 1805.01978). */
#ifndef MO_EVAL_KNN_H
#define MO_EVAL_KNN_H

#include <moco/index.h>

moco_status_t mo_knn_accuracy(moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test, int64_t k,
                              double temperature, int32_t loader_threads, moco_progress_fn progress, void *user,
                              moco_knn_result_t *result);

#endif
