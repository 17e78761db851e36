/* The optimizer at the end of a step; see update.h. Called by commit.c and tune_step.c. */
#include "train/update.h"

#include <math.h>

#include "contrast/contrast.h"
#include "util/status.h"

moco_status_t mo_holds_map(const mo_hold_t *holds, int32_t count)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < count; i++)
        if (holds[i].buffer.memory != NULL)
            TRY(mo_buffer_map(holds[i].buffer, holds[i].access, holds[i].mapped));
cleanup:
    return status;
}

void mo_holds_release(const mo_hold_t *holds, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        mo_buffer_unmap(holds[i].buffer, *holds[i].mapped);
        *holds[i].mapped = NULL;
    }
}

moco_status_t mo_update_prepare(const mo_update_t *u, moco_device_t *device, double loss, double *norm)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_optim_gradient_norm(u->optim, device, norm));
    if (!isfinite(loss) || !isfinite(*norm))
        TRY(mo_fail(MOCO_ERR_NONFINITE, "step %lld: loss is %g and the gradient's norm %g; wanted finite numbers",
                    (long long)u->rates.step, loss, *norm));
    TRY(mo_optim_begin(u->optim, device, &u->rates)); /* LARS: the norms of parameters and steps */
cleanup:
    return status;
}

static void move_part(void *ctx, int64_t number)
{
    const mo_update_t *u = ctx;
    const mo_optim_part_t *part = &u->optim->parts[number];
    mo_optim_rates_t rates = u->rates;
    if (u->spared != NULL && u->spared(&u->optim->net->parameters[part->parameter]))
        rates.weight_decay = 0;
    mo_optim_update(u->optim, part, &rates);
    if (part->offset < u->follower.count)
        mo_momentum_update(u->follower.params + part->offset, u->optim->params + part->offset, part->count,
                           u->follower.momentum);
}

/* On a lane. */
static moco_status_t queue_moves(mo_lane_t *lane, void *ctx)
{
    const mo_update_t *u = ctx;
    const mo_follower_t *f = &u->follower;
    (void)lane;
    const moco_status_t status = mo_optim_gpu_update(u->optim, &u->rates, u->spared);
    return status == MOCO_OK && f->count > 0 ? mo_optim_gpu_follow(u->optim, f->at, f->count, f->momentum) : status;
}

/* On a lane. */
static moco_status_t queue_sums(mo_lane_t *lane, void *ctx)
{
    const mo_update_t *u = ctx;
    (void)lane;
    return mo_optim_measure(u->optim, &u->rates);
}

moco_status_t mo_update_measure(const mo_update_t *u, moco_device_t *device)
{
    mo_update_t copy = *u;
    return u->optim->gpu != NULL ? mo_device_call(device, queue_sums, &copy) : MOCO_OK;
}

void mo_update_commit(mo_update_t *u, moco_device_t *device)
{
    if (u->optim->gpu == NULL)
        mo_device_sweep(device, u->optim->part_count, move_part, u);
    else if (mo_device_call(device, queue_moves, u) != MOCO_OK)
        mo_device_lose(device);
}
