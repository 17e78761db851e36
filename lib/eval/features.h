/* Labelled images as rows of features: what kNN and the linear probe start from. */
#ifndef MO_EVAL_FEATURES_H
#define MO_EVAL_FEATURES_H

#include <stdint.h>
#include <moco/model.h>

/* Rows of one data set in listing order, broken images left out. */
typedef struct mo_features {
    float *rows;     /* [count, width]                      */
    int32_t *labels; /* [count]; -1 = no class, if kept     */
    int64_t count;
    int32_t width;
} mo_features_t;

typedef struct mo_features_spec {
    int32_t tap;
    const int32_t *map; /* class of this data set -> label; NULL = itself      */
    int keep;           /* 1: images without a label stay, as -1; 0: left out  */
    int32_t loader_threads;
    moco_cancel_t *cancel;     /* may be NULL                                 */
    moco_progress_fn progress; /* may be NULL                                   */
    void *user;
    int64_t done_before, total; /* images of other data sets counted in progress */
} mo_features_spec_t;

moco_status_t mo_features_collect(moco_model_t *model, moco_dataset_t *dataset, const mo_features_spec_t *spec,
                                  mo_features_t *out);
void mo_features_free(mo_features_t *features); /* safe on a zeroed struct */

#endif
