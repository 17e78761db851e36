/* What fine-tuning draws for a step, by counter, and the targets that follow from it. */
#include "train/finetune.h"
#include "util/rng.h"

double mo_tune_share(const moco_finetune_options_t *o, int64_t step)
{
    mo_rng_t rng;
    if (o->mixup <= 0)
        return 1;
    mo_rng_start(&rng, o->seed, MO_STREAM_TUNE_MIX, 0, (uint32_t)step);
    return mo_rng_beta(&rng, o->mixup, o->mixup);
}

/* Blocks are dropped with probabilities that grow linearly from 0 to that of the last; both
 * branches of a transformer's block have the block's. What stays is multiplied up, so that its
 * expectation is the whole branch. */
void mo_tune_factors(const mo_tuner_t *t, int64_t step, float *factors)
{
    const int32_t per_block = mo_is_vit(t->encoder.spec.arch) ? 2 : 1, blocks = t->branches / per_block;
    for (int64_t i = 0; i < t->options.batch_size; i++) {
        mo_rng_t rng;
        mo_rng_start(&rng, t->options.seed, MO_STREAM_TUNE_PATH, (uint32_t)i, (uint32_t)step);
        for (int32_t b = 0; b < t->branches; b++) {
            const double dropped = blocks > 1 ? t->options.drop_path * (b / per_block) / (blocks - 1) : 0;
            factors[i * t->branches + b] = mo_rng_unit(&rng) < dropped ? 0.0f : (float)(1 / (1 - dropped));
        }
    }
}

void mo_tune_target(int32_t classes, double smoothing, int32_t label, int32_t other, double share, float *target)
{
    const double off = smoothing / classes, on = 1 - smoothing;
    for (int32_t c = 0; c < classes; c++)
        target[c] = (float)(off + share * (c == label ? on : 0) + (1 - share) * (c == other ? on : 0));
}
