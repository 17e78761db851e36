/* Options: recipes, ranges, names, JSON, and that docs/options.md says what the table says.
 * MOCO_UPDATE_DOCS=1 rewrites the page. */
#include <check.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/options.h"
#include "data/dataset.h"
#include "engine/device.h"
#include "eval/probe.h"
#include "train/finetune.h"
#include "train/methods/method.h"
#include "train/options.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/file.h"
#include "util/status.h"

static moco_trainer_options_t recipe(int32_t number)
{
    moco_trainer_options_t options;
    memset(&options, 0xee, sizeof options);
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, number, MOCO_ARCH_RECIPE), MOCO_OK);
    return options;
}

static void assert_message(const char *want)
{
    ck_assert_msg(strstr(moco_last_message(), want) != NULL, "'%s' does not say '%s'", moco_last_message(), want);
}

/* ---- the table ---- */

static uint32_t row_size(const mo_option_row_t *row)
{
    if (row->type == MO_OPTION_LIST)
        return row->items * 8;
    return row->type == MO_OPTION_I32 || row->type == MO_OPTION_ENUM || row->type == MO_OPTION_PRESET ? 4 : 8;
}

/* Every byte behind struct_size has one row, in the order of the struct. */
START_TEST(test_rows_cover_the_structs)
{
    int32_t tables;
    const mo_option_table_t *const *all = mo_option_tables(&tables);
    for (int32_t t = 0; t < tables; t++) {
        uint32_t end = sizeof(uint64_t);
        ck_assert_uint_le(all[t]->size, MO_OPTION_STRUCT_SIZE);
        for (int32_t i = 0; i < all[t]->count; i++) {
            const mo_option_row_t *row = &all[t]->rows[i];
            ck_assert_msg(row->offset == end, "%s: %s starts at %u, wanted %u", all[t]->name, row->name, row->offset,
                          end);
            end += row_size(row);
            ck_assert_ptr_eq(mo_option_find(all[t], row->name), row);
            ck_assert_uint_gt(strlen(row->meaning), 0);
            ck_assert_int_eq(row->type == MO_OPTION_LIST, row->items > 0);
            if (row->type == MO_OPTION_LIST) /* an older host that has the list has its number, too */
                ck_assert_uint_lt(row->used, row->offset);
        }
        ck_assert_uint_eq(end, all[t]->size);
    }
}
END_TEST

/* The overrides of presets name options once, with values in range; a list on top of another one
 * repeats nothing of it. */
START_TEST(test_presets)
{
    int32_t tables;
    const mo_option_table_t *const *all = mo_option_tables(&tables);
    for (int32_t t = 0; t < tables; t++)
        for (int32_t p = 0; p < mo_preset_count(all[t]); p++) {
            const mo_preset_t *preset = &all[t]->presets[p];
            _Alignas(8) uint8_t own[MO_OPTION_STRUCT_SIZE], base[MO_OPTION_STRUCT_SIZE];
            ck_assert_int_eq(mo_option_defaults(all[t], preset->number, own), MOCO_OK);
            ck_assert_msg(mo_option_check(all[t], own) == MOCO_OK, "%s: %s", preset->name, moco_last_message());
            if (preset->base != NULL)
                ck_assert_int_eq(mo_option_defaults(all[t], preset->base->number, base), MOCO_OK);
            for (const mo_override_t *o = preset->changes; o->name != NULL; o++) {
                const mo_option_row_t *row = mo_option_find(all[t], o->name);
                ck_assert_msg(row != NULL && strcmp(row->name, o->name) == 0, "%s: no option %s", preset->name,
                              o->name);
                ck_assert_msg(mo_option_get(own, row) == o->value, "%s has %s twice", preset->name, o->name);
                ck_assert_msg(preset->base == NULL || mo_option_get(base, row) != o->value, "%s repeats %s of %s",
                              preset->name, o->name, preset->base->name);
            }
            ck_assert_ptr_eq(mo_preset_named(all[t], preset->name), preset);
        }
    for (int32_t r = 0; r < mo_recipe_count(); r++)
        ck_assert_int_eq(mo_recipes[r].number, r);
}
END_TEST

/* The published numbers, one by one. */
START_TEST(test_recipes)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V1);
    ck_assert_uint_eq(o.struct_size, sizeof o);
    ck_assert(o.recipe == MOCO_RECIPE_V1 && o.arch == MOCO_ARCH_RESNET50 && o.stem == MOCO_STEM_IMAGENET);
    ck_assert(o.head == MOCO_HEAD_LINEAR && o.temperature == 0.07 && o.key_momentum == 0.999);
    ck_assert(o.queue_length == 65536 && o.dimension == 128 && o.batch_size == 256 && o.bn_groups == 8);
    ck_assert(o.schedule == MOCO_SCHEDULE_STEP && o.milestone_1 == 120 && o.milestone_2 == 160 && o.lr_factor == 0.1);
    ck_assert(o.base_lr == 0.03 && o.sgd_momentum == 0.9 && o.weight_decay == 1e-4 && o.epochs == 200);
    ck_assert(o.views == MOCO_VIEWS_V1 && o.jitter_hue == 0.4 && o.jitter_probability == 1 && o.blur_probability == 0);
    ck_assert(o.crop_min_area == 0.2 && o.crop_max_area == 1 && o.image_size == 224 && o.first_epoch == 0);
    ck_assert(o.membership == MOCO_MEMBERSHIP_CONTIGUOUS && o.shuffle == 1 && o.mean_r == 0.485 && o.std_b == 0.225);
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o = recipe(MOCO_RECIPE_V2);
    ck_assert(o.head == MOCO_HEAD_MLP && o.temperature == 0.2 && o.schedule == MOCO_SCHEDULE_COSINE);
    ck_assert(o.views == MOCO_VIEWS_V2 && o.jitter_hue == 0.1 && o.jitter_probability == 0.8 &&
              o.blur_probability == 0.5);
    ck_assert(o.blur_sigma_min == 0.1 && o.blur_sigma_max == 2 && o.gray_probability == 0.2 &&
              o.flip_probability == 0.5);
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o = recipe(MOCO_RECIPE_CIFAR);
    ck_assert(o.arch == MOCO_ARCH_RESNET18 && o.stem == MOCO_STEM_CIFAR && o.head == MOCO_HEAD_LINEAR);
    ck_assert(o.image_size == 32 && o.batch_size == 256 && o.bn_groups == 8 && o.queue_length == 4096);
    ck_assert(o.membership == MOCO_MEMBERSHIP_STRIDED && o.key_momentum == 0.99 && o.temperature == 0.1);
    ck_assert(o.weight_decay == 5e-4 && o.base_lr == 0.03 && o.first_epoch == 1 && o.schedule == MOCO_SCHEDULE_COSINE);
    ck_assert(o.views == MOCO_VIEWS_CIFAR && o.crop_min_area == 0.08 && o.blur_probability == 0 && o.mean_g == 0.4822);
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
}
END_TEST

/* MoCo v3 with ResNet-50 for 100 epochs, v3 with a ViT for 300, SimCLR with ResNet-50, BYOL with
 * ResNet-50 for 300: arXiv 2104.02057, 2002.05709 and 2006.07733, and their published code. Every
 * option that a step, a schedule or a view of theirs reads. */
/* clang-format off */
#define KEYS(x) {x, x, NAN, x}
#define ALL(x) {x, x, x, x}
/* clang-format on */
static const struct {
    const char *name;
    double wanted[4]; /* NAN: means nothing to the recipe */
} whole_batch_recipes[] = {
    {"arch", {MOCO_ARCH_RESNET50, MOCO_ARCH_VIT_SMALL, MOCO_ARCH_RESNET50, MOCO_ARCH_RESNET50}},
    {"stem", ALL(MOCO_STEM_IMAGENET)},
    {"width", ALL(1)},
    {"image_size", ALL(224)},
    {"zero_init_residual", {1, NAN, 1, 1}},
    {"freeze_patch", {NAN, 1, NAN, NAN}},
    {"patch_size", {NAN, 0, NAN, NAN}}, /* 0: as published, 16; the same for blocks and heads */
    {"vit_depth", {NAN, 0, NAN, NAN}},
    {"vit_heads", {NAN, 0, NAN, NAN}},
    {"vit_norm", {NAN, MOCO_VIT_NORM_LAYER, NAN, NAN}},
    {"head", {MOCO_HEAD_MLP_V3, MOCO_HEAD_MLP_V3, MOCO_HEAD_MLP_SIMCLR, MOCO_HEAD_MLP_BYOL}},
    {"head_width", {4096, 4096, 0, 4096}}, /* 0: the backbone's 2048 */
    {"head_layers", {0, 0, 2, 0}},         /* as published: 2 for ResNet, 3 for ViT, 2 of the paper, 2 */
    {"dimension", {256, 256, 128, 256}},
    {"predictor", {1, 1, 0, 1}},
    {"symmetric", {1, 1, 0, 1}},
    {"loss", {MOCO_LOSS_BATCH, MOCO_LOSS_BATCH, MOCO_LOSS_NT_XENT, MOCO_LOSS_REGRESSION}},
    {"loss_scale", {MOCO_LOSS_SCALE_2T, MOCO_LOSS_SCALE_2T, MOCO_LOSS_SCALE_ONE, MOCO_LOSS_SCALE_ONE}},
    {"temperature", {1, 0.2, 0.1, NAN}},
    {"key_momentum", KEYS(0.99)},
    {"momentum_schedule", KEYS(MOCO_MOMENTUM_COSINE)},
    {"batch_size", ALL(4096)},
    {"bn_groups", ALL(1)}, /* synchronised batch norm */
    {"shuffle", ALL(0)},
    {"execution", ALL(MOCO_EXECUTION_AUTO)},
    {"epochs", {100, 300, 100, 300}},
    {"optimizer", {MOCO_OPTIMIZER_LARS, MOCO_OPTIMIZER_ADAMW, MOCO_OPTIMIZER_LARS_SIMCLR, MOCO_OPTIMIZER_LARS}},
    {"base_lr", {0.6, 1.5e-4, 0.3, 0.3}},
    {"lr_scaling", ALL(MOCO_LR_SCALING_LINEAR)},
    {"weight_decay", {1e-6, 0.1, 1e-6, 1e-6}},
    {"sgd_momentum", {0.9, NAN, 0.9, 0.9}},
    {"lars_trust", {0.001, NAN, 0.001, 0.001}},
    {"adam_beta1", {NAN, 0.9, NAN, NAN}},
    {"adam_beta2", {NAN, 0.999, NAN, NAN}},
    {"adam_epsilon", {NAN, 1e-8, NAN, NAN}},
    {"schedule", ALL(MOCO_SCHEDULE_COSINE)},
    {"schedule_unit", ALL(MOCO_SCHEDULE_PER_STEP)},
    {"first_epoch", ALL(0)},
    {"warmup_epochs", {10, 40, 10, 10}},
    {"views", {MOCO_VIEWS_V3, MOCO_VIEWS_V3, MOCO_VIEWS_SIMCLR, MOCO_VIEWS_V3}},
    {"crop_min_area", {0.2, 0.08, 0.08, 0.08}},
    {"crop_max_area", ALL(1)},
    {"crop_tries", {10, 10, 100, NAN}},
    {"resize_filter", {MOCO_FILTER_BILINEAR, MOCO_FILTER_BILINEAR, MOCO_FILTER_BICUBIC, MOCO_FILTER_BICUBIC}},
    {"jitter_brightness", {0.4, 0.4, 0.8, 0.4}},
    {"jitter_contrast", {0.4, 0.4, 0.8, 0.4}},
    {"jitter_saturation", {0.2, 0.2, 0.8, 0.2}},
    {"jitter_hue", {0.1, 0.1, 0.2, 0.1}},
    {"jitter_probability", ALL(0.8)},
    {"gray_probability", ALL(0.2)},
    {"blur_probability", {1, 1, 0.5, 1}},
    {"blur_probability_2", {0.1, 0.1, -1, 0.1}},
    {"blur_sigma_min", ALL(0.1)},
    {"blur_sigma_max", ALL(2)},
    {"blur_form", {MOCO_BLUR_PILLOW, MOCO_BLUR_PILLOW, MOCO_BLUR_GAUSSIAN, MOCO_BLUR_GAUSSIAN}},
    {"solarize_probability", ALL(0)},
    {"solarize_probability_2", {0.2, 0.2, -1, 0.2}},
    {"flip_probability", ALL(0.5)},
    {"mean_r", {0.485, 0.485, 0, 0.485}},
    {"mean_g", {0.456, 0.456, 0, 0.456}},
    {"mean_b", {0.406, 0.406, 0, 0.406}},
    {"std_r", {0.229, 0.229, 1, 0.229}},
    {"std_g", {0.224, 0.224, 1, 0.224}},
    {"std_b", {0.225, 0.225, 1, 0.225}},
};

static const int32_t whole_batch_numbers[] = {MOCO_RECIPE_V3, MOCO_RECIPE_V3_VIT, MOCO_RECIPE_SIMCLR, MOCO_RECIPE_BYOL};

START_TEST(test_whole_batch_recipes)
{
    for (int r = 0; r < 4; r++) {
        moco_trainer_options_t o = recipe(whole_batch_numbers[r]);
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
        for (size_t i = 0; i < sizeof whole_batch_recipes / sizeof *whole_batch_recipes; i++) {
            const mo_option_row_t *row = mo_option_find(&mo_trainer_options, whole_batch_recipes[i].name);
            double wanted = whole_batch_recipes[i].wanted[r];
            ck_assert_msg(row != NULL, "no option %s", whole_batch_recipes[i].name);
            ck_assert_msg(isnan(wanted) || mo_option_get(&o, row) == wanted, "recipe %d: %s is %g, published %g",
                          whole_batch_numbers[r], row->name, mo_option_get(&o, row), wanted);
        }
    }
}
END_TEST

/* SimCLR's published code differs from the recipe of the paper in these values and in no other. */
START_TEST(test_simclr_code)
{
    static const struct {
        const char *name;
        double paper, code;
    } wanted[] = {{"recipe", MOCO_RECIPE_SIMCLR, MOCO_RECIPE_SIMCLR_CODE},
                  {"loss_scale", MOCO_LOSS_SCALE_ONE, MOCO_LOSS_SCALE_TWO},
                  {"head_layers", 2, 3},
                  {"weight_decay", 1e-6, 1e-4},
                  {"views", MOCO_VIEWS_SIMCLR, MOCO_VIEWS_SIMCLR_CODE}};
    const moco_trainer_options_t paper = recipe(MOCO_RECIPE_SIMCLR), code = recipe(MOCO_RECIPE_SIMCLR_CODE);
    size_t differ = 0;
    ck_assert_int_eq(mo_options_check(&code), MOCO_OK);
    for (int32_t i = 0; i < mo_trainer_options.count; i++) {
        const mo_option_row_t *row = &mo_trainer_options.rows[i];
        const double a = mo_option_get(&paper, row), b = mo_option_get(&code, row);
        if (a == b)
            continue;
        ck_assert_msg(differ < sizeof wanted / sizeof *wanted && strcmp(row->name, wanted[differ].name) == 0,
                      "%s differs", row->name);
        ck_assert_msg(a == wanted[differ].paper && b == wanted[differ].code, "%s is %g and %g", row->name, a, b);
        differ++;
    }
    ck_assert_uint_eq(differ, sizeof wanted / sizeof *wanted);
    ck_assert_str_eq(moco_recipe_name(MOCO_RECIPE_SIMCLR_CODE), "simclr-code");
}
END_TEST

/* The loss when all logits are equal, 2 * 2T ln B for v3's two halves, ln(2B-1) for NT-Xent, and
 * its doubled form. */
START_TEST(test_chance)
{
    static const struct {
        int32_t recipe, batch;
        double wanted;
    } cases[] = {{MOCO_RECIPE_V3, 4096, 33.2711},    {MOCO_RECIPE_V3_VIT, 4096, 6.6542},
                 {MOCO_RECIPE_V3_VIT, 1024, 5.5452}, {MOCO_RECIPE_SIMCLR, 4096, 9.0108},
                 {MOCO_RECIPE_V2, 256, 11.0904},     {MOCO_RECIPE_CIFAR, 256, 8.3180}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moco_trainer_options_t o = recipe(cases[i].recipe);
        o.batch_size = cases[i].batch;
        double found = mo_method_of(&o).chance;
        ck_assert_msg(fabs(found - cases[i].wanted) < 6e-5, "recipe %d at batch %d: chance is %g, wanted %g",
                      cases[i].recipe, cases[i].batch, found, cases[i].wanted);
        o.loss_scale = MOCO_LOSS_SCALE_TWO;
        if (cases[i].recipe == MOCO_RECIPE_SIMCLR)
            ck_assert_double_eq_tol(mo_method_of(&o).chance, 2 * cases[i].wanted, 2e-4);
    }
    const moco_trainer_options_t byol = recipe(MOCO_RECIPE_BYOL); /* no negatives: nothing to win by chance */
    ck_assert(isnan(mo_method_of(&byol).chance));
}
END_TEST

START_TEST(test_recipe_names)
{
    moco_trainer_options_t o;
    ck_assert_int_eq(moco_recipe_number("moco-v1"), MOCO_RECIPE_V1);
    ck_assert_int_eq(moco_recipe_number("moco-v2"), MOCO_RECIPE_V2);
    ck_assert_int_eq(moco_recipe_number("moco-cifar"), MOCO_RECIPE_CIFAR);
    ck_assert_int_eq(moco_recipe_number("moco-v3"), MOCO_RECIPE_V3);
    ck_assert_int_eq(moco_recipe_number("simclr"), MOCO_RECIPE_SIMCLR);
    ck_assert_int_eq(moco_recipe_number("moco"), -1);
    ck_assert_int_eq(moco_recipe_number(NULL), -1);
    ck_assert_int_eq(moco_recipe_number("moco-v3-vit"), MOCO_RECIPE_V3_VIT);
    for (int32_t r = 0; r < mo_recipe_count(); r++)
        ck_assert_int_eq(moco_recipe_number(mo_recipe_name(r)), r);
    ck_assert_ptr_null(mo_recipe_name(-1));
    ck_assert_ptr_null(mo_recipe_name(mo_recipe_count()));
    ck_assert_int_eq(moco_trainer_options_init(&o, sizeof o, 8, MOCO_ARCH_RECIPE), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "recipe is 8, wanted moco-v1 (0), moco-v2 (1), moco-cifar (2), moco-v3 (3), "
                                          "simclr (4), moco-v3-vit (5), byol (6) or simclr-code (7)");
    ck_assert_int_eq(moco_trainer_options_init(&o, sizeof o, -1, MOCO_ARCH_RECIPE), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_init(NULL, sizeof o, 0, MOCO_ARCH_RECIPE), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_init(&o, 4, 0, MOCO_ARCH_RECIPE), MOCO_ERR_ARGUMENT);
}
END_TEST

/* ---- checks ---- */

static void assert_refused(const mo_option_table_t *table, const mo_option_row_t *row, double value)
{
    _Alignas(8) uint8_t o[MO_OPTION_STRUCT_SIZE];
    const int32_t one = 1;
    ck_assert_int_eq(mo_option_defaults(table, table->presets != NULL ? table->presets[0].number : 0, o), MOCO_OK);
    if (row->type == MO_OPTION_LIST)
        memcpy(o + row->used, &one, sizeof one);
    mo_option_put(o, row, value);
    ck_assert_msg(mo_option_check(table, o) == MOCO_ERR_ARGUMENT, "%s: %s may be %g", table->name, row->name, value);
    ck_assert_ptr_eq(strstr(moco_last_message(), row->name), moco_last_message());
    assert_message("wanted");
}

/* Not refused by its range, if perhaps by another field. */
static void assert_in_range(const mo_option_table_t *table, const mo_option_row_t *row, double value)
{
    _Alignas(8) uint8_t o[MO_OPTION_STRUCT_SIZE];
    ck_assert_int_eq(mo_option_defaults(table, table->presets != NULL ? table->presets[0].number : 0, o), MOCO_OK);
    mo_option_put(o, row, value);
    ck_assert_msg(mo_option_check_ranges(table, o) == MOCO_OK, "%s: %s may not be %g: %s", table->name, row->name,
                  value, moco_last_message());
}

static void check_ends(const mo_option_table_t *table, const mo_option_row_t *row)
{
    const int real = row->type == MO_OPTION_F64 || row->type == MO_OPTION_LIST;
    double low = real ? nextafter(row->min, -INFINITY) : row->min - 1;
    double high = real ? nextafter(row->max, INFINITY) : row->max + (row->max > 1e15 ? 1024 : 1);
    low = row->flags & MO_OPTION_ABOVE_MIN ? row->min : row->flags & MO_OPTION_OR_ZERO && low == 0 ? -1 : low;
    low = row->flags & MO_OPTION_OR_MINUS_1 && low == -1 ? -2 : low;
    high = row->flags & MO_OPTION_BELOW_MAX ? row->max : high;
    const double bad[] = {low, high, (double)NAN, (double)INFINITY, -(double)INFINITY};
    for (int b = 0; b < (real ? 5 : 2); b++) {
        if (row->type == MO_OPTION_I32 && bad[b] > 2147483647.0)
            continue;
        if (row->type == MO_OPTION_I64 && bad[b] >= 0x1p63)
            continue;
        assert_refused(table, row, bad[b]);
    }
    if (!(row->flags & MO_OPTION_ABOVE_MIN))
        assert_in_range(table, row, row->min);
    if (row->flags & MO_OPTION_OR_ZERO)
        assert_in_range(table, row, 0);
    if (row->flags & MO_OPTION_OR_MINUS_1)
        assert_in_range(table, row, -1);
}

/* Both ends of every row are good, one step past either is not. Fields that must agree are left to
 * the next test. */
START_TEST(test_ranges)
{
    int32_t tables;
    const mo_option_table_t *const *all = mo_option_tables(&tables);
    for (int32_t t = 0; t < tables; t++)
        for (int32_t i = 0; i < all[t]->count; i++) {
            const mo_option_row_t *row = &all[t]->rows[i];
            if (row->type == MO_OPTION_PRESET || row->type == MO_OPTION_ENUM) {
                assert_refused(all[t], row, -1);
                assert_refused(all[t], row, 99);
            } else if (row->type != MO_OPTION_U64 && row->type != MO_OPTION_POINTER) {
                check_ends(all[t], row);
            }
        }
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V2);
    o.temperature = 5000;
    ck_assert_int_eq(mo_options_check(&o), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "temperature is 5000, wanted 0.001 to 1000");
    o.temperature = 0.2;
    o.sgd_momentum = 1;
    ck_assert_int_eq(mo_options_check(&o), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "sgd_momentum is 1, wanted 0 to below 1");
    o.sgd_momentum = 0;
    o.arch = 17;
    ck_assert_int_eq(mo_options_check(&o), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "arch is 17, wanted resnet18, resnet34, resnet50, resnet101, resnet152, "
                                          "vit_small, vit_base, vit_large, vit_huge, vit_conv_small, vit_conv_base");
}
END_TEST

static void assert_disagree(const moco_trainer_options_t *o, const char *found, const char *wanted)
{
    ck_assert_int_eq(mo_options_check(o), MOCO_ERR_ARGUMENT);
    assert_message(found);
    assert_message(wanted);
}

START_TEST(test_fields_that_must_agree)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V2);
    o.batch_size = 100;
    assert_disagree(&o, "batch_size is 100", "multiple of bn_groups 8");
    o.batch_size = 8;
    assert_disagree(&o, "bn_groups is 8", "at least 2 images");
    o.batch_size = 16;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o = recipe(MOCO_RECIPE_V2);
    o.shard = 12;
    assert_disagree(&o, "shard is 12", "divisor of the 32 images");
    o.shard = 64;
    assert_disagree(&o, "shard is 64", "divisor of the 32 images");
    o.shard = 32;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o.crop_max_area = 0.1;
    assert_disagree(&o, "crop_max_area is 0.1", "at least crop_min_area 0.2");
    o.crop_max_area = 0.2;
    o.blur_sigma_max = 0.05;
    assert_disagree(&o, "blur_sigma_max is 0.05", "at least blur_sigma_min 0.1");
    o.blur_sigma_max = 0.1;
    o.milestone_2 = 10;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK); /* the cosine has no milestones */
    o.schedule = MOCO_SCHEDULE_STEP;
    assert_disagree(&o, "milestone_2 is 10", "at least milestone_1 120");
    o.milestone_1 = 10;
    o.views = MOCO_VIEWS_V1;
    assert_disagree(&o, "blur_probability is 0.5", "wanted 0");
    o.blur_probability = 0;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o.blur_probability_2 = 0.25;
    assert_disagree(&o, "blur_probability_2 is 0.25", "wanted 0: views v2, v3, simclr and simclr-code have a blur");
    o.blur_probability_2 = -1;
    o.solarize_probability_2 = 0.5;
    assert_disagree(&o, "solarize_probability_2 is 0.5", "wanted 0: only views v3 solarize");
    o.solarize_probability_2 = -0.5;
    assert_disagree(&o, "solarize_probability_2 is -0.5", "wanted 0 to 1, or -1");
    o.solarize_probability_2 = 0;
    o.blur_probability_2 = -0.25;
    assert_disagree(&o, "blur_probability_2 is -0.25", "wanted 0 to 1, or -1");
    o.blur_probability_2 = 0;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
}
END_TEST

/* What a loss over the whole batch asks of its other fields, and what it does not. */
START_TEST(test_fields_of_a_method)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_SIMCLR);
    o.symmetric = 1;
    assert_disagree(&o, "symmetric is 1, wanted 0", "nt-xent takes both views in one loss");
    o.symmetric = 0;
    o.predictor = 1;
    assert_disagree(&o, "predictor is 1, wanted 0", "nt-xent takes both views in one loss");
    o.predictor = 0;

    const int32_t whole[] = {MOCO_RECIPE_V3, MOCO_RECIPE_V3_VIT, MOCO_RECIPE_SIMCLR};
    for (int r = 0; r < 3; r++) {
        o = recipe(whole[r]);
        o.execution = MOCO_EXECUTION_ONE_PASS;
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
        o.bn_groups = 8;
        assert_disagree(&o, "execution is one-pass with bn_groups 8", "wanted 1 or two passes");
        o.execution = MOCO_EXECUTION_AUTO;
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
        o.execution = MOCO_EXECUTION_TWO_PASS;
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    }

    /* batch norm in the backbone and one group: two passes only where a shard is the whole group */
    const char *found = "execution is two-pass with bn_groups 1", *wanted = "wanted one-pass or more groups";
    o = recipe(MOCO_RECIPE_V3);
    o.execution = MOCO_EXECUTION_TWO_PASS;
    assert_disagree(&o, found, wanted);
    assert_message("the 4096 images of the group, which do not fit one shard of 32");
    o.batch_size = o.shard = 64;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o.shard = 32;
    assert_disagree(&o, found, wanted);
    o = recipe(MOCO_RECIPE_SIMCLR);
    o.execution = MOCO_EXECUTION_TWO_PASS;
    o.batch_size = o.shard = 64;
    assert_disagree(&o, found, "the 128 images of the group"); /* both views together */
    o = recipe(MOCO_RECIPE_V3_VIT);
    o.execution = MOCO_EXECUTION_TWO_PASS;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK); /* layer norm only */
    o.vit_norm = MOCO_VIT_NORM_BATCH;
    assert_disagree(&o, found, wanted);
    o.vit_norm = MOCO_VIT_NORM_LAYER;
    o.arch = MOCO_ARCH_VIT_CONV_SMALL;
    assert_disagree(&o, found, wanted);
    o.execution = MOCO_EXECUTION_AUTO; /* takes one pass then */
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);

    /* groups are independent with a queue, whatever execution says */
    o = recipe(MOCO_RECIPE_V2);
    for (o.execution = MOCO_EXECUTION_AUTO; o.execution <= MOCO_EXECUTION_TWO_PASS; o.execution++)
        for (o.symmetric = 0; o.symmetric < 2; o.symmetric++)
            ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
}
END_TEST

START_TEST(test_shard)
{
    static const int32_t cases[][4] = {
        /* B, V, shard, resolved */
        {256, 8, 0, 32}, {32, 1, 0, 16}, {64, 2, 0, 32},   {64, 1, 0, 32}, {128, 1, 0, 32}, {48, 1, 0, 24},
        {2, 1, 0, 1},    {34, 1, 0, 17}, {74, 1, 0, 2},    {14, 2, 0, 7},  {100, 2, 0, 25}, {256, 8, 8, 8},
        {512, 8, 0, 32}, {6, 1, 0, 3},   {4096, 1, 0, 32}, {4, 2, 0, 2},   {32, 1, 32, 32},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moco_trainer_options_t o = recipe(MOCO_RECIPE_V2);
        o.batch_size = cases[i][0];
        o.bn_groups = cases[i][1];
        o.shard = cases[i][2];
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
        ck_assert_int_eq(mo_options_shard(&o), cases[i][3]);
    }
}
END_TEST

/* ---- the size rule ---- */

START_TEST(test_overlay)
{
    struct {
        moco_trainer_options_t known;
        uint64_t later;
    } newer;
    moco_trainer_options_t full, older = recipe(MOCO_RECIPE_CIFAR);
    ck_assert_int_eq(moco_trainer_options_init(&newer.known, sizeof newer, MOCO_RECIPE_V1, MOCO_ARCH_RECIPE), MOCO_OK);
    ck_assert_uint_eq(newer.later, 0);
    newer.known.epochs = 3;
    ck_assert_int_eq(mo_options_overlay(&newer.known, &full), MOCO_OK);
    ck_assert_int_eq(full.epochs, 3);
    ck_assert_uint_eq(full.struct_size, sizeof full);
    newer.later = 1;
    ck_assert_int_eq(mo_options_overlay(&newer.known, &full), MOCO_ERR_VERSION);
    assert_message("this libmoco is older than your header");
    older.struct_size = offsetof(moco_trainer_options_t, max_broken);
    older.max_broken = 77; /* bytes the host does not own */
    older.queue_length = 64;
    ck_assert_int_eq(mo_options_overlay(&older, &full), MOCO_OK);
    ck_assert_int_eq(full.max_broken, 0);
    ck_assert_int_eq(full.queue_length, 64);
    ck_assert_int_eq(moco_trainer_options_set(&older, "max_broken", "5"), MOCO_ERR_VERSION);
    assert_message("newer than your header");
    ck_assert_int_eq(older.max_broken, 77);
    older.struct_size = offsetof(moco_trainer_options_t, recipe);
    ck_assert_int_eq(mo_options_overlay(&older, &full), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_options_overlay(NULL, &full), MOCO_ERR_ARGUMENT);
}
END_TEST

START_TEST(test_run_options)
{
    moco_run_options_t run, full, defaults;
    ck_assert_int_eq(moco_run_options_init(&run, sizeof run), MOCO_OK);
    ck_assert_int_eq(moco_run_options_init(NULL, sizeof run), MOCO_ERR_ARGUMENT);
    ck_assert(run.max_steps == 0 && run.save_every == 0 && run.eval_every == 1 && run.log_every == 1);
    defaults = run;
    run.max_steps = 9;
    ck_assert_int_eq(mo_option_resolve(&mo_run_options, &run, &full), MOCO_OK);
    ck_assert_mem_eq(&run, &full, sizeof run);
    ck_assert_int_eq(mo_option_resolve(&mo_run_options, NULL, &full), MOCO_OK);
    ck_assert_mem_eq(&full, &defaults, sizeof full);
    run.log_every = 0;
    ck_assert_int_eq(mo_option_resolve(&mo_run_options, &run, &full), MOCO_ERR_ARGUMENT);
    run.log_every = 1;
    run.save_every = -1;
    ck_assert_int_eq(mo_option_resolve(&mo_run_options, &run, &full), MOCO_ERR_ARGUMENT);
    assert_message("save_every is -1, wanted 0 to");
}
END_TEST

/* The preset that the caller's bytes name says what its missing fields are; a struct too short to
 * name one gets the usual preset. */
START_TEST(test_presets_of_callers)
{
    moco_probe_options_t probe, full;
    ck_assert_int_eq(moco_probe_options_init(&probe, sizeof probe, MOCO_PROBE_V3), MOCO_OK);
    probe.struct_size = offsetof(moco_probe_options_t, epochs);
    ck_assert_int_eq(mo_option_overlay(&mo_probe_options, &probe, &full), MOCO_OK);
    ck_assert(full.protocol == MOCO_PROBE_V3 && full.epochs == 90 && full.struct_size == sizeof full);
    probe.struct_size = offsetof(moco_probe_options_t, protocol);
    ck_assert_int_eq(mo_option_overlay(&mo_probe_options, &probe, &full), MOCO_OK);
    ck_assert(full.protocol == MOCO_PROBE_CACHED && full.epochs == 100);
    ck_assert_int_eq(mo_option_overlay(&mo_probe_options, NULL, &full), MOCO_OK);
    ck_assert_int_eq(full.protocol, MOCO_PROBE_CACHED);
    ck_assert_int_eq(moco_probe_options_init(&probe, sizeof probe, 7), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "protocol is 7, wanted v1 (0), v3 (1) or cached (2)");
    moco_finetune_options_t tune;
    ck_assert_int_eq(moco_finetune_options_init(&tune, sizeof tune, MOCO_OPTIMIZER_LARS), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "optimizer is 1, wanted sgd (0) or adamw (3)");
}
END_TEST

/* ---- by name ---- */

START_TEST(test_set)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V2);
    /* clang-format off */
    static const char *const good[][2] = {
        {"seed", "18446744073709551615"}, {"queue_length", "4096"}, {"temperature", "0.07"}, {"arch", "resnet18"},
        {"membership", "strided"},        {"schedule", "constant"}, {"views", "cifar"},      {"bn_running", "first"},
        {"batch_size", "64"},             {"max_broken", "1000000000000"}, {"width", "2.5e-1"},  {"stem", "cifar"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_int_eq(moco_trainer_options_set(&o, good[i][0], good[i][1]), MOCO_OK);
    ck_assert(o.seed == UINT64_MAX && o.queue_length == 4096 && o.temperature == 0.07 && o.arch == MOCO_ARCH_RESNET18);
    ck_assert(o.membership == MOCO_MEMBERSHIP_STRIDED && o.schedule == MOCO_SCHEDULE_CONSTANT && o.width == 0.25);
    ck_assert(o.batch_size == 64 && o.max_broken == INT64_C(1000000000000) && o.stem == MOCO_STEM_CIFAR);
    ck_assert(o.views == MOCO_VIEWS_CIFAR && o.bn_running == MOCO_BN_RUNNING_FIRST);
    /* A whole number may be written as a decimal: programs that reckon in doubles do. */
    ck_assert_int_eq(moco_trainer_options_set(&o, "queue_length", "1e3"), MOCO_OK);
    ck_assert_int_eq(moco_trainer_options_set(&o, "batch_size", "32.0"), MOCO_OK);
    ck_assert_int_eq(moco_trainer_options_set(&o, "seed", "7.0"), MOCO_OK);
    ck_assert(o.queue_length == 1000 && o.batch_size == 32 && o.seed == 7);
}
END_TEST

START_TEST(test_set_refusals)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V2), before = o;
    static const char *const bad[][3] = {
        {"temperature", "5000", "temperature is 5000, wanted 0.001 to 1000"},
        {"temperature", "warm", "temperature is 'warm', wanted 0.001 to 1000"},
        {"temperature", "0.2x", "temperature is '0.2x'"},
        {"temperature", "", "temperature is ''"},
        {"temperature", "nan", "temperature is nan"},
        {"temperature", "inf", "temperature is inf"},
        {"temperature", "0,2", "temperature is '0,2'"},
        {"queue_length", "1e-3", "queue_length is '1e-3', wanted 1 to 16777216"},
        {"queue_length", "0x10", "queue_length is '0x10', wanted 1 to 16777216"},
        {"seed", "1e16", "seed is '1e16', wanted 0 to"},
        {"queue_length", "0", "queue_length is 0, wanted 1 to 16777216"},
        {"queue_length", "99999999999999999999", "queue_length is '99999999999999999999'"},
        {"batch_size", "4294967552", "batch_size is '4294967552'"},
        {"batch_size", "2.5", "batch_size is '2.5'"},
        {"seed", "-1", "seed is '-1', wanted 0 to 18446744073709551615"},
        {"seed", "18446744073709551616", "seed is '18446744073709551616'"},
        {"arch", "vgg", "arch is 'vgg', wanted resnet18, resnet34"},
        {"arch", "2", "arch is '2'"},
        {"recipe", "moco-v1", "recipe is chosen by"},
        {"colour", "1", "there is no option 'colour'; docs/options.md lists them"},
        {"batchsize", "64", "there is no option 'batchsize'; did you mean 'batch_size'?"},
        {"arch", "resnet81", "vit_conv_base; did you mean 'resnet18'?"},
        {"optimizer", "adam", "optimizer is 'adam', wanted sgd, lars, lars-simclr, adamw; did you mean 'adamw'?"},
        {"struct_size", "8", "no option"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(moco_trainer_options_set(&o, bad[i][0], bad[i][1]), MOCO_ERR_ARGUMENT);
        assert_message(bad[i][2]);
        ck_assert_mem_eq(&o, &before, sizeof o);
    }
    ck_assert_int_eq(moco_trainer_options_set(NULL, "seed", "1"), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_set(&o, NULL, "1"), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_set(&o, "seed", NULL), MOCO_ERR_ARGUMENT);
}
END_TEST

/* The same calls for the other structs: enumerations with holes, lists. */
START_TEST(test_set_and_json_of_other_structs)
{
    moco_probe_options_t probe;
    moco_finetune_options_t tune;
    moco_dataset_options_t data;
    char text[4096];
    ck_assert_int_eq(moco_probe_options_init(&probe, sizeof probe, MOCO_PROBE_CACHED), MOCO_OK);
    ck_assert_int_eq(moco_probe_options_set(&probe, "base_lr", "0.5,2,1e-3"), MOCO_OK);
    ck_assert(probe.rates == 3 && probe.base_lr[0] == 0.5 && probe.base_lr[1] == 2 && probe.base_lr[2] == 1e-3);
    ck_assert_int_eq(moco_probe_options_json(&probe, text, sizeof text, NULL), MOCO_OK);
    ck_assert_ptr_nonnull(strstr(text, "\"rates\": 3, \"base_lr\": [0.5, 2, 0.001], \"lr_scaling\": \"none\", "));
    ck_assert_ptr_nonnull(strstr(text, "\"protocol\": \"cached\", "));
    const char *const bad[][3] = {
        {"base_lr", "1,-2", "base_lr[1] is -2, wanted above 0 to 1e+06"},
        {"base_lr", "1,,2", "base_lr is '1,,2', wanted 1 to 16 numbers with commas between them"},
        {"base_lr", "1,2,", "base_lr is '1,2,'"},
        {"base_lr", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "1 to 16 numbers"},
        {"base_lr", "", "base_lr is '', wanted 1 to 16 numbers"},
        {"protocol", "v1", "protocol is chosen by moco_probe_options_init"},
        {"epoch", "3", "did you mean 'epochs'?"},
    };
    const moco_probe_options_t before = probe;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(moco_probe_options_set(&probe, bad[i][0], bad[i][1]), MOCO_ERR_ARGUMENT);
        assert_message(bad[i][2]);
        ck_assert_mem_eq(&probe, &before, sizeof probe);
    }
    moco_probe_options_t back;
    char *json = NULL;
    ck_assert_int_eq(mo_option_to_json(&mo_probe_options, &probe, &json), MOCO_OK);
    ck_assert_int_eq(mo_option_from_json(&mo_probe_options, json, &back), MOCO_OK);
    ck_assert_mem_eq(&probe, &back, offsetof(moco_probe_options_t, base_lr) + 3 * sizeof(double));
    ck_assert_mem_eq(&probe.lr_scaling, &back.lr_scaling, sizeof probe - offsetof(moco_probe_options_t, lr_scaling));
    mo_free(json);

    ck_assert_int_eq(moco_finetune_options_init(&tune, sizeof tune, MOCO_OPTIMIZER_SGD), MOCO_OK);
    ck_assert_int_eq(moco_finetune_options_set(&tune, "schedule", "constant"), MOCO_OK);
    ck_assert_int_eq(tune.schedule, MOCO_SCHEDULE_CONSTANT);
    ck_assert_int_eq(moco_finetune_options_set(&tune, "schedule", "step"), MOCO_ERR_ARGUMENT);
    assert_message("schedule is 'step', wanted constant, cosine");
    tune.schedule = MOCO_SCHEDULE_STEP;
    ck_assert_int_eq(mo_option_check(&mo_finetune_options, &tune), MOCO_ERR_ARGUMENT);
    assert_message("schedule is 1, wanted constant, cosine");

    ck_assert_int_eq(moco_dataset_options_init(&data, sizeof data), MOCO_OK);
    ck_assert_int_eq(moco_dataset_options_set(&data, "limit", "9223372036854775807"), MOCO_OK);
    ck_assert_int_eq(data.limit, INT64_MAX);
    ck_assert_int_eq(mo_option_check(&mo_dataset_options, &data), MOCO_OK);
    ck_assert_int_eq(moco_dataset_options_set(&data, "limit", "-1"), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "limit is -1, wanted 0 to 9223372036854775807");
}
END_TEST

/* ---- compare ---- */

START_TEST(test_compare)
{
    const int32_t count = mo_trainer_options.count;
    int32_t differing = 0;
    const mo_option_row_t *rows = mo_trainer_options.rows;
    const moco_trainer_options_t saved = recipe(MOCO_RECIPE_V2);
    for (int32_t i = 0; i < count; i++) {
        moco_trainer_options_t now = saved;
        mo_option_put(&now, &rows[i], mo_option_get(&saved, &rows[i]) + 1);
        moco_status_t status = mo_options_compare(&saved, &now);
        differing += status == MOCO_ERR_MISMATCH;
        if (status == MOCO_ERR_MISMATCH)
            ck_assert_ptr_eq(strstr(moco_last_message(), rows[i].name), moco_last_message());
    }
    ck_assert_int_eq(differing, count - 5);
    moco_trainer_options_t now = saved;
    now.memory_cap = now.loader_threads = now.max_broken = now.max_broken_percent = 9;
    now.precision = MOCO_PRECISION_BF16;
    ck_assert_int_eq(mo_options_compare(&saved, &now), MOCO_OK);
    now.seed = UINT64_MAX;
    ck_assert_int_eq(mo_options_compare(&saved, &now), MOCO_ERR_MISMATCH);
    ck_assert_str_eq(moco_last_message(), "seed is 0 in the checkpoint, 18446744073709551615 now");
    now.seed = 0;
    now.temperature = nextafter(0.2, 1);
    ck_assert_int_eq(mo_options_compare(&saved, &now), MOCO_ERR_MISMATCH);
    ck_assert_str_eq(moco_last_message(), "temperature is 0.2 in the checkpoint, 0.20000000000000004 now");
    now.temperature = 0.2;
    now.head = MOCO_HEAD_LINEAR;
    ck_assert_int_eq(mo_options_compare(&saved, &now), MOCO_ERR_MISMATCH);
    ck_assert_str_eq(moco_last_message(), "head is mlp in the checkpoint, linear now");
}
END_TEST

/* ---- JSON ---- */

START_TEST(test_json_round_trip)
{
    uint64_t state = 12345;
    const int32_t count = mo_trainer_options.count;
    const mo_option_row_t *rows = mo_trainer_options.rows;
    for (int round = 0; round < 300; round++) {
        moco_trainer_options_t o = recipe(round % 3), back;
        for (int32_t i = 0; i < count; i++) { /* any bits that are in range */
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            double unit = (double)(state >> 11) * 0x1p-53;
            if (rows[i].type == MO_OPTION_F64 && strncmp(rows[i].name, "crop", 4) != 0 &&
                strncmp(rows[i].name, "blur", 4) != 0 && strncmp(rows[i].name, "solarize", 8) != 0)
                mo_option_put(&o, &rows[i], rows[i].min + unit * (rows[i].max - rows[i].min));
        }
        o.seed = state;
        o.memory_cap = (int64_t)(state >> 5);
        o.jitter_hue = round == 7 ? -0.0 : o.jitter_hue;
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
        char *json = NULL;
        ck_assert_int_eq(mo_options_to_json(&o, &json), MOCO_OK);
        ck_assert_int_eq(mo_options_from_json(json, &back), MOCO_OK);
        ck_assert_mem_eq(&o, &back, sizeof o);
        mo_free(json);
    }
}
END_TEST

START_TEST(test_json_text)
{
    const moco_trainer_options_t o = recipe(MOCO_RECIPE_CIFAR);
    uint64_t needed = 0;
    ck_assert_int_eq(moco_trainer_options_json(&o, NULL, 0, &needed), MOCO_OK);
    char *text = malloc(needed);
    ck_assert_int_eq(moco_trainer_options_json(&o, text, needed - 1, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_json(&o, text, needed, NULL), MOCO_OK);
    ck_assert_uint_eq(strlen(text) + 1, needed);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(json_string_value(json_object_get(json, "recipe")), "moco-cifar");
    ck_assert_str_eq(json_string_value(json_object_get(json, "seed")), "0");
    ck_assert(json_is_integer(json_object_get(json, "queue_length")));
    ck_assert(json_real_value(json_object_get(json, "temperature")) == 0.1);
    json_decref(json);
    ck_assert_int_eq(moco_trainer_options_json(NULL, text, needed, NULL), MOCO_ERR_ARGUMENT);
    free(text);
    for (int n = 0; n < 1; n++) {
        char *none = NULL;
        mo_fault_arm(MO_FAULT_ALLOC, n);
        ck_assert_int_eq(mo_options_to_json(&o, &none), MOCO_ERR_MEMORY);
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        ck_assert_ptr_null(none);
    }
}
END_TEST

START_TEST(test_json_from_older_and_newer)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V1), kept = o;
    ck_assert_int_eq(mo_options_from_json("{\"recipe\": \"moco-cifar\", \"epochs\": 7, \"width\": 2}", &o), MOCO_OK);
    ck_assert(o.epochs == 7 && o.width == 2 && o.queue_length == 4096 && o.struct_size == sizeof o);
    o = kept;
    ck_assert_int_eq(mo_options_from_json("{\"recipe\": \"moco-v1\", \"novelty\": 7}", &o), MOCO_ERR_VERSION);
    assert_message("novelty");
    ck_assert_int_eq(mo_options_from_json("{\"recipe\": \"moco-v3\"}", &o), MOCO_OK);
    ck_assert(o.recipe == MOCO_RECIPE_V3 && o.loss == MOCO_LOSS_BATCH);
    ck_assert_int_eq(mo_options_from_json("{\"recipe\": \"moco-v1\", \"virtual_devices\": 4}", &o), MOCO_OK);
    ck_assert_int_eq(o.bn_groups, 4); /* an older name of the option */
    o = kept;
    static const char *const bad[][2] = {
        {"", "not a JSON object"},
        {"[1]", "not a JSON object"},
        {"{\"recipe\": [[1]]}", "nested too deeply"},
        {"{\"epochs\": 7}", "recipe is ''"},
        {"{\"recipe\": 1}", "recipe is ''"},
        {"{\"recipe\": \"moco-v9\"}", "recipe is 'moco-v9'"},
        {"{\"recipe\": \"moco-v1\", \"recipe\": \"moco-v2\"}", "duplicate"},
        {"{\"recipe\": \"moco-v1\", \"epochs\": 7.5}", "epochs has a value of the wrong kind"},
        {"{\"recipe\": \"moco-v1\", \"epochs\": \"7\"}", "epochs has"},
        {"{\"recipe\": \"moco-v1\", \"epochs\": 4294967303}", "epochs has"},
        {"{\"recipe\": \"moco-v1\", \"epochs\": null}", "epochs has"},
        {"{\"recipe\": \"moco-v1\", \"epochs\": -1}", "epochs is -1, wanted 1 to 1000000"},
        {"{\"recipe\": \"moco-v1\", \"seed\": 7}", "seed has"},
        {"{\"recipe\": \"moco-v1\", \"arch\": 1}", "arch has"},
        {"{\"recipe\": \"moco-v1\", \"arch\": \"vgg\"}", "arch is 'vgg'"},
        {"{\"recipe\": \"moco-v1\", \"batch_size\": 3}", "batch_size is 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(mo_options_from_json(bad[i][0], &o) == MOCO_ERR_FORMAT, "%s", bad[i][0]);
        assert_message(bad[i][1]);
    }
    ck_assert_mem_eq(&o, &kept, sizeof o);
}
END_TEST

/* A host that writes 0,2 for a fifth must not change what we write or read. */
START_TEST(test_locale)
{
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "fr_FR.utf8"};
    size_t i = 0;
    while (i < 4 && setlocale(LC_ALL, commas[i]) == NULL)
        i++;
    if (i == 4)
        printf("test_locale: no locale with a decimal comma is installed; only the C locale was tried\n");
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V2), back;
    ck_assert_int_eq(moco_trainer_options_set(&o, "temperature", "0.25"), MOCO_OK);
    ck_assert(o.temperature == 0.25);
    char *json = NULL;
    ck_assert_int_eq(mo_options_to_json(&o, &json), MOCO_OK);
    ck_assert_ptr_nonnull(strstr(json, "\"temperature\": 0.25"));
    ck_assert_int_eq(mo_options_from_json(json, &back), MOCO_OK);
    ck_assert_mem_eq(&o, &back, sizeof o);
    mo_free(json);
    setlocale(LC_ALL, "C");
}
END_TEST

/* ---- docs/options.md ---- */

static const char *const type_names[] = {
    [MO_OPTION_U64] = "uint64",   [MO_OPTION_I64] = "int64",       [MO_OPTION_I32] = "int32",
    [MO_OPTION_ENUM] = "name",    [MO_OPTION_PRESET] = "name",     [MO_OPTION_F64] = "double",
    [MO_OPTION_LIST] = "doubles", [MO_OPTION_POINTER] = "pointer",
};

static void render_row(FILE *out, const mo_option_table_t *table, const mo_option_row_t *row)
{
    const int32_t columns = table->presets != NULL ? mo_preset_count(table) : 1;
    char value[MO_OPTION_TEXT], range[MO_OPTION_TEXT];
    fprintf(out, "| `%s`%s | %s |", row->name, row->flags & MO_OPTION_FREE ? " *" : "", type_names[row->type]);
    for (int32_t c = 0; c < columns; c++) {
        _Alignas(8) uint8_t o[MO_OPTION_STRUCT_SIZE];
        ck_assert_int_eq(mo_option_defaults(table, table->presets != NULL ? table->presets[c].number : 0, o), MOCO_OK);
        mo_option_text(table, o, row, value);
        fprintf(out, " %s |", value);
    }
    mo_option_range(table, row, range);
    fprintf(out, " %s | %s | %s |\n", range, row->unit, row->meaning);
}

/* A paragraph in lines of at most 100 columns. */
static void render_paragraph(FILE *out, const char *text)
{
    int32_t column = 0;
    while (*text != '\0') {
        int32_t word = (int32_t)strcspn(text, " ");
        if (column > 0 && column + 1 + word > 100) {
            fputc('\n', out);
            column = 0;
        }
        column += fprintf(out, "%s%.*s", column > 0 ? " " : "", word, text);
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}

static void render_table(FILE *out, const mo_option_table_t *table)
{
    fprintf(out, "\n## %s_t\n\n", table->name);
    for (int32_t p = 0; p < mo_preset_count(table); p++) {
        const mo_preset_t *preset = &table->presets[p];
        fprintf(out, "- `%s`: %s%s%s%s\n", preset->name, preset->source, preset->base != NULL ? "; changes `" : "",
                preset->base != NULL ? preset->base->name : "", preset->base != NULL ? "`" : "");
    }
    fprintf(out, "%s| name | type |", table->presets != NULL ? "\n" : "");
    for (int32_t p = 0; p < mo_preset_count(table); p++)
        fprintf(out, " %s |", table->presets[p].name);
    fprintf(out, "%s range | unit | meaning |\n|---|---|", table->presets != NULL ? "" : " default |");
    for (int32_t p = 0; p < mo_preset_count(table); p++)
        fprintf(out, "---|");
    fprintf(out, "%s---|---|---|\n", table->presets != NULL ? "" : "---|");
    for (int32_t i = 0; i < table->count; i++)
        render_row(out, table, &table->rows[i]);
    if (table->agreement[0] != '\0') {
        fprintf(out, "\nFields that must agree:\n");
        render_paragraph(out, table->agreement);
    }
}

static char *render(void)
{
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);
    int32_t tables;
    const mo_option_table_t *const *all = mo_option_tables(&tables);
    fprintf(out, "# Options\n\n");
    render_paragraph(
        out, "Every field of every options struct, in the order of the struct. The same names are taken by the "
             "struct's `_set` function (`moco_trainer_options_set`, `moco_probe_options_set`, ...), by `moco train "
             "--set name=value` and by Python's keywords, and are the keys of its `_json` function. Structs whose "
             "values come from a named set (a recipe, a protocol, an optimizer) have a column for each; the field "
             "that names it is chosen by the struct's `_init` function and cannot be set. Lists are written with "
             "commas between their numbers. This page is made from the tables beside the code that they configure, "
             "and a test compares them; `MOCO_UPDATE_DOCS=1` with that test (`test_options`) rewrites it.");
    fprintf(out, "\nFields marked * may differ when a checkpoint is resumed.\n");
    for (int32_t t = 0; t < tables; t++)
        render_table(out, all[t]);
    fclose(out);
    return page;
}

START_TEST(test_docs)
{
    const char *root = getenv("MOCO_SOURCE_DIR");
    if (root == NULL) {
        printf("test_docs skipped: MOCO_SOURCE_DIR is not set\n");
        return;
    }
    char path[4096], *page = render();
    snprintf(path, sizeof path, "%s/docs/options.md", root);
    if (getenv("MOCO_UPDATE_DOCS") != NULL) {
        FILE *out = fopen(path, "w");
        ck_assert_ptr_nonnull(out);
        fputs(page, out);
        fclose(out);
    }
    uint8_t *found = NULL;
    uint64_t size = 0;
    ck_assert_int_eq(mo_file_read(path, 1 << 20, &found, &size), MOCO_OK);
    ck_assert_msg(size == strlen(page) && memcmp(found, page, size) == 0,
                  "docs/options.md differs from the table: run test_options with MOCO_UPDATE_DOCS=1");
    mo_free(found);
    free(page);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tc = tcase_create("options");
    tcase_add_test(tc, test_rows_cover_the_structs);
    tcase_add_test(tc, test_presets);
    tcase_add_test(tc, test_recipes);
    tcase_add_test(tc, test_whole_batch_recipes);
    tcase_add_test(tc, test_simclr_code);
    tcase_add_test(tc, test_chance);
    tcase_add_test(tc, test_recipe_names);
    tcase_add_test(tc, test_ranges);
    tcase_add_test(tc, test_fields_that_must_agree);
    tcase_add_test(tc, test_fields_of_a_method);
    tcase_add_test(tc, test_shard);
    tcase_add_test(tc, test_overlay);
    tcase_add_test(tc, test_run_options);
    tcase_add_test(tc, test_presets_of_callers);
    tcase_add_test(tc, test_set);
    tcase_add_test(tc, test_set_refusals);
    tcase_add_test(tc, test_set_and_json_of_other_structs);
    tcase_add_test(tc, test_compare);
    tcase_add_test(tc, test_json_round_trip);
    tcase_add_test(tc, test_json_text);
    tcase_add_test(tc, test_json_from_older_and_newer);
    tcase_add_test(tc, test_locale);
    tcase_add_test(tc, test_docs);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
