/* moco_queue_*: the border of the stand-alone queue. */
#include <moco/queue.h>

#include "contrast/queue.h"
#include "util/border.h"
#include "util/need.h"
#include "util/structsize.h"

moco_status_t moco_queue_create(const moco_queue_options_t *options, moco_device_t *device, moco_queue_t **out)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_queue_options_t o;
    MO_NEED(out);
    *out = NULL;
    TRY(mo_option_resolve(&mo_queue_options, options, &o));
    TRY(mo_queue_create(o.length, o.dimension, o.seed, device, out));
cleanup:
    return status;
}

void moco_queue_free(moco_queue_t *queue)
{
    MO_BORDER;
    mo_queue_free(queue);
}

int64_t moco_queue_length(const moco_queue_t *queue)
{
    return queue != NULL ? mo_queue_keys(queue)->length : 0;
}

int32_t moco_queue_dimension(const moco_queue_t *queue)
{
    return queue != NULL ? mo_queue_keys(queue)->dimension : 0;
}

int64_t moco_queue_pointer(const moco_queue_t *queue)
{
    return queue != NULL ? mo_queue_keys(queue)->pointer : 0;
}

moco_status_t moco_queue_enqueue(moco_queue_t *queue, int64_t count, const float *keys)
{
    MO_BORDER;
    MO_NEED(queue);
    MO_NEED(keys);
    moco_status_t status = mo_need_whole("count", count, 1, INT64_MAX);
    return status == MOCO_OK ? mo_queue_enqueue(queue, keys, count) : status;
}

moco_status_t moco_queue_keys(const moco_queue_t *queue, float *keys, int64_t *pointer)
{
    MO_BORDER;
    MO_NEED(queue);
    MO_NEED(keys);
    return mo_queue_copy(queue, keys, pointer);
}

moco_status_t moco_queue_restore(moco_queue_t *queue, const float *keys, int64_t pointer)
{
    MO_BORDER;
    MO_NEED(queue);
    MO_NEED(keys);
    return mo_queue_restore(queue, keys, pointer);
}

moco_status_t moco_queue_contrast(moco_queue_t *queue, int64_t count, const float *queries, const float *keys,
                                  const moco_contrast_options_t *options, moco_contrast_result_t *result)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_contrast_options_t o;
    moco_contrast_result_t full = {.struct_size = sizeof full};
    MO_NEED(queue);
    MO_NEED(queries);
    MO_NEED(keys);
    MO_NEED(result);
    TRY(mo_need_whole("count", count, 1, INT64_MAX));
    TRY(mo_option_resolve(&mo_contrast_options, options, &o));
    TRY(mo_report_check(result));
    TRY(mo_queue_contrast(queue, queries, keys, count, &o, &full));
    mo_report_out(&full, sizeof full, result);
cleanup:
    return status;
}
