/* Warnings; see warnings.h. */
#include "train/warnings.h"

#include <math.h>

#include "train/options.h"
#include "train/trainer.h"
#include "util/status.h"

#define PATIENCE 200     /* steps in a row before a loss at chance or a contrast without errors is spoken of */
#define NEAR_CHANCE 0.01 /* of the chance loss                                                               */
#define EASY 99.0        /* percent                                                                          */
#define COLLAPSED 0.05   /* of the spread of rows all over the sphere                                        */
#define COLLAPSE_PATIENCE 20

void mo_warn_options(const moco_trainer_options_t *o)
{
    if (mo_recipe_for(o->recipe, o->arch) != o->recipe)
        mo_log(
            MOCO_LOG_WARNING,
            "recipe %s has the values that were published for ResNets, and arch is a ViT: %s has those for ViTs, and "
            "moco_trainer_options_init gives them when it is told the architecture",
            mo_recipe_name(o->recipe), mo_recipe_name(mo_recipe_for(o->recipe, o->arch)));
}

void mo_warn_setup(moco_trainer_t *t)
{
    const moco_trainer_options_t *o = &t->state.options;
    int queue = mo_loss_of(o->loss)->keeps_queue, norms = mo_backbone_has_batchnorm(o);
    if (queue && t->state.listing_count > 0 && o->queue_length >= t->state.listing_count && !t->warnings.told_queue)
        mo_log(MOCO_LOG_WARNING,
               "queue_length is %lld and the data set has %lld images: every image is compared with older keys of "
               "itself as negatives; a queue of a quarter of the data set or less, with key_momentum 0.99, suits small "
               "sets",
               (long long)o->queue_length, (long long)t->state.listing_count);
    t->warnings.told_queue = t->state.listing_count > 0; /* pushed images come without a number */
    if (t->warnings.told_setup)
        return;
    t->warnings.told_setup = 1;
    if (queue && norms && o->bn_groups == 1)
        mo_log(MOCO_LOG_WARNING, "bn_groups is 1: a query and its key share their batch statistics, which give the "
                                 "pair away; the method was published with 8 groups and shuffle");
    else if (queue && norms && !o->shuffle)
        mo_log(MOCO_LOG_WARNING,
               "shuffle is 0: a query and its key share their batch statistics, which give the pair away");
}

double mo_spread(const float *rows, int64_t count, int64_t width)
{
    double total = 0;
    for (int64_t c = 0; c < width; c++) {
        double sum = 0, square = 0;
        for (int64_t n = 0; n < count; n++) {
            double value = rows[n * width + c];
            sum += value;
            square += value * value;
        }
        double mean = sum / (double)count, variance = square / (double)count - mean * mean;
        total += variance > 0 ? sqrt(variance) : 0;
    }
    return total / (double)width * sqrt((double)width);
}

static int reached(int32_t *row, int looks_so, int32_t patience, int *told)
{
    *row = looks_so ? *row + 1 : 0;
    if (*told || *row < patience)
        return 0;
    *told = 1;
    return 1;
}

void mo_warn_step(moco_trainer_t *t, const mo_outcome_t *outcome)
{
    mo_warnings_t *w = &t->warnings;
    int64_t batch = t->state.options.batch_size;
    const double chance = t->state.method.chance;
    const double spread = w->told_collapse ? 1 : mo_spread(t->mapped.keys, batch, t->state.options.dimension);
    /* While a queue fills, random rows make the contrast easy. */
    int filled = !t->state.method.loss->keeps_queue || t->state.queue_seen >= t->state.queue.length;
    mo_warn_setup(t);
    if (reached(&w->at_chance, fabs(outcome->loss - chance) < NEAR_CHANCE * chance, PATIENCE, &w->told_chance))
        mo_log(MOCO_LOG_WARNING,
               "step %lld: the loss %.4f has stayed within 1 %% of chance, %.4f, for %d steps: nothing is "
               "being learnt; look at learning rate, temperature and views",
               (long long)t->state.step, outcome->loss, chance, PATIENCE);
    if (reached(&w->too_easy, filled && outcome->top1 > EASY, PATIENCE, &w->told_easy))
        mo_log(MOCO_LOG_WARNING,
               "step %lld: the contrast is won in %.1f %% of all cases for %d steps: the views are too alike, "
               "or batch statistics give the pairs away",
               (long long)t->state.step, outcome->top1, PATIENCE);
    if (reached(&w->collapsed, spread < COLLAPSED, COLLAPSE_PATIENCE, &w->told_collapse))
        mo_log(MOCO_LOG_WARNING,
               "step %lld: the embeddings have collapsed: their standard deviation per dimension is %.3g of "
               "that of rows all over the sphere",
               (long long)t->state.step, spread);
}
