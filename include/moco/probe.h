/* The linear probe: how well a linear classifier on an encoder's frozen features tells labelled images apart. */
#ifndef MOCO_PROBE_H
#define MOCO_PROBE_H

#include <stdint.h>
#include <moco/dataset.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/** What a probe has found; immutable. Threads: any number at once. */
typedef struct moco_probe moco_probe_t;

/**
 * Where the options come from.
 * - V1: MoCo v1 and v2 (arXiv 1911.05722): batch 256, learning rate 30, times 0.1 after 60 % and 80 % of 100 epochs;
 *   training images are cropped (8 to 100 % of the area) and flipped at random, so every epoch runs the encoder.
 * - V3: MoCo v3 (arXiv 2104.02057): batch 1024, learning rate 0.1 (ResNet) or 3 (ViT) times batch/256, a cosine over
 *   90 epochs; images as V1.
 * - CACHED: the encoder runs once over each image, through the evaluation transform; then 100 epochs over the features
 *   in memory with batch 256 and a cosine, for nine learning rates from 0.01 to 100 side by side.
 * All: SGD with momentum 0.9, no weight decay, weights from N(0, 0.01), bias 0.
 */
enum { MOCO_PROBE_V1 = 0, MOCO_PROBE_V3 = 1, MOCO_PROBE_CACHED = 2 };

enum { MOCO_PROBE_MAX_RATES = 16 };

typedef struct moco_probe_options {
    uint64_t struct_size;    /**< set by _init                                                                        */
    uint64_t seed;           /**< fixes weights, order and crops                                                      */
    double lr[16];           /**< learning rates, the first `rates` count; >0..1e6; they learn side by side on the
                                  same features, each to the bits it would have alone                                 */
    double lr_factor;        /**< of the step schedule, >0..1                                                         */
    double sgd_momentum;     /**< 0..<1                                                                               */
    double weight_decay;     /**< 0..10, on weights and bias                                                          */
    double init_std;         /**< standard deviation of the first weights, 0..10                                      */
    double crop_min_area;    /**< smallest crop of a training image, share of its area, >0..1                         */
    double crop_max_area;    /**< largest, crop_min_area..1                                                           */
    double flip_probability; /**< 0..1                                                                                */
    int32_t protocol;        /**< MOCO_PROBE_…: where the values came from; chooses the rates when `rates` is 0       */
    int32_t rates;           /**< 0..16; 0 = the protocol's own                                                       */
    int32_t lr_scaling;      /**< MOCO_LR_SCALING_…: what the rates are multiplied by                                 */
    int32_t epochs;          /**< 1..1,000,000                                                                        */
    int32_t batch_size;      /**< images a step, 1..65536; the last of an epoch may have fewer                        */
    int32_t schedule;        /**< MOCO_SCHEDULE_…, set once per epoch                                                 */
    int32_t milestone_1;     /**< epoch of the step schedule's first factor, >= 0; 0 = after 60 % of the epochs       */
    int32_t milestone_2;     /**< and of the second; 0 = after 80 %                                                   */
    int32_t cached;          /**< 1: features once, of the evaluation transform; crops and flips do not apply         */
    int32_t normalize;       /**< 1: rows of features are divided by their L2 norm                                    */
    int32_t eval_every;      /**< epochs between measurements on the test set; 0 = after the last only                */
    int32_t loader_threads;  /**< decoding threads, 1..256; 0 = one per lane                                          */
} moco_probe_options_t;

/** Write a protocol's values. @return MOCO_ERR_ARGUMENT for an unknown protocol. Since: 0.1. */
MOCO_API moco_status_t moco_probe_options_init(moco_probe_options_t *options, uint64_t struct_size, int32_t protocol);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_probe_options_set(moco_probe_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_probe_options_json(const moco_probe_options_t *options, char *text, uint64_t capacity,
                                               uint64_t *needed);

/** What a probe is doing. */
enum { MOCO_PROBE_TEST_FEATURES = 0, MOCO_PROBE_TRAIN_FEATURES = 1, MOCO_PROBE_TRAINING = 2 };

typedef struct moco_probe_report {
    uint64_t struct_size; /**< set by the library to the size it knows                                       */
    int64_t done;         /**< images of this phase; of all epochs in training                               */
    int64_t total;        /**< to come to at its end                                                         */
    double loss;          /**< training: mean of the epoch so far in nats, of the rate that has the smallest */
    double top1;          /**< percent on the test set, of the best rate; -1 where not measured just now     */
    double top5;          /**< the same                                                                      */
    int32_t phase;        /**< MOCO_PROBE_…                                                                  */
    int32_t epoch;        /**< from 0                                                                        */
    int32_t epochs;       /**< planned                                                                       */
    int32_t epoch_end;    /**< 1: this was the epoch's last step                                             */
} moco_probe_report_t;

/** Called on the calling thread after every batch. Non-zero stops the probe with MOCO_ERR_CANCELLED. */
typedef int32_t (*moco_probe_fn)(void *user, const moco_probe_report_t *report);

/**
 * Train linear classifiers on the frozen backbone and measure them. The backbone stays in evaluation mode and is
 * checked to be as before. Results depend on the seed and neither on lanes nor on loader threads.
 *
 * @param train     labelled images; those without a class are left out, broken ones too.
 * @param test      labelled images; classes are matched by name.
 * @param options   NULL for the defaults of MOCO_PROBE_CACHED.
 * @param progress  may be NULL.
 * @param out       receives the result; free with moco_probe_free.
 * @return MOCO_ERR_ARGUMENT (a data set without classes, training with fewer than two, an option out of range),
 *         MOCO_ERR_MISMATCH (a class of the test set that training does not have), MOCO_ERR_NO_DATA (fewer labelled
 *         images than a batch, no test image), MOCO_ERR_NONFINITE (every learning rate diverged), MOCO_ERR_CANCELLED.
 * Memory: features of the test set and, if `cached`, of the training set (images x features x 4 bytes); for each rate
 * two classifiers (classes x features x 8 bytes) and the logits of a batch; classes x classes x 8 bytes. Threads: as
 * the model. Since: 0.1.
 */
MOCO_API moco_status_t moco_probe(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                  const moco_probe_options_t *options, moco_probe_fn progress, void *user,
                                  moco_probe_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_probe_free(moco_probe_t *probe);

/** Of the best learning rate: highest top-1 on the test set, then lowest loss there. */
typedef struct moco_probe_result {
    uint64_t struct_size;   /**< set by the caller to sizeof(moco_probe_result_t)                   */
    uint64_t backbone_hash; /**< of the model's parameters and statistics, before and after         */
    int64_t train_images;   /**< that took part in the last epoch                                   */
    int64_t test_images;    /**< measured                                                           */
    double top1;            /**< percent of the test images                                         */
    double top5;            /**< percent; 100 with five classes or fewer                            */
    double lr;              /**< as in the options                                                  */
    double train_loss;      /**< mean of the last epoch, nats                                       */
    double test_loss;       /**< mean, nats                                                         */
    double chance;          /**< percent, 100 / classes                                             */
    int32_t classes;        /**< C, of the training set                                             */
    int32_t features;       /**< F                                                                  */
    int32_t rates;          /**< learning rates tried                                               */
    int32_t best;           /**< number of the best, from 0                                         */
} moco_probe_result_t;

/** Threads of all calls on a result: any, at once. @return MOCO_ERR_ARGUMENT for a NULL. Since: 0.1. */
MOCO_API moco_status_t moco_probe_result(const moco_probe_t *probe, moco_probe_result_t *result);

/** One learning rate of a probe. */
typedef struct moco_probe_rate {
    uint64_t struct_size; /**< set by the caller to sizeof(moco_probe_rate_t)                       */
    double lr;            /**< as in the options                                                    */
    double effective_lr;  /**< after scaling, in the first epoch                                    */
    double top1;          /**< percent; 0 if it diverged                                            */
    double top5;          /**< percent; 0 if it diverged                                            */
    double train_loss;    /**< mean of the last epoch, nats; not a number if it diverged            */
    double test_loss;     /**< mean, nats; not a number if it diverged                              */
} moco_probe_rate_t;

/** @param index  0..rates-1. Since: 0.1. */
MOCO_API moco_status_t moco_probe_rate(const moco_probe_t *probe, int32_t index, moco_probe_rate_t *rate);

/** The best classifier's answers on the test set. @param table  receives [C, C]: images of class (row) that were taken
 * for class (column). Since: 0.1. */
MOCO_API moco_status_t moco_probe_confusion(const moco_probe_t *probe, int64_t *table);

/** @return the name of class `label`, NULL out of range; valid until moco_probe_free. Since: 0.1. */
MOCO_API const char *moco_probe_class_name(const moco_probe_t *probe, int32_t label);

/** The best classifier. @param weights  receives [C, F]. @param bias  receives [C]. Either may be NULL. Since: 0.1. */
MOCO_API moco_status_t moco_probe_weights(const moco_probe_t *probe, float *weights, float *bias);

/**
 * Write backbone and best classifier as `path` (safetensors, torchvision's names: `fc.weight` [C, F] and `fc.bias`, in
 * a ViT `head.weight` and `head.bias`), through a temporary file that is synced and renamed. Metadata: kind
 * "classifier", `classes` (names as a JSON array), `normalize`. moco_model_load reads it as a model without projection
 * head.
 * @param model  that was probed. @return MOCO_ERR_MISMATCH for another one. Since: 0.1.
 */
MOCO_API moco_status_t moco_probe_save(const moco_probe_t *probe, const moco_model_t *model, const char *path);

MOCO_END_DECLS

#endif
