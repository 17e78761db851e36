/* Enumerations and callbacks that several headers share. Structs hold the values as int32_t, whose
 * width no compiler option changes. Numbers are pinned: they never change and are never used
 * again. */
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

/** Optimizers. */
enum moco_optimizer {
    MOCO_OPTIMIZER_SGD = 0,
    MOCO_OPTIMIZER_LARS = 1,        /**< the learning rate follows the momentum (MoCo v3)           */
    MOCO_OPTIMIZER_LARS_SIMCLR = 2, /**< the learning rate is inside the momentum (SimCLR)          */
    MOCO_OPTIMIZER_ADAMW = 3
};

/** The learning rate that an optimizer gets, from the option `base_lr` and the number of images in
 * a batch. */
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

/** Which of a method's two encoders. */
enum moco_encoder {
    MOCO_ENCODER_QUERY = 0, /**< the one that learns by gradients */
    MOCO_ENCODER_KEY = 1    /**< the one that follows it by momentum, in methods that have one */
};

/** What numbers a network computes with. Sums of products are float32 in each. */
enum moco_precision {
    MOCO_PRECISION_FLOAT32 = 0,
    MOCO_PRECISION_BF16 = 1, /**< 8 significant bits, the range of float32                */
    MOCO_PRECISION_F16 = 2   /**< 11 significant bits, from 6e-8 to 65504                 */
};

/**
 * Images of 8-bit pixels in the host's memory, borrowed for the time of the call. Fields that are 0
 * have the value that their comment names, so that `{.struct_size = sizeof image, .planes =
 * {pixels}, .width = w, .height = h}` is a packed RGB image. In an array all images have the
 * struct_size of the first.
 */
typedef struct moco_image {
    uint64_t struct_size;      /**< set by the caller to sizeof(moco_image_t)                                        */
    const uint8_t *planes[4];  /**< first byte of the first row; of interleaved channels planes[0] alone             */
    int64_t strides[4];        /**< bytes from one row of a plane to the next; 0 = rows without gaps                 */
    int32_t width;             /**< pixels, >= 1                                                                     */
    int32_t height;            /**< pixels, >= 1; width times height at most 2^31-1                                  */
    int32_t format;            /**< MOCO_PIXELS_…                                                                    */
    int32_t channels;          /**< of the format; 0 = as many as it has                                             */
    int32_t plane_count;       /**< 0 or 1: channels are interleaved. This version refuses others                    */
    int32_t bit_depth;         /**< bits of a channel; 0 or 8. This version refuses others                           */
} moco_image_t;

/** An image of a call that could not be used: its number in the call or in the data set, a status,
 * and one line of what was found and wanted. Called on the calling thread, in order of the
 * numbers. */
typedef void (*moco_failed_fn)(void *user, int64_t index, int32_t status, const char *reason);

/** Progress of a long call: `done` of `total` images. Non-zero stops it with MOCO_ERR_CANCELLED. */
typedef int32_t (*moco_progress_fn)(void *user, int64_t done, int64_t total);

MOCO_END_DECLS

#endif
