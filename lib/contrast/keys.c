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

/* Where `count` rows go: two runs, from row `from` to row `to` of the queue. The pointer moves
 * on. */
typedef struct run {
    int64_t from, to, count;
} run_t;

static void runs_of(mo_keys_t *keys, int64_t count, run_t runs[2])
{
    const int64_t dropped = count > keys->length ? count - keys->length : 0; /* only the last K stay */
    const int64_t at = (keys->pointer + dropped) % keys->length, left = keys->length - at;
    count -= dropped;
    const int64_t first = left < count ? left : count;
    runs[0] = (run_t){dropped, at, first};
    runs[1] = (run_t){dropped + first, 0, count - first};
    keys->pointer = (at + count) % keys->length;
}

void mo_keys_enqueue(mo_keys_t *keys, float *mapped, const float *rows, int64_t count)
{
    run_t runs[2];
    runs_of(keys, count, runs);
    for (int i = 0; i < 2; i++)
        memcpy(mapped + runs[i].to * keys->dimension, rows + runs[i].from * keys->dimension,
               (size_t)(runs[i].count * keys->dimension) * sizeof(float));
}

moco_status_t mo_keys_move_in(mo_keys_t *keys, mo_buffer_t rows, int64_t count)
{
    const int64_t width = keys->dimension;
    moco_status_t status = MOCO_OK;
    run_t runs[2];
    runs_of(keys, count, runs);
    for (int i = 0; i < 2; i++)
        TRY(mo_buffer_move(mo_buffer_floats(keys->rows, runs[i].to * width, runs[i].count * width),
                           mo_buffer_floats(rows, runs[i].from * width, runs[i].count * width)));
cleanup:
    return status;
}
