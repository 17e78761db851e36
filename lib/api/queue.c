/* moco_queue_*: the border of the stand-alone queue. */
#include <moco/queue.h>

#include "contrast/queue.h"
#include "util/status.h"

#define NEED(pointer)                                                   \
    do {                                                                \
        if ((pointer) == NULL)                                          \
            return mo_fail(MOCO_ERR_ARGUMENT, "'" #pointer "' is NULL"); \
    } while (0)

moco_status_t moco_queue_create(int64_t length, int32_t dimension, uint64_t seed, moco_device_t *device,
                                moco_queue_t **out)
{
    NEED(out);
    if (length < 1 || length > 16777216)
        return mo_fail(MOCO_ERR_ARGUMENT, "length is %lld, wanted 1 to 16777216", (long long)length);
    if (dimension < 1 || dimension > 65536)
        return mo_fail(MOCO_ERR_ARGUMENT, "dimension is %d, wanted 1 to 65536", dimension);
    return mo_queue_create(length, dimension, seed, device, out);
}

void moco_queue_free(moco_queue_t *queue)
{
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

moco_status_t moco_queue_enqueue(moco_queue_t *queue, const float *keys, int64_t count)
{
    NEED(queue);
    NEED(keys);
    if (count < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted at least 1", (long long)count);
    return mo_queue_enqueue(queue, keys, count);
}

moco_status_t moco_queue_snapshot(const moco_queue_t *queue, float *keys, int64_t *pointer)
{
    NEED(queue);
    NEED(keys);
    return mo_queue_snapshot(queue, keys, pointer);
}

moco_status_t moco_queue_restore(moco_queue_t *queue, const float *keys, int64_t pointer)
{
    NEED(queue);
    NEED(keys);
    return mo_queue_restore(queue, keys, pointer);
}

moco_status_t moco_queue_contrast(moco_queue_t *queue, const float *queries, const float *keys, int64_t count,
                                  double temperature, double *loss, float *d_queries, double *top1, double *top5)
{
    NEED(queue);
    NEED(queries);
    NEED(keys);
    NEED(loss);
    if (count < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted at least 1", (long long)count);
    if (!(temperature >= 1e-3 && temperature <= 1e3))
        return mo_fail(MOCO_ERR_ARGUMENT, "temperature is %g, wanted 0.001 to 1000", temperature);
    return mo_queue_contrast(queue, queries, keys, count, temperature, loss, d_queries, top1, top5);
}
