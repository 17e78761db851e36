/* The stages of a step: which operations of which encoder, in which mode, over which groups of
 * which views.
 *
 *   one pass    KEY: the key encoder keeps nothing; QUERY: forward, loss, backward in one plan
 *   two passes  KEY_BODY and BODY embed shard by shard; KEY_HEAD and HEAD run the heads (and the
 *               loss) over the whole batch in fixed tiles of rows that synchronise at every batch
 *               norm; BODY_BACK runs every shard forward again and then backward from the gradients
 *               of its features. Activations in flight are those of a shard per lane. */
#include "train/trainer.h"
#include "util/status.h"

#define TILE 128 /* rows of a head's shard at most; fixed, so the bits do not depend on the machine */

/* ---- plans ---- */

static int32_t largest_divisor(int64_t count, int32_t limit)
{
    int32_t size = limit;
    while (count % size != 0)
        size--;
    return size;
}

/* The backbone's groups and shards are those of the options; the head's in two passes are one group
 * of a whole view (of both for NT-Xent) in tiles. Views that go one after the other have their
 * groups one after the other. */
static mo_cut_t cut_of(const moco_trainer_t *t, const mo_stage_t *s, int is_head, int syncs)
{
    const mo_method_t *m = &t->state.method;
    const int64_t rows = m->mixed ? m->rows : t->state.options.batch_size;
    mo_cut_t cut = mo_cut(rows, is_head ? 1 : t->state.options.bn_groups,
                          is_head ? largest_divisor(rows, TILE) : t->state.shard, syncs);
    if (!m->mixed)
        cut.groups *= s->views;
    return cut;
}

static moco_status_t plan_stage(moco_trainer_t *t, mo_stage_kind_t kind)
{
    mo_stage_t *s = &t->stages[kind];
    int is_key = kind == MO_STAGE_KEY || kind == MO_STAGE_KEY_BODY || kind == MO_STAGE_KEY_HEAD;
    int is_head = kind == MO_STAGE_KEY_HEAD || kind == MO_STAGE_HEAD;
    int is_body = kind == MO_STAGE_KEY_BODY || kind == MO_STAGE_BODY || kind == MO_STAGE_BODY_BACK;
    int trains = kind == MO_STAGE_QUERY || kind == MO_STAGE_HEAD || kind == MO_STAGE_BODY_BACK;
    mo_encoder_t *e = is_key ? &t->state.key : &t->state.query;
    mo_learner_t *l = &s->learner;
    *s = (mo_stage_t){.trainer = t,
                      .kind = kind,
                      .mixed = t->state.method.mixed,
                      .first_view = is_key ? t->state.method.first_key_view : 0,
                      .views = is_key ? t->state.method.key_views : t->state.method.query_views};
    const int32_t from_op = is_head ? e->net.body_ops : 0, to_op = is_body ? e->net.body_ops : e->net.op_count;
    l->encoder = e;
    l->staged = is_key ? &t->key_staged : &t->query_staged;
    l->cut = cut_of(t, s, is_head, mo_net_syncs(&e->net, from_op, to_op));
    l->pool = kind == MO_STAGE_HEAD ? &t->gradients[1] : trains ? &t->gradients[0] : NULL;
    l->pool_from = kind == MO_STAGE_HEAD ? e->net.body_params : 0;
    mo_plan_spec_t spec = {.net = &e->net,
                           .mode = trains ? MO_MODE_TRAIN : MO_MODE_KEY,
                           .shard = l->cut.shard,
                           .shards_per_group = l->cut.shards_per_group,
                           .inputs = {is_head ? e->net.backbone : e->net.input, -1, -1, -1},
                           .outputs = {is_body  ? e->net.backbone
                                       : is_key ? e->embedding
                                                : t->loss.result,
                                       -1, -1, -1},
                           .from_op = from_op,
                           .to_op = to_op,
                           .precision = mo_precision_of(t->state.options.precision),
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
    return mo_plan_create(t->device, &spec, &l->plan);
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

moco_status_t mo_stages_take(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    for (int i = 0; i < MO_STAGES; i++)
        if (t->stages[i].learner.encoder != NULL)
            TRY(mo_learner_take(&t->stages[i].learner, t->arena));
cleanup:
    return status;
}

void mo_stages_free(moco_trainer_t *t)
{
    for (int i = 0; i < MO_STAGES; i++)
        mo_learner_free(&t->stages[i].learner);
}
