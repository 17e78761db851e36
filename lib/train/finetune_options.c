/* Options of fine-tuning: the values for each optimizer, and their ranges. */
#include <stddef.h>

#include "train/finetune.h"
#include "util/status.h"

#define MILLION 1000000

_Static_assert(sizeof(moco_finetune_options_t) == 168, "no padding; a new field is appended");
_Static_assert(offsetof(moco_finetune_options_t, loader_threads) == 164, "fields keep their places");

moco_status_t mo_finetune_defaults(int32_t optimizer, moco_finetune_options_t *options)
{
    static const moco_finetune_options_t common = {
        .struct_size = sizeof(moco_finetune_options_t), .sgd_momentum = 0.9, .adam_beta1 = 0.9, .adam_beta2 = 0.999,
        .adam_epsilon = 1e-8, .label_smoothing = 0.1, .init_std = 0.01, .crop_min_area = 0.08, .crop_max_area = 1,
        .flip_probability = 0.5, .lr_scaling = MOCO_LR_SCALING_LINEAR, .epochs = 100, .batch_size = 128, .bn_groups = 1,
        .schedule = MOCO_SCHEDULE_COSINE};
    if (optimizer != MOCO_OPTIMIZER_SGD && optimizer != MOCO_OPTIMIZER_ADAMW)
        return mo_fail(MOCO_ERR_ARGUMENT, "optimizer is %d, wanted %d (sgd) or %d (adamw)", optimizer,
                       MOCO_OPTIMIZER_SGD, MOCO_OPTIMIZER_ADAMW);
    *options = common;
    options->optimizer = optimizer;
    if (optimizer == MOCO_OPTIMIZER_SGD) {
        options->base_lr = 0.01;
        options->weight_decay = 1e-4;
        options->decay_vectors = 1;
        return MOCO_OK;
    }
    options->base_lr = 2.5e-4;
    options->weight_decay = 0.05;
    options->warmup_epochs = 5;
    options->mixup = 0.8;
    options->drop_path = 0.1;
    return MOCO_OK;
}

/* A range; with `open` its upper end is not part of it, with `above` its lower one. */
typedef struct real_field {
    const char *name;
    double value, low, high;
    int above, open;
} real_field_t;

static moco_status_t check_real(const real_field_t *f)
{
    const int low = f->above ? f->value > f->low : f->value >= f->low;
    const int high = f->open ? f->value < f->high : f->value <= f->high;
    if (low && high)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %g, wanted %s%g to %s%g", f->name, f->value, f->above ? "more than " : "",
                   f->low, f->open ? "less than " : "", f->high);
}

typedef struct whole_field {
    const char *name;
    int64_t value, low, high;
} whole_field_t;

static moco_status_t check_whole(const whole_field_t *f)
{
    if (f->value >= f->low && f->value <= f->high)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %lld, wanted %lld to %lld", f->name, (long long)f->value,
                   (long long)f->low, (long long)f->high);
}

static moco_status_t check_groups(const moco_finetune_options_t *o)
{
    const int32_t group = o->batch_size / o->bn_groups;
    if (o->batch_size % o->bn_groups != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "batch_size is %d, wanted a multiple of bn_groups %d", o->batch_size,
                       o->bn_groups);
    if (group < 2)
        return mo_fail(MOCO_ERR_ARGUMENT, "bn_groups is %d, wanted at least 2 images of batch_size %d in each",
                       o->bn_groups, o->batch_size);
    if (o->shard != 0 && group % o->shard != 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "shard is %d, wanted 0 or a divisor of the %d images of a batch-norm group",
                       o->shard, group);
    return MOCO_OK;
}

moco_status_t mo_finetune_check(const moco_finetune_options_t *o)
{
    moco_status_t status = MOCO_OK;
    const real_field_t reals[] = {
        {"base_lr", o->base_lr, 0, 1000, 0, 0},
        {"weight_decay", o->weight_decay, 0, 10, 0, 0},
        {"sgd_momentum", o->sgd_momentum, 0, 1, 0, 1},
        {"adam_beta1", o->adam_beta1, 0, 1, 0, 1},
        {"adam_beta2", o->adam_beta2, 0, 1, 0, 1},
        {"adam_epsilon", o->adam_epsilon, 0, 1, 1, 0},
        {"label_smoothing", o->label_smoothing, 0, 1, 0, 1},
        {"mixup", o->mixup, 0, 100, 0, 0},
        {"drop_path", o->drop_path, 0, 1, 0, 1},
        {"init_std", o->init_std, 0, 10, 0, 0},
        {"crop_min_area", o->crop_min_area, 0, 1, 1, 0},
        {"crop_max_area", o->crop_max_area, o->crop_min_area, 1, 0, 0},
        {"flip_probability", o->flip_probability, 0, 1, 0, 0},
    };
    const whole_field_t wholes[] = {
        {"lr_scaling", o->lr_scaling, MOCO_LR_SCALING_NONE, MOCO_LR_SCALING_SQRT},
        {"epochs", o->epochs, 1, MILLION},
        {"warmup_epochs", o->warmup_epochs, 0, o->epochs},
        {"batch_size", o->batch_size, 2, 65536},
        {"bn_groups", o->bn_groups, 1, 65536},
        {"shard", o->shard, 0, 65536},
        {"decay_vectors", o->decay_vectors, 0, 1},
        {"resize_filter", o->resize_filter, MOCO_FILTER_BILINEAR, MOCO_FILTER_BICUBIC},
        {"eval_every", o->eval_every, 0, MILLION},
        {"loader_threads", o->loader_threads, 0, 256},
    };
    if (o->optimizer != MOCO_OPTIMIZER_SGD && o->optimizer != MOCO_OPTIMIZER_ADAMW)
        return mo_fail(MOCO_ERR_ARGUMENT, "optimizer is %d, wanted %d (sgd) or %d (adamw)", o->optimizer,
                       MOCO_OPTIMIZER_SGD, MOCO_OPTIMIZER_ADAMW);
    if (o->schedule != MOCO_SCHEDULE_CONSTANT && o->schedule != MOCO_SCHEDULE_COSINE)
        return mo_fail(MOCO_ERR_ARGUMENT, "schedule is %d, wanted %d (constant) or %d (cosine)", o->schedule,
                       MOCO_SCHEDULE_CONSTANT, MOCO_SCHEDULE_COSINE);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        TRY(check_real(&reals[i]));
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        TRY(check_whole(&wholes[i]));
    TRY(check_groups(o));
cleanup:
    return status;
}
