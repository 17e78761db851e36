/* The stages of a step: which operations of which encoder, in which mode, over which groups of which views.
 *
 *   one pass    KEY: the key encoder keeps nothing; QUERY: forward, loss, backward in one plan
 *   two passes  KEY_BODY and BODY embed shard by shard; KEY_HEAD and HEAD run the heads (and the loss) over the whole
 * batch
 *               in fixed tiles of rows that meet at every batch norm; BODY_BACK runs every shard forward again and then
 *               backward from the gradients of its features. Activations in flight are those of a shard per lane. */
#include <string.h>

#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/status.h"

#define TILE 128 /* rows of a head's shard at most; fixed, so the bits do not depend on the machine */

int32_t mo_stage_in_flight(const mo_stage_t *s)
{
    return s->sets * s->shards_per_group;
}

int32_t mo_stage_sets(const mo_stage_t *s, int32_t shards)
{
    int32_t sets = shards < s->shards_per_group ? 1 : shards / s->shards_per_group;
    return sets < s->groups ? sets : s->groups;
}

/* ---- plans ---- */

static int32_t largest_divisor(int64_t count, int32_t limit)
{
    int32_t size = limit;
    while (count % size != 0)
        size--;
    return size;
}

/* Groups and shards: the backbone's by the options; the head's in two passes is one group of a whole view (of both for
 * NT-Xent) in tiles. Where nothing syncs the shards of a group each is a group, and no more are in flight than
 * lanes. */
static void divide(moco_trainer_t *t, mo_stage_t *s, int is_head, int syncs)
{
    const mo_method_t *m = &t->state.method;
    int64_t rows = m->mixed ? m->rows : t->state.options.batch_size;
    int32_t groups = is_head ? 1 : t->state.options.bn_groups;
    s->mixed = m->mixed;
    s->shard = is_head ? largest_divisor(rows, TILE) : t->state.shard;
    if (!syncs)
        groups = (int32_t)(rows / s->shard);
    s->shards_per_group = (int32_t)(rows / groups / s->shard);
    s->groups = m->mixed ? groups : groups * s->views;
}

static moco_status_t plan_stage(moco_trainer_t *t, mo_stage_kind_t kind)
{
    mo_stage_t *s = &t->stages[kind];
    int is_key = kind == MO_STAGE_KEY || kind == MO_STAGE_KEY_BODY || kind == MO_STAGE_KEY_HEAD;
    int is_head = kind == MO_STAGE_KEY_HEAD || kind == MO_STAGE_HEAD;
    int is_body = kind == MO_STAGE_KEY_BODY || kind == MO_STAGE_BODY || kind == MO_STAGE_BODY_BACK;
    int trains = kind == MO_STAGE_QUERY || kind == MO_STAGE_HEAD || kind == MO_STAGE_BODY_BACK;
    mo_encoder_t *e = is_key ? &t->state.key : &t->state.query;
    *s = (mo_stage_t){.trainer = t, .encoder = e, .staged = is_key ? &t->key_staged : &t->query_staged, .kind = kind,
                      .first_view = is_key ? t->state.method.first_key_view : 0,
                      .views = is_key ? t->state.method.key_views : t->state.method.query_views};
    const int32_t from_op = is_head ? e->net.body_ops : 0, to_op = is_body ? e->net.body_ops : e->net.op_count;
    divide(t, s, is_head, mo_net_syncs(&e->net, from_op, to_op));
    s->pool = kind == MO_STAGE_HEAD ? &t->gradients[1] : trains ? &t->gradients[0] : NULL;
    mo_plan_spec_t spec = {.net = &e->net, .mode = trains ? MO_MODE_TRAIN : MO_MODE_KEY, .shard = s->shard,
                           .shards_per_group = s->shards_per_group,
                           .inputs = {is_head ? e->net.backbone : e->net.input, -1, -1, -1},
                           .outputs = {is_body ? e->net.backbone : is_key ? e->embedding : t->loss.result, -1, -1, -1},
                           .from_op = from_op,
                           .to_op = to_op,
                           .seeded = kind == MO_STAGE_BODY_BACK};
    if (trains && !is_body) {
        spec.inputs[1] = t->loss.keys;
        spec.inputs[2] = t->loss.place;
    }
    if (kind == MO_STAGE_HEAD) { /* the gradient of its input is what comes out */
        spec.inputs[0] = -1;
        spec.outputs[1] = e->net.backbone;
        spec.given = e->net.backbone;
        spec.has_given = 1;
    }
    return mo_plan_create(t->device, &spec, &s->plan);
}

moco_status_t mo_stages_plan(moco_trainer_t *t)
{
    static const mo_stage_kind_t one[] = {MO_STAGE_KEY, MO_STAGE_QUERY};
    static const mo_stage_kind_t two[] = {MO_STAGE_KEY_BODY, MO_STAGE_KEY_HEAD, MO_STAGE_BODY, MO_STAGE_HEAD,
                                          MO_STAGE_BODY_BACK};
    moco_status_t status = MOCO_OK;
    const mo_stage_kind_t *list = t->state.method.two_pass ? two : one;
    int count = t->state.method.two_pass ? 5 : 2;
    for (int i = 0; i < count; i++) {
        int is_key = list[i] == MO_STAGE_KEY || list[i] == MO_STAGE_KEY_BODY || list[i] == MO_STAGE_KEY_HEAD;
        if (!is_key || t->state.method.key_views > 0)
            TRY(plan_stage(t, list[i]));
    }
cleanup:
    return status;
}

/* ---- memory ---- */

static moco_status_t take(mo_stage_t *s, mo_buffer_t arena)
{
    moco_status_t status = MOCO_OK;
    size_t bytes = mo_plan_arena_bytes(s->plan);
    int32_t in_flight = mo_stage_in_flight(s);
    TRY(mo_packed_create(s->plan, s->encoder->params, &s->packed));
    TRY(mo_calloc((size_t)in_flight, sizeof *s->instances, &s->instances));
    for (int32_t i = 0; i < in_flight; i++)
        TRY(mo_instance_create(s->plan, mo_buffer_part(arena, (size_t)i * bytes, bytes), s->encoder->params, s->packed,
                               &s->instances[i]));
    TRY(mo_calloc((size_t)s->groups * (size_t)s->shards_per_group, sizeof *s->blocks, &s->blocks));
    s->pass = (mo_pass_t){.plan = s->plan, .instances = s->instances, .sets = s->sets, .groups = s->groups};
    TRY(mo_pass_prepare(&s->pass));
cleanup:
    return status;
}

moco_status_t mo_stages_take(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    for (int i = 0; i < MO_STAGES; i++)
        if (t->stages[i].encoder != NULL)
            TRY(take(&t->stages[i], t->arena));
cleanup:
    return status;
}

void mo_stages_free(moco_trainer_t *t)
{
    for (int i = 0; i < MO_STAGES; i++) {
        mo_stage_t *s = &t->stages[i];
        mo_pass_free(&s->pass);
        for (int32_t j = 0; s->instances != NULL && j < mo_stage_in_flight(s); j++)
            mo_instance_free(s->instances[j]);
        mo_free(s->instances);
        mo_free(s->blocks);
        mo_packed_free(s->packed);
        mo_plan_free(s->plan);
        memset(s, 0, sizeof *s);
    }
}
