/* The data module: from listings of image files to views as 8-bit pixels. Knows no engine and no
 * trainer. Everything here gives the same bytes for any number of threads. */
#ifndef MO_DATA_DATA_H
#define MO_DATA_DATA_H

#include <stddef.h>
#include <stdint.h>
#include <moco/cancel.h>
#include <moco/dataset.h>
#include <moco/types.h> /* moco_image_t */

/* ---- pixels (pixels.c; decode.h makes them from files) ---- */

#define MO_MAX_PIXELS 178956970 /* of an image, where the host sets no limit */

/* 8-bit RGB, rows packed, [height, width, 3]. A buffer is reused and grows. */
typedef struct mo_pixels {
    uint8_t *rgb;
    size_t capacity; /* bytes at rgb */
    int32_t width, height;
} mo_pixels_t;
void mo_pixels_free(mo_pixels_t *pixels);

/* Image `index` of the host's array to RGB, by the array's own struct_size. Checks the struct;
 * messages have the number. */
moco_status_t mo_pixels_from_images(const moco_image_t *images, int64_t index, mo_pixels_t *out);

/* ---- views (views.c on augment.h) ---- */

/* What a view pipeline does. The two views of an image differ in no more than their draws and the
 * last two fields. */
typedef struct mo_view_spec {
    int32_t order;         /* MOCO_VIEWS_…                                    */
    int32_t size;          /* S                                               */
    int32_t resize_filter; /* MOCO_FILTER_…, of the crop                      */
    int32_t crop_tries;    /* random boxes tried before the central one, >= 1 */
    int32_t blur_form;     /* MOCO_BLUR_…                                     */
    double crop_min_area, crop_max_area;
    double brightness, contrast, saturation, hue; /* jitter strengths */
    double jitter_probability, gray_probability, blur_sigma_min, blur_sigma_max, flip_probability;
    uint32_t stream; /* of view 0, where it is another than MO_STREAM_VIEW0; 0 = that one */
    double blur_probability[2], solarize_probability[2]; /* of view 0 and of view 1 */
} mo_view_spec_t;
/* Fields that must agree: ends of a range, and operations that the pipeline does not have. Each
 * field's own range is checked where options come in. Messages have the options' names. */
moco_status_t mo_view_spec_check(const mo_view_spec_t *spec);
/* Logs a warning for a blur that does little or nothing at this size. */
void mo_view_spec_warn(const mo_view_spec_t *spec);

/* Scratch buffers of one thread; zero it to start. */
typedef struct mo_view_work {
    uint8_t *bytes[3];
    size_t capacity[3];
    double *weights;
    size_t weights_capacity;
} mo_view_work_t;
void mo_view_work_free(mo_view_work_t *work);

/* View 0 or 1 of an image: out = [S,S,3]. Draws from (seed, first stream + view, index, epoch). */
moco_status_t mo_view_draw(mo_view_work_t *work, const mo_view_spec_t *spec, const mo_pixels_t *pixels, uint64_t seed,
                           int64_t epoch, int64_t index, int view, uint8_t *out);
/* Evaluation transform: short side to `resize`, centre crop `size` (zero padded if smaller). */
moco_status_t mo_view_eval(mo_view_work_t *work, const mo_pixels_t *pixels, int32_t resize, int32_t size, uint8_t *out);

/* ---- network input (input.c): one image of `count` = 3 S S values as [S,S,3] float32 ---- */

void mo_input_table(const double mean[3], const double std[3], float table[3][256]); /* 8-bit value -> normalised */
void mo_input_bytes(const float table[3][256], const uint8_t *from, int64_t count, float *to);
void mo_input_floats(const float *from, int32_t layout, int64_t count, float *to); /* MOCO_LAYOUT_… */

/* ---- data set (dataset*.c: the handle; listing.c: folder, tar, list) ---- */

/* As the public functions of these names; NULL and numbers out of range are fine. */
int64_t mo_dataset_count(const moco_dataset_t *dataset);
int32_t mo_dataset_classes(const moco_dataset_t *dataset);
const char *mo_dataset_name(const moco_dataset_t *dataset, int64_t index);
int32_t mo_dataset_label(const moco_dataset_t *dataset, int64_t index);
const char *mo_dataset_class_name(const moco_dataset_t *dataset, int32_t label);
uint64_t mo_dataset_name_hash(const moco_dataset_t *dataset); /* FNV-1a over all names, '\n' after each */
/* Tells a data set from others in a later process: names, place and, of an archive, length and time
 * of change. 0 of a callback's, whose images nobody knows again. */
uint64_t mo_dataset_identity(const moco_dataset_t *dataset);
/* Images, or the archive as number 0, whose times are not before `since`, nanoseconds of the
 * system's time: whether one of them was written since is told by its `state`, a hash of size and
 * times. Ascending; mo_free. */
typedef struct mo_dataset_doubt {
    int64_t index;
    uint64_t state;
} mo_dataset_doubt_t;
moco_status_t mo_dataset_doubts(const moco_dataset_t *dataset, int64_t since, mo_dataset_doubt_t **list,
                                int64_t *count);
moco_dataset_t *mo_dataset_retain(moco_dataset_t *dataset);
/* Read and decode entry `index` (thread-safe unless the data set is from a callback: then only on
 * the caller's thread). A broken image is remembered once with its reason and gives MOCO_ERR_IMAGE
 * now and, without reading, ever after. */
moco_status_t mo_dataset_decode(moco_dataset_t *dataset, int64_t index, mo_pixels_t *out);
int64_t mo_dataset_broken(const moco_dataset_t *dataset); /* distinct broken images so far */
/* Reason why `index` is broken, NULL if it is not known to be. */
const char *mo_dataset_broken_reason(const moco_dataset_t *dataset, int64_t index);
/* The file that lists the images or holds them; NULL of a folder and of a callback. */
const char *mo_dataset_source(const moco_dataset_t *dataset);
int mo_dataset_is_callback(const moco_dataset_t *dataset);

/* ---- loader (loader.c) ---- */

/* Threads that decode ahead into a bounded store of 8-bit rows. Train: two views per image, the
 * order of each epoch drawn from (seed, order stream, epoch), batches of exactly `batch` good
 * images; the next image in order takes a broken one's place. Eval: listing order, one row per
 * image, last batch may be smaller. */
typedef struct mo_loader mo_loader_t;

typedef struct mo_loader_spec {
    int train;             /* 1 train, 0 eval                                    */
    int one_view;          /* train: view 0 alone                                */
    int keep_last;         /* train: an epoch's last batch may be smaller        */
    int labelled;          /* images without a class are passed over, unread     */
    int quiet;             /* broken images are not logged: the caller tells of them */
    uint32_t order_stream; /* train; 0 = MO_STREAM_ORDER                         */
    mo_view_spec_t views;  /* train                                              */
    int32_t resize, size;  /* eval                                               */
    uint64_t seed;
    int64_t batch;               /* images a batch                                     */
    int32_t threads;             /* 1..256                                             */
    int32_t depth;               /* batches in the store, the one handed out included, >= 2 */
    int64_t max_broken;          /* MOCO_ERR_BROKEN_DATA past this many distinct broken images; < 0 = no limit */
    const moco_cancel_t *cancel; /* ends the wait for a batch with MOCO_ERR_CANCELLED; NULL = none */
} mo_loader_spec_t;

typedef struct mo_batch {
    int64_t count;
    const uint8_t *const *rows[2]; /* [count] pointers to [S,S,3]; rows[1] only with two views */
    const int64_t *index;          /* [count] entries of the listing                     */
    int64_t epoch;
    int64_t position; /* entries of this epoch's order used up to and including this batch, broken ones too */
} mo_batch_t;

moco_status_t mo_loader_create(const mo_loader_spec_t *spec, moco_dataset_t *dataset, mo_loader_t **out);
void mo_loader_free(mo_loader_t *loader); /* stops the threads; any batch handed out dies */
/* Bytes that the store takes for a spec. */
uint64_t mo_loader_bytes(const mo_loader_spec_t *spec);
/* What a caller wants, or one per lane where that is 0; no more than a loader takes. */
int32_t mo_loader_threads(int32_t wanted, int32_t lanes);
/* Start (again) at an entry of an epoch's order. Threads start working at once. */
moco_status_t mo_loader_seek(mo_loader_t *loader, int64_t epoch, int64_t position);
/* Wait for the next batch. MOCO_ERR_NO_DATA when the epoch has fewer than `batch` good images left
 * (train) or none (eval, keep_last): seek to go on. MOCO_ERR_BROKEN_DATA past the limit, naming
 * count and the first few. */
moco_status_t mo_loader_next(mo_loader_t *loader, const mo_batch_t **batch);
/* Give the batch from _next back; its rows may then be reused. */
void mo_loader_return(mo_loader_t *loader, const mo_batch_t *batch);

#endif
