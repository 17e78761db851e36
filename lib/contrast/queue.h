/* The queue as a handle of its own: keys, and plans that contrast tiles of rows with them. */
#ifndef MO_CONTRAST_DICTIONARY_H
#define MO_CONTRAST_DICTIONARY_H

#include "contrast/contrast.h"
#include "util/options.h"

/* queue_options.c. */
extern const mo_option_table_t mo_queue_options;
extern const mo_option_table_t mo_contrast_options;

moco_status_t mo_queue_create(int64_t length, int32_t dimension, uint64_t seed, moco_device_t *device,
                              moco_queue_t **out);
void mo_queue_free(moco_queue_t *queue);
const mo_keys_t *mo_queue_keys(const moco_queue_t *queue);
moco_status_t mo_queue_enqueue(moco_queue_t *queue, const float *keys, int64_t count);
moco_status_t mo_queue_copy(const moco_queue_t *queue, float *keys, int64_t *pointer);
moco_status_t mo_queue_restore(moco_queue_t *queue, const float *keys, int64_t pointer);
/* The public call of this name on checked arguments. */
moco_status_t mo_queue_contrast(moco_queue_t *queue, const float *queries, const float *keys, int64_t count,
                                const moco_contrast_options_t *options, moco_contrast_result_t *result);

#endif
