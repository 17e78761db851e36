/* Enumerations and callbacks that several headers share. Structs hold the values as int32_t, whose width no compiler
 * option changes. Numbers are pinned: they never change and are never used again. */
#ifndef MOCO_TYPES_H
#define MOCO_TYPES_H

#include <stdint.h>
#include <moco/export.h>

MOCO_BEGIN_DECLS

/** Where an embedding is taken. */
enum moco_tap {
    MOCO_TAP_BACKBONE = 0,  /**< after global average pooling, or a ViT's class token; raw values */
    MOCO_TAP_PROJECTION = 1 /**< after the projection head, each row of L2 norm 1                 */
};

/** Order of the dimensions of float images. */
enum moco_layout {
    MOCO_LAYOUT_NCHW = 0,
    MOCO_LAYOUT_NHWC = 1
};

/** Order of the channels of 8-bit pixels. */
enum moco_pixels {
    MOCO_PIXELS_RGB = 0,
    MOCO_PIXELS_BGR = 1,
    MOCO_PIXELS_RGBA = 2, /**< alpha is ignored */
    MOCO_PIXELS_GRAY = 3
};

/** How pixels are interpolated when an image is scaled. */
enum moco_filter {
    MOCO_FILTER_BILINEAR = 0,
    MOCO_FILTER_BICUBIC = 1
};

enum moco_optimizer {
    MOCO_OPTIMIZER_SGD = 0,
    MOCO_OPTIMIZER_LARS = 1,        /**< the learning rate follows the momentum (MoCo v3)           */
    MOCO_OPTIMIZER_LARS_SIMCLR = 2, /**< the learning rate is inside the momentum (SimCLR)          */
    MOCO_OPTIMIZER_ADAMW = 3
};

/** The learning rate that an optimizer gets, from the option `base_lr` and the number of images in a batch. */
enum moco_lr_scaling {
    MOCO_LR_SCALING_NONE = 0,   /**< base_lr                        */
    MOCO_LR_SCALING_LINEAR = 1, /**< base_lr times batch_size / 256 */
    MOCO_LR_SCALING_SQRT = 2    /**< base_lr times the square root of batch_size */
};

/** How the learning rate changes over a run. */
enum moco_schedule {
    MOCO_SCHEDULE_CONSTANT = 0,
    MOCO_SCHEDULE_STEP = 1,  /**< multiplied by a factor at each milestone      */
    MOCO_SCHEDULE_COSINE = 2 /**< falls to 0 by half a cosine, after the warm-up */
};

/** Progress of a long call: `done` of `total` images. Non-zero stops it with MOCO_ERR_CANCELLED. */
typedef int32_t (*moco_progress_fn)(void *user, int64_t done, int64_t total);

MOCO_END_DECLS

#endif
