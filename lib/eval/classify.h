/* The weighted kNN classifier on an index. */
#ifndef MO_EVAL_CLASSIFY_H
#define MO_EVAL_CLASSIFY_H

#include "eval/index.h"

#define MO_CLASSIFY_TOP 5

/* top[count, min(5, classes)]; queries are normalised rows; 1 <= k <= index->count; labels are in 0..classes-1. */
moco_status_t mo_index_classify(const moco_index_t *index, const float *queries, int64_t count, int64_t k,
                                double temperature, int32_t classes, int32_t *top);

#endif
