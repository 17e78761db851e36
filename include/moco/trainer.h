/* A trainer: a query encoder that learns, the key encoder that follows it, the queue, and the
 * optimizer. */
#ifndef MOCO_TRAINER_H
#define MOCO_TRAINER_H

#include <stdint.h>
#include <moco/cancel.h>
#include <moco/dataset.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/model.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/** A trainer: networks, queue, optimizer and counters of one run. */
typedef struct moco_trainer moco_trainer_t;

/** Published sets of options: docs/options.md. */
enum moco_recipe {
    MOCO_RECIPE_V1 = 0,
    MOCO_RECIPE_V2 = 1,
    MOCO_RECIPE_CIFAR = 2,
    MOCO_RECIPE_V3 = 3, /**< ResNet-50, 100 epochs */
    MOCO_RECIPE_SIMCLR = 4, /**< the paper's values      */
    MOCO_RECIPE_V3_VIT = 5, /**< ViT-S/16, 300 epochs  */
    MOCO_RECIPE_BYOL = 6,   /**< ResNet-50, 300 epochs */
    MOCO_RECIPE_SIMCLR_CODE = 7 /**< SimCLR's published code where it differs from the paper */
};

/* Network. */
/** Encoders. */
enum moco_arch {
    MOCO_ARCH_RECIPE = -1, /**< moco_trainer_options_init: the one that the recipe was published with */
    MOCO_ARCH_RESNET18 = 0,
    MOCO_ARCH_RESNET34 = 1,
    MOCO_ARCH_RESNET50 = 2,
    MOCO_ARCH_RESNET101 = 3,
    MOCO_ARCH_RESNET152 = 4,
    MOCO_ARCH_VIT_SMALL = 5, /**< 12 heads of width 32 */
    MOCO_ARCH_VIT_BASE = 6,
    MOCO_ARCH_VIT_LARGE = 7,
    MOCO_ARCH_VIT_HUGE = 8,
    MOCO_ARCH_VIT_CONV_SMALL = 9, /**< stem of four 3x3 convolutions, 11 blocks */
    MOCO_ARCH_VIT_CONV_BASE = 10
};
/** How a ResNet begins: IMAGENET with a 7x7 convolution and a pooling, CIFAR with a 3x3
 * convolution. */
enum moco_stem { MOCO_STEM_IMAGENET = 0, MOCO_STEM_CIFAR = 1 };
/** The normalisation in a ViT. */
enum moco_vit_norm { MOCO_VIT_NORM_LAYER = 0, MOCO_VIT_NORM_BATCH = 1 };

/* Method. */
/** Negatives of a query: QUEUE the keys of the queue; BATCH the other images' keys of the other
 * view (v3); NT_XENT all other views of the batch, with gradients through both (SimCLR; no key
 * encoder); REGRESSION none: the distance from the key alone (BYOL). */
enum moco_loss { MOCO_LOSS_QUEUE = 0, MOCO_LOSS_BATCH = 1, MOCO_LOSS_NT_XENT = 2, MOCO_LOSS_REGRESSION = 3 };
/** Factor on the mean loss: 1, 2 (SimCLR's published code), 2 temperature (v3). */
enum moco_loss_scale { MOCO_LOSS_SCALE_ONE = 0, MOCO_LOSS_SCALE_TWO = 1, MOCO_LOSS_SCALE_2T = 2 };
/** Whether the key momentum stays, or rises to 1 along half a cosine. */
enum moco_momentum_schedule { MOCO_MOMENTUM_CONSTANT = 0, MOCO_MOMENTUM_COSINE = 1 };
/** How whole-batch losses run: ONE_PASS keeps the activations of the whole batch; TWO_PASS embeds
 * all shards, then runs the heads, then backward shard by shard with its forward again. AUTO: two
 * passes where no batch norm of the backbone crosses shards. */
enum moco_execution { MOCO_EXECUTION_AUTO = 0, MOCO_EXECUTION_ONE_PASS = 1, MOCO_EXECUTION_TWO_PASS = 2 };
/** Projection heads; docs/architecture.md lists their layers. */
enum moco_head {
    MOCO_HEAD_LINEAR = 0,
    MOCO_HEAD_MLP = 1,
    MOCO_HEAD_MLP_V3 = 2,
    MOCO_HEAD_MLP_SIMCLR = 3,
    MOCO_HEAD_MLP_BYOL = 4
};

/* Batch and batch-norm groups. */
/** Which images of a batch make a batch-norm group: neighbours, or every V-th. */
enum moco_membership { MOCO_MEMBERSHIP_CONTIGUOUS = 0, MOCO_MEMBERSHIP_STRIDED = 1 };
/** Which groups the running statistics follow: the mean of all, or the first. */
enum moco_bn_running { MOCO_BN_RUNNING_MEAN = 0, MOCO_BN_RUNNING_FIRST = 1 };

/* Schedule. Optimizers, scalings and forms of a schedule are in <moco/types.h>. */
/** When the learning rate changes. */
enum moco_schedule_unit { MOCO_SCHEDULE_PER_EPOCH = 0, MOCO_SCHEDULE_PER_STEP = 1 };

/* Views. */
/** Order of the view pipeline: V1 crop gray jitter flip; V2 crop jitter gray blur flip; CIFAR crop
 * flip jitter gray; V3 crop jitter gray blur solarize flip; SIMCLR crop flip jitter gray blur;
 * SIMCLR_CODE the same, with crops whose height is uniform, not their area, and the whole image
 * after the last try. */
enum moco_views {
    MOCO_VIEWS_V1 = 0,
    MOCO_VIEWS_V2 = 1,
    MOCO_VIEWS_CIFAR = 2,
    MOCO_VIEWS_V3 = 3,
    MOCO_VIEWS_SIMCLR = 4,
    MOCO_VIEWS_SIMCLR_CODE = 5
};
/** PILLOW: three box blurs each way, edge pixels going on beyond the edges. GAUSSIAN: the kernel
 * itself, cut to 2 floor(floor(S/10)/2) + 1 pixels, black beyond the edges (SimCLR's published
 * code). */
enum moco_blur_form { MOCO_BLUR_PILLOW = 0, MOCO_BLUR_GAUSSIAN = 1 };

/**
 * Everything that defines a run. All fields are set by moco_trainer_options_init from a recipe;
 * each can then be changed, also by name with moco_trainer_options_set. docs/options.md lists type,
 * default, range and unit of each.
 */
typedef struct moco_trainer_options {
    uint64_t struct_size; /**< set by _init                                                                          */
    int32_t recipe;       /**< MOCO_RECIPE_…: where the values came from                                             */

    /* Network. */
    int32_t arch;               /**< MOCO_ARCH_…                                                                     */
    int32_t stem;               /**< MOCO_STEM_…                                                                     */
    int32_t image_size;         /**< side of a view in pixels, 16..1024                                              */
    double width;               /**< channel multiplier, 0.0625..8: channels max(16, nearest multiple of 16)         */
    int32_t zero_init_residual; /**< 1: last batch-norm scale of each residual branch starts at 0                    */
    int32_t patch_size;         /**< of a ViT, divides image_size; 0 = as published                                  */
    int32_t vit_depth;          /**< blocks of a ViT; 0 = as published                                               */
    int32_t vit_heads;          /**< attention heads of a ViT, 1..1024; its channels become a multiple of it and at
                                     least 4 a head; 0 = as published. Other networks ignore it                       */
    int32_t vit_norm;           /**< MOCO_VIT_NORM_…: before the MLP of each block                                   */
    int32_t freeze_patch;       /**< 1: a ViT's patch projection is not trained; nothing in other networks           */

    /* Method. */
    int32_t loss;              /**< MOCO_LOSS_…                                                                      */
    int32_t loss_scale;        /**< MOCO_LOSS_SCALE_…                                                                */
    int32_t symmetric;         /**< 1: both views are queries in turn and the two losses are summed                  */
    int32_t predictor;         /**< 1: a predictor follows the projection of the query encoder                       */
    double temperature;        /**< divides the logits, 1e-3..1e3                                                    */
    double key_momentum;       /**< m of k <- m k + (1-m) q, 0..1                                                    */
    int32_t momentum_schedule; /**< MOCO_MOMENTUM_…: key_momentum stays, or rises to 1 by a cosine over the run      */
    int32_t execution;         /**< MOCO_EXECUTION_…                                                                 */
    int64_t queue_length;      /**< K, keys in the queue, 1..16,777,216                                              */

    /* Projection head. */
    int32_t head;        /**< MOCO_HEAD_…                                                                            */
    int32_t head_width;  /**< hidden width of the heads, 0..65536; 0 = the backbone's                                */
    int32_t head_layers; /**< linear layers of mlp-v3, -simclr and -byol, 0..3; 0 = as published for the backbone  */
    int32_t dimension;   /**< D, width of the projection, 1..65536                                                   */

    /* Batch and batch-norm groups. */
    int32_t batch_size; /**< B, images per step, 2..65536                                                            */
    int32_t bn_groups;  /**< V, batch-norm groups; B mod V = 0 and B/V >= 2                                          */
    int32_t membership; /**< MOCO_MEMBERSHIP_…: which images share a group                                           */
    int32_t shuffle;    /**< 1: keys are shuffled over the groups; 0: not                                            */
    int32_t bn_running; /**< MOCO_BN_RUNNING_…: mean over groups, or the first group's as under DDP                  */
    int32_t shard;      /**< images per shard; 0 = largest divisor s of B/V with s <= 32 and B/s >= 2                */

    /* Optimizer and schedule. */
    int32_t optimizer;       /**< MOCO_OPTIMIZER_…                                                                   */
    int32_t lr_scaling;      /**< MOCO_LR_SCALING_…                                                                  */
    double base_lr;          /**< learning rate before lr_scaling: at batch 256 (LINEAR), at batch 1 (SQRT); 0..1e3  */
    double weight_decay;     /**< 0..10, on every parameter; LARS: not on vectors (biases, norms)                    */
    double sgd_momentum;     /**< of SGD and LARS, 0..<1                                                             */
    double lars_trust;       /**< LARS: trust coefficient, >0..1                                                     */
    double adam_beta1;       /**< AdamW, 0..<1                                                                       */
    double adam_beta2;       /**< AdamW, 0..<1                                                                       */
    double adam_epsilon;     /**< AdamW, >0..1                                                                       */
    int32_t epochs;          /**< E, passes over the data, 1..1,000,000                                              */
    int32_t steps_per_epoch; /**< push mode: maps steps to epochs; 0 = constant rates                                */
    int32_t warmup_epochs;   /**< the rate rises linearly from 0 over these                                          */
    int32_t schedule;        /**< MOCO_SCHEDULE_…                                                                    */
    int32_t schedule_unit;   /**< MOCO_SCHEDULE_PER_…                                                                */
    int32_t first_epoch;     /**< what the schedule counts the first epoch as: 0 (papers) or 1 (CIFAR demo)          */
    int32_t milestone_1;     /**< epoch of the first factor of the step schedule, >= 0                               */
    int32_t milestone_2;     /**< and of the second                                                                  */
    double lr_factor;        /**< multiplies the rate at each milestone of the step schedule, >0..1                  */

    /* Views. */
    int32_t views;                 /**< MOCO_VIEWS_…                                                                 */
    int32_t resize_filter;         /**< MOCO_FILTER_…: of random crops                                               */
    int32_t crop_tries;            /**< random boxes tried before the central one, 1..1000                           */
    int32_t blur_form;             /**< MOCO_BLUR_…                                                                  */
    double crop_min_area;          /**< smallest crop, share of the image's area, >0..1                              */
    double crop_max_area;          /**< largest crop, share, crop_min_area..1                                        */
    double jitter_brightness;      /**< factor U[max(0,1-x),1+x]; 0..10                                              */
    double jitter_contrast;        /**< as above                                                                     */
    double jitter_saturation;      /**< as above                                                                     */
    double jitter_hue;             /**< shift U[-x,x] of the hue circle, 0..0.5                                      */
    double jitter_probability;     /**< 0..1                                                                         */
    double gray_probability;       /**< 0..1                                                                         */
    double blur_probability;       /**< 0..1 (V2, V3 and both SIMCLR orders only)                                    */
    double blur_probability_2;     /**< of the second view, 0..1; -1 = as the first                                  */
    double blur_sigma_min;         /**< pixels, 0.01..100                                                            */
    double blur_sigma_max;         /**< pixels, blur_sigma_min..100                                                  */
    double solarize_probability;   /**< 0..1 (V3 order only)                                                         */
    double solarize_probability_2; /**< of the second view, 0..1; -1 = as the first                                  */
    double flip_probability;       /**< 0..1                                                                         */
    double mean_r, mean_g, mean_b; /**< subtracted from pixels in 0..1                                               */
    double std_r, std_g, std_b;    /**< divides them, > 0                                                            */

    /* Data and run. */
    uint64_t seed;              /**< fixes weights, queue, order, shuffles and views                                 */
    int64_t memory_cap;         /**< bytes the plan may take, 0..2^60; 0 = moco_memory_left, with which no other value is
                                     compared. Fewer groups are in flight then, and where one alone does not fit, the
                                     trainer is refused. It changes no result, and a run that goes on may have another */
    int64_t max_broken;         /**< a run fails past this number of distinct broken images; 0 = no such limit       */
    int32_t max_broken_percent; /**< or past this share of broken images in the listing, 0..100                      */
    int32_t loader_threads;     /**< decoding threads, 1..256; 0 = one per lane                                      */
    int32_t precision;          /**< MOCO_PRECISION_…: of the products of the backbones, forward and backward. FLOAT32 or
                                     BF16, which makes other bits, and is refused where oneDNN does not have it.
                                     Weights, statistics, gradients of weights and losses are float32 in each, and a
                                     run that goes on may have another                                              */
    int32_t reserved;           /**< 0                                                                               */
} moco_trainer_options_t;

/**
 * Write a recipe's values for an architecture.
 * @param struct_size  sizeof(moco_trainer_options_t) as the caller knows it.
 * @param recipe       MOCO_RECIPE_…
 * @param arch         MOCO_ARCH_…, or MOCO_ARCH_RECIPE. MoCo v3 was published with other values for
 *                     ViTs than for ResNets: MOCO_RECIPE_V3 with a ViT gives those of
 *                     MOCO_RECIPE_V3_VIT.
 * @return MOCO_ERR_ARGUMENT for an unknown recipe or architecture, and, as every _init, for a NULL
 *         and a struct_size that no version has had. Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_options_init(moco_trainer_options_t *options, uint64_t struct_size, int32_t recipe,
                                                 int32_t arch);

/** @return how many recipes there are; their numbers are 0 to one less. Since: 0.1. */
MOCO_API int32_t moco_recipe_count(void);

/** @return the name of a recipe, such as "moco-v2"; NULL for an unknown number. Static storage.
 * Since: 0.1. */
MOCO_API const char *moco_recipe_name(int32_t recipe);

/** @return the number of the recipe called `name`, -1 if there is none. Since: 0.1. */
MOCO_API int32_t moco_recipe_number(const char *name);

/** Write the options that a training checkpoint of this library was made with, without building a
 * trainer.
 * @param struct_size  sizeof(moco_trainer_options_t) as the caller knows it.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_IO, MOCO_ERR_FORMAT (no checkpoint of this library, or
 *         damaged), MOCO_ERR_UNSUPPORTED (a program instead of tensors), MOCO_ERR_VERSION (written
 *         by a newer library), MOCO_ERR_MEMORY; `options` is then as it was. Since: 0.1. */
MOCO_API moco_status_t moco_trainer_options_load(const char *path, moco_trainer_options_t *options,
                                                 uint64_t struct_size);

/** Set a field by its name from text; enumerations by name ("resnet50", "strided", "cosine", …).
 * The value is checked against its range; the message names field, value and range, and for an
 * unknown name one that is near. Fields that are pointers have no text; the field that _init chose
 * the values by cannot be set. @return MOCO_ERR_ARGUMENT, nothing is changed then; MOCO_ERR_VERSION
 * for a field that lies behind the caller's struct_size. Since: 0.1. */
MOCO_API moco_status_t moco_trainer_options_set(moco_trainer_options_t *options, const char *name, const char *value);

/** All fields but pointers as one JSON object, enumerations by name, lists as arrays, uint64 as
 * text. Text rule as in moco_build_info.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY.
 * Since: 0.1. */
MOCO_API moco_status_t moco_trainer_options_json(const moco_trainer_options_t *options, char *text, uint64_t capacity,
                                                 uint64_t *needed);

/**
 * What a trainer with these options would take, without taking it. JSON: `bytes` (weights, packed,
 * optimizer, gradients, activations, queue, batch_results, views, statistics, scratchpads, total),
 * shard (images of one), shards, shards_in_flight, bn_groups (batch-norm groups of a step; those of
 * both views where both have queries), bn_groups_in_flight, lanes, effective_lr (base_lr scaled by
 * the batch), push_views_bytes (what pushed float views would take beside), multiply_adds (per
 * image of the batch: those of a step in convolutions, linear layers and attentions, forward and
 * backward, query and key encoder). Honours memory_cap as moco_trainer_create does; with memory_cap
 * 0 a plan that this machine cannot take now is told as well, with one group in flight. Text rule
 * as in moco_build_info.
 * @return MOCO_ERR_ARGUMENT (a field out of range, or fields that disagree, or the text rule),
 *         MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY_CAP (more than memory_cap
 *         even with one group in flight), MOCO_ERR_MEMORY, and what work on a device returns
 *         (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_plan(const moco_trainer_options_t *options, moco_device_t *device, char *text,
                                         uint64_t capacity, uint64_t *needed);

/**
 * Create a trainer at step 0. @param device  NULL for a private default. @param out  free with
 * moco_trainer_free.
 * @return MOCO_ERR_ARGUMENT (a field out of range, or fields that disagree), MOCO_ERR_VERSION
 *         (options of a newer header), MOCO_ERR_MEMORY_CAP (more than memory_cap, or with 0 more
 *         than moco_memory_left, before memory is taken; the message says both numbers and what
 *         sets the limit), MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t). A
 *         memory_cap of its own is not compared with moco_memory_left. Threads: one thread at a
 *         time. Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_create(const moco_trainer_options_t *options, moco_device_t *device,
                                           moco_trainer_t **out);

/** NULL is fine. Since: 0.1. */
MOCO_API void moco_trainer_free(moco_trainer_t *trainer);

/** What one step did. */
typedef struct moco_step_report {
    uint64_t struct_size;      /**< sizeof(moco_step_report_t), set by the caller; in a callback by the library */
    int64_t step;              /**< steps done, this one included                                                    */
    int64_t epoch;             /**< epoch this step belonged to, from 0                                              */
    int64_t step_in_epoch;     /**< steps done in that epoch, this one included                                      */
    int64_t steps_per_epoch;   /**< planned; 0 if unknown                                                            */
    int64_t steps_total;       /**< planned; 0 if unknown                                                            */
    double loss;               /**< of the method, nats: scaled, and summed over the halves, as the options say      */
    double chance_loss;        /**< that of equal logits: ln(1+K), ln(B) or ln(2B-1), scaled and summed alike; not a
                                    number where the method has no negatives (BYOL)                                  */
    double lr;                 /**< learning rate used                                                               */
    double key_momentum;       /**< momentum used at the end of this step                                            */
    double gradient_norm;      /**< L2 norm over all parameters                                                      */
    double contrast_top1;      /**< percent of queries whose own key won; -1 where the method has no negatives       */
    double contrast_top5;      /**< percent among the best five                                                      */
    double queue_fill;         /**< share 0..1 of the queue that holds real keys                                     */
    double images_per_second;  /**< of this step, waiting for data included                                          */
    double data_seconds;       /**< waited for images                                                                */
    double step_seconds;       /**< the whole step                                                                   */
    double eta_seconds;        /**< to the end of the run; 0 if unknown                                              */
    double knn_top1;           /**< percent, or -1 where not measured in this report                                 */
    double epoch_loss;         /**< mean loss of the epoch so far                                                    */
} moco_step_report_t;

/** Push float views of `count` images: [count,3,S,S] or [count,S,S,3] float32, normalised. Copied;
 * accumulates to B.
 * @return MOCO_ERR_FULL if the batch would exceed B (nothing is taken), MOCO_ERR_STATE after pixels
 *         were pushed, or views in the other layout, MOCO_ERR_MEMORY_CAP if a batch of float views
 *         does not fit beside the plan, MOCO_ERR_NONFINITE (nothing is taken; the message says
 *         where), MOCO_ERR_ARGUMENT, MOCO_ERR_MEMORY. Since: 0.1. */
MOCO_API moco_status_t moco_trainer_push_views(moco_trainer_t *trainer, int64_t count, const float *queries,
                                               const float *keys, int32_t layout);

/** Push 8-bit images; both views of each are drawn inside the call from (seed, epoch 0, number of
 * the image in pushing order). All or nothing: a bad image refuses the call and counts nothing.
 * @return MOCO_ERR_FULL if the batch would exceed B, MOCO_ERR_STATE after float views were pushed,
 *         MOCO_ERR_ARGUMENT or MOCO_ERR_UNSUPPORTED (names the image), MOCO_ERR_VERSION (a
 *         moco_image_t of a newer header), MOCO_ERR_MEMORY. Since: 0.1. */
MOCO_API moco_status_t moco_trainer_push_pixels(moco_trainer_t *trainer, int64_t count, const moco_image_t *images);

/**
 * Push image files held in memory (JPEG), of at most 178,956,970 pixels each; views are drawn as by
 * moco_trainer_push_pixels. All or nothing.
 * @param data   [count] first bytes.
 * @param sizes  [count] bytes.
 * @return MOCO_ERR_FULL, MOCO_ERR_STATE, MOCO_ERR_ARGUMENT and MOCO_ERR_MEMORY as for pixels;
 *         MOCO_ERR_IMAGE if an image is broken or larger: the message names it. Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_push_encoded(moco_trainer_t *trainer, int64_t count, const uint8_t *const *data,
                                                 const uint64_t *sizes);

/** Drop the pushed batch. @return the number of images dropped, or -1 for NULL. Since: 0.1. */
MOCO_API int64_t moco_trainer_discard(moco_trainer_t *trainer);

/** Called on the calling thread after each step, and once more with knn_top1 >= 0 after each kNN
 * evaluation (the one before step 1 included; `step` is then that of the last step). Non-zero asks
 * to stop: the run saves and returns MOCO_ERR_CANCELLED. It must not throw or leave by longjmp. Of
 * this trainer it may read (moco_trainer_snapshot, _state, _save, _options_get, _step_number),
 * which gives the state behind the step; other calls with it are forbidden. */
typedef int32_t (*moco_step_fn)(void *user, const moco_step_report_t *report);

/** How far a run goes, what it saves and whom it tells. */
typedef struct moco_run_options {
    uint64_t struct_size;  /**< set by _init                                                                          */
    moco_cancel_t *cancel; /**< NULL, or what stops the run from another thread, as `progress` does                   */
    moco_step_fn progress; /**< may be NULL                                                                           */
    void *user;            /**< handed to `progress`                                                                  */
    int64_t max_steps;     /**< stop when this many steps are done in all (schedule unchanged); 0 = to the end         */
    int64_t save_every;    /**< steps between saves inside an epoch; 0 = not by steps                                  */
    double save_minutes;   /**< minutes between saves inside an epoch, 0..1e6; 0 = not by time. Each epoch's end and any
                                stop save, too. When a run is saved never changes its bits                             */
    int32_t eval_every;    /**< epochs between kNN evaluations, >= 1; used when a test set is given                    */
    int32_t log_every;     /**< steps between lines of log.jsonl, >= 1                                                 */
    int32_t overwrite;     /**< 1: a new trainer may replace the files of another run in `folder`                      */
    int32_t reserved;      /**< 0                                                                                      */
} moco_run_options_t;

/** Write the defaults: to the end, a save an epoch and every 10 minutes, evaluation every epoch, a
 * line every step.
 * @param struct_size  sizeof(moco_run_options_t) as the caller knows it. Since: 0.1. */
MOCO_API moco_status_t moco_run_options_init(moco_run_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_run_options_set(moco_run_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_run_options_json(const moco_run_options_t *options, char *text, uint64_t capacity,
                                             uint64_t *needed);

/**
 * Train on a data set until the epochs are done, `max_steps` is reached or it is asked to stop.
 * Goes on where the trainer stands: a loaded trainer continues to the same bits as an uninterrupted
 * run.
 *
 * @param dataset  what to learn from; on a loaded trainer its count and names must match the saved
 * ones.
 * @param test     NULL, or a labelled set for kNN before step 1 and every `eval_every` epochs
 * (bank: `dataset`).
 * @param folder   NULL, or a folder that receives checkpoint.safetensors, model.safetensors and
 *                 log.jsonl; its last component is made where nothing is. It is opened once and
 *                 locked: it may be renamed and the host may change its working directory, and no
 *                 other run can begin in it. What it does not take (deleted, read-only, full disk)
 *                 goes to FOLDER.rescue-PID beside it, or to one in $TMPDIR. The run then goes on
 *                 for up to 10 minutes and tries again.
 * @param options  NULL for the defaults. A request of `cancel` drops the step at work, which costs
 *                 no bits, and what was learnt before is saved.
 * @return MOCO_ERR_NO_DATA (fewer good images than a batch), MOCO_ERR_BROKEN_DATA,
 *         MOCO_ERR_NONFINITE (the files stay those of the last save), MOCO_ERR_FORMAT (a variance
 *         is negative: the same), MOCO_ERR_MISMATCH (the data set is not the saved one, or `test`
 *         has a class that `dataset` does not have), MOCO_ERR_ARGUMENT (an option out of range; a
 *         `test` without classes), MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_EXISTS
 *         (another run is at work in `folder`; or its checkpoint or model is of more steps than the
 *         trainer has made, see `overwrite`), MOCO_ERR_IO (an image could not be read for a reason
 *         that is not the image's; and in place of MOCO_ERR_CANCELLED, too, where `folder` has not
 *         taken what was learnt: the message says where it is), MOCO_ERR_CANCELLED,
 *         MOCO_ERR_MEMORY, MOCO_ERR_MEMORY_CAP (no room for the model of a kNN evaluation, or for
 *         the run's images beside pushed ones that wait for their step), and what work on a device
 *         returns (moco_device_t). What was learnt
 *         before a failure is saved, but for MOCO_ERR_NONFINITE. Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_run(moco_trainer_t *trainer, moco_dataset_t *dataset, moco_dataset_t *test,
                                        const char *folder, const moco_run_options_t *options);

/**
 * One step on the pushed batch. A failed or cancelled step changes nothing and keeps its batch:
 * step again, or discard.
 * @param options  NULL, or what stops it: of its fields only `cancel` counts.
 * @param report   may be NULL.
 * @return MOCO_ERR_NO_DATA below B images, MOCO_ERR_NONFINITE (message names the step),
 *         MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_CANCELLED,
 *         MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_step(moco_trainer_t *trainer, const moco_run_options_t *options,
                                         moco_step_report_t *report);

/**
 * `count` steps on a data set, without files or evaluation; epochs roll over.
 * @param dataset  as of moco_trainer_run.
 * @param count    steps, >= 1.
 * @param options  NULL, or what stops it: of its fields only `cancel` counts.
 * @param report   of the last step, may be NULL.
 * @return as moco_trainer_run; the steps before a failed or cancelled one are done. Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_steps(moco_trainer_t *trainer, moco_dataset_t *dataset, int64_t count,
                                          const moco_run_options_t *options, moco_step_report_t *report);

/** Which encoder of a trainer becomes a model. */
typedef struct moco_snapshot_options {
    uint64_t struct_size; /**< set by _init                                                 */
    int32_t encoder;      /**< MOCO_ENCODER_…                                               */
    int32_t drop_head;    /**< 1: the backbone alone; 0: with the projection head           */
} moco_snapshot_options_t;

/** Write the defaults: the query encoder with its head.
 * @param struct_size  sizeof(moco_snapshot_options_t) as the caller knows it. Since: 0.1. */
MOCO_API moco_status_t moco_snapshot_options_init(moco_snapshot_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_snapshot_options_set(moco_snapshot_options_t *options, const char *name,
                                                 const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_snapshot_options_json(const moco_snapshot_options_t *options, char *text,
                                                  uint64_t capacity, uint64_t *needed);

/** A model from an encoder as it is now; copies and packs its weights, so training can go on.
 * @param options  NULL for the defaults.
 * @param device   NULL for the trainer's own.
 * @param out      receives the model; free with moco_model_free.
 * @return MOCO_ERR_MISMATCH (a method without key encoder), MOCO_ERR_NONFINITE (a weight),
 *         MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY_CAP
 *         (more than moco_memory_left), MOCO_ERR_MEMORY, and what work on a device returns
 *         (moco_device_t). Since: 0.1. */
MOCO_API moco_status_t moco_trainer_snapshot(moco_trainer_t *trainer, const moco_snapshot_options_t *options,
                                             moco_device_t *device, moco_model_t **out);

/** Write `path` (a checkpoint with everything needed to go on to the same bits), by temporary file,
 * sync and rename: an older file of that name stays whole until the new one is. Images that were
 * pushed and wait for their step are not in it: push them again.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_EXISTS (a run is at work in the folder, and `path` is one of
 *         its files; or a file of another kind is there), MOCO_ERR_IO, MOCO_ERR_NONFINITE or
 *         MOCO_ERR_FORMAT (a number of the state is not finite, a variance is negative),
 *         MOCO_ERR_ENGINE (numbers could not be read from the device), MOCO_ERR_MEMORY. Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_save(moco_trainer_t *trainer, const char *path);

/**
 * A trainer from a checkpoint, options included.
 * @param overrides  NULL, or options whose memory_cap, loader_threads, max_broken and
 *                   max_broken_percent replace the saved ones; any other field that differs is
 *                   MOCO_ERR_MISMATCH, both values named.
 * @param device     NULL for a private default.
 * @param out        receives the trainer; free with moco_trainer_free.
 * @return MOCO_ERR_IO, MOCO_ERR_FORMAT (no checkpoint of this library, or damaged), MOCO_ERR_SHAPE
 *         (a tensor is missing or has other sizes), MOCO_ERR_NONFINITE (a number of the state, and
 *         which), MOCO_ERR_UNSUPPORTED (a program instead of tensors), MOCO_ERR_VERSION (the file
 *         or `overrides` is of a newer library), MOCO_ERR_MISMATCH, MOCO_ERR_ARGUMENT (a field out
 *         of range), MOCO_ERR_MEMORY_CAP and MOCO_ERR_MEMORY as moco_trainer_create has them, and
 *         what work on a device returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_trainer_load(const char *path, const moco_trainer_options_t *overrides,
                                         moco_device_t *device, moco_trainer_t **out);

/** The options the trainer runs with. @param struct_size  bytes at `options`.
 * @return MOCO_ERR_ARGUMENT. Since: 0.1. */
MOCO_API moco_status_t moco_trainer_options_get(const moco_trainer_t *trainer, moco_trainer_options_t *options,
                                                uint64_t struct_size);

/** @return steps done so far, those before a checkpoint that was loaded included; -1 for NULL.
 * Since: 0.1. */
MOCO_API int64_t moco_trainer_step_number(const moco_trainer_t *trainer);

/** JSON: step, epoch, step_in_epoch, position, pushed (images waiting), queue_fill, plan (as
 * moco_trainer_plan), parameters. Text rule as in moco_build_info. Since: 0.1. */
MOCO_API moco_status_t moco_trainer_state(const moco_trainer_t *trainer, char *text, uint64_t capacity,
                                          uint64_t *needed);

/** The permutation that shuffles the keys of step `step` (0 = the first) of a run with `seed`:
 * position p encodes image permutation[p].
 * @param count        images of a batch, >= 1.
 * @param permutation  receives [count].
 * @return MOCO_ERR_ARGUMENT for a step or count out of range, MOCO_ERR_MEMORY. Since: 0.1. */
MOCO_API moco_status_t moco_shuffle_permutation(uint64_t seed, int64_t step, int32_t count, int32_t *permutation);

/** The two views of image `index` of a data set that a trainer with `options` draws in `epoch`, to
 * the byte. Of options that must agree, only those of the views are checked.
 * @param epoch  from 0.
 * @param index  0..moco_dataset_count - 1.
 * @param views  receives [2, S, S, 3] uint8 RGB.
 * @return as moco_dataset_pixels; MOCO_ERR_ARGUMENT also for an option out of range,
 *         MOCO_ERR_VERSION (options of a newer header). Threads: any. Since: 0.1. */
MOCO_API moco_status_t moco_dataset_views(moco_dataset_t *dataset, const moco_trainer_options_t *options, int64_t epoch,
                                          int64_t index, uint8_t *views);

MOCO_END_DECLS

#endif
