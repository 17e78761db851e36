/* A trainer in JSON: what it takes, and where it stands. */
#include "train/describe.h"

#include "engine/ops.h"
#include "train/schedule.h"
#include "train/trainer.h"

static json_t *budget_json(const moco_trainer_t *t)
{
    static const char *const names[] = {"weights", "packed",        "optimizer", "gradients",  "activations",
                                        "queue",   "batch_results", "views",     "statistics", "scratchpads"};
    json_t *bytes = json_object();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        json_object_set_new(bytes, names[i], json_integer((json_int_t)mo_trainer_bytes(t, names[i])));
    if (json_object_set_new(bytes, "total", json_integer((json_int_t)mo_trainer_bytes(t, NULL))) == 0 &&
        json_object_size(bytes) == sizeof names / sizeof names[0] + 1)
        return bytes;
    json_decref(bytes);
    return NULL;
}

/* Batch-norm groups with a shard in flight, at least. */
static int32_t bn_groups_in_flight(const moco_trainer_t *t)
{
    int32_t shards_each = t->shards / t->state.method.groups;
    return (t->shards_in_flight + shards_each - 1) / shards_each;
}

/* Of the products of a step's networks, per image of the batch. */
static int64_t multiply_adds(const moco_trainer_t *t)
{
    const mo_net_t *query = &t->state.query.net, *key = &t->state.key.net;
    const mo_method_t *m = &t->state.method;
    int64_t each = mo_net_multiply_adds(query, 0, query->op_count, 0) +
                   mo_net_multiply_adds(query, 0, query->op_count, 1);
    if (m->two_pass) /* the second pass begins with the backbone forward */
        each += mo_net_multiply_adds(query, 0, query->body_ops, 0);
    return m->query_views * each + m->key_views * mo_net_multiply_adds(key, 0, key->op_count, 0);
}

json_t *mo_trainer_plan_json(const moco_trainer_t *t)
{
    return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:I, s:I}", "bytes", budget_json(t), "shard",
                     t->state.shard, "shards", t->shards, "shards_in_flight", t->shards_in_flight, "bn_groups",
                     t->state.method.groups, "bn_groups_in_flight", bn_groups_in_flight(t), "lanes",
                     mo_device_lanes(t->device), "effective_lr", mo_effective_lr(&t->state.options), "push_views_bytes",
                     (json_int_t)(2 * t->feature * t->state.options.batch_size * (int64_t)sizeof(float)),
                     "multiply_adds", (json_int_t)multiply_adds(t));
}

json_t *mo_trainer_state_json(const moco_trainer_t *t)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:o}", "step", (json_int_t)t->state.step, "epoch",
                     (json_int_t)t->state.epoch, "step_in_epoch", (json_int_t)t->state.step_in_epoch, "position",
                     (json_int_t)t->state.position, "pushed", (json_int_t)t->pushed.count, "queue_fill",
                     mo_queue_fill(&t->state), "parameters", (json_int_t)mo_net_numel(&t->state.query.net), "plan",
                     mo_trainer_plan_json(t));
}
