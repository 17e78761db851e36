/* What goes into and comes out of every shard: images in, keys or losses and gradients out. Runs on lanes. */
#include <string.h>

#include "train/trainer.h"
#include "util/status.h"

static int64_t image_of(const moco_trainer_t *t, int32_t group, int32_t shard, int64_t row, const int32_t *permutation)
{
    return mo_member(t->options.membership, t->options.batch_size, t->groups, group, (int64_t)shard * t->shard + row,
                     permutation);
}

static moco_status_t load_images(moco_trainer_t *t, mo_instance_t *instance, int32_t tensor, int view, int32_t group,
                                 int32_t shard, const int32_t *permutation)
{
    float *input;
    moco_status_t status = mo_instance_map(instance, tensor, &input);
    if (status != MOCO_OK)
        return status;
    for (int64_t row = 0; row < t->shard; row++) {
        int64_t image = image_of(t, group, shard, row, permutation);
        float *to = input + row * t->feature;
        if (t->views->bytes[view] != NULL)
            mo_input_bytes(t->lut, t->views->bytes[view][image], t->feature, to);
        else
            mo_input_floats(t->views->floats[view] + image * t->feature, t->views->layout, t->feature, to);
    }
    mo_instance_unmap(instance, tensor, input);
    return MOCO_OK;
}

static const int32_t *key_order(const moco_trainer_t *t)
{
    return t->options.shuffle ? t->permutation : NULL;
}

moco_status_t mo_key_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    moco_trainer_t *t = ctx;
    moco_status_t status = MOCO_OK;
    TRY(mo_instance_bind(instance, MO_IN_STATS, t->key.staged + group * t->key.net.stats));
    TRY(load_images(t, instance, t->key.net.input, 1, group, shard, key_order(t)));
cleanup:
    return status;
}

/* Keys go back to the place of their image: the inverse of the shuffle. */
moco_status_t mo_key_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    moco_trainer_t *t = ctx;
    int32_t width = t->options.dimension;
    float *rows;
    moco_status_t status = mo_instance_map(instance, t->key.unit, &rows);
    if (status != MOCO_OK)
        return status;
    for (int64_t row = 0; row < t->shard; row++)
        memcpy(t->keys + image_of(t, group, shard, row, key_order(t)) * width, rows + row * width,
               (size_t)width * sizeof(float));
    mo_instance_unmap(instance, t->key.unit, rows);
    return MOCO_OK;
}

moco_status_t mo_query_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    moco_trainer_t *t = ctx;
    moco_status_t status = MOCO_OK;
    int32_t width = t->options.dimension;
    float **block = &t->shard_gradients[group * t->shards_per_group + shard], *keys;
    TRY(mo_gradients_take(&t->gradients, block));
    TRY(mo_instance_bind(instance, MO_IN_GRADS, *block));
    TRY(mo_instance_bind(instance, MO_IN_STATS, t->query.staged + group * t->query.net.stats));
    TRY(load_images(t, instance, t->query.net.input, 0, group, shard, NULL));
    TRY(mo_instance_map(instance, t->keys_tensor, &keys));
    for (int64_t row = 0; row < t->shard; row++)
        memcpy(keys + row * width, t->keys + image_of(t, group, shard, row, NULL) * width,
               (size_t)width * sizeof(float));
    mo_instance_unmap(instance, t->keys_tensor, keys);
cleanup:
    return status;
}

moco_status_t mo_query_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    moco_trainer_t *t = ctx;
    int32_t leaf = group * t->shards_per_group + shard;
    float *rows;
    moco_status_t status = mo_instance_map(instance, t->loss_tensor, &rows);
    if (status != MOCO_OK)
        return status;
    for (int64_t row = 0; row < t->shard; row++)
        memcpy(t->results + image_of(t, group, shard, row, NULL) * MO_LOSS_WIDTH, rows + row * MO_LOSS_WIDTH,
               MO_LOSS_WIDTH * sizeof(float));
    mo_instance_unmap(instance, t->loss_tensor, rows);
    mo_gradients_finish(&t->gradients, leaf, t->shard_gradients[leaf]);
    return MOCO_OK;
}
