/* Data sets: a listing of images and the decoder for them. Nothing is read before it is needed. */
#ifndef MOCO_DATASET_H
#define MOCO_DATASET_H

#include <stdint.h>
#include <moco/export.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/** A data set: a listing of images and the decoder for them. */
typedef struct moco_dataset moco_dataset_t;

/** How a data set is listed and decoded. */
typedef struct moco_dataset_options {
    uint64_t struct_size; /**< set by _init                                                                          */
    int64_t limit;        /**< use only this many images, spread evenly: entry floor(i*total/limit), >= 1; 0 = all    */
    int64_t max_pixels;   /**< refuse images of more pixels (width*height); default 178,956,970; 1..2^31-1            */
    int64_t max_bytes;    /**< refuse files of more bytes, >= 1; default 268,435,456                                  */
} moco_dataset_options_t;

/** Fill with the defaults. @param struct_size  sizeof(moco_dataset_options_t) of the caller:
 * docs/abi.md. Since: 0.1. */
MOCO_API moco_status_t moco_dataset_options_init(moco_dataset_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_dataset_options_set(moco_dataset_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_dataset_options_json(const moco_dataset_options_t *options, char *text, uint64_t capacity,
                                                 uint64_t *needed);

/**
 * Open images by path:
 * - a folder: every file in it or below whose name ends in .jpg or .jpeg (any case), links
 *   followed. A sub-folder that may not be read is left out with a warning;
 * - a file ending in .tar (uncompressed ustar, GNU or pax): its members by the same rules (a
 *   leading "./" or "/" is dropped). An end without an end-of-archive block, and members behind
 *   one, as in archives that were put together, are read with a warning. Sparse members are broken
 *   images;
 * - any other file: a list in UTF-8, one path per line, optionally a tab and a class name; relative
 *   to the list's folder; blank lines and lines that start with '#' are skipped ("./#1.jpg" names
 *   such a file). Spaces at both ends of a path and of a class are dropped, and so are a byte order
 *   mark and carriage returns.
 * Entries are in bytewise path order (a list keeps its own order); classes in bytewise order of
 * their names. Hidden names (starting with '.') are skipped.
 *
 * The class of an image in a folder or a tar is its first sub-folder below the folders that all
 * images share, so "photos/cat/1.jpg" and "photos/dog/1.jpg" are of classes "cat" and "dog"; a
 * warning says so. Where all images lie in one folder, that is the only class; images that lie in
 * no folder have none.
 *
 * Files of other kinds beside the images are counted (moco_dataset_info), and pictures among them
 * are warned of. The pixels of an image are those that its file stores: an EXIF orientation is not
 * followed, as in torchvision, and the first image that has one is warned of. An image is broken if
 * it is not there, may not be read, is no JPEG or a damaged one, has more pixels or bytes than the
 * options allow, more than 100 scans, or more than 2^31 pixels over all its scans. The first 10
 * broken images of a data set are named in the log when a run or an embedding leaves them out.
 * A failure that says nothing about the image, such as a disk or a network that does not answer
 * (EIO, ESTALE, ETIMEDOUT), or no free descriptors or memory, is MOCO_ERR_IO or MOCO_ERR_MEMORY of
 * the call that needs the image, which is read again the next time.
 *
 * @param path     folder, tar or list.
 * @param options  NULL for the defaults.
 * @param out      receives the data set; free with moco_dataset_free.
 * @return MOCO_ERR_IO if it cannot be read, MOCO_ERR_FORMAT for a damaged tar and for a file of
 *         another kind, MOCO_ERR_NO_DATA if it names no image, MOCO_ERR_ARGUMENT (an option out of
 *         range), MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY. Threads: a data
 *         set may be used by any number of threads and trainers at once. Since: 0.1.
 */
MOCO_API moco_status_t moco_dataset_open(const char *path, const moco_dataset_options_t *options, moco_dataset_t **out);

/**
 * Delivers image `index` as the bytes of its file: set *data and *size and return 0.
 * MOCO_ERR_CANCELLED stops the call that needs the image, which fails with that status and says
 * nothing about the image: it is asked for again when it is next needed. Any other value marks the
 * image as broken. The library copies the bytes before it calls again or returns.
 * Called on the thread of the call that needs the image; it must not throw, leave by longjmp or
 * call the library with this data set.
 */
typedef int32_t (*moco_read_fn)(void *user, int64_t index, const uint8_t **data, uint64_t *size);

/**
 * Create a data set on the host's own store of images.
 * @param count    images, 1..2^31-1.
 * @param read     delivers their bytes.
 * @param user     handed to `read`.
 * @param labels   [count] class numbers, -1 (none) to 999,999; NULL = no labels; copied. Classes
 * are 0 to the largest.
 * @param options  NULL for the defaults; `limit` applies.
 * Names are "0", "1", …; class names are the class numbers as text.
 * @param out      receives the data set; free with moco_dataset_free.
 * @return MOCO_ERR_ARGUMENT (count, a label or an option out of range), MOCO_ERR_VERSION (options
 *         of a newer header), MOCO_ERR_MEMORY. Since: 0.1.
 */
MOCO_API moco_status_t moco_dataset_create(int64_t count, moco_read_fn read, void *user, const int32_t *labels,
                                           const moco_dataset_options_t *options, moco_dataset_t **out);

/** Drop the caller's reference; NULL is fine. Since: 0.1. */
MOCO_API void moco_dataset_free(moco_dataset_t *dataset);

/** @return the number of images, 0 for NULL. Since: 0.1. */
MOCO_API int64_t moco_dataset_count(const moco_dataset_t *dataset);

/** @return the number of classes, 0 without labels. Since: 0.1. */
MOCO_API int32_t moco_dataset_classes(const moco_dataset_t *dataset);

/** @return the path of image `index` inside the data set, NULL out of range; valid until
 *         moco_dataset_free. Since: 0.1. */
MOCO_API const char *moco_dataset_name(const moco_dataset_t *dataset, int64_t index);

/** @return the class of image `index`, -1 without one or out of range. Since: 0.1. */
MOCO_API int32_t moco_dataset_label(const moco_dataset_t *dataset, int64_t index);

/** @return the name of class `label`, NULL out of range; valid until moco_dataset_free.
 * Since: 0.1. */
MOCO_API const char *moco_dataset_class_name(const moco_dataset_t *dataset, int32_t label);

/**
 * The pixels of one image after the evaluation transform: short side to `resize`, centre crop to
 * `size` (black where the image is smaller); both 1..16384 pixels.
 * @param pixels  receives [size, size, 3] uint8 RGB.
 * @return MOCO_ERR_ARGUMENT; MOCO_ERR_IMAGE if it is broken: moco_dataset_broken_reason then tells
 *         why; MOCO_ERR_IO or MOCO_ERR_MEMORY where that says nothing about the image
 *         (moco_dataset_open); MOCO_ERR_CANCELLED if the `read` of moco_dataset_create asked to
 *         stop. Since: 0.1.
 */
MOCO_API moco_status_t moco_dataset_pixels(moco_dataset_t *dataset, int64_t index, int32_t resize, int32_t size,
                                           uint8_t *pixels);

/** @return images that were found to be broken so far: each is read when it is first needed. 0 for
 * NULL. Since: 0.1. */
MOCO_API int64_t moco_dataset_broken_count(const moco_dataset_t *dataset);

/** @return why image `index` is broken, in one line; NULL if it is not known to be, or out of
 * range. Valid until moco_dataset_free. Threads: any. Since: 0.1. */
MOCO_API const char *moco_dataset_broken_reason(const moco_dataset_t *dataset, int64_t index);

/** JSON: source, kind, count, classes, shared_folder (that all images lie in and that is no class;
 * absent if there is none), name_hash (hex), left_out (files beside the images by kind, such as
 * {".png": 20}), left_out_images (how many of those are pictures), skipped_folders (that may not be
 * read), examined (images read so far, of which the next four tell), broken (count), warnings
 * (libjpeg warnings that left the image usable), turned (images with an EXIF orientation, which is
 * not followed), broken_names (the first 20, with reasons). Names that are not UTF-8 are written as
 * moco_model_embed_to_npy does. Text rule as in moco_build_info. Since: 0.1. */
MOCO_API moco_status_t moco_dataset_info(const moco_dataset_t *dataset, char *text, uint64_t capacity,
                                         uint64_t *needed);

MOCO_END_DECLS

#endif
