/* moco_trainer_*: the border. */
#include <moco/trainer.h>

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "engine/ops.h"
#include "train/options.h"
#include "train/run.h"
#include "train/schedule.h"
#include "train/trainer.h"
#include "util/json.h"
#include "util/status.h"
#include "util/structsize.h"

#define NEED(pointer)                                                   \
    do {                                                                \
        if ((pointer) == NULL)                                          \
            return mo_fail(MOCO_ERR_ARGUMENT, "'" #pointer "' is NULL"); \
    } while (0)

moco_status_t moco_trainer_create(const moco_trainer_options_t *options, moco_device_t *device, moco_trainer_t **out)
{
    NEED(options);
    NEED(out);
    return mo_trainer_new(options, device, 1, out);
}

void moco_trainer_free(moco_trainer_t *trainer)
{
    mo_trainer_delete(trainer);
}

static json_t *budget_json(const mo_budget_t *b)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights", (json_int_t)b->weights,
                     "packed", (json_int_t)b->packed, "optimizer", (json_int_t)b->optimizer, "gradients",
                     (json_int_t)b->gradients, "activations", (json_int_t)b->activations, "queue",
                     (json_int_t)b->queue, "batch_results", (json_int_t)b->batch_results, "views",
                     (json_int_t)b->views, "statistics", (json_int_t)b->statistics, "scratchpads",
                     (json_int_t)b->scratchpads, "total", (json_int_t)b->total);
}

/* Devices with a shard in flight, at least. */
static int32_t devices_in_flight(const moco_trainer_t *t)
{
    int32_t shards_each = t->shards / t->method.groups;
    return (t->shards_in_flight + shards_each - 1) / shards_each;
}

/* Of the products of a step's networks, per image of the batch. */
static int64_t multiply_adds(const moco_trainer_t *t)
{
    const mo_net_t *query = &t->query.net, *key = &t->key.net;
    const mo_method_t *m = &t->method;
    int64_t each = mo_net_multiply_adds(query, 0, query->op_count, 0) + mo_net_multiply_adds(query, 0, query->op_count, 1);
    if (m->two_pass) /* the second pass begins with the backbone forward */
        each += mo_net_multiply_adds(query, 0, query->body_ops, 0);
    return m->query_views * each + m->key_views * mo_net_multiply_adds(key, 0, key->op_count, 0);
}

static json_t *plan_json(const moco_trainer_t *t)
{
    return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:I, s:I}", "bytes", budget_json(&t->budget), "shard",
                     t->shard, "shards", t->shards, "shards_in_flight", t->shards_in_flight, "devices",
                     t->method.groups, "devices_in_flight", devices_in_flight(t), "lanes", mo_device_lanes(t->device),
                     "effective_lr", mo_effective_lr(&t->options), "push_views_bytes",
                     (json_int_t)(2 * t->feature * t->options.batch_size * (int64_t)sizeof(float)), "multiply_adds",
                     (json_int_t)multiply_adds(t));
}

moco_status_t moco_trainer_plan(const moco_trainer_options_t *options, moco_device_t *device, char *text,
                                uint64_t capacity, uint64_t *needed)
{
    moco_trainer_t *trainer = NULL;
    NEED(options);
    moco_status_t status = mo_trainer_new(options, device, 0, &trainer);
    if (status != MOCO_OK)
        return status;
    status = mo_json_text(plan_json(trainer), text, capacity, needed);
    mo_trainer_delete(trainer);
    return status;
}

moco_status_t moco_trainer_push_views(moco_trainer_t *trainer, int64_t count, const float *queries, const float *keys,
                                      int32_t layout)
{
    NEED(trainer);
    NEED(queries);
    NEED(keys);
    return mo_push_views(trainer, count, queries, keys, layout);
}

moco_status_t moco_trainer_push_pixels(moco_trainer_t *trainer, int64_t count, const moco_image_t *images)
{
    NEED(trainer);
    NEED(images);
    return mo_push_pixels(trainer, count, images);
}

moco_status_t moco_trainer_push_jpeg(moco_trainer_t *trainer, const uint8_t *data, uint64_t size)
{
    NEED(trainer);
    NEED(data);
    return mo_push_encoded(trainer, data, size);
}

int64_t moco_trainer_discard(moco_trainer_t *trainer)
{
    if (trainer == NULL)
        return -1;
    int64_t count = trainer->pushed.count;
    trainer->pushed.count = 0;
    return count;
}

moco_status_t moco_trainer_step(moco_trainer_t *trainer, moco_step_report_t *report)
{
    NEED(trainer);
    moco_status_t status = mo_report_check(report);
    return status != MOCO_OK ? status : mo_run_pushed(trainer, report);
}

moco_status_t moco_trainer_steps(moco_trainer_t *trainer, moco_dataset_t *dataset, int64_t count,
                                 moco_step_report_t *report)
{
    NEED(trainer);
    NEED(dataset);
    if (count < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted at least 1", (long long)count);
    moco_status_t status = mo_report_check(report);
    return status != MOCO_OK ? status : mo_run_steps(trainer, dataset, count, report);
}

moco_status_t moco_trainer_run(moco_trainer_t *trainer, moco_dataset_t *dataset, moco_dataset_t *test,
                               const char *folder, const moco_run_options_t *options, moco_step_fn progress, void *user)
{
    moco_run_options_t full;
    NEED(trainer);
    NEED(dataset);
    moco_status_t status = mo_run_options_overlay(options, &full);
    if (status != MOCO_OK)
        return status;
    return mo_run_epochs(trainer, dataset, test, folder, &full, progress, user);
}

moco_status_t moco_trainer_snapshot(moco_trainer_t *trainer, moco_device_t *device, moco_model_t **out)
{
    NEED(trainer);
    NEED(out);
    return mo_trainer_snapshot(trainer, device, out);
}

moco_status_t moco_trainer_save(moco_trainer_t *trainer, const char *path)
{
    NEED(trainer);
    NEED(path);
    return mo_trainer_save_file(trainer, path);
}

moco_status_t moco_trainer_load(const char *path, const moco_trainer_options_t *overrides, moco_device_t *device,
                                moco_trainer_t **out)
{
    NEED(path);
    NEED(out);
    return mo_trainer_load_file(path, overrides, device, out);
}

moco_status_t moco_trainer_options_get(const moco_trainer_t *trainer, moco_trainer_options_t *options,
                                       uint64_t struct_size)
{
    NEED(trainer);
    NEED(options);
    return mo_struct_init(options, struct_size, &trainer->options, sizeof trainer->options);
}

moco_status_t moco_trainer_state(const moco_trainer_t *t, char *text, uint64_t capacity, uint64_t *needed)
{
    NEED(t);
    json_t *state = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:o}", "step", (json_int_t)t->step, "epoch",
                              (json_int_t)t->epoch, "step_in_epoch", (json_int_t)t->step_in_epoch, "position",
                              (json_int_t)t->position, "pushed", (json_int_t)t->pushed.count, "queue_fill",
                              mo_queue_fill(t), "parameters", (json_int_t)mo_net_numel(&t->query.net),
                              "plan", plan_json(t));
    return mo_json_text(state, text, capacity, needed);
}
