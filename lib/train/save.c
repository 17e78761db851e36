/* A state to a checkpoint and back: everything that decides the bits of what follows. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "eval/model_file.h"
#include "persist/check.h"
#include "persist/checkpoint.h"
#include "persist/layout.h"
#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/status.h"
#include "util/version.h"

/* What one step changes besides tensors. */
typedef struct counter {
    const char *key;
    size_t offset;
} counter_t;

static const counter_t counters[] = {
    {"step", offsetof(mo_state_t, step)},
    {"epoch", offsetof(mo_state_t, epoch)},
    {"step_in_epoch", offsetof(mo_state_t, step_in_epoch)},
    {"position", offsetof(mo_state_t, position)},
    {"queue_seen", offsetof(mo_state_t, queue_seen)},
    {"listing_count", offsetof(mo_state_t, listing_count)},
};
#define COUNTERS (sizeof counters / sizeof counters[0])

static int64_t *counter_of(mo_state_t *s, size_t i)
{
    return (int64_t *)((char *)s + counters[i].offset);
}

/* In files the queue is [D,K], as the method's reference keeps it. */
void mo_transpose(const float *from, int64_t rows, int64_t columns, float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            to[j * rows + i] = from[i * columns + j];
}

static moco_status_t put_meta(mo_st_writer_t *w, mo_state_t *s)
{
    moco_status_t status = MOCO_OK;
    char *options = NULL, hash[32];
    mo_transform_t transform;
    TRY(mo_meta_int(w, "format_version", MO_FORMAT_VERSION));
    TRY(mo_st_meta(w, "kind", "checkpoint"));
    TRY(mo_st_meta(w, "libmoco", MO_VERSION_TEXT));
    TRY(mo_st_meta(w, "moco.key_order", "after the momentum update that follows the step"));
    mo_transform_of(&s->options, &transform);
    TRY(mo_model_meta(w, &s->query.spec, &transform, s->step)); /* so that a model can be loaded from a checkpoint */
    TRY(mo_options_to_json(&s->options, &options));
    TRY(mo_st_meta(w, "options", options));
    for (size_t i = 0; i < COUNTERS; i++)
        TRY(mo_meta_int(w, counters[i].key, *counter_of(s, i)));
    TRY(mo_meta_int(w, "pushed_number", s->pushed)); /* images that no step has taken are not saved */
    TRY(mo_meta_int(w, "shard", s->shard));
    TRY(mo_meta_double(w, "epoch_loss_sum", s->epoch_loss_sum));
    snprintf(hash, sizeof hash, "%016" PRIx64, s->listing_hash);
    TRY(mo_st_meta(w, "listing_hash", hash));
    if (s->origin != NULL)
        TRY(mo_st_meta(w, "origin", s->origin));
cleanup:
    mo_free(options);
    return status;
}

/* "optimizer.momentum_buffer." and the like. */
static const char *state_prefix(const mo_state_t *s, int32_t block, char prefix[64])
{
    snprintf(prefix, 64, "optimizer.%s.", mo_optim_block_name((mo_optimizer_t)s->options.optimizer, block));
    return prefix;
}

moco_status_t mo_state_save(mo_state_t *s, const mo_folder_t *folder, const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t w = {0};
    float *queue = NULL, *rows = NULL, *query = NULL, *key = NULL, *state[MO_OPTIM_BLOCKS] = {NULL};
    char prefix[64];
    int64_t queue_dims[2] = {s->options.dimension, s->queue.length}, one[1] = {1};
    size_t queue_bytes = (size_t)(s->queue.length * s->queue.dimension) * sizeof(float);
    const int64_t query_batches = s->step * (s->method.mixed ? 1 : s->method.query_views),
                  key_batches = s->step * s->method.key_views;
    TRY(put_meta(&w, s));
    TRY(mo_st_meta(&w, "encoder_prefix", s->method.loss->query_prefix));
    if (s->method.key_views > 0)
        TRY(mo_st_meta(&w, "key_encoder_prefix", s->method.loss->key_prefix));
    TRY(mo_buffer_map(s->query.params, MO_READ, &query));
    TRY(mo_encoder_put(&w, s->method.loss->query_prefix, &s->query, query, &query_batches));
    if (s->method.key_views > 0) {
        TRY(mo_buffer_map(s->key.params, MO_READ, &key));
        TRY(mo_encoder_put(&w, s->method.loss->key_prefix, &s->key, key, &key_batches));
    }
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)s->options.optimizer); i++) {
        TRY(mo_buffer_map(s->optimizer[i], MO_READ, &state[i]));
        TRY(mo_params_put(&w, state_prefix(s, i, prefix), &s->query.net, state[i]));
    }
    if (s->method.loss->keeps_queue) {
        mo_headroom_planned_begin(); /* a save is not refused for what the machine may lack */
        status = mo_block_create(queue_bytes, &queue);
        mo_headroom_planned_end();
        TRY(status);
        TRY(mo_buffer_map(s->queue.rows, MO_READ, &rows));
        mo_transpose(rows, s->queue.length, s->queue.dimension, queue);
        TRY(mo_st_add(&w, "queue", MO_F32, 2, queue_dims, queue));
        TRY(mo_st_add(&w, "queue_ptr", MO_I64, 1, one, &s->queue.pointer));
    }
    TRY(mo_st_write_in(&w, folder, path));
cleanup:
    mo_buffer_unmap(s->query.params, query);
    mo_buffer_unmap(s->key.params, key);
    mo_buffer_unmap(s->queue.rows, rows);
    for (int i = 0; i < MO_OPTIM_BLOCKS; i++)
        mo_buffer_unmap(s->optimizer[i], state[i]);
    mo_st_writer_free(&w);
    mo_block_free(queue, queue_bytes);
    return status;
}

moco_status_t mo_queue_read(const mo_file_tensor_t *keys, const mo_file_tensor_t *at, mo_keys_t *queue)
{
    moco_status_t status = MOCO_OK;
    float *values = NULL, *rows = NULL;
    int64_t pointer = 0;
    const int64_t count = queue->length * queue->dimension;
    const size_t bytes = (size_t)count * sizeof(float);
    TRY(mo_block_create(bytes, &values));
    TRY(mo_file_floats(keys, values, count));
    TRY(mo_buffer_map(queue->rows, MO_WRITE, &rows));
    mo_transpose(values, queue->dimension, queue->length, rows);
    TRY(mo_check_keys(keys->name, rows, queue->length, queue->dimension));
    if (at != NULL)
        TRY(mo_file_ints(at, &pointer, 1));
    if (pointer < 0 || pointer >= queue->length)
        TRY(mo_fail(MOCO_ERR_FORMAT, "'queue_ptr' is %" PRId64 ", wanted 0 to %" PRId64, pointer, queue->length - 1));
    queue->pointer = pointer;
cleanup:
    mo_buffer_unmap(queue->rows, rows);
    mo_block_free(values, bytes);
    return status;
}

/* check_tensors has seen that the keys are there in this shape. */
static moco_status_t get_queue(const mo_tensor_file_t *st, mo_state_t *s)
{
    const mo_file_tensor_t *at = mo_tensor_file_find(st, "queue_ptr");
    if (at == NULL)
        return mo_fail(MOCO_ERR_SHAPE, "tensor 'queue_ptr' is missing");
    return mo_queue_read(mo_tensor_file_find(st, "queue"), at, &s->queue);
}

static moco_status_t get_optimizer(const mo_tensor_file_t *st, mo_state_t *s, int32_t block)
{
    const mo_optimizer_t optimizer = (mo_optimizer_t)s->options.optimizer;
    char prefix[64];
    moco_status_t status = MOCO_OK;
    float *values = NULL;
    TRY(mo_buffer_map(s->optimizer[block], MO_UPDATE, &values)); /* padding stays 0 */
    TRY(mo_params_get(st, state_prefix(s, block, prefix), &s->query.net, values));
    if (mo_optim_block_is_squares(optimizer, block))
        TRY(mo_check_variance(prefix, values, s->query.net.params));
cleanup:
    mo_buffer_unmap(s->optimizer[block], values);
    return status;
}

static moco_status_t get_state(const mo_tensor_file_t *st, mo_state_t *s)
{
    moco_status_t status = MOCO_OK;
    int64_t shard;
    for (size_t i = 0; i < COUNTERS; i++)
        TRY(mo_meta_get_int(st, counters[i].key, 0, MO_COUNTER_MAX, counter_of(s, i)));
    if (s->listing_count > INT32_MAX || s->epoch > UINT32_MAX || s->position > s->listing_count)
        TRY(mo_fail(MOCO_ERR_FORMAT,
                    "the checkpoint is at image %" PRId64 " of %" PRId64 " in epoch %" PRId64
                    "; wanted at most %d images and epochs below 2^32",
                    s->position, s->listing_count, s->epoch, INT32_MAX));
    TRY(mo_meta_get_int(st, "pushed_number", 0, MO_COUNTER_MAX, &s->pushed));
    TRY(mo_meta_get_int(st, "shard", 1, INT32_MAX, &shard));
    if (shard != s->shard)
        TRY(mo_fail(MOCO_ERR_MISMATCH, "the checkpoint was made with shards of %" PRId64 " images, this run has %d",
                    shard, s->shard));
    TRY(mo_meta_get_double(st, "epoch_loss_sum", -1e300, 1e300, &s->epoch_loss_sum));
    const char *hash = mo_tensor_file_text(st, "listing_hash");
    if (hash == NULL || sscanf(hash, "%16" SCNx64, &s->listing_hash) != 1)
        TRY(mo_fail(MOCO_ERR_FORMAT, "metadata 'listing_hash' is missing or no hexadecimal number"));
    if (mo_tensor_file_text(st, "origin") != NULL)
        TRY(mo_strdup(mo_tensor_file_text(st, "origin"), &s->origin));
    TRY(mo_encoder_get(st, s->method.loss->query_prefix, &s->query));
    if (s->method.key_views > 0)
        TRY(mo_encoder_get(st, s->method.loss->key_prefix, &s->key));
    for (int32_t i = 0; i < mo_optim_blocks((mo_optimizer_t)s->options.optimizer); i++)
        TRY(get_optimizer(st, s, i));
    if (s->method.loss->keeps_queue)
        TRY(get_queue(st, s));
cleanup:
    return status;
}

static moco_status_t saved_options(const mo_tensor_file_t *st, const char *path, moco_trainer_options_t *options)
{
    const char *json = mo_tensor_file_text(st, "options"), *kind = mo_tensor_file_text(st, "kind");
    if (kind == NULL || strcmp(kind, "checkpoint") != 0 || json == NULL)
        return mo_fail(MOCO_ERR_FORMAT,
                       "'%s' is not a training checkpoint of this library; moco_convert (to training) makes one from a "
                       "reference checkpoint, or begins one with a model's weights",
                       path);
    moco_status_t status = mo_format_check(st, path);
    return status == MOCO_OK ? mo_options_from_json(json, options) : status;
}

moco_status_t mo_checkpoint_options(const char *path, moco_trainer_options_t *options)
{
    moco_status_t status = MOCO_OK;
    mo_tensor_file_t st = {0};
    moco_trainer_options_t saved;
    TRY(mo_tensor_file_peek(&st, path));
    TRY(saved_options(&st, path, &saved));
    TRY(mo_options_check(&saved));
    *options = saved;
cleanup:
    if (status != MOCO_OK)
        mo_message_of_file(path);
    mo_tensor_file_close(&st);
    return status;
}

/* What may be another in the run to come than in the one before. */
static moco_status_t override_options(const moco_trainer_options_t *overrides, moco_trainer_options_t *options)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_options_t now;
    if (overrides == NULL)
        return MOCO_OK;
    TRY(mo_options_overlay(overrides, &now));
    TRY(mo_options_compare(options, &now));
    options->memory_cap = now.memory_cap;
    options->loader_threads = now.loader_threads;
    options->max_broken = now.max_broken;
    options->max_broken_percent = now.max_broken_percent;
    if (overrides->struct_size >= offsetof(moco_trainer_options_t, precision) + sizeof now.precision)
        options->precision = now.precision; /* of a header that knows it: else it is the file's */
cleanup:
    return status;
}

/* Before plans are made and memory is taken for a network and a queue that the file only claims to
 * have. */
static moco_status_t check_tensors(const mo_tensor_file_t *st, const mo_state_t *s)
{
    moco_status_t status = MOCO_OK;
    const mo_file_tensor_t *queue = mo_tensor_file_find(st, "queue");
    const int64_t dims[2] = {s->queue.dimension, s->queue.length};
    TRY(mo_encoder_get(st, s->method.loss->query_prefix, &s->query));
    if (s->method.loss->keeps_queue && queue == NULL)
        TRY(mo_fail(MOCO_ERR_SHAPE, "tensor 'queue' is missing"));
    if (s->method.loss->keeps_queue)
        TRY(mo_shape_check(queue, 2, dims));
cleanup:
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
    TRY(saved_options(&st, path, &options));
    TRY(override_options(overrides, &options));
    TRY(mo_calloc(1, sizeof *t, &t));
    TRY(mo_state_build(&t->state, &options));
    TRY(check_tensors(&st, &t->state));
    TRY(mo_trainer_build(t, device));
    TRY(mo_trainer_take(t));
    TRY(get_state(&st, &t->state));
    *out = t;
    t = NULL;
cleanup:
    if (status != MOCO_OK)
        mo_message_of_file(path);
    mo_trainer_delete(t);
    mo_tensor_file_close(&st);
    return status;
}
