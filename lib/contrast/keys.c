/* The FIFO of keys: rows of unit length, oldest overwritten first. */
#include <string.h>

#include "contrast/contrast.h"
#include "util/rng.h"
#include "util/rows.h"
#include "util/status.h"

moco_status_t mo_keys_create(mo_keys_t *keys, int64_t length, int32_t dimension, uint64_t seed, moco_device_t *device)
{
    *keys = (mo_keys_t){.length = length, .dimension = dimension};
    const size_t bytes = (size_t)length * (size_t)dimension * sizeof(float);
    const moco_status_t status = mo_buffer_create(device, bytes, &keys->rows);
    return status == MOCO_OK ? mo_keys_start(keys, seed) : status;
}

moco_status_t mo_keys_start(mo_keys_t *keys, uint64_t seed)
{
    mo_rng_t rng;
    float *rows;
    const moco_status_t status = mo_buffer_map(keys->rows, MO_WRITE, &rows);
    if (status != MOCO_OK)
        return status;
    mo_rng_start(&rng, seed, MO_STREAM_QUEUE, 0, 0);
    for (int64_t i = 0; i < keys->length * keys->dimension; i++)
        rows[i] = (float)mo_rng_normal(&rng);
    (void)mo_rows_normalise(rows, keys->length, keys->dimension, rows); /* draws are finite: it cannot fail */
    mo_buffer_unmap(keys->rows, rows);
    keys->pointer = 0;
    return MOCO_OK;
}

void mo_keys_free(mo_keys_t *keys)
{
    mo_buffer_free(&keys->rows);
    memset(keys, 0, sizeof *keys);
}

void mo_keys_enqueue(mo_keys_t *keys, float *mapped, const float *rows, int64_t count)
{
    size_t row = (size_t)keys->dimension * sizeof(float);
    if (count > keys->length) { /* only the last K stay, where the whole run would have left them */
        int64_t dropped = count - keys->length;
        keys->pointer = (keys->pointer + dropped) % keys->length;
        rows += dropped * keys->dimension;
        count = keys->length;
    }
    int64_t first = keys->length - keys->pointer < count ? keys->length - keys->pointer : count;
    memcpy(mapped + keys->pointer * keys->dimension, rows, (size_t)first * row);
    memcpy(mapped, rows + first * keys->dimension, (size_t)(count - first) * row);
    keys->pointer = (keys->pointer + count) % keys->length;
}
