/* Cutting a batch, running it, its gradients; see learner.h. */
#include "train/learner.h"

#include "util/alloc.h"
#include "util/status.h"

mo_cut_t mo_cut(int64_t rows, int32_t groups, int32_t shard, int syncs)
{
    const int32_t made = syncs ? groups : (int32_t)(rows / shard);
    return (mo_cut_t){shard, (int32_t)(rows / made / shard), made};
}

int32_t mo_shard_size(int32_t batch, int32_t groups, int32_t given)
{
    const int32_t group = batch / groups;
    if (given > 0)
        return given;
    int32_t shard = group < 32 ? group : 32;
    while (shard > 1 && (group % shard != 0 || batch / shard < 2))
        shard--;
    return shard;
}

int32_t mo_learner_shards(const mo_learner_t *l)
{
    return l->cut.groups * l->cut.shards_per_group;
}

int32_t mo_learner_in_flight(const mo_learner_t *l)
{
    return l->sets * l->cut.shards_per_group;
}

int32_t mo_learner_sets(const mo_learner_t *l, int32_t shards)
{
    const int32_t together = l->cut.shards_per_group, sets = shards < together ? 1 : shards / together;
    return sets < l->cut.groups ? sets : l->cut.groups;
}

moco_status_t mo_learner_take(mo_learner_t *l, mo_buffer_t arena)
{
    moco_status_t status = MOCO_OK;
    const size_t bytes = mo_plan_arena_bytes(l->plan);
    const int32_t in_flight = mo_learner_in_flight(l);
    TRY(mo_packed_create(l->plan, l->encoder->params, &l->packed));
    TRY(mo_calloc((size_t)in_flight, sizeof *l->instances, &l->instances));
    for (int32_t i = 0; i < in_flight; i++)
        TRY(mo_instance_create(l->plan, mo_buffer_part(arena, (size_t)i * bytes, bytes), l->encoder->params, l->packed,
                               &l->instances[i]));
    TRY(mo_calloc((size_t)mo_learner_shards(l), sizeof *l->blocks, &l->blocks));
    l->pass = (mo_pass_t){.plan = l->plan, .instances = l->instances, .sets = l->sets, .groups = l->cut.groups};
    TRY(mo_pass_prepare(&l->pass));
cleanup:
    return status;
}

void mo_learner_free(mo_learner_t *l)
{
    mo_pass_free(&l->pass);
    for (int32_t i = 0; l->instances != NULL && i < mo_learner_in_flight(l); i++)
        mo_instance_free(l->instances[i]);
    mo_free(l->instances);
    mo_free(l->blocks);
    mo_packed_free(l->packed);
    mo_plan_free(l->plan);
    *l = (mo_learner_t){0};
}

/* ---- a run ---- */

typedef struct call {
    mo_learner_t *learner;
    const mo_feed_t *feed;
} call_t;

static int32_t leaf_of(const mo_learner_t *l, int32_t group, int32_t shard)
{
    return group * l->cut.shards_per_group + shard;
}

static moco_status_t begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const call_t *c = ctx;
    mo_learner_t *l = c->learner;
    moco_status_t status = MOCO_OK;
    const int64_t row = group < l->staged->rows ? group : 0; /* more groups than rows: no batch norm, no use */
    const int64_t stats = l->encoder->net.stats;
    TRY(mo_instance_bind(instance, MO_IN_STATS, mo_buffer_floats(l->staged->values, row * stats, stats)));
    if (l->pool != NULL) {
        mo_buffer_t *block = &l->blocks[leaf_of(l, group, shard)];
        TRY(mo_gradients_take(l->pool, block));
        TRY(mo_instance_bind_from(instance, MO_IN_GRADS, *block, l->pool_from * (int64_t)sizeof(float)));
    }
    TRY(c->feed->before(c->feed->ctx, instance, group, shard));
cleanup:
    return status;
}

static moco_status_t end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    const call_t *c = ctx;
    mo_learner_t *l = c->learner;
    const int32_t leaf = leaf_of(l, group, shard);
    moco_status_t status = c->feed->after(c->feed->ctx, instance, group, shard);
    if (status != MOCO_OK || l->pool == NULL)
        return status;
    return mo_gradients_finish(l->pool, leaf, l->blocks[leaf]);
}

moco_status_t mo_learner_run(mo_learner_t *l, moco_device_t *device, const mo_feed_t *feed)
{
    moco_status_t status = MOCO_OK;
    call_t call = {l, feed};
    l->pass.begin = begin;
    l->pass.end = end;
    l->pass.ctx = &call;
    l->pass.cancel = feed->cancel;
    TRY(mo_packed_refresh(l->packed)); /* parameters -> layouts of the primitives */
    TRY(mo_pass_run(device, &l->pass));
cleanup:
    l->pass.ctx = NULL;
    l->pass.cancel = NULL;
    return status;
}

moco_status_t mo_upload_rows(mo_buffer_t to, const uint8_t *const *rows, int64_t count)
{
    const size_t width = to.bytes / (size_t)count;
    moco_status_t status = MOCO_OK;
    for (int64_t first = 0, next; first < count; first = next) {
        for (next = first + 1; next < count && rows[next] == rows[next - 1] + width;)
            next++;
        TRY(mo_buffer_upload(mo_buffer_part(to, (size_t)first * width, (size_t)(next - first) * width), rows[first]));
    }
cleanup:
    return status;
}
