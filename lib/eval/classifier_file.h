/* A backbone and a linear classifier on its features in one file. Called by the linear probe and by fine-tuning. */
#ifndef MO_EVAL_CLASSIFIER_FILE_H
#define MO_EVAL_CLASSIFIER_FILE_H

#include "eval/model.h"
#include "persist/safetensors.h"

typedef struct mo_classifier {
    int32_t classes, features;
    char *const *names;          /* [C]   */
    const float *weights, *bias; /* [C,F], [C] */
} mo_classifier_t;

/* What the layer is called: "fc" in torchvision's ResNets, "head" in the usual ViTs. */
const char *mo_classifier_layer(int32_t arch);
/* Kind "classifier": the model without its head, and the classifier. The writer may already hold metadata of the
 * caller's, and keeps what is in it until it is freed. */
moco_status_t mo_classifier_write(mo_st_writer_t *writer, const moco_model_t *model, const mo_classifier_t *classifier,
                                  const char *path);

#endif
