/* The table of options and the recipes in it: MoCo v1 (arXiv 1911.05722), MoCo v2 (arXiv 2003.04297) and the CIFAR-10
 * demonstration at batch 256. Pure data; options.c and options_text.c walk it. */
#include "train/options.h"

#include <stddef.h>
#include <string.h>

#include "util/status.h"

/* Fields only ever get appended. A new field changes this number and adds a row. */
_Static_assert(sizeof(moco_trainer_options_t) == 328, "every field has a table row and there is no padding");
_Static_assert(offsetof(moco_trainer_options_t, recipe) == 232, "fields of 0.1 keep their places");
_Static_assert(offsetof(moco_trainer_options_t, max_broken) == 320, "fields of 0.1 keep their places");

static const char *const recipe_names[] = {"moco-v1", "moco-v2", "moco-cifar", "moco-v3", "simclr", NULL};
static const char *const arch_names[] = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", NULL};
static const char *const stem_names[] = {"imagenet", "cifar", NULL};
static const char *const head_names[] = {"linear", "mlp", NULL};
static const char *const membership_names[] = {"contiguous", "strided", NULL};
static const char *const schedule_names[] = {"constant", "step", "cosine", NULL};
static const char *const views_names[] = {"v1", "v2", "cifar", NULL};
static const char *const running_names[] = {"mean", "first", NULL};

#define AT(field) #field, offsetof(moco_trainer_options_t, field)
#define SAME(x) {x, x, x}
#define NAMES(list) 0, sizeof(list) / sizeof(list[0]) - 2, 0, list, ""
#define MILLION 1000000
#define I32_MAX 2147483647
#define WIDE_MAX 1152921504606846976.0 /* 2^60: far beyond use, and exact in a double */
#define U64 MO_OPTION_U64
#define I64 MO_OPTION_I64
#define I32 MO_OPTION_I32
#define ENUM MO_OPTION_ENUM
#define F64 MO_OPTION_F64
#define FREE MO_OPTION_FREE
#define ABOVE MO_OPTION_ABOVE_MIN

/* name and place, type, defaults of v1, v2, cifar, min, max, flags, names, unit, meaning */
static const mo_option_row_t rows[] = {
    {AT(seed), U64, SAME(0), 0, 0, 0, NULL, "", "fixes weights, queue, order, shuffles and views"},
    {AT(queue_length), I64, {65536, 65536, 4096}, 1, 16777216, 0, NULL, "keys", "K, keys in the queue"},
    {AT(memory_cap), I64, SAME(0), 0, WIDE_MAX, FREE, NULL, "bytes", "what the plan may take; 0 = no cap"},
    {AT(width), F64, SAME(1), 0.0625, 8, 0, NULL, "", "channel multiplier: max(16, nearest multiple of 16)"},
    {AT(temperature), F64, {0.07, 0.2, 0.1}, 1e-3, 1e3, 0, NULL, "", "divides the logits"},
    {AT(key_momentum), F64, {0.999, 0.999, 0.99}, 0, 1, 0, NULL, "", "m of k <- m k + (1-m) q"},
    {AT(base_lr), F64, SAME(0.03), 0, 1e3, 0, NULL, "", "learning rate at batch 256; scaled by batch_size/256"},
    {AT(sgd_momentum), F64, SAME(0.9), 0, 1, MO_OPTION_BELOW_MAX, NULL, "", "momentum of SGD"},
    {AT(weight_decay), F64, {1e-4, 1e-4, 5e-4}, 0, 10, 0, NULL, "", "on every parameter"},
    {AT(lr_factor), F64, SAME(0.1), 0, 1, ABOVE, NULL, "", "of the rate at each milestone of the step schedule"},
    {AT(crop_min_area), F64, {0.2, 0.2, 0.08}, 0, 1, ABOVE, NULL, "share", "smallest crop, of the image's area"},
    {AT(crop_max_area), F64, SAME(1), 0, 1, ABOVE, NULL, "share", "largest crop; at least crop_min_area"},
    {AT(jitter_brightness), F64, SAME(0.4), 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_contrast), F64, SAME(0.4), 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_saturation), F64, SAME(0.4), 0, 10, 0, NULL, "", "x of the factor U[max(0,1-x),1+x]"},
    {AT(jitter_hue), F64, {0.4, 0.1, 0.1}, 0, 0.5, 0, NULL, "hue circles", "x of the shift U[-x,x]"},
    {AT(jitter_probability), F64, {1, 0.8, 0.8}, 0, 1, 0, NULL, "", "of the colour jitter"},
    {AT(gray_probability), F64, SAME(0.2), 0, 1, 0, NULL, "", "of turning gray"},
    {AT(blur_probability), F64, {0, 0.5, 0}, 0, 1, 0, NULL, "", "of the Gaussian blur; above 0 only with views v2"},
    {AT(blur_sigma_min), F64, SAME(0.1), 0.01, 100, 0, NULL, "pixels", "smallest standard deviation of the blur"},
    {AT(blur_sigma_max), F64, SAME(2), 0.01, 100, 0, NULL, "pixels", "largest; at least blur_sigma_min"},
    {AT(flip_probability), F64, SAME(0.5), 0, 1, 0, NULL, "", "of the mirror image"},
    {AT(mean_r), F64, {0.485, 0.485, 0.4914}, -1e3, 1e3, 0, NULL, "", "subtracted from red in 0..1"},
    {AT(mean_g), F64, {0.456, 0.456, 0.4822}, -1e3, 1e3, 0, NULL, "", "subtracted from green in 0..1"},
    {AT(mean_b), F64, {0.406, 0.406, 0.4465}, -1e3, 1e3, 0, NULL, "", "subtracted from blue in 0..1"},
    {AT(std_r), F64, {0.229, 0.229, 0.2023}, 1e-6, 1e6, 0, NULL, "", "divides red"},
    {AT(std_g), F64, {0.224, 0.224, 0.1994}, 1e-6, 1e6, 0, NULL, "", "divides green"},
    {AT(std_b), F64, {0.225, 0.225, 0.2010}, 1e-6, 1e6, 0, NULL, "", "divides blue"},
    {AT(recipe), ENUM, {0, 1, 2}, NAMES(recipe_names), "where the values came from; chosen first, not settable"},
    {AT(arch), ENUM, {2, 2, 0}, NAMES(arch_names), "the backbone"},
    {AT(stem), ENUM, {0, 0, 1}, NAMES(stem_names), "first layers: 7x7 stride 2 and max pooling, or 3x3 stride 1"},
    {AT(head), ENUM, {0, 1, 0}, NAMES(head_names), "projection: one linear layer, or two with ReLU between"},
    {AT(image_size), I32, {224, 224, 32}, 16, 1024, 0, NULL, "pixels", "side of a view"},
    {AT(dimension), I32, SAME(128), 1, 65536, 0, NULL, "", "D, width of the projection"},
    {AT(batch_size), I32, SAME(256), 2, 65536, 0, NULL, "images", "B, images per step"},
    {AT(virtual_devices), I32, SAME(8), 1, 32768, 0, NULL, "", "V, batch-norm groups; B mod V = 0 and B/V >= 2"},
    {AT(membership), ENUM, {0, 0, 1}, NAMES(membership_names), "which images share a group"},
    {AT(shuffle), I32, SAME(1), 0, 1, 0, NULL, "", "1: keys are shuffled over the groups"},
    {AT(shard), I32, SAME(0), 0, 65536, 0, NULL, "images", "per shard, divides B/V; 0 = largest s <= 32 with B/s >= 2"},
    {AT(epochs), I32, SAME(200), 1, MILLION, 0, NULL, "", "E, passes over the data"},
    {AT(steps_per_epoch), I32, SAME(0), 0, I32_MAX, 0, NULL, "steps", "push mode: of an epoch; 0 = constant rates"},
    {AT(schedule), ENUM, {1, 2, 2}, NAMES(schedule_names), "of the learning rate"},
    {AT(first_epoch), I32, {0, 0, 1}, 0, 1, 0, NULL, "", "what the schedule counts the first epoch as"},
    {AT(milestone_1), I32, SAME(120), 0, MILLION, 0, NULL, "epochs", "first factor of the step schedule"},
    {AT(milestone_2), I32, SAME(160), 0, MILLION, 0, NULL, "epochs", "second factor; not before milestone_1"},
    {AT(views), ENUM, {0, 1, 2}, NAMES(views_names), "order of the view pipeline"},
    {AT(bn_running), ENUM, SAME(0), NAMES(running_names), "running statistics: mean over groups, or the first group's"},
    {AT(loader_threads), I32, SAME(0), 0, 256, FREE, NULL, "", "decoding threads; 0 = one per lane"},
    {AT(zero_init_residual), I32, SAME(0), 0, 1, 0, NULL, "", "1: residual branches start at 0"},
    {AT(max_broken_percent), I32, SAME(50), 0, 100, FREE, NULL, "%", "a run fails past this share of broken images"},
    {AT(max_broken), I64, SAME(0), 0, WIDE_MAX, FREE, NULL, "images", "or past this number; 0 = only the share counts"},
};

const mo_option_row_t *mo_option_rows(int32_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

const mo_option_row_t *mo_option_find(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

int32_t mo_recipe_number(const char *name)
{
    for (int32_t i = 0; recipe_names[i] != NULL; i++) {
        if (strcmp(recipe_names[i], name) == 0)
            return i;
    }
    return -1;
}

moco_status_t mo_recipe_check(int32_t recipe)
{
    if (recipe < 0 || recipe > MOCO_RECIPE_SIMCLR)
        return mo_fail(MOCO_ERR_ARGUMENT, "recipe is %d, wanted moco-v1 (0), moco-v2 (1) or moco-cifar (2)",
                       (int)recipe);
    if (recipe >= MO_RECIPES)
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "recipe '%s' comes with a later version; this one has moco-v1, moco-v2, moco-cifar",
                       recipe_names[recipe]);
    return MOCO_OK;
}
