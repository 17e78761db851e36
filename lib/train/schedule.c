/* Learning-rate schedules: set once per epoch from a whole number, as the MoCo references do. */
#include "train/schedule.h"

#include <math.h>

#define BASE_BATCH 256.0 /* the batch that base_lr is meant for; linear scaling rule */
#define PI         3.14159265358979323846

static double step_factor(const moco_trainer_options_t *o, int64_t e)
{
    double factor = 1.0;
    if (e >= o->milestone_1)
        factor *= o->lr_factor;
    if (e >= o->milestone_2)
        factor *= o->lr_factor;
    return factor;
}

/* Past the last epoch the rate stays where the cosine ended; it would rise again. */
static double cosine_factor(const moco_trainer_options_t *o, int64_t e)
{
    double share = e < o->epochs ? (double)e / (double)o->epochs : 1.0;
    return 0.5 * (1.0 + cos(PI * share));
}

double mo_schedule_lr(const moco_trainer_options_t *o, int64_t epoch)
{
    double rate = o->base_lr * (double)o->batch_size / BASE_BATCH;
    int64_t e = epoch + o->first_epoch;
    if (epoch < 0 || o->schedule == MOCO_SCHEDULE_CONSTANT)
        return rate;
    return rate * (o->schedule == MOCO_SCHEDULE_STEP ? step_factor(o, e) : cosine_factor(o, e));
}
