/* A model: a finished encoder that turns images into embeddings. Immutable; any number of threads may call it. */
#ifndef MOCO_MODEL_H
#define MOCO_MODEL_H

#include <stdint.h>
#include <moco/dataset.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

typedef struct moco_model moco_model_t;

/** One image of 8-bit pixels, borrowed for the time of the call. */
typedef struct moco_image {
    const uint8_t *pixels; /**< first byte of the first row                                    */
    int64_t stride;        /**< bytes from one row to the next; 0 = width times bytes a pixel  */
    int32_t width;         /**< pixels, >= 1                                                   */
    int32_t height;        /**< pixels, >= 1                                                   */
    int32_t format;        /**< MOCO_PIXELS_…                                                  */
    int32_t reserved;      /**< 0                                                              */
} moco_image_t;

/**
 * Load an encoder: `model.safetensors`, a `checkpoint.safetensors` (its query encoder), or a checkpoint of another
 * program in safetensors or from torch.save (its query encoder, or its backbone): docs/checkpoints.md. For those the
 * network is read from the shapes, and the transform is the published one; moco_convert makes a model with another.
 * Nothing is executed.
 * @param device  NULL for a private default device.
 * @param out     receives the model; free with moco_model_free.
 * @return MOCO_ERR_IO, MOCO_ERR_FORMAT (no file of tensors, damaged, no encoder in it), MOCO_ERR_SHAPE (a tensor is
 * missing
 *         or has other sizes than its architecture), MOCO_ERR_UNSUPPORTED (another network, a program instead of
 *         tensors), MOCO_ERR_VERSION (written by a newer library). Since: 0.1.
 */
MOCO_API moco_status_t moco_model_load(const char *path, moco_device_t *device, moco_model_t **out);

/** Write the model as `path` (safetensors, torchvision names), through a temporary file that is synced and renamed.
 * Since: 0.1. */
MOCO_API moco_status_t moco_model_save(const moco_model_t *model, const char *path);

/** Drop the caller's reference; NULL is fine. No call may be at work in the model. Since: 0.1. */
MOCO_API void moco_model_free(moco_model_t *model);

/** JSON: arch, width, stem, head, size, backbone and projection dimensions, parameters, multiply_adds (per image, in
 * convolutions, linear layers and attentions), mean, std, eval_resize, eval_crop, steps (of training; -1 = unknown); of
 * a ViT also patch_size, vit_depth, vit_heads, vit_norm; for another program's file source: what was taken, ignored and
 * missing. Text rule as in moco_build_info. Since: 0.1. */
MOCO_API moco_status_t moco_model_info(const moco_model_t *model, char *text, uint64_t capacity, uint64_t *needed);

/** @return width of a row of embeddings at `tap`; 0 for an unknown tap, or if the model has no head there. Since:
 * 0.1. */
MOCO_API int32_t moco_model_dimension(const moco_model_t *model, int32_t tap);

/** @return side of the square input in pixels. Since: 0.1. */
MOCO_API int32_t moco_model_image_size(const moco_model_t *model);

/**
 * Embed JPEG files held in memory: decode (at most 178,956,970 pixels each, three bytes a pixel while it is decoded),
 * evaluation transform, network.
 *
 * @param tap     MOCO_TAP_…
 * @param count   images, >= 1.
 * @param data    [count] first bytes. @param sizes  [count] bytes.
 * @param out     [count, dimension] float32; the row of an image that fails is zero.
 * @param items   [count] status of each image, or NULL; then a broken image fails the call, which names it.
 * @return MOCO_OK if the call did its work, also when `items` reports broken images.
 * Within one of the plan's fixed sizes an image's row has the same bits whatever its neighbours. Threads: any, at once.
 * Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_jpeg(moco_model_t *model, int32_t tap, int64_t count,
                                             const uint8_t *const *data, const uint64_t *sizes, float *out,
                                             moco_status_t *items);

/** The same for 8-bit pixels of any size; the evaluation transform applies. Since: 0.1. */
MOCO_API moco_status_t moco_model_embed_pixels(moco_model_t *model, int32_t tap, int64_t count,
                                               const moco_image_t *images, float *out, moco_status_t *items);

/**
 * The same for float images that are already of the model's size and normalised.
 * @param images  [count,3,S,S] (MOCO_LAYOUT_NCHW) or [count,S,S,3] (MOCO_LAYOUT_NHWC) float32, RGB.
 */
MOCO_API moco_status_t moco_model_embed_tensor(moco_model_t *model, int32_t tap, int64_t count, const float *images,
                                               int32_t layout, float *out);

/** Receives finished rows in listing order: `count` rows of data-set entries `indices`. Non-zero stops the call. */
typedef int32_t (*moco_rows_fn)(void *user, int64_t count, const int64_t *indices, const float *rows);

/**
 * Embed a whole data set, broken images left out (moco_dataset_info names them).
 * @param loader_threads  decoding threads, 1..256; 0 = one per lane.
 * @return MOCO_ERR_NO_DATA if no image was good, MOCO_ERR_CANCELLED if `rows` asked to stop. Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_dataset(moco_model_t *model, int32_t tap, moco_dataset_t *dataset,
                                                int32_t loader_threads, moco_rows_fn rows, void *user);

/**
 * Embed a data set into files: `path` (NumPy .npy, [good images, dimension] float32), and beside it, with ".npy"
 * replaced,
 * `.txt` (a name per row, control characters as "?") and `.skipped.txt` (a line "name<TAB>reason" per broken image).
 * Rows are written as they come; `path` appears under its name when complete.
 * @param written  receives the number of rows, may be NULL. @param skipped  receives the number of broken images, may
 * be NULL. Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_to_npy(moco_model_t *model, int32_t tap, moco_dataset_t *dataset,
                                               int32_t loader_threads, const char *path, moco_progress_fn progress,
                                               void *user, int64_t *written, int64_t *skipped);

MOCO_END_DECLS

#endif
