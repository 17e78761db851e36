/* A trained linear classifier with its backbone: the result of the probe and of fine-tuning, in
 * memory and in files. */
#ifndef MO_EVAL_CLASSIFIER_H
#define MO_EVAL_CLASSIFIER_H

#include <jansson.h>
#include <moco/classifier.h>

#include "eval/linear.h"
#include "eval/model.h"

#define MO_CLASSIFIER_RATES 16     /* learning rates that may have learnt side by side                */
#define MO_CONFUSION_CLASSES 10000 /* more have no confusion table, which would take gigabytes        */

struct moco_classifier {
    moco_model_t *model; /* the backbone: a reference                                  */
    moco_classifier_result_t result;
    moco_classifier_rate_t rates[MO_CLASSIFIER_RATES];
    char **names;          /* [C] classes                                             */
    float *weights, *bias; /* [C,F], [C]                                              */
    int64_t *confusion;    /* [C,C] true class, answer; NULL = not known, from a file, or too many */
};

/* Memory for C classes of F features; names and numbers are the caller's to set. Free with _delete,
 * also if it was not filled to the end. */
moco_status_t mo_classifier_create(int32_t classes, int32_t features, moco_classifier_t **out);
void mo_classifier_delete(moco_classifier_t *classifier);

/* What `score` says of a rate; base_lr and effective_lr are the caller's. train_loss: mean of the
 * last epoch. */
moco_classifier_rate_t mo_classifier_rate(const mo_linear_score_t *score, int64_t images, double train_loss);
/* Keeps the numbers of the classifier that learnt at rate `best`, and a reference to its
 * backbone. */
moco_status_t mo_classifier_keep(moco_classifier_t *classifier, int32_t best, const float *weights, const float *bias,
                                 moco_model_t *model);

json_t *mo_classifier_names(const moco_classifier_t *classifier); /* of its classes; NULL without memory */
json_t *mo_classifier_json(const moco_classifier_t *classifier);  /* what it is; NULL without memory */

/* FNV-1a over the bits of a backbone's parameters and statistics, whatever head it has. */
moco_status_t mo_backbone_hash(const moco_model_t *model, uint64_t *hash);

/* classifier_file.c. What the layer is called: "fc" in torchvision's ResNets, "head" in the usual
 * ViTs. */
const char *mo_classifier_layer(int32_t arch);
moco_status_t mo_classifier_write(const moco_classifier_t *classifier, const char *path);
struct mo_wanted; /* of the backbone */
moco_status_t mo_classifier_read(const char *path, const struct mo_wanted *wanted, moco_device_t *device,
                                 moco_classifier_t **out);

/* How many classes the file has, and the names of the first hundred, into `out`. */
struct mo_tensor_file;
moco_status_t mo_classifier_describe(const struct mo_tensor_file *file, const char *path, json_t *out);

/* classifier_numbers.c. The numbers of a result by their names; what is not known is left out. NULL
 * without memory. */
json_t *mo_classifier_numbers(const moco_classifier_result_t *result);
/* The other way. MOCO_ERR_FORMAT names a number that none can be. */
moco_status_t mo_classifier_numbers_get(const json_t *numbers, moco_classifier_result_t *result);

#endif
