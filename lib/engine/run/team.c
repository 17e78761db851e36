/* One image on many lanes. The instructions of a cut plan run in order, but the parts of a product
 * run at once: each is a part of a work, and any lane takes it. No lane waits for another: the last
 * one of a product to be done goes on with what follows, alone up to the next cut product, and
 * offers the parts of that to the others. */
#include "engine/run/instance.h"

typedef struct state {
    const mo_team_t *team;
    moco_device_t *device;
    mo_work_t *work;
    int32_t first, parts;    /* the product that is being made: its instructions */
    atomic_int taken, ended; /* parts of it                                      */
} state_t;

/* Instructions from `from` up to a cut product, whose parts are then there to be taken, or to the
 * end. */
static moco_status_t go_on(mo_lane_t *lane, state_t *s, int32_t from)
{
    moco_status_t status = MOCO_OK;
    const mo_plan_t *plan = s->team->instance->plan;
    int32_t to = from;
    while (to < plan->instr_count && plan->instrs[to].parts < 2)
        to++;
    if (from < to)
        TRY(mo_instance_execute(lane, s->team->instance, from, to, s->team->cancel));
    s->first = to;
    s->parts = to < plan->instr_count ? plan->instrs[to].parts : 0;
    atomic_store(&s->taken, 0);
    atomic_store(&s->ended, 0);
    if (s->parts == 0)
        TRY(s->team->end(s->team->ctx, s->team->instance));
    else
        mo_work_more(s->device, s->work, s->parts - 1);
cleanup:
    return status;
}

/* Part 0 of the work begins; each other one was queued for a part of a product. */
static moco_status_t take_part(mo_lane_t *lane, void *ctx, int64_t number)
{
    moco_status_t status = MOCO_OK;
    state_t *s = ctx;
    if (atomic_load(&s->work->failed))
        return MOCO_OK; /* what is queued runs out */
    if (number == 0) {
        TRY(s->team->begin(s->team->ctx, lane, s->team->instance));
        TRY(go_on(lane, s, 0));
    }
    while (s->parts > 0) {
        const int32_t parts = s->parts, at = s->first + atomic_fetch_add(&s->taken, 1);
        TRY(mo_instance_execute(lane, s->team->instance, at, at + 1, s->team->cancel));
        if (atomic_fetch_add(&s->ended, 1) + 1 < parts)
            break;
        TRY(go_on(lane, s, s->first + parts));
    }
cleanup:
    return status;
}

moco_status_t mo_team_run(moco_device_t *device, const mo_team_t *team)
{
    mo_work_t work = {.fn = take_part, .parts = 1, .class = MO_EMBEDDING};
    state_t state = {.team = team, .device = device, .work = &work};
    work.ctx = &state;
    return mo_work_run(device, &work);
}
