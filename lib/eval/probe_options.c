/* Protocols of the linear probe as data, and what follows from options alone. */
#include <stddef.h>

#include <moco/trainer.h> /* MOCO_ARCH_… */

#include "eval/probe.h"
#include "optim/optim.h"
#include "util/rate.h"
#include "util/status.h"

#define MILLION 1000000

_Static_assert(sizeof(moco_probe_options_t) == 248, "no padding; a new field is appended");
_Static_assert(offsetof(moco_probe_options_t, loader_threads) == 244, "fields keep their places");

moco_status_t mo_probe_defaults(int32_t protocol, moco_probe_options_t *options)
{
    static const moco_probe_options_t common = {
        .struct_size = sizeof(moco_probe_options_t), .lr_factor = 0.1, .sgd_momentum = 0.9, .init_std = 0.01,
        .crop_min_area = 0.08, .crop_max_area = 1, .flip_probability = 0.5, .milestone_1 = -1, .milestone_2 = -1,
        .epochs = 100, .batch_size = 256};
    if (protocol < MOCO_PROBE_V1 || protocol > MOCO_PROBE_CACHED)
        return mo_fail(MOCO_ERR_ARGUMENT, "protocol is %d, wanted %d (v1), %d (v3) or %d (cached)", protocol,
                       MOCO_PROBE_V1, MOCO_PROBE_V3, MOCO_PROBE_CACHED);
    *options = common;
    options->protocol = protocol;
    options->schedule = protocol == MOCO_PROBE_V1 ? MOCO_SCHEDULE_STEP : MOCO_SCHEDULE_COSINE;
    options->cached = protocol == MOCO_PROBE_CACHED;
    if (protocol == MOCO_PROBE_V3) {
        options->lr_scaling = MOCO_LR_SCALING_LINEAR;
        options->epochs = 90;
        options->batch_size = 1024;
    }
    return MOCO_OK;
}

static moco_status_t whole(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %lld, wanted %lld to %lld", name, (long long)value, (long long)low,
                   (long long)high);
}

static moco_status_t real(const char *name, double value, double low, double high)
{
    if (value >= low && value <= high)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %g, wanted %g to %g", name, value, low, high);
}

static moco_status_t above(const char *name, double value, double high)
{
    if (value > 0 && value <= high)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %g, wanted more than 0 and at most %g", name, value, high);
}

moco_status_t mo_probe_check(const moco_probe_options_t *o)
{
    moco_status_t status = MOCO_OK;
    TRY(whole("protocol", o->protocol, MOCO_PROBE_V1, MOCO_PROBE_CACHED));
    TRY(whole("rates", o->rates, 0, MOCO_PROBE_MAX_RATES));
    for (int32_t i = 0; i < o->rates; i++)
        if (!(o->base_lr[i] > 0 && o->base_lr[i] <= MILLION))
            return mo_fail(MOCO_ERR_ARGUMENT, "base_lr[%d] is %g, wanted more than 0 and at most %d", i, o->base_lr[i],
                           MILLION);
    TRY(above("lr_factor", o->lr_factor, 1));
    if (!(o->sgd_momentum >= 0 && o->sgd_momentum < 1))
        return mo_fail(MOCO_ERR_ARGUMENT, "sgd_momentum is %g, wanted 0 to less than 1", o->sgd_momentum);
    TRY(real("weight_decay", o->weight_decay, 0, 10));
    TRY(real("init_std", o->init_std, 0, 10));
    TRY(above("crop_min_area", o->crop_min_area, 1));
    TRY(real("crop_max_area", o->crop_max_area, o->crop_min_area, 1));
    TRY(real("flip_probability", o->flip_probability, 0, 1));
    TRY(whole("lr_scaling", o->lr_scaling, MOCO_LR_SCALING_NONE, MOCO_LR_SCALING_SQRT));
    TRY(whole("epochs", o->epochs, 1, MILLION));
    TRY(whole("batch_size", o->batch_size, 1, 65536));
    TRY(whole("schedule", o->schedule, MOCO_SCHEDULE_CONSTANT, MOCO_SCHEDULE_COSINE));
    TRY(whole("milestone_1", o->milestone_1, -1, INT32_MAX));
    TRY(whole("milestone_2", o->milestone_2, -1, INT32_MAX));
    TRY(whole("cached", o->cached, 0, 1));
    TRY(whole("normalize", o->normalize, 0, 1));
    TRY(whole("eval_every", o->eval_every, 0, MILLION));
    TRY(whole("loader_threads", o->loader_threads, 0, 256));
cleanup:
    return status;
}

void mo_probe_choose_rates(moco_probe_options_t *o, int32_t arch)
{
    static const double sweep[] = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};
    if (o->rates > 0)
        return;
    o->rates = 1;
    if (o->protocol == MOCO_PROBE_V1)
        o->base_lr[0] = 30;
    else if (o->protocol == MOCO_PROBE_V3)
        o->base_lr[0] = arch >= MOCO_ARCH_VIT_SMALL ? 3 : 0.1;
    else
        for (o->rates = 0; o->rates < (int32_t)(sizeof sweep / sizeof *sweep); o->rates++)
            o->base_lr[o->rates] = sweep[o->rates];
}

/* The first epoch at which tenths of the run are over, unless one is given. */
static int64_t milestone(int32_t given, int32_t epochs, int64_t tenths)
{
    return given >= 0 ? given : (epochs * tenths + 9) / 10;
}

double mo_probe_rate_factor(const moco_probe_options_t *o, int64_t epoch)
{
    double factor = mo_lr_scale(o->lr_scaling, o->batch_size);
    if (o->schedule == MOCO_SCHEDULE_COSINE)
        return factor * mo_half_cosine((double)epoch, o->epochs);
    if (o->schedule != MOCO_SCHEDULE_STEP)
        return factor;
    factor *= epoch >= milestone(o->milestone_1, o->epochs, 6) ? o->lr_factor : 1.0;
    factor *= epoch >= milestone(o->milestone_2, o->epochs, 8) ? o->lr_factor : 1.0;
    return factor;
}
