/* One pass of a batch through a plan: groups start in order, and their shards run on lanes from one
 * synchronisation point to the next. No lane ever waits for another: the last shard to arrive
 * combines and queues the next stretch of all. */
#include <string.h>

#include "engine/run/instance.h"

typedef struct ready {
    int32_t set, shard;
} ready_t;

typedef struct set_state {
    int32_t group;   /* in this set, or -1                      */
    int32_t from;    /* first instruction of the next stretch   */
    int32_t arrived; /* shards at the end of the current stretch */
} set_state_t;

struct mo_pass_state {
    pthread_mutex_t lock;
    set_state_t *sets;
    ready_t *ring; /* shards ready to run; at most one entry per shard in flight */
    int32_t ring_size, head, count;
    int32_t next_group;
    int32_t *ends; /* [stretches] index of each synchronisation point, then the instruction count */
    int32_t stretches;
    int32_t *stretch; /* [sets] number of the current stretch */
    /* Scratch of a synchronisation: [MO_MAX_ARGS * shards] per set. */
    float **values;
    mo_buffer_t *slots;
    mo_access_t *access;
    mo_work_t *work;
    mo_pass_t *pass;
    moco_device_t *device;
};

static int32_t shards_of(const mo_pass_t *pass)
{
    return pass->plan->shards_per_group;
}

moco_status_t mo_pass_prepare(mo_pass_t *pass)
{
    moco_status_t status = MOCO_OK;
    const mo_plan_t *plan = pass->plan;
    struct mo_pass_state *s = NULL;
    size_t in_flight = (size_t)pass->sets * (size_t)shards_of(pass);
    TRY(mo_calloc(1, sizeof *s, &s));
    pass->state = s;
    pthread_mutex_init(&s->lock, NULL);
    s->pass = pass;
    s->ring_size = (int32_t)in_flight;
    TRY(mo_calloc((size_t)pass->sets, sizeof *s->sets, &s->sets));
    TRY(mo_calloc((size_t)pass->sets, sizeof *s->stretch, &s->stretch));
    TRY(mo_calloc(in_flight, sizeof *s->ring, &s->ring));
    TRY(mo_calloc(in_flight * MO_MAX_ARGS, sizeof *s->values, &s->values));
    TRY(mo_calloc(in_flight * MO_MAX_ARGS, sizeof *s->slots, &s->slots));
    TRY(mo_calloc(in_flight * MO_MAX_ARGS, sizeof *s->access, &s->access));
    TRY(mo_calloc((size_t)plan->instr_count + 1, sizeof *s->ends, &s->ends));
    for (int32_t i = 0; i < plan->instr_count; i++)
        if (plan->instrs[i].kind == MO_RUN_SYNC)
            s->ends[s->stretches++] = i;
    s->ends[s->stretches++] = plan->instr_count;
cleanup:
    if (status != MOCO_OK)
        mo_pass_free(pass);
    return status;
}

void mo_pass_free(mo_pass_t *pass)
{
    struct mo_pass_state *s = pass->state;
    if (s == NULL)
        return;
    pthread_mutex_destroy(&s->lock);
    mo_free(s->sets);
    mo_free(s->stretch);
    mo_free(s->ring);
    mo_free(s->values);
    mo_free(s->slots);
    mo_free(s->access);
    mo_free(s->ends);
    mo_free(s);
    pass->state = NULL;
}

/* The lock is held in the next three. */
static void push(struct mo_pass_state *s, int32_t set, int32_t shard)
{
    s->ring[(s->head + s->count) % s->ring_size] = (ready_t){set, shard};
    s->count++;
}

static ready_t pop(struct mo_pass_state *s)
{
    ready_t item = s->ring[s->head];
    s->head = (s->head + 1) % s->ring_size;
    s->count--;
    return item;
}

/* Put the next group into a free set; returns the number of shards made ready. */
static int32_t start_group(struct mo_pass_state *s, int32_t set)
{
    if (s->next_group >= s->pass->groups) {
        s->sets[set].group = -1;
        return 0;
    }
    s->sets[set] = (set_state_t){.group = s->next_group++};
    s->stretch[set] = 0;
    for (int32_t i = 0; i < shards_of(s->pass); i++)
        push(s, set, i);
    return shards_of(s->pass);
}

/* All shards of a set stand at a synchronisation point: map every argument of every shard and
 * combine; or, on a GPU, whose queue runs in order, queue that behind what all of them have
 * queued. */
static moco_status_t sync(struct mo_pass_state *s, int32_t set, int32_t at)
{
    const mo_plan_t *plan = s->pass->plan;
    const mo_instr_t *instr = &plan->instrs[at];
    const int32_t shards = shards_of(s->pass), count = instr->arg_count * shards;
    const size_t first = (size_t)set * (size_t)shards * MO_MAX_ARGS;
    mo_instance_t **instances = s->pass->instances + set * shards;
    for (int32_t a = 0; a < instr->arg_count; a++)
        for (int32_t i = 0; i < shards; i++) {
            s->slots[first + (size_t)(a * shards + i)] = mo_instance_slot(instances[i], instr->args[a].slot);
            s->access[first + (size_t)(a * shards + i)] = instr->access[a];
        }
    if (instr->queue != NULL && mo_device_is_gpu(plan->device))
        return instr->queue(plan->device, instr->op, plan->net, plan->shard, shards, s->slots + first);
    moco_status_t status = mo_buffers_map(s->slots + first, s->access + first, count, s->values + first);
    if (status == MOCO_OK)
        status = instr->sync(instr->op, plan->net, plan->shard, shards, s->values + first);
    mo_buffers_unmap(s->slots + first, count, s->values + first);
    return status;
}

/* One stretch of one shard. */
static moco_status_t run_stretch(mo_lane_t *lane, struct mo_pass_state *s, ready_t item, int32_t stretch)
{
    mo_pass_t *pass = s->pass;
    mo_instance_t *instance = pass->instances[item.set * shards_of(pass) + item.shard];
    int32_t from = stretch == 0 ? 0 : s->ends[stretch - 1] + 1, group = s->sets[item.set].group;
    moco_status_t status = MOCO_OK;
    if (stretch == 0)
        TRY(pass->begin(pass->ctx, instance, group, item.shard));
    TRY(mo_instance_execute(lane, instance, from, s->ends[stretch], pass->cancel));
    if (stretch == s->stretches - 1)
        TRY(pass->end(pass->ctx, instance, group, item.shard));
cleanup:
    return status;
}

/* A part: take a ready shard, run its stretch; the last of its group to arrive makes what follows
 * ready. */
static moco_status_t pass_part(mo_lane_t *lane, void *ctx, int64_t part)
{
    struct mo_pass_state *s = ctx;
    moco_status_t status = MOCO_OK;
    int32_t more = 0;
    (void)part;
    pthread_mutex_lock(&s->lock);
    ready_t item = pop(s);
    int32_t stretch = s->stretch[item.set];
    pthread_mutex_unlock(&s->lock);
    if (atomic_load(&s->work->failed))
        return MOCO_OK; /* another part failed: what is queued runs out */
    TRY(run_stretch(lane, s, item, stretch));

    pthread_mutex_lock(&s->lock);
    int last = ++s->sets[item.set].arrived == shards_of(s->pass);
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return MOCO_OK;
    int finished = stretch == s->stretches - 1;
    if (!finished)
        TRY(sync(s, item.set, s->ends[stretch]));
    pthread_mutex_lock(&s->lock);
    if (finished)
        more = start_group(s, item.set);
    else {
        s->sets[item.set].arrived = 0;
        s->stretch[item.set]++;
        for (int32_t i = 0; i < shards_of(s->pass); i++)
            push(s, item.set, i);
        more = shards_of(s->pass);
    }
    pthread_mutex_unlock(&s->lock);
    if (more > 0)
        mo_work_more(s->device, s->work, more);
cleanup:
    return status;
}

moco_status_t mo_pass_run(moco_device_t *device, mo_pass_t *pass)
{
    struct mo_pass_state *s = pass->state;
    mo_work_t work = {.fn = pass_part, .ctx = s};
    s->work = &work;
    s->device = device;
    s->head = s->count = s->next_group = 0;
    for (int32_t i = 0; i < pass->sets; i++)
        work.parts += start_group(s, i);
    return mo_work_run(device, &work);
}
