/* A model: a finished encoder that turns images into embeddings. Immutable; any number of threads
 * may call it. */
#ifndef MOCO_MODEL_H
#define MOCO_MODEL_H

#include <stdint.h>
#include <moco/cancel.h>
#include <moco/dataset.h>
#include <moco/device.h>
#include <moco/export.h>
#include <moco/status.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/** A model: a finished encoder. */
typedef struct moco_model moco_model_t;

/* ---- files ---- */

/** Which encoder of a file, and what differs from what the file says of it. */
typedef struct moco_model_options {
    uint64_t struct_size;          /**< set by _init                                                                  */
    double mean_r, mean_g, mean_b; /**< evaluation transform: subtracted from pixels in 0..1; used when std_r > 0     */
    double std_r, std_g, std_b;    /**< divides them; all 0 = the file's, or as published                             */
    int32_t encoder;               /**< MOCO_ENCODER_…, of a training checkpoint                                      */
    int32_t drop_head;             /**< 1: the backbone alone; 0: with the projection head, if the file has one       */
    int32_t image_size;            /**< side of the encoder's input in pixels, 16..1024; 0 = the file's, or published */
    int32_t eval_resize;           /**< short side before the crop, image_size..4096; 0 = the file's, or published    */
    int32_t vit_heads;             /**< attention heads of a ViT, which no shape tells: 1..1024, a divisor of its width;
                                        0 = those the file says or shows, else as published for its width, with a
                                        warning. Other networks ignore it                                             */
    int32_t precision;             /**< MOCO_PRECISION_…, of the backbone's activations and packed weights where they
                                        meet in products; embeddings, the projection head and files are float32       */
    int64_t memory_cap;            /**< bytes the model may take, weights and the work of all lanes, 0..2^60; 0 = what
                                        this process may still take (moco_memory_left), with which no other value is
                                        compared                                                                      */
    const char *prefix;            /**< what the names of the encoder's tensors begin with in another program's file
                                        (docs/checkpoints.md): all of it, "" where they have none, or whole parts of it
                                        between dots that no other encoder in the file has; NULL = found by the names.
                                        The caller's, read during the call. Files of this library ignore it           */
} moco_model_options_t;

/** Write the defaults: the query encoder with its head, everything else as the file has it.
 * @param struct_size  sizeof(moco_model_options_t) as the caller knows it. Since: 0.1. */
MOCO_API moco_status_t moco_model_options_init(moco_model_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_model_options_set(moco_model_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_model_options_json(const moco_model_options_t *options, char *text, uint64_t capacity,
                                               uint64_t *needed);

/**
 * Load an encoder: `model.safetensors`, a `checkpoint.safetensors`, or a checkpoint of another
 * program in safetensors or from torch.save: docs/checkpoints.md. Of other programs' files the
 * network is read from the shapes, and the transform is the published one. Nothing is executed.
 *
 * @param options  NULL for the defaults.
 * @param device   NULL for a private default device.
 * @param out      receives the model; free with moco_model_free.
 * @return MOCO_ERR_IO, MOCO_ERR_FORMAT (no file of tensors, damaged, no encoder in it),
 *         MOCO_ERR_SHAPE (a tensor is missing or has other sizes than its architecture),
 *         MOCO_ERR_NONFINITE (a weight or statistic is infinite or no number, and which),
 *         MOCO_ERR_UNSUPPORTED (another network, a layer that no network here has, a program
 *         instead of tensors, a precision that oneDNN does not have for the device),
 *         MOCO_ERR_MISMATCH (no key encoder in it; several encoders and no `prefix` that names
 *         one), MOCO_ERR_VERSION (the file or the options are of a newer library),
 *         MOCO_ERR_ARGUMENT (an option out of range; vit_heads that does not divide the width),
 *         MOCO_ERR_MEMORY_CAP (more than memory_cap, or with 0 more than moco_memory_left; the
 *         message says both), MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t).
 *         Since: 0.1.
 */
MOCO_API moco_status_t moco_model_load(const char *path, const moco_model_options_t *options, moco_device_t *device,
                                       moco_model_t **out);

/** The same from a file that lies in memory: `size` bytes at `data`, which are not needed after the
 * call.
 * @return as moco_model_load. Since: 0.1. */
MOCO_API moco_status_t moco_model_load_memory(const void *data, uint64_t size, const moco_model_options_t *options,
                                              moco_device_t *device, moco_model_t **out);

/** Write the model as `path` (safetensors, torchvision names), through a temporary file that is
 * synced and renamed. A symbolic link stays one, and what it leads to is written. The file carries
 * checksums, which every load compares (docs/checkpoints.md).
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_IO, MOCO_ERR_EXISTS (a file of another kind is there; or it
 *         is the model of a run's folder in which a run is at work), MOCO_ERR_NONFINITE,
 *         MOCO_ERR_FORMAT (a variance is negative), MOCO_ERR_ENGINE (the weights could not be read
 *         from the device), MOCO_ERR_MEMORY; an older file of that name is then as it was.
 *         Since: 0.1. */
MOCO_API moco_status_t moco_model_save(const moco_model_t *model, const char *path);

/**
 * Write the same file into memory.
 * @param data      receives the bytes; may be NULL when `capacity` is 0.
 * @param capacity  bytes at `data`.
 * @param needed    receives the size of the file; may be NULL.
 * @return MOCO_OK; MOCO_ERR_ARGUMENT if `capacity` is neither 0 nor enough; MOCO_ERR_NONFINITE,
 *         MOCO_ERR_FORMAT, MOCO_ERR_ENGINE and MOCO_ERR_MEMORY as moco_model_save has them.
 *         Since: 0.1.
 */
MOCO_API moco_status_t moco_model_save_memory(const moco_model_t *model, void *data, uint64_t capacity,
                                              uint64_t *needed);

/** Drop the caller's reference; NULL is fine. No call may be at work in the model. Since: 0.1. */
MOCO_API void moco_model_free(moco_model_t *model);

/* ---- what it is ---- */

/** JSON: arch, width, stem, head, size, backbone and projection dimensions, parameters,
 * multiply_adds (per image, in convolutions, linear layers and attentions), mean, std, eval_resize,
 * eval_crop, steps (of training; -1 = unknown); of a ViT also patch_size, vit_depth, vit_heads,
 * vit_norm; precision; for another program's file source: what was taken, ignored and missing. Text
 * rule as in moco_build_info. Since: 0.1. */
MOCO_API moco_status_t moco_model_info(const moco_model_t *model, char *text, uint64_t capacity, uint64_t *needed);

/** The same of the model that moco_model_load would give, out of what describes it in the file: its
 * numbers are not read and no memory is taken for it, whatever size the file claims. Every tensor
 * that the model needs must be there with its sizes. Numbers that are not finite, checksums of
 * numbers, a model that is too large for this machine and a precision that it does not have are
 * found when it is loaded.
 * @param path      as in moco_model_load.
 * @param options   as there; NULL for the defaults. memory_cap has no effect.
 * @param text      receives the JSON; may be NULL when `capacity` is 0. Text rule as in
 *                  moco_build_info.
 * @param capacity  bytes at `text`.
 * @param needed    receives the bytes of the text; may be NULL.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_IO, MOCO_ERR_FORMAT, MOCO_ERR_VERSION, MOCO_ERR_UNSUPPORTED,
 *         MOCO_ERR_SHAPE, MOCO_ERR_MISMATCH and MOCO_ERR_MEMORY as moco_model_load has them.
 *         Threads: any. Since: 0.1. */
MOCO_API moco_status_t moco_model_file_info(const char *path, const moco_model_options_t *options, char *text,
                                            uint64_t capacity, uint64_t *needed);

/** @return width of a row of embeddings at `tap` (MOCO_TAP_…); 0 for an unknown tap, or if the
 * model has no head there. Since: 0.1. */
MOCO_API int32_t moco_model_dimension(const moco_model_t *model, int32_t tap);

/** @return side of the square input in pixels. Since: 0.1. */
MOCO_API int32_t moco_model_image_size(const moco_model_t *model);

/* ---- images to embeddings ---- */

/** Of all moco_model_embed_* calls. Each call ignores the fields that it does not use. */
typedef struct moco_embed_options {
    uint64_t struct_size;      /**< set by _init                                                                      */
    moco_cancel_t *cancel;     /**< NULL, or what stops the call from another thread                                  */
    moco_failed_fn failed;     /**< NULL, or is told of each image that could not be used, with the reason            */
    moco_progress_fn progress; /**< NULL, or is told how far moco_model_embed_to_npy is                               */
    void *user;                /**< handed to `failed` and `progress`                                                 */
    moco_status_t *statuses;   /**< NULL, or receives [count] the status of each encoded image or image of pixels     */
    int32_t tap;               /**< MOCO_TAP_…                                                                        */
    int32_t layout;            /**< MOCO_LAYOUT_…, of float images                                                    */
    int32_t loader_threads;    /**< data sets: decoding threads, 1..256; 0 = one per lane                             */
    int32_t reserved;          /**< 0                                                                                 */
} moco_embed_options_t;

/** Write the defaults: rows of the backbone, float images [count,3,S,S].
 * @param struct_size  sizeof(moco_embed_options_t) as the caller knows it. Since: 0.1. */
MOCO_API moco_status_t moco_embed_options_init(moco_embed_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_embed_options_set(moco_embed_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_embed_options_json(const moco_embed_options_t *options, char *text, uint64_t capacity,
                                               uint64_t *needed);

/**
 * Embed image files held in memory (JPEG): decode (at most 178,956,970 pixels each, three bytes a
 * pixel while it is decoded), evaluation transform, network.
 *
 * @param count    images, >= 1.
 * @param data     [count] first bytes.
 * @param sizes    [count] bytes.
 * @param options  NULL for the defaults.
 * @param out      [count, dimension] float32; the row of an image that fails is zero.
 * @return MOCO_OK if the call did its work. With `statuses` or `failed` in the options that
 *         includes images that could not be used; with neither, the first such image fails the call
 *         (MOCO_ERR_IMAGE), and the message names it. MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options
 *         of a newer header), MOCO_ERR_NONFINITE (an embedding), MOCO_ERR_CANCELLED,
 *         MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t). Within one of the
 *         plan's fixed sizes an image's row has the same bits whatever its neighbours. Threads:
 *         any, at once. Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_encoded(moco_model_t *model, int64_t count, const uint8_t *const *data,
                                                const uint64_t *sizes, const moco_embed_options_t *options, float *out);

/** The same for 8-bit pixels of any size; the evaluation transform applies. @param images  [count].
 * @return as moco_model_embed_encoded; an image may also have MOCO_ERR_ARGUMENT or
 *         MOCO_ERR_UNSUPPORTED (a form of pixels that this version does not have), and
 *         MOCO_ERR_VERSION for a moco_image_t of a newer header. Since: 0.1. */
MOCO_API moco_status_t moco_model_embed_pixels(moco_model_t *model, int64_t count, const moco_image_t *images,
                                               const moco_embed_options_t *options, float *out);

/**
 * The same for float images that are already of the model's size and normalised.
 * @param images  [count,3,S,S] (MOCO_LAYOUT_NCHW) or [count,S,S,3] (MOCO_LAYOUT_NHWC) float32, RGB,
 *                finite.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_NONFINITE (a
 *         number of an image, or of its embedding), MOCO_ERR_CANCELLED, MOCO_ERR_MEMORY, and what
 *         work on a device returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_tensor(moco_model_t *model, int64_t count, const float *images,
                                               const moco_embed_options_t *options, float *out);

/** Receives finished rows in listing order: `count` rows of data-set entries `indices`. Non-zero
 * stops the call. It must not throw, leave by longjmp or call the library with this data set. */
typedef int32_t (*moco_rows_fn)(void *user, int64_t count, const int64_t *indices, const float *rows);

/**
 * Embed a whole data set, broken images left out (`failed` in the options is told of each).
 * @param options  NULL for the defaults.
 * @param rows     receives [count, dimension] float32, batch by batch.
 * @param user     handed to `rows`.
 * @return MOCO_ERR_NO_DATA if no image was good, MOCO_ERR_CANCELLED if `rows` or `cancel` asked to
 *         stop, MOCO_ERR_ARGUMENT, MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_NONFINITE
 *         (an embedding), MOCO_ERR_IO (an image could not be read for a reason that is not the
 *         image's), MOCO_ERR_MEMORY, and what work on a device returns (moco_device_t). Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_dataset(moco_model_t *model, moco_dataset_t *dataset,
                                                const moco_embed_options_t *options, moco_rows_fn rows, void *user);

/** What became of a data set. */
typedef struct moco_embed_result {
    uint64_t struct_size; /**< set by the caller to sizeof(moco_embed_result_t) */
    int64_t rows;         /**< written                                          */
    int64_t skipped;      /**< broken images                                    */
} moco_embed_result_t;

/**
 * Embed a data set into files: `path` (NumPy .npy, [good images, dimension] float32), and beside
 * it, with ".npy" replaced, `.names.txt` (a name per row), `.skipped.txt` (a line
 * "name<TAB>reason" per broken image) and `.embed.json` (checksums that tie rows and names:
 * moco_index_load_npy compares them). All appear together when they are complete; a call that fails
 * or is cancelled leaves older files of these names as they were.
 *
 * Both texts are UTF-8. In names each byte of a control character, of an end of line, of a
 * character that turns the direction of text and of what is no UTF-8 is written as a backslash, an
 * x and two hexadecimal digits, and so is a backslash itself. No two names are written alike, and
 * turning each of these into its byte gives the name back.
 *
 * Rows are written as they come, into part files (`.moco-part` behind the names above, which are
 * cut where they get too long). A call that is cancelled or fails, or whose process is killed after
 * the first seconds of work, leaves them, and the next call for the same path, model, tap and data
 * set goes on behind them, to the same bits. `failed` and `progress` are then told of the images
 * that are left. Part files of another model or data set, and of images that were written since,
 * are begun anew, with a warning to the log; those of a callback's data set are never kept.
 *
 * @param options  NULL for the defaults.
 * @param result   may be NULL.
 * @return as moco_model_embed_dataset; MOCO_ERR_NONFINITE names the image; MOCO_ERR_IO also for the
 *         files; MOCO_ERR_EXISTS if one of the files is the list or archive that the data set was
 *         opened from, or there and of another kind, or a text that no earlier call has written as
 *         it is now; MOCO_ERR_STATE also while another process writes them. Since: 0.1.
 */
MOCO_API moco_status_t moco_model_embed_to_npy(moco_model_t *model, moco_dataset_t *dataset, const char *path,
                                               const moco_embed_options_t *options, moco_embed_result_t *result);

MOCO_END_DECLS

#endif
