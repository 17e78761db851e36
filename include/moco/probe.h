/* The linear probe: how well a linear classifier on an encoder's frozen features tells labelled
 * images apart. */
#ifndef MOCO_PROBE_H
#define MOCO_PROBE_H

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
 * Where the options come from.
 * - V1: MoCo v1 and v2 (arXiv 1911.05722): batch 256, learning rate 30, times 0.1 after 60 % and 80
 *   % of 100 epochs; training images are cropped (8 to 100 % of the area) and flipped at random, so
 *   every epoch runs the encoder.
 * - V3: MoCo v3 (arXiv 2104.02057): batch 1024, learning rate 0.1 (ResNet) or 3 (ViT) times
 *   batch/256, a cosine over 90 epochs; images as V1.
 * - CACHED: the encoder runs once over each image, through the evaluation transform; then 100
 *   epochs over the features in memory with batch 256 and a cosine, for nine learning rates from
 *   0.01 to 100 side by side.
 * All: SGD with momentum 0.9, no weight decay, weights from N(0, 0.01), bias 0.
 */
enum moco_probe_protocol { MOCO_PROBE_V1 = 0, MOCO_PROBE_V3 = 1, MOCO_PROBE_CACHED = 2 };

enum { MOCO_PROBE_MAX_RATES = 16 };

/** Everything that defines a probe; set by moco_probe_options_init from a protocol. */
typedef struct moco_probe_options {
    uint64_t struct_size;    /**< set by _init                                                                        */
    moco_cancel_t *cancel;   /**< NULL, or what stops the call from another thread, as `progress` does                */
    moco_classifier_fn progress; /**< may be NULL                                                                     */
    void *user;              /**< handed to `progress`                                                                */
    uint64_t seed;           /**< fixes weights, order and crops                                                      */
    int32_t protocol;        /**< MOCO_PROBE_…: where the values came from; chooses the rates when `rates` is 0       */
    int32_t cached;          /**< 1: features once, of the evaluation transform; crops and flips do not apply         */
    int32_t normalize;       /**< 1: rows of features are divided by their L2 norm                                    */
    int32_t rates;           /**< numbers in base_lr, 0..16; 0 = the protocol's own                                   */
    double base_lr[16];      /**< learning rates before lr_scaling, the first `rates` count; >0..1e6; they learn side
                                  by side on the same features, each to the bits it would have alone                  */
    int32_t lr_scaling;      /**< MOCO_LR_SCALING_…                                                                   */
    int32_t schedule;        /**< MOCO_SCHEDULE_…, set once per epoch                                                 */
    int32_t milestone_1;     /**< epoch of the step schedule's first factor, from 0; -1 = after 60 % of the epochs    */
    int32_t milestone_2;     /**< and of the second; -1 = after 80 %                                                  */
    double lr_factor;        /**< of the step schedule, >0..1                                                         */
    int32_t epochs;          /**< 1..1,000,000                                                                        */
    int32_t batch_size;      /**< images a step, 1..65536; the last of an epoch may have fewer                        */
    double sgd_momentum;     /**< 0..<1                                                                               */
    double weight_decay;     /**< 0..10, on weights and bias                                                          */
    double init_std;         /**< standard deviation of the first weights, 0..10                                      */
    double crop_min_area;    /**< smallest crop of a training image, share of its area, >0..1                         */
    double crop_max_area;    /**< largest, crop_min_area..1                                                           */
    double flip_probability; /**< 0..1                                                                                */
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

/**
 * Train linear classifiers on the frozen backbone, measure them, and keep the best: highest top-1
 * on the test set, then lowest loss there. The backbone stays in evaluation mode and is checked to
 * be as before; the classifier keeps a reference to the model. Results depend on the seed and
 * neither on lanes nor on loader threads.
 *
 * @param train    labelled images; those without a class are left out, broken ones too.
 * @param test     labelled images; classes are matched by name.
 * @param options  NULL for the defaults of MOCO_PROBE_CACHED.
 * @param out      receives the classifier; free with moco_classifier_free.
 * @return MOCO_ERR_ARGUMENT (a data set without classes, training with fewer than two, an option
 *         out of range), MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MISMATCH (a class
 *         of the test set that training does not have), MOCO_ERR_NO_DATA (fewer labelled images
 *         than a batch, no test image), MOCO_ERR_NONFINITE (every learning rate diverged, or an
 *         embedding), MOCO_ERR_IO (an image could not be read for a reason that is not the
 *         image's), MOCO_ERR_CANCELLED, MOCO_ERR_MEMORY (more than moco_memory_left), and what work
 *         on a device returns (moco_device_t). Memory: features of the test set and, if `cached`,
 *         of the training set (images x features x 4 bytes); for each rate two classifiers (classes
 *         x features x 8 bytes) and the logits of a batch; classes x classes x 8 bytes. Threads: as
 *         the model. Since: 0.1.
 */
MOCO_API moco_status_t moco_probe_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                                        const moco_probe_options_t *options, moco_classifier_t **out);

MOCO_END_DECLS

#endif
