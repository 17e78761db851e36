/* The weighted kNN classifier on an index. */
#ifndef MO_EVAL_CLASSIFY_H
#define MO_EVAL_CLASSIFY_H

#include "eval/index.h"

#define MO_CLASSIFY_TOP 5

/* The public call of this name on checked arguments; queries as the host has them, count > 0,
 * labels in the index are below o->classes, which is not 0. top[count, min(5, classes)]. */
moco_status_t mo_index_classify(const moco_index_t *index, const float *queries, int64_t count,
                                const moco_classify_options_t *o, int32_t *top);

#endif
