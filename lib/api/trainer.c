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
    return mo_trainer_create(options, device, out);
}

void moco_trainer_free(moco_trainer_t *trainer)
{
    mo_trainer_delete(trainer);
}

static json_t *budget_json(const moco_trainer_t *t)
{
    static const char *const names[] = {"weights", "packed", "optimizer", "gradients", "activations", "queue",
                                        "batch_results", "views", "statistics", "scratchpads"};
    json_t *bytes = json_object();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        json_object_set_new(bytes, names[i], json_integer((json_int_t)mo_trainer_bytes(t, names[i])));
    if (json_object_set_new(bytes, "total", json_integer((json_int_t)mo_trainer_bytes(t, NULL))) == 0 &&
        json_object_size(bytes) == sizeof names / sizeof names[0] + 1)
        return bytes;
    json_decref(bytes);
    return NULL;
}

/* Devices with a shard in flight, at least. */
static int32_t devices_in_flight(const moco_trainer_t *t)
{
    int32_t shards_each = t->shards / t->state.method.groups;
    return (t->shards_in_flight + shards_each - 1) / shards_each;
}

/* Of the products of a step's networks, per image of the batch. */
static int64_t multiply_adds(const moco_trainer_t *t)
{
    const mo_net_t *query = &t->state.query.net, *key = &t->state.key.net;
    const mo_method_t *m = &t->state.method;
    int64_t each =
        mo_net_multiply_adds(query, 0, query->op_count, 0) + mo_net_multiply_adds(query, 0, query->op_count, 1);
    if (m->two_pass) /* the second pass begins with the backbone forward */
        each += mo_net_multiply_adds(query, 0, query->body_ops, 0);
    return m->query_views * each + m->key_views * mo_net_multiply_adds(key, 0, key->op_count, 0);
}

static json_t *plan_json(const moco_trainer_t *t)
{
    return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:I, s:I}", "bytes", budget_json(t), "shard",
                     t->state.shard, "shards", t->shards, "shards_in_flight", t->shards_in_flight, "devices",
                     t->state.method.groups, "devices_in_flight", devices_in_flight(t), "lanes",
                     mo_device_lanes(t->device), "effective_lr", mo_effective_lr(&t->state.options), "push_views_bytes",
                     (json_int_t)(2 * t->feature * t->state.options.batch_size * (int64_t)sizeof(float)),
                     "multiply_adds", (json_int_t)multiply_adds(t));
}

moco_status_t moco_trainer_plan(const moco_trainer_options_t *options, moco_device_t *device, char *text,
                                uint64_t capacity, uint64_t *needed)
{
    moco_trainer_t *trainer = NULL;
    NEED(options);
    moco_status_t status = mo_trainer_plan(options, device, &trainer);
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
    return mo_push_done(trainer);
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
    moco_status_t status = mo_option_resolve(&mo_run_options, options, &full);
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
    return mo_state_save(&trainer->state, path);
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
    return mo_struct_init(options, struct_size, &trainer->state.options, sizeof trainer->state.options);
}

moco_status_t moco_trainer_state(const moco_trainer_t *t, char *text, uint64_t capacity, uint64_t *needed)
{
    NEED(t);
    json_t *state = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:o}", "step", (json_int_t)t->state.step, "epoch",
                              (json_int_t)t->state.epoch, "step_in_epoch", (json_int_t)t->state.step_in_epoch,
                              "position", (json_int_t)t->state.position, "pushed", (json_int_t)t->pushed.count,
                              "queue_fill", mo_queue_fill(&t->state), "parameters",
                              (json_int_t)mo_net_numel(&t->state.query.net), "plan", plan_json(t));
    return mo_json_text(state, text, capacity, needed);
}
