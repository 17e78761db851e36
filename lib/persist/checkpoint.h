/* Encoders in safetensors files: tensors by torchvision names under a prefix. Knows encoders, not
 * trainers or models. */
#ifndef MO_PERSIST_CHECKPOINT_H
#define MO_PERSIST_CHECKPOINT_H

#include <stdint.h>

#include "nets/encoder.h"
#include "persist/safetensors.h"

#define MO_FORMAT_VERSION 1

/* `prefix` is "" or ends in a dot; a predictor's names ("predictor.0.weight") go without it.
 * *batches becomes every num_batches_tracked. `params`: the encoder's, mapped. The writer borrows
 * all of them until it has written. */
moco_status_t mo_encoder_put(mo_st_writer_t *writer, const char *prefix, const mo_encoder_t *encoder,
                             const float *params, const int64_t *batches);
/* Every tensor must be there with the net's sizes; num_batches_tracked may be absent. An encoder
 * without memory is not filled: the file is only checked. */
moco_status_t mo_encoder_get(const mo_tensor_file_t *st, const char *prefix, const mo_encoder_t *encoder);
/* For messages: "[64,3,7,7]". */
typedef struct mo_shape_text {
    char text[96];
} mo_shape_text_t;
mo_shape_text_t mo_shape_text(int32_t rank, const int64_t *dims);
/* MOCO_ERR_SHAPE names the tensor, its sizes and those wanted. */
moco_status_t mo_shape_check(const mo_file_tensor_t *tensor, int32_t rank, const int64_t *dims);
/* Parameters alone, as "PREFIX<name>": optimizer state. */
moco_status_t mo_params_put(mo_st_writer_t *writer, const char *prefix, const mo_net_t *net, const float *params);
moco_status_t mo_params_get(const mo_tensor_file_t *st, const char *prefix, const mo_net_t *net, float *params);

/* Metadata helpers: numbers as decimal strings; getters name the key when it is missing or no
 * number. */
moco_status_t mo_meta_int(mo_st_writer_t *writer, const char *key, int64_t value);
moco_status_t mo_meta_double(mo_st_writer_t *writer, const char *key, double value);
moco_status_t mo_meta_get_int(const mo_tensor_file_t *st, const char *key, int64_t low, int64_t high, int64_t *value);
moco_status_t mo_meta_get_double(const mo_tensor_file_t *st, const char *key, double low, double high, double *value);
/* Refuses files of a newer format. */
moco_status_t mo_format_check(const mo_tensor_file_t *st, const char *path);

#endif
