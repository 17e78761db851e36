/* Fine-tuning: training all of an encoder and a linear classifier on labelled images. */
#ifndef MOCO_FINETUNE_H
#define MOCO_FINETUNE_H

#include <stdint.h>
#include <moco/cancel.h>
#include <moco/classifier.h>
#include <moco/dataset.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/**
 * Softmax cross entropy of a linear classifier on the backbone's features, backward through
 * everything. Training images are cropped and flipped at random; batch norm is that of its group
 * and moves its running statistics.
 */
typedef struct moco_finetune_options {
    uint64_t struct_size;    /**< set by _init                                                                        */
    moco_cancel_t *cancel;   /**< NULL, or what stops the call from another thread, as `progress` does                */
    moco_classifier_fn progress; /**< may be NULL                                                                     */
    void *user;              /**< handed to `progress`                                                                */
    uint64_t seed;           /**< fixes the classifier's first weights, order, crops, mixes and dropped paths         */
    int32_t optimizer;       /**< MOCO_OPTIMIZER_SGD or MOCO_OPTIMIZER_ADAMW: where the values came from, too         */
    int32_t lr_scaling;      /**< MOCO_LR_SCALING_…                                                                   */
    double base_lr;          /**< learning rate before lr_scaling, 0..1000                                            */
    int32_t schedule;        /**< after warm-up, step by step: MOCO_SCHEDULE_COSINE (to 0) or MOCO_SCHEDULE_CONSTANT  */
    int32_t warmup_epochs;   /**< the rate rises from 0 step by step, 0..epochs                                       */
    int32_t epochs;          /**< 1..1,000,000                                                                        */
    int32_t batch_size;      /**< images a step, 2..65536; the last images of an epoch that fill none are left out    */
    int32_t bn_groups;       /**< V, batch-norm groups of batch_size/V >= 2 images; changes results. All images of a
                                  group are in memory at once                                                         */
    int32_t shard;           /**< images a lane works on at a time, a divisor of batch_size/V; 0 = chosen             */
    double sgd_momentum;     /**< of SGD, 0..<1                                                                       */
    double adam_beta1;       /**< of AdamW, 0..<1                                                                     */
    double adam_beta2;       /**< of AdamW, 0..<1                                                                     */
    double adam_epsilon;     /**< of AdamW, >0..1                                                                     */
    double weight_decay;     /**< 0..10                                                                               */
    int32_t decay_vectors;   /**< 1: weight decay also on biases, scales and shifts of norms, class token, positions  */
    int32_t resize_filter;   /**< MOCO_FILTER_…, of the crop                                                          */
    double crop_min_area;    /**< smallest crop of a training image, share of its area, >0..1                         */
    double crop_max_area;    /**< largest, crop_min_area..1                                                           */
    double flip_probability; /**< 0..1                                                                                */
    double label_smoothing;  /**< share of a target that is spread over all classes, 0..<1                            */
    double mixup;            /**< alpha of mixup (arXiv 1710.09412): a batch is mixed with itself in reverse order, images
                                  and targets, by a share from Beta(alpha, alpha); 0..100, 0 = none                   */
    double drop_path;        /**< probability that the last residual branch is left out for an image (arXiv 1603.09382);
                                  it grows linearly from 0 at the first one; 0..<1                                    */
    double init_std;         /**< standard deviation of the classifier's first weights, 0..10; its bias starts at 0   */
    int32_t eval_every;      /**< epochs between measurements on the test set; 0 = after the last only                */
    int32_t loader_threads;  /**< decoding threads, 1..256; 0 = one per lane                                          */
} moco_finetune_options_t;

/**
 * Write the values for an optimizer.
 * - MOCO_OPTIMIZER_ADAMW: those of DeiT (arXiv 2012.12877), which MoCo v3 fine-tunes with: rate
 *   2.5e-4 at batch 256, decay 0.05 on matrices, 100 epochs with 5 of warm-up, smoothing 0.1, mixup
 *   0.8, drop path 0.1.
 * - MOCO_OPTIMIZER_SGD: rate 0.01 at batch 256, momentum 0.9, decay 1e-4 on everything, 100 epochs
 *   without warm-up, smoothing 0.1, neither mixup nor drop path.
 * Both: batch 128 in one group, cosine. @return MOCO_ERR_ARGUMENT for another optimizer.
 * Since: 0.1.
 */
MOCO_API moco_status_t moco_finetune_options_init(moco_finetune_options_t *options, uint64_t struct_size,
                                                  int32_t optimizer);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_finetune_options_set(moco_finetune_options_t *options, const char *name,
                                                 const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_finetune_options_json(const moco_finetune_options_t *options, char *text,
                                                  uint64_t capacity, uint64_t *needed);

/**
 * Fine-tune a copy of the model's backbone with a new classifier in the place of its head, and
 * measure both on the test set after the last epoch. The model stays as it is; the work is done on
 * its device. Results depend on options, data and the shard size, and neither on lanes nor on
 * loader threads.
 *
 * @param train    labelled images; those without a class are left out, broken ones too.
 * @param test     labelled images; classes are matched by name. The weights of the last epoch are
 * kept, whatever it shows.
 * @param options  NULL for the defaults of MOCO_OPTIMIZER_ADAMW.
 * @param out      receives the classifier with the new backbone; free with moco_classifier_free.
 * @return MOCO_ERR_ARGUMENT (a data set without classes, training with fewer than two, an option
 *         out of range), MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MISMATCH (a class
 *         of the test set that training does not have), MOCO_ERR_NO_DATA (fewer labelled images
 *         than a batch, no test image), MOCO_ERR_NONFINITE (loss, gradient or embedding, naming the
 *         step), MOCO_ERR_IO (an image could not be read for a reason that is not the image's),
 *         MOCO_ERR_CANCELLED (nothing is kept), MOCO_ERR_MEMORY_CAP or MOCO_ERR_MEMORY (more than
 *         moco_memory_left), and what work on a device returns (moco_device_t). Memory: about that
 *         of a trainer of the same batch without key encoder and queue. Threads: as the model.
 *         Since: 0.1.
 */
MOCO_API moco_status_t moco_finetune_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                           const moco_finetune_options_t *options, moco_classifier_t **out);

MOCO_END_DECLS

#endif
