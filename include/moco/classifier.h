/* A linear classifier with the backbone that it was trained on: what the linear probe and
 * fine-tuning give. */
#ifndef MOCO_CLASSIFIER_H
#define MOCO_CLASSIFIER_H

#include <stdint.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/**
 * Weights and bias of the classifier, the names of its classes, its backbone, and how well both do
 * on a test set. Made by moco_probe_train, moco_finetune_train or moco_classifier_load; free with
 * moco_classifier_free. Immutable. Threads: any number at once.
 */
typedef struct moco_classifier moco_classifier_t;

/* ---- while it is trained ---- */

/** What the training is doing. */
enum moco_classifier_phase {
    MOCO_CLASSIFIER_TEST_FEATURES = 0,  /**< the backbone embeds the test set                    */
    MOCO_CLASSIFIER_TRAIN_FEATURES = 1, /**< it embeds the training set (a probe that caches it) */
    MOCO_CLASSIFIER_TRAINING = 2
};

/** How far the training is. */
typedef struct moco_classifier_report {
    uint64_t struct_size; /**< set by the library to the size it knows                                            */
    int64_t done;         /**< images of this phase; in training, of all epochs                                   */
    int64_t total;        /**< images expected in it; broken images make it fewer                                 */
    int64_t step;         /**< steps so far                                                                       */
    double loss;          /**< training: mean of the epoch so far in nats, against the targets of training; of a
                               probe's rates the smallest                                                         */
    double lr;            /**< learning rate of the last step; of a probe's rates the one with that loss          */
    double top1;          /**< percent on the test set, of a probe's best rate; -1 where not measured just now    */
    double top5;          /**< the same                                                                           */
    int32_t phase;        /**< MOCO_CLASSIFIER_…                                                                  */
    int32_t epoch;        /**< from 0                                                                             */
    int32_t epochs;       /**< planned                                                                            */
    int32_t epoch_end;    /**< 1: the epoch is over, and measured if that was due                                 */
} moco_classifier_report_t;

/** Called on the calling thread after every step and every batch that is embedded. Non-zero stops
 * the call with MOCO_ERR_CANCELLED. It must not throw, longjmp or call into the objects at work. */
typedef int32_t (*moco_classifier_fn)(void *user, const moco_classifier_report_t *report);

/* ---- what was found ---- */

/** Results of training. After moco_classifier_load, a number that the file does not hold is -1. */
typedef struct moco_classifier_result {
    uint64_t struct_size;   /**< set by the caller to sizeof(moco_classifier_result_t)                             */
    uint64_t backbone_hash; /**< of the backbone's parameters and statistics; a probe's training leaves it as it was */
    int64_t steps;          /**< taken                                                                             */
    int64_t train_images;   /**< that took part in the last epoch                                                  */
    int64_t test_images;    /**< measured                                                                          */
    double top1;            /**< percent of the test images                                                        */
    double top5;            /**< percent; 100 with five classes or fewer                                           */
    double chance;          /**< percent, 100 / classes                                                            */
    double base_lr;         /**< as in the options; of a probe's rates the best                                    */
    double effective_lr;    /**< base_lr after lr_scaling: what warm-up ends at and the schedule starts from       */
    double train_loss;      /**< mean of the last epoch in nats, against the targets of training                   */
    double test_loss;       /**< mean in nats, against the classes themselves                                      */
    int32_t classes;        /**< C, of the training set                                                            */
    int32_t features;       /**< F                                                                                 */
    int32_t rates;          /**< learning rates that moco_classifier_rate tells of, 1 or more                      */
    int32_t best;           /**< number of the one that was kept, from 0                                           */
    int32_t normalize;      /**< 1: the classifier takes rows of features divided by their L2 norm; 0: as they are */
    int32_t finetuned;      /**< 1: the backbone was trained too; 0: it was frozen                                 */
} moco_classifier_result_t;

/** @return MOCO_ERR_ARGUMENT for a NULL. Since: 0.1. */
MOCO_API moco_status_t moco_classifier_result(const moco_classifier_t *classifier, moco_classifier_result_t *result);

/** Results for one learning rate. A probe may have several; fine-tuning and a loaded classifier
 * have one. */
typedef struct moco_classifier_rate {
    uint64_t struct_size; /**< set by the caller to sizeof(moco_classifier_rate_t)                      */
    double base_lr;       /**< as in the options                                                        */
    double effective_lr;  /**< after lr_scaling                                                         */
    double top1;          /**< percent of the test images; 0 if it diverged                             */
    double top5;          /**< percent; 0 if it diverged                                                */
    double train_loss;    /**< mean of the last epoch, nats; not a number if it diverged                */
    double test_loss;     /**< mean, nats; not a number if it diverged                                  */
} moco_classifier_rate_t;

/** @param index  0..rates-1 of the result.
 * @return MOCO_ERR_ARGUMENT for an index outside 0..rates - 1. Since: 0.1. */
MOCO_API moco_status_t moco_classifier_rate(const moco_classifier_t *classifier, int32_t index,
                                            moco_classifier_rate_t *rate);

/** Answers on the test set. @param table  receives [C, C]: images of class (row) that were taken
 * for class (column).
 * @return MOCO_ERR_ARGUMENT for a NULL, MOCO_ERR_NO_DATA for a classifier from a file, and for one
 *         of more than 10,000 classes, which have no such table. Since: 0.1. */
MOCO_API moco_status_t moco_classifier_confusion(const moco_classifier_t *classifier, int64_t *table);

/** @return the name of class `label`, NULL out of range; valid until moco_classifier_free.
 * Since: 0.1. */
MOCO_API const char *moco_classifier_class_name(const moco_classifier_t *classifier, int32_t label);

/** @param weights  receives [C, F]. @param bias  receives [C]. Either may be NULL.
 * @return MOCO_ERR_ARGUMENT. Since: 0.1. */
MOCO_API moco_status_t moco_classifier_weights(const moco_classifier_t *classifier, float *weights, float *bias);

/** The backbone: fine-tuned, or the very model that was probed. @param out  a reference of its own;
 * free with moco_model_free.
 * @return MOCO_ERR_ARGUMENT. Since: 0.1. */
MOCO_API moco_status_t moco_classifier_model(const moco_classifier_t *classifier, moco_model_t **out);

/** JSON: method ("probe" or "finetune"), the fields of the result (what is not known is null, the
 * hash is hexadecimal text), class_names, model (as moco_model_info). Text rule as in
 * moco_build_info. Since: 0.1. */
MOCO_API moco_status_t moco_classifier_info(const moco_classifier_t *classifier, char *text, uint64_t capacity,
                                            uint64_t *needed);

/* ---- files ---- */

/**
 * Write backbone and classifier as `path` (safetensors, torchvision's names: `fc.weight` [C, F] and
 * `fc.bias`, in a ViT `head.weight` and `head.bias`), through a temporary file that is synced and
 * renamed. Metadata: kind "classifier", `classes` (names as a JSON array), `normalize` (of a
 * probe), `result` (numbers of the result as a JSON object). moco_model_load reads it as a model
 * without projection head.
 * @return as moco_model_save; an older file of that name is then as it was. Since: 0.1.
 */
MOCO_API moco_status_t moco_classifier_save(const moco_classifier_t *classifier, const char *path);

/**
 * Read what moco_classifier_save has written. There is no confusion table, and one rate.
 * @param options  how the backbone is taken; NULL for the defaults: as it was saved.
 * @param device   where the backbone will run; NULL for a private default device.
 * @param out      receives the classifier; free with moco_classifier_free.
 * @return as moco_model_load; MOCO_ERR_FORMAT also for a file that is no classifier of this
 *         library. Since: 0.1.
 */
MOCO_API moco_status_t moco_classifier_load(const char *path, const moco_model_options_t *options,
                                            moco_device_t *device, moco_classifier_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_classifier_free(moco_classifier_t *classifier);

MOCO_END_DECLS

#endif
