/* Writing encoders without making a model first, and the metadata that says what an encoder is. */
#ifndef MO_EVAL_MODEL_FILE_H
#define MO_EVAL_MODEL_FILE_H

#include "eval/model.h"
#include "persist/safetensors.h"

moco_status_t mo_model_meta(mo_st_writer_t *writer, const mo_encoder_spec_t *spec, const mo_transform_t *transform,
                            int64_t steps);
/* The file says what the encoder is. */
moco_status_t mo_model_meta_get(const mo_tensor_file_t *st, mo_encoder_spec_t *spec, mo_transform_t *transform,
                                int64_t *steps);
/* From a file that is open; `path` names it in messages. */
moco_status_t mo_model_read_file(const mo_tensor_file_t *file, const char *path, const struct mo_wanted *wanted,
                                 moco_device_t *device, moco_model_t **out);
json_t *mo_spec_json(const mo_encoder_spec_t *spec, const mo_transform_t *transform); /* NULL without memory */
/* What moco_model_info has of an encoder, with or without numbers; `report`: of another program's
 * file, or NULL. */
json_t *mo_encoder_json(const mo_encoder_t *encoder, const mo_transform_t *transform, int32_t precision,
                        const json_t *report);
/* All of the encoder's net, which for a model has neither predictor nor loss. `folder`: as of
 * mo_st_write_in. */
moco_status_t mo_model_write_encoder(const mo_encoder_t *encoder, const mo_transform_t *transform,
                                     const mo_folder_t *folder, const char *name);

#endif
