/* A finished encoder: what it is made from, and how the modules above run images through it. */
#ifndef MO_EVAL_MODEL_H
#define MO_EVAL_MODEL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <moco/model.h>

#include "data/data.h"
#include "engine/plan.h"
#include "nets/encoder.h"
#include "util/checksum.h"
#include "util/options.h"

/* Plan sizes: one image for latency, more for throughput; a partial shard is padded. */
#define MO_MODEL_SIZES 2
enum { MO_SIZE_ONE = 0, MO_SIZE_MANY = 1, MO_MANY = 16 };

/* One lane's own: arenas and decoding buffers. */
typedef struct mo_model_lane {
    mo_instance_t *instance[MO_MODEL_SIZES];
    mo_buffer_t arena; /* serves both sizes */
    mo_pixels_t pixels;
    mo_view_work_t work;
    uint8_t *view; /* [S,S,3] */
} mo_model_lane_t;

typedef struct mo_transform { /* what turns pixels into inputs */
    double mean[3], std[3];
    int32_t eval_resize, eval_crop;
} mo_transform_t;

struct moco_model {
    moco_device_t *device;
    atomic_int references;
    mo_encoder_t encoder; /* as trained: for saving */
    mo_transform_t transform;
    int32_t precision; /* MOCO_PRECISION_… */
    size_t arena_bytes;
    mo_plan_t *plan[MO_MODEL_SIZES];
    mo_packed_t *packed[MO_MODEL_SIZES];
    mo_model_lane_t *lanes;
    mo_instance_t *shared; /* one image for all lanes; NULL where one lane is as fast */
    mo_buffer_t shared_arena;
    pthread_mutex_t sharing; /* held while `shared` is in use */
    float lut[3][256];
    int64_t feature;
    json_t *report; /* what was taken from a foreign file; or NULL */
};

/* Copies and packs the encoder's numbers. `precision`: MOCO_PRECISION_…. `memory_cap`: bytes; 0 =
 * what the process may still take. */
moco_status_t mo_model_create(const mo_encoder_t *encoder, const mo_transform_t *transform, int32_t precision,
                              int64_t memory_cap, moco_device_t *device, moco_model_t **out);
moco_model_t *mo_model_retain(moco_model_t *model);
void mo_model_release(moco_model_t *model); /* the last reference frees it; NULL is fine */
/* model_file.c. Reading takes any container; `bytes` are a whole file and are not needed
 * afterwards. Writing to memory follows mo_st_write_memory. */
struct mo_wanted; /* loaded.h */
moco_status_t mo_model_read(const char *path, const struct mo_wanted *wanted, moco_device_t *device,
                            moco_model_t **out);
moco_status_t mo_model_read_memory(const uint8_t *bytes, uint64_t size, const struct mo_wanted *wanted,
                                   moco_device_t *device, moco_model_t **out);
moco_status_t mo_model_write(const moco_model_t *model, const char *path);
moco_status_t mo_model_write_memory(const moco_model_t *model, void *bytes, uint64_t capacity, uint64_t *needed);

json_t *mo_model_json(const moco_model_t *model); /* what it is; NULL without memory */
/* Of all that decides the bits of a row: weights, statistics, network and transform. */
moco_status_t mo_model_sum(const moco_model_t *model, mo_checksum_t *sum);

/* embed.c. Where images of one call come from: exactly one is set. */
typedef struct mo_image_source {
    const uint8_t *const *encoded; /* [count] image files in memory */
    const uint64_t *sizes;
    const moco_image_t *images; /* [count] pixels of any size, by mo_image_at */
    const float *floats;        /* [count] normalised images  */
    int32_t layout;
    const uint8_t *const *rows;    /* [count] views [S,S,3]      */
    const moco_dataset_t *dataset; /* of `rows`, for messages; NULL = none */
    const int64_t *indices;        /* [count] in the data set              */
} mo_image_source_t;
/* The options are checked; see moco_model_embed_encoded for those of them that count. */
moco_status_t mo_embed(moco_model_t *model, int64_t count, const mo_image_source_t *source, int size,
                       const moco_embed_options_t *options, float *out);
/* embed_dataset.c */
moco_status_t mo_embed_dataset(moco_model_t *model, moco_dataset_t *dataset, const moco_embed_options_t *options,
                               moco_rows_fn rows, void *user);
/* The images from `first` on, after `done` rows of those before. */
moco_status_t mo_embed_dataset_from(moco_model_t *model, moco_dataset_t *dataset, int64_t first, int64_t done,
                                    const moco_embed_options_t *options, moco_rows_fn rows, void *user);
/* embed_files.c */
moco_status_t mo_embed_to_npy(moco_model_t *model, moco_dataset_t *dataset, const char *path,
                              const moco_embed_options_t *options, moco_embed_result_t *result);
int32_t mo_model_width(const moco_model_t *model, int32_t tap); /* 0 = no such tap */
/* model_options.c. */
extern const mo_option_table_t mo_model_options;
extern const mo_option_table_t mo_embed_options;

moco_status_t mo_model_check_tap(const moco_model_t *model, int32_t tap);

/* How a training run's pixels are turned into inputs at evaluation (design: short side to
 * floor(8S/7 + 1/2), crop S).
 */
int32_t mo_eval_resize(int32_t stem, int32_t image_size);
struct moco_trainer_options;
void mo_transform_of(const struct moco_trainer_options *options, mo_transform_t *transform);
mo_encoder_spec_t mo_encoder_spec_of(const struct moco_trainer_options *options);

#endif
