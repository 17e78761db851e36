/* Schedules. The rate follows whole epochs (MoCo v1, v2) or every step (v3, SimCLR: a real-valued
 * epoch, linear warm-up from 0); the key momentum stays, or rises to 1 by a cosine over the run
 * without warm-up (v3). */
#include "train/schedule.h"

#include <math.h>

#include "optim/optim.h"
#include "util/rate.h"

mo_time_t mo_time_next(mo_time_t now)
{
    if (now.epoch < 0)
        return now;
    now.step++;
    if (now.step >= now.per_epoch) {
        now.step = 0;
        now.epoch++;
    }
    return now;
}

static double step_factor(const mo_lr_schedule_t *s, double e)
{
    double factor = 1.0;
    if (e >= s->milestone_1)
        factor *= s->factor;
    if (e >= s->milestone_2)
        factor *= s->factor;
    return factor;
}

/* x held at 1 past the end: the cosine would rise again. */
static double cosine(double x)
{
    return mo_half_cosine(x < 1.0 ? x : 1.0, 1.0);
}

static double real_epoch(mo_time_t now)
{
    return (double)now.epoch + (now.per_epoch > 0 ? (double)now.step / (double)now.per_epoch : 0.0);
}

double mo_effective_lr(const moco_trainer_options_t *o)
{
    return o->base_lr * mo_lr_scale(o->lr_scaling, o->batch_size);
}

double mo_lr_at(const mo_lr_schedule_t *s, mo_time_t now)
{
    double warmup = s->warmup_epochs, epochs = s->epochs, rate = s->rate;
    double e = s->unit == MOCO_SCHEDULE_PER_STEP ? real_epoch(now) : (double)now.epoch;
    if (now.epoch < 0)
        return rate;
    e += s->first_epoch;
    if (e < warmup)
        return rate * e / warmup;
    if (s->form == MOCO_SCHEDULE_CONSTANT)
        return rate;
    if (s->form == MOCO_SCHEDULE_STEP)
        return rate * step_factor(s, e);
    return rate * (epochs > warmup ? cosine((e - warmup) / (epochs - warmup)) : 0.0);
}

double mo_schedule_lr(const moco_trainer_options_t *o, mo_time_t now)
{
    const mo_lr_schedule_t schedule = {.rate = mo_effective_lr(o),
                                       .form = o->schedule,
                                       .unit = o->schedule_unit,
                                       .epochs = o->epochs,
                                       .warmup_epochs = o->warmup_epochs,
                                       .first_epoch = o->first_epoch,
                                       .milestone_1 = o->milestone_1,
                                       .milestone_2 = o->milestone_2,
                                       .factor = o->lr_factor};
    return mo_lr_at(&schedule, now);
}

double mo_schedule_momentum(const moco_trainer_options_t *o, mo_time_t now)
{
    if (o->momentum_schedule == MOCO_MOMENTUM_CONSTANT || now.epoch < 0)
        return o->key_momentum;
    return 1.0 - cosine(real_epoch(now) / o->epochs) * (1.0 - o->key_momentum);
}
