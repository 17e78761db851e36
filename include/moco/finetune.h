/* Fine-tuning: training all of an encoder and a linear classifier on labelled images. */
#ifndef MOCO_FINETUNE_H
#define MOCO_FINETUNE_H

#include <stdint.h>
#include <moco/dataset.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/** A fine-tuned encoder with its classifier and what they are worth; immutable. Threads: any number at once. */
typedef struct moco_finetune moco_finetune_t;

/**
 * Softmax cross entropy of a linear classifier on the backbone's features, backward through everything. Training images
 * are cropped and flipped at random; batch norm is that of its group (batch-norm group) and moves its running statistics.
 */
typedef struct moco_finetune_options {
    uint64_t struct_size;    /**< set by _init                                                                        */
    uint64_t seed;           /**< fixes the classifier's first weights, order, crops, mixes and dropped paths         */
    double lr;               /**< learning rate after warm-up, 0..1000                                                */
    double weight_decay;     /**< 0..10                                                                               */
    double sgd_momentum;     /**< of SGD, 0..<1                                                                       */
    double adam_beta1;       /**< of AdamW, 0..<1                                                                     */
    double adam_beta2;       /**< of AdamW, 0..<1                                                                     */
    double adam_epsilon;     /**< of AdamW, >0..1                                                                     */
    double label_smoothing;  /**< share of a target that is spread over all classes, 0..<1                            */
    double mixup;            /**< alpha of mixup (arXiv 1710.09412): a batch is mixed with itself in reverse order, images
                                  and targets, by a share from Beta(alpha, alpha); 0..100, 0 = none                   */
    double drop_path;        /**< probability that the last residual branch is left out for an image (arXiv 1603.09382);
                                  it grows linearly from 0 at the first one; 0..<1                                    */
    double init_std;         /**< standard deviation of the classifier's first weights, 0..10; its bias starts at 0   */
    double crop_min_area;    /**< smallest crop of a training image, share of its area, >0..1                         */
    double crop_max_area;    /**< largest, crop_min_area..1                                                           */
    double flip_probability; /**< 0..1                                                                                */
    int32_t optimizer;       /**< MOCO_OPTIMIZER_SGD or MOCO_OPTIMIZER_ADAMW: where the values came from, too         */
    int32_t lr_scaling;      /**< MOCO_LR_SCALING_…: what lr is multiplied by                                         */
    int32_t epochs;          /**< 1..1,000,000                                                                        */
    int32_t warmup_epochs;   /**< the rate rises from 0 step by step, 0..epochs                                       */
    int32_t batch_size;      /**< images a step, 2..65536; the last images of an epoch that fill none are left out    */
    int32_t bn_groups; /**< V, batch-norm groups of batch_size/V >= 2 images; changes results. All images of a
                                  group are in memory at once                                                         */
    int32_t shard;           /**< images a lane works on at a time, a divisor of batch_size/V; 0 = chosen             */
    int32_t schedule;        /**< after warm-up, step by step: MOCO_SCHEDULE_COSINE (to 0) or MOCO_SCHEDULE_CONSTANT  */
    int32_t decay_vectors;   /**< 1: weight decay also on biases, scales and shifts of norms, class token, positions  */
    int32_t resize_filter;   /**< MOCO_FILTER_…, of the crop                                                          */
    int32_t eval_every;      /**< epochs between measurements on the test set; 0 = after the last only                */
    int32_t loader_threads;  /**< decoding threads, 1..256; 0 = one per lane                                          */
} moco_finetune_options_t;

/**
 * Write the values for an optimizer.
 * - MOCO_OPTIMIZER_ADAMW: those of DeiT (arXiv 2012.12877), which MoCo v3 fine-tunes with: rate 2.5e-4 at batch 256,
 *   decay 0.05 on matrices, 100 epochs with 5 of warm-up, smoothing 0.1, mixup 0.8, drop path 0.1.
 * - MOCO_OPTIMIZER_SGD: rate 0.01 at batch 256, momentum 0.9, decay 1e-4 on everything, 100 epochs without warm-up,
 *   smoothing 0.1, neither mixup nor drop path.
 * Both: batch 128 in one group, cosine. @return MOCO_ERR_ARGUMENT for another optimizer. Since: 0.1.
 */
MOCO_API moco_status_t moco_finetune_options_init(moco_finetune_options_t *options, uint64_t struct_size,
                                                  int32_t optimizer);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_finetune_options_set(moco_finetune_options_t *options, const char *name,
                                                 const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_finetune_options_json(const moco_finetune_options_t *options, char *text,
                                                  uint64_t capacity, uint64_t *needed);

/** What fine-tuning is doing. */
enum { MOCO_FINETUNE_TRAINING = 0, MOCO_FINETUNE_MEASURING = 1 };

typedef struct moco_finetune_report {
    uint64_t struct_size; /**< set by the library to the size it knows                                      */
    int64_t done;         /**< images trained on so far, or measured                                        */
    int64_t total;        /**< to come to at the end; broken images make it fewer                           */
    int64_t step;         /**< steps so far                                                                 */
    double loss;          /**< mean of the epoch so far in nats, against smoothed and mixed targets         */
    double lr;            /**< of the last step                                                             */
    double top1;          /**< percent on the test set; -1 where not measured just now                      */
    double top5;          /**< the same                                                                     */
    int32_t phase;        /**< MOCO_FINETUNE_…                                                              */
    int32_t epoch;        /**< from 0                                                                       */
    int32_t epochs;       /**< planned                                                                      */
    int32_t epoch_end;    /**< 1: this was the epoch's last step                                            */
} moco_finetune_report_t;

/** Called on the calling thread after every step and every batch measured. Non-zero stops with MOCO_ERR_CANCELLED. */
typedef int32_t (*moco_finetune_fn)(void *user, const moco_finetune_report_t *report);

/**
 * Fine-tune a copy of the model's backbone with a new classifier in the place of its head, and measure both on the test
 * set after the last epoch. The model stays as it is; the work is done on its device. Results depend on options, data
 * and the shard size, and neither on lanes nor on loader threads.
 *
 * @param train     labelled images; those without a class are left out, broken ones too.
 * @param test      labelled images; classes are matched by name. It has no say in what is kept: the last epoch is.
 * @param options   NULL for the defaults of MOCO_OPTIMIZER_ADAMW.
 * @param progress  may be NULL.
 * @param out       receives the result; free with moco_finetune_free.
 * @return MOCO_ERR_ARGUMENT (a data set without classes, training with fewer than two, an option out of range),
 *         MOCO_ERR_MISMATCH (a class of the test set that training does not have), MOCO_ERR_NO_DATA (fewer labelled
 *         images than a batch, no test image), MOCO_ERR_NONFINITE (loss or gradient, naming the step),
 *         MOCO_ERR_CANCELLED (nothing is kept).
 * Memory: about that of a trainer of the same batch without key encoder and queue. Threads: as the model. Since: 0.1.
 */
MOCO_API moco_status_t moco_finetune(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                     const moco_finetune_options_t *options, moco_finetune_fn progress, void *user,
                                     moco_finetune_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_finetune_free(moco_finetune_t *finetune);

typedef struct moco_finetune_result {
    uint64_t struct_size; /**< set by the caller to sizeof(moco_finetune_result_t)      */
    int64_t steps;        /**< taken                                                    */
    int64_t train_images; /**< that took part in the last epoch                         */
    int64_t test_images;  /**< measured                                                 */
    double top1;          /**< percent of the test images                               */
    double top5;          /**< percent; 100 with five classes or fewer                  */
    double lr;            /**< after scaling and warm-up                                */
    double train_loss;    /**< mean of the last epoch, nats, against the targets made   */
    double test_loss;     /**< mean, nats, against the classes themselves               */
    double chance;        /**< percent, 100 / classes                                   */
    int32_t classes;      /**< C, of the training set                                   */
    int32_t features;     /**< F                                                        */
} moco_finetune_result_t;

/** Threads of all calls on a result: any, at once. @return MOCO_ERR_ARGUMENT for a NULL. Since: 0.1. */
MOCO_API moco_status_t moco_finetune_result(const moco_finetune_t *finetune, moco_finetune_result_t *result);

/** Answers on the test set. @param table  receives [C, C]: images of class (row) that were taken for class (column).
 * Since: 0.1. */
MOCO_API moco_status_t moco_finetune_confusion(const moco_finetune_t *finetune, int64_t *table);

/** @return the name of class `label`, NULL out of range; valid until moco_finetune_free. Since: 0.1. */
MOCO_API const char *moco_finetune_class_name(const moco_finetune_t *finetune, int32_t label);

/** The classifier. @param weights  receives [C, F]. @param bias  receives [C]. Either may be NULL. Since: 0.1. */
MOCO_API moco_status_t moco_finetune_weights(const moco_finetune_t *finetune, float *weights, float *bias);

/**
 * Write the fine-tuned backbone and its classifier as `path` (safetensors, torchvision's names: `fc.weight` [C, F] and
 * `fc.bias`, in a ViT `head.weight` and `head.bias`), through a temporary file that is synced and renamed. Metadata:
 * kind "classifier", `classes` (names as a JSON array). moco_model_load reads it as a model without projection head.
 * Since: 0.1.
 */
MOCO_API moco_status_t moco_finetune_save(const moco_finetune_t *finetune, const char *path);

MOCO_END_DECLS

#endif
