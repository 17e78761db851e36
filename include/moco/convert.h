/* Checkpoints of other programs, both ways. moco_model_load reads them directly; here they become
 * files: models and training checkpoints of this library, or encoders under the names that other
 * programs look for. Nothing in a file is ever executed. docs/checkpoints.md has the layouts. */
#ifndef MOCO_CONVERT_H
#define MOCO_CONVERT_H

#include <stdint.h>
#include <moco/cancel.h>
#include <moco/export.h>
#include <moco/status.h>
#include <moco/trainer.h>
#include <moco/types.h>

MOCO_BEGIN_DECLS

/** What is written; the container is always safetensors. */
enum moco_file {
    MOCO_FILE_ENCODER = 0,     /**< a model of this library (model.safetensors)                                       */
    MOCO_FILE_TRAINING = 1,    /**< a training checkpoint of this library, of one of MoCo v1, v2, v3, the CIFAR demo  */
    MOCO_FILE_TORCHVISION = 2, /**< torchvision's names, of ResNets                                                   */
    MOCO_FILE_TIMM = 3,        /**< timm's and DeiT's names: what belongs under "model" in DeiT's files               */
    MOCO_FILE_DETECTRON2 = 4   /**< detectron2's names (stem.conv1, res2, ...), of ResNets                            */
};
/** The projection head: AUTO keeps it in MOCO_FILE_ENCODER and leaves it out for other programs. */
enum moco_convert_head { MOCO_CONVERT_HEAD_AUTO = 0, MOCO_CONVERT_HEAD_KEEP = 1, MOCO_CONVERT_HEAD_DROP = 2 };

/** What moco_convert makes of a file. */
typedef struct moco_convert_options {
    uint64_t struct_size;          /**< set by _init                                                                  */
    moco_cancel_t *cancel;         /**< NULL, or what stops the call from another thread                              */
    const moco_trainer_options_t *training; /**< TRAINING: see moco_convert; else NULL                                */
    double mean_r, mean_g, mean_b; /**< evaluation transform: subtracted from pixels in 0..1; used when std_r > 0     */
    double std_r, std_g, std_b;    /**< divides them; all 0 = the file's, or as published                             */
    int32_t to;                    /**< MOCO_FILE_…                                                                   */
    int32_t encoder;               /**< MOCO_ENCODER_…: which encoder of the file                                     */
    int32_t head;                  /**< MOCO_CONVERT_HEAD_…                                                           */
    int32_t image_size;            /**< side of the encoder's input in pixels, 16..1024; 0 = the file's, or published */
    int32_t eval_resize;           /**< short side before the crop, image_size..4096; 0 = the file's, or published    */
    int32_t key_update;            /**< TRAINING: 1 applies the key-momentum update that the reference owes; 0: not   */
    int32_t vit_heads;             /**< as of moco_model_options_t                                                    */
    int32_t reserved;              /**< 0                                                                             */
    const char *prefix;            /**< as of moco_model_options_t                                                    */
} moco_convert_options_t;

/** Write the defaults: MOCO_FILE_ENCODER of the query encoder, key_update 1, everything else as the
 * file has it.
 * @param struct_size  sizeof(moco_convert_options_t) as the caller knows it. Since: 0.1. */
MOCO_API moco_status_t moco_convert_options_init(moco_convert_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_convert_options_set(moco_convert_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_convert_options_json(const moco_convert_options_t *options, char *text, uint64_t capacity,
                                                 uint64_t *needed);

/**
 * Read any checkpoint that moco_model_load reads and write another file, through a temporary file
 * that is synced and renamed.
 *
 * Found under any prefix in safetensors files, in those of torch.save, in both of its containers,
 * and in plain pickles of NumPy arrays: MoCo v1, v2, v3, the CIFAR demonstration, torchvision,
 * timm's ViTs, detectron2. What the encoder is comes from the shapes: ResNet-18 to -152 with both
 * stems and any width, ViTs with both stems; a tensor inside the encoder that no layer of these
 * takes refuses the file. Missing counters of batches, queue, key encoder or optimizer are no
 * error, and are reported.
 *
 * With MOCO_FILE_TRAINING, `training` in the options holds the options of the run, of which
 * network, embedding width and queue length (of a ViT the image size, too) are taken from the file;
 * they are options of moco-v3 or moco-v3-vit for a checkpoint of MoCo v3. NULL is the recipe that
 * the file looks like, with its optimizer, momentum or decays, and weight decay. Out of a model of
 * this library it makes the begin of a new run, of any method, from the model's weights.
 *
 * @param source    the file to read.
 * @param target    the file to write.
 * @param options   NULL for the defaults.
 * @param text      receives JSON: container, layout, names, encoder (its prefix), epoch, arch,
 *                  taken (tensors), ignored (names with counts), missing and notes (lists of
 *                  texts), and as "model" the encoder's arch, width, stem, head, size and
 *                  transform. May be NULL when `capacity` is 0. The same lines go to the log, level
 *                  MOCO_LOG_INFO.
 * @param capacity  bytes at `text`. The text rule of moco_build_info holds, and a text that does
 *                  not fit is refused before anything is written. With 0 the file is written all
 *                  the same.
 * @param needed    receives the bytes of the text; may be NULL, also with a capacity of 0.
 * @return MOCO_ERR_FORMAT (no file of tensors, damaged, or without an encoder of a known name),
 *         MOCO_ERR_UNSUPPORTED (programs, compressed archives, networks that this version does not
 *         have), MOCO_ERR_SHAPE (tensors are missing or have other sizes), MOCO_ERR_MISMATCH (no
 *         key encoder; several encoders and no `prefix` that names one; already a training
 *         checkpoint of this library), MOCO_ERR_EXISTS (`target` is `source`, a file of a run at
 *         work, or of another kind), MOCO_ERR_NONFINITE (a number of the file, and which),
 *         MOCO_ERR_VERSION (the file or the options are of a newer library), MOCO_ERR_ARGUMENT,
 *         MOCO_ERR_IO, MOCO_ERR_CANCELLED, MOCO_ERR_ENGINE (numbers could not be moved to or from
 *         a device), MOCO_ERR_MEMORY. A call that fails leaves `target` as it was. Threads: any.
 *         Since: 0.1.
 */
MOCO_API moco_status_t moco_convert(const char *source, const char *target, const moco_convert_options_t *options,
                                    char *text, uint64_t capacity, uint64_t *needed);

/** JSON about any file of tensors, whether or not an encoder is known in it: container, tensors,
 * numbers, layout, names, encoder, epoch, arch (as the file calls it), kind (of this library's
 * files), unknown (why no encoder is known); classes and class_names (the first hundred), of a
 * classifier; training, of a checkpoint that goes on training here: its recipe and the options that
 * are not the recipe's. About a .npy file of embeddings: container ("npy"), rows, dimension. The
 * file may be of any size: memory is taken for what describes its numbers alone. Text rule as in
 * moco_build_info.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_IO, MOCO_ERR_FORMAT (no file of tensors, or damaged),
 *         MOCO_ERR_VERSION (a newer form of .npy), MOCO_ERR_UNSUPPORTED (a program instead of
 *         tensors), MOCO_ERR_MEMORY. Since: 0.1. */
MOCO_API moco_status_t moco_file_info(const char *path, char *text, uint64_t capacity, uint64_t *needed);

MOCO_END_DECLS

#endif
