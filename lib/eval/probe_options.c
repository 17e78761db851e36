/* The fields of moco_probe_options_t, the protocols, and what follows from options alone. */
#include <stddef.h>
#include <moco/trainer.h> /* MOCO_ARCH_… */

#include "eval/probe.h"
#include "optim/optim.h"
#include "util/names.h"
#include "util/rate.h"

#define AT(field) MO_OPTION_AT(moco_probe_options_t, field)
#define NAMES(list) MO_OPTION_NAMES(list), ""
#define MILLION 1000000
#define I32_MAX 2147483647
#define U64 MO_OPTION_U64
#define I32 MO_OPTION_I32
#define ENUM MO_OPTION_ENUM
#define F64 MO_OPTION_F64
#define ABOVE MO_OPTION_ABOVE_MIN
#define BELOW MO_OPTION_BELOW_MAX

_Static_assert(sizeof(moco_probe_options_t) == 272, "every field has a row and there is no padding");
_Static_assert(offsetof(moco_probe_options_t, loader_threads) == 268, "fields keep their places");

/* name and place, type, default, min, max, flags, names, unit, meaning */
static const mo_option_row_t rows[] = {
    {AT(cancel), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "what stops the call from another thread"},
    {AT(progress), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "is told of each step"},
    {AT(user), MO_OPTION_POINTER, 0, 0, 0, 0, NULL, "", "handed to `progress`"},
    {AT(seed), U64, 0, 0, 0, 0, NULL, "", "fixes weights, order and crops"},
    {AT(protocol), MO_OPTION_PRESET, 0, 0, 0, 0, NULL, "", "where the values came from; chosen first, not settable"},
    {AT(cached), I32, 0, 0, 1, 0, NULL, "", "1: features once, of the evaluation transform, without crops and flips"},
    {AT(normalize), I32, 0, 0, 1, 0, NULL, "", "1: rows of features are divided by their L2 norm"},
    {AT(rates), I32, 0, 0, MOCO_PROBE_MAX_RATES, 0, NULL, "",
     "numbers of base_lr in use; 0 = the protocol's own for the backbone"},
    {AT(base_lr), MO_OPTION_LIST, 0, 0, MILLION, ABOVE, NULL, "",
     "learning rates before lr_scaling, tried side by side", .items = MOCO_PROBE_MAX_RATES,
     .used = offsetof(moco_probe_options_t, rates)},
    {AT(lr_scaling), ENUM, MOCO_LR_SCALING_NONE, NAMES(mo_lr_scaling_names),
     "rate = base_lr times 1, batch_size/256, or batch_size's root"},
    {AT(schedule), ENUM, MOCO_SCHEDULE_COSINE, NAMES(mo_schedule_names), "of the rate, set once per epoch"},
    {AT(milestone_1), I32, -1, 0, I32_MAX, MO_OPTION_OR_MINUS_1, NULL, "epochs",
     "first factor of the step schedule; -1 = after 60 %"},
    {AT(milestone_2), I32, -1, 0, I32_MAX, MO_OPTION_OR_MINUS_1, NULL, "epochs", "second factor; -1 = after 80 %"},
    {AT(lr_factor), F64, 0.1, 0, 1, ABOVE, NULL, "", "of the rate at each milestone of the step schedule"},
    {AT(epochs), I32, 100, 1, MILLION, 0, NULL, "", "passes over the data"},
    {AT(batch_size), I32, 256, 1, 65536, 0, NULL, "images", "per step; the last batch of an epoch may have fewer"},
    {AT(sgd_momentum), F64, 0.9, 0, 1, BELOW, NULL, "", "momentum of SGD"},
    {AT(weight_decay), F64, 0, 0, 10, 0, NULL, "", "on weights and bias"},
    {AT(init_std), F64, 0.01, 0, 10, 0, NULL, "", "standard deviation of the first weights"},
    {AT(crop_min_area), F64, 0.08, 0, 1, ABOVE, NULL, "share", "smallest crop, of the image's area"},
    {AT(crop_max_area), F64, 1, 0, 1, ABOVE, NULL, "share", "largest crop; at least crop_min_area"},
    {AT(flip_probability), F64, 0.5, 0, 1, 0, NULL, "", "of the mirror image"},
    {AT(eval_every), I32, 0, 0, MILLION, 0, NULL, "epochs",
     "between measurements on the test set; 0 = after the last only"},
    {AT(loader_threads), I32, 0, 0, 256, 0, NULL, "", "decoding threads; 0 = one per lane"},
};

/* A value a line. */
/* clang-format off */

/* MoCo v1 and v2: arXiv 1911.05722, section 4.1. */
static const mo_override_t v1[] = {
    {"epochs", 100},
    {"batch_size", 256},
    {"schedule", MOCO_SCHEDULE_STEP},
    {NULL, 0},
};

/* MoCo v3: arXiv 2104.02057, appendix, and its published code. */
static const mo_override_t v3[] = {
    {"lr_scaling", MOCO_LR_SCALING_LINEAR},
    {"epochs", 90},
    {"batch_size", 1024},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {NULL, 0},
};

/* Features are computed once; what remains is cheap enough for many learning rates. */
static const mo_override_t cached[] = {
    {"epochs", 100},
    {"batch_size", 256},
    {"schedule", MOCO_SCHEDULE_COSINE},
    {"cached", 1},
    {NULL, 0},
};

/* clang-format on */

static const mo_preset_t protocols[] = {
    {MOCO_PROBE_V1, "v1", "arXiv 1911.05722", NULL, v1},
    {MOCO_PROBE_V3, "v3", "arXiv 2104.02057", NULL, v3},
    {MOCO_PROBE_CACHED, "cached", "features in memory, nine learning rates", NULL, cached},
    {.name = NULL},
};

static moco_status_t agree(const void *options)
{
    const moco_probe_options_t *o = options;
    return mo_option_at_least("crop_max_area", o->crop_max_area, "crop_min_area", o->crop_min_area);
}

const mo_option_table_t mo_probe_options = {
    .name = "moco_probe_options",
    .size = sizeof(moco_probe_options_t),
    MO_OPTION_ROWS(rows),
    .presets = protocols,
    .usual = MOCO_PROBE_CACHED,
    .agree = agree,
    .agreement = "`crop_min_area` <= `crop_max_area`.",
};

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
