/* A trainer to a checkpoint and back: everything that decides the bits of what follows. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>


#include "eval/model_file.h"
#include "persist/checkpoint.h"
#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/status.h"
#include "util/version.h"

/* What one step changes besides tensors. */
typedef struct counter {
    const char *key;
    size_t offset;
} counter_t;

static const counter_t counters[] = {
    {"step", offsetof(moco_trainer_t, step)},
    {"epoch", offsetof(moco_trainer_t, epoch)},
    {"step_in_epoch", offsetof(moco_trainer_t, step_in_epoch)},
    {"position", offsetof(moco_trainer_t, position)},
    {"queue_seen", offsetof(moco_trainer_t, queue_seen)},
    {"listing_count", offsetof(moco_trainer_t, listing_count)},
};
#define COUNTERS (sizeof counters / sizeof counters[0])
#define COUNTER_MAX ((int64_t)1 << 48) /* no run gets there, and counting on from it cannot overflow */

static int64_t *counter_of(moco_trainer_t *t, size_t i)
{
    return (int64_t *)((char *)t + counters[i].offset);
}

/* In files the queue is [D,K], as the method's reference keeps it. */
void mo_transpose(const float *from, int64_t rows, int64_t columns, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            to[j * rows + i] = from[i * columns + j];
}

static moco_status_t put_meta(mo_st_writer_t *w, moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    char *options = NULL, hash[32];
    mo_transform_t transform;
    TRY(mo_meta_int(w, "format_version", MO_FORMAT_VERSION));
    TRY(mo_st_meta(w, "kind", "checkpoint"));
    TRY(mo_st_meta(w, "libmoco", MO_VERSION_TEXT));
    TRY(mo_st_meta(w, "moco.key_order", "after the momentum update that follows the step"));
    mo_transform_of(&t->options, &transform);
    TRY(mo_model_meta(w, &t->spec, &transform, t->step)); /* so that a model can be loaded from a checkpoint */
    TRY(mo_options_to_json(&t->options, &options));
    TRY(mo_st_meta(w, "options", options));
    for (size_t i = 0; i < COUNTERS; i++)
        TRY(mo_meta_int(w, counters[i].key, *counter_of(t, i)));
    /* Pushed images that no step has taken are not saved, and draws go on from those that were. */
    TRY(mo_meta_int(w, "pushed_number", t->pushed.number - t->pushed.count));
    TRY(mo_meta_int(w, "shard", t->shard));
    TRY(mo_meta_double(w, "epoch_loss_sum", t->epoch_loss_sum));
    snprintf(hash, sizeof hash, "%016" PRIx64, t->listing_hash);
    TRY(mo_st_meta(w, "listing_hash", hash));
    if (t->origin != NULL)
        TRY(mo_st_meta(w, "origin", t->origin));
cleanup:
    mo_free(options);
    return status;
}

/* What the encoders are called: as the published checkpoints of the method call them. */
static const char *query_prefix(int32_t loss)
{
    return loss == MOCO_LOSS_BATCH ? "base_encoder." : "encoder_q.";
}

static const char *key_prefix(const moco_trainer_t *t)
{
    return t->method.loss == MOCO_LOSS_BATCH ? "momentum_encoder." : "encoder_k.";
}

/* "optimizer.momentum_buffer." and the like. */
static const char *state_prefix(const moco_trainer_t *t, int32_t block, char prefix[64])
{
    snprintf(prefix, 64, "optimizer.%s.", mo_optim_block_name((mo_optimizer_t)t->options.optimizer, block));
    return prefix;
}

static mo_encoder_file_t query_file(moco_trainer_t *t)
{
    return (mo_encoder_file_t){&t->query.net, t->query.params, t->query.running,
                               t->step * (t->method.mixed ? 1 : t->method.query_views)};
}

static mo_encoder_file_t key_file(moco_trainer_t *t)
{
    return (mo_encoder_file_t){&t->key.net, t->key.params, t->key.running, t->step * t->method.key_views};
}

moco_status_t mo_trainer_save_file(moco_trainer_t *t, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t w = {0};
    float *queue = NULL;
    char prefix[64];
    int64_t queue_dims[2] = {t->options.dimension, t->queue.length}, one[1] = {1};
    size_t queue_bytes = (size_t)(t->queue.length * t->queue.dimension) * sizeof(float);
    mo_encoder_file_t query = query_file(t), key = key_file(t);
    TRY(put_meta(&w, t));
    TRY(mo_st_meta(&w, "encoder_prefix", query_prefix(t->options.loss)));
    TRY(mo_encoder_put(&w, query_prefix(t->options.loss), &query));
    if (t->method.key_views > 0)
        TRY(mo_encoder_put(&w, key_prefix(t), &key));
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)t->options.optimizer); i++)
        TRY(mo_params_put(&w, state_prefix(t, i, prefix), &t->query.net, t->optim.state[i]));
    if (t->method.loss == MOCO_LOSS_QUEUE) {
        TRY(mo_block_create(queue_bytes, &queue));
        mo_transpose(t->queue.rows, t->queue.length, t->queue.dimension, queue);
        TRY(mo_st_add(&w, "queue", MO_F32, 2, queue_dims, queue));
        TRY(mo_st_add(&w, "queue_ptr", MO_I64, 1, one, &t->queue.pointer));
    }
    TRY(mo_st_write(&w, path));
cleanup:
    mo_st_writer_free(&w);
    mo_block_free(queue, queue_bytes);
    return status;
}

/* check_tensors has seen that the keys are there in this shape. */
static moco_status_t get_queue(const mo_tensor_file_t *st, moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    float *queue = NULL;
    int64_t pointer;
    size_t bytes = (size_t)(t->queue.length * t->queue.dimension) * sizeof(float);
    const mo_file_tensor_t *keys = mo_tensor_file_find(st, "queue"), *at = mo_tensor_file_find(st, "queue_ptr");
    if (at == NULL)
        return mo_fail(MOCO_ERR_SHAPE, "tensor 'queue_ptr' is missing");
    TRY(mo_block_create(bytes, &queue));
    TRY(mo_file_floats(keys, queue, t->queue.length * t->queue.dimension));
    mo_transpose(queue, t->queue.dimension, t->queue.length, t->queue.rows);
    TRY(mo_file_ints(at, &pointer, 1));
    if (pointer < 0 || pointer >= t->queue.length)
        TRY(mo_fail(MOCO_ERR_FORMAT, "'queue_ptr' is %" PRId64 ", wanted 0 to %" PRId64, pointer, t->queue.length - 1));
    t->queue.pointer = pointer;
cleanup:
    mo_block_free(queue, bytes);
    return status;
}

static moco_status_t get_state(const mo_tensor_file_t *st, moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    int64_t shard;
    char prefix[64];
    mo_encoder_file_t query = query_file(t), key = key_file(t);
    for (size_t i = 0; i < COUNTERS; i++)
        TRY(mo_meta_get_int(st, counters[i].key, 0, COUNTER_MAX, counter_of(t, i)));
    if (t->listing_count > INT32_MAX || t->epoch > UINT32_MAX || t->position > t->listing_count)
        TRY(mo_fail(MOCO_ERR_FORMAT, "the checkpoint is at image %" PRId64 " of %" PRId64 " in epoch %" PRId64
                    "; wanted at most %d images and epochs below 2^32", t->position, t->listing_count, t->epoch,
                    INT32_MAX));
    TRY(mo_meta_get_int(st, "pushed_number", 0, COUNTER_MAX, &t->pushed.number));
    TRY(mo_meta_get_int(st, "shard", 1, INT32_MAX, &shard));
    if (shard != t->shard)
        TRY(mo_fail(MOCO_ERR_MISMATCH, "the checkpoint was made with shards of %" PRId64 " images, this run has %d",
                    shard, t->shard));
    TRY(mo_meta_get_double(st, "epoch_loss_sum", -1e300, 1e300, &t->epoch_loss_sum));
    const char *hash = mo_tensor_file_text(st, "listing_hash");
    if (hash == NULL || sscanf(hash, "%16" SCNx64, &t->listing_hash) != 1)
        TRY(mo_fail(MOCO_ERR_FORMAT, "metadata 'listing_hash' is missing or no hexadecimal number"));
    if (mo_tensor_file_text(st, "origin") != NULL)
        TRY(mo_strdup(mo_tensor_file_text(st, "origin"), &t->origin));
    TRY(mo_encoder_get(st, query_prefix(t->options.loss), &query));
    if (t->method.key_views > 0)
        TRY(mo_encoder_get(st, key_prefix(t), &key));
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)t->options.optimizer); i++)
        TRY(mo_params_get(st, state_prefix(t, i, prefix), &t->query.net, t->optim.state[i]));
    if (t->method.loss == MOCO_LOSS_QUEUE)
        TRY(get_queue(st, t));
cleanup:
    return status;
}

static moco_status_t saved_options(const mo_tensor_file_t *st, const char *path,
                                   const moco_trainer_options_t *overrides, moco_trainer_options_t *options)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_options_t now;
    const char *json = mo_tensor_file_text(st, "options"), *kind = mo_tensor_file_text(st, "kind");
    if (kind == NULL || strcmp(kind, "checkpoint") != 0 || json == NULL)
        return mo_fail(MOCO_ERR_FORMAT,
                       "'%s' is not a training checkpoint of this library; moco_convert makes one from "
                       "a reference checkpoint",
                       path);
    TRY(mo_format_check(st, path));
    TRY(mo_options_from_json(json, options));
    if (overrides != NULL) {
        TRY(mo_options_overlay(overrides, &now));
        TRY(mo_options_compare(options, &now));
        options->memory_cap = now.memory_cap;
        options->loader_threads = now.loader_threads;
        options->max_broken = now.max_broken;
        options->max_broken_percent = now.max_broken_percent;
    }
cleanup:
    return status;
}

/* Before memory is taken for a network and a queue that the file only claims to have. */
static moco_status_t check_tensors(const mo_tensor_file_t *st, const moco_trainer_options_t *options)
{
    moco_status_t status = MOCO_OK;
    const mo_encoder_spec_t spec = mo_encoder_spec_of(options);
    const mo_file_tensor_t *queue = mo_tensor_file_find(st, "queue");
    const int64_t dims[2] = {options->dimension, options->queue_length};
    mo_net_t net = {0};
    mo_encoder_file_t encoder = {.net = &net};
    TRY(mo_options_check(options));
    TRY(mo_encoder_build(&spec, &net));
    TRY(mo_encoder_get(st, query_prefix(options->loss), &encoder));
    if (options->loss == MOCO_LOSS_QUEUE && queue == NULL)
        TRY(mo_fail(MOCO_ERR_SHAPE, "tensor 'queue' is missing"));
    if (options->loss == MOCO_LOSS_QUEUE)
        TRY(mo_shape_check(queue, 2, dims));
cleanup:
    mo_net_free(&net);
    return status;
}

moco_status_t mo_trainer_load_file(const char *path, const moco_trainer_options_t *overrides, moco_device_t *device,
                                   moco_trainer_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_tensor_file_t st = {0};
    moco_trainer_t *t = NULL;
    moco_trainer_options_t options;
    TRY(mo_tensor_file_open(&st, path));
    TRY(saved_options(&st, path, overrides, &options));
    TRY(check_tensors(&st, &options));
    TRY(mo_trainer_new(&options, device, 1, &t));
    TRY(get_state(&st, t));
    *out = t;
    t = NULL;
cleanup:
    if (status != MOCO_OK)
        mo_message_of_file(path);
    mo_trainer_delete(t);
    mo_tensor_file_close(&st);
    return status;
}

moco_status_t mo_checkpoint_options(const char *path, moco_trainer_options_t *options)
{
    moco_status_t status = MOCO_OK;
    mo_tensor_file_t st = {0};
    moco_trainer_options_t saved;
    TRY(mo_tensor_file_open(&st, path));
    TRY(saved_options(&st, path, NULL, &saved));
    TRY(mo_options_check(&saved));
    *options = saved;
cleanup:
    if (status != MOCO_OK)
        mo_message_of_file(path);
    mo_tensor_file_close(&st);
    return status;
}
