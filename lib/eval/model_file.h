/* Writing encoders without making a model first, and the metadata that says what an encoder is. */
#ifndef MO_EVAL_MODEL_FILE_H
#define MO_EVAL_MODEL_FILE_H

#include "eval/model.h"
#include "persist/safetensors.h"

const char *mo_arch_name(int32_t arch); /* "vit_small" */

moco_status_t mo_model_meta(mo_st_writer_t *writer, const mo_encoder_spec_t *spec, const mo_transform_t *transform,
                            int64_t steps);
/* The file says what the encoder is. */
moco_status_t mo_model_meta_get(const mo_tensor_file_t *st, mo_encoder_spec_t *spec, mo_transform_t *transform,
                                int64_t *steps);
/* From a file that is open; `path` names it in messages. */
moco_status_t mo_model_read_file(const mo_tensor_file_t *file, const char *path, moco_device_t *device,
                                 moco_model_t **out);
json_t *mo_spec_json(const mo_encoder_spec_t *spec, const mo_transform_t *transform); /* NULL without memory */
moco_status_t mo_model_write_numbers(const mo_net_t *net, const mo_encoder_spec_t *spec,
                                     const mo_transform_t *transform, float *params, float *running, int64_t steps,
                                     const char *path);

#endif
