/* Options: recipes, ranges, names, JSON, and that docs/options.md says what the table says. MOCO_UPDATE_DOCS=1
 * rewrites the page. */
#include <check.h>
#include <jansson.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/method.h"
#include "train/options.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/file.h"
#include "util/status.h"

static moco_trainer_options_t recipe(int32_t number)
{
    moco_trainer_options_t options;
    memset(&options, 0xee, sizeof options);
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, number), MOCO_OK);
    return options;
}

static void assert_message(const char *want)
{
    ck_assert_msg(strstr(moco_last_message(), want) != NULL, "'%s' does not say '%s'", moco_last_message(), want);
}

/* ---- the table ---- */

START_TEST(test_rows_cover_the_struct)
{
    uint8_t covered[sizeof(moco_trainer_options_t)] = {0};
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    for (int32_t i = 0; i < count; i++) {
        int size = rows[i].type == MO_OPTION_I32 || rows[i].type == MO_OPTION_ENUM ? 4 : 8;
        for (int b = 0; b < size; b++)
            covered[rows[i].offset + (uint32_t)b]++;
        ck_assert_ptr_eq(mo_option_find(rows[i].name), &rows[i]);
        ck_assert_uint_gt(strlen(rows[i].meaning), 0);
    }
    for (size_t i = 0; i < sizeof covered; i++)
        ck_assert_msg(covered[i] == (i >= 8), "byte %zu is in %d rows", i, covered[i]);
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

/* MoCo v3 with ResNet-50 for 100 epochs, v3 with a ViT for 300, SimCLR with ResNet-50: arXiv 2104.02057 and 2002.05709
 * and their published code. Every option that a step, a schedule or a view of theirs reads. */
/* clang-format off */
#define BOTH(x) {x, x, NAN}
/* clang-format on */
#define ALL(x) {x, x, x}
static const struct {
    const char *name;
    double wanted[3]; /* NAN: means nothing to the recipe */
} whole_batch_recipes[] = {
    {"arch", {MOCO_ARCH_RESNET50, MOCO_ARCH_VIT_SMALL, MOCO_ARCH_RESNET50}},
    {"stem", ALL(MOCO_STEM_IMAGENET)},
    {"width", ALL(1)},
    {"image_size", ALL(224)},
    {"zero_init_residual", {1, NAN, 1}},
    {"freeze_patch", {NAN, 1, NAN}},
    {"patch_size", {NAN, 0, NAN}}, /* 0: as published, 16; the same for blocks and heads */
    {"vit_depth", {NAN, 0, NAN}},
    {"vit_heads", {NAN, 0, NAN}},
    {"vit_norm", {NAN, MOCO_VIT_NORM_LAYER, NAN}},
    {"head", {MOCO_HEAD_MLP_V3, MOCO_HEAD_MLP_V3, MOCO_HEAD_MLP_SIMCLR}},
    {"head_width", {4096, 4096, 0}}, /* 0: the backbone's 2048 */
    {"head_layers", ALL(0)},         /* as published: 2 for ResNet, 3 for ViT, 3 */
    {"dimension", {256, 256, 128}},
    {"predictor", {1, 1, 0}},
    {"symmetric", {1, 1, 0}},
    {"loss", {MOCO_LOSS_BATCH, MOCO_LOSS_BATCH, MOCO_LOSS_NT_XENT}},
    {"loss_scale", {MOCO_LOSS_SCALE_2T, MOCO_LOSS_SCALE_2T, MOCO_LOSS_SCALE_ONE}},
    {"temperature", {1, 0.2, 0.1}},
    {"key_momentum", BOTH(0.99)},
    {"momentum_schedule", BOTH(MOCO_MOMENTUM_COSINE)},
    {"batch_size", ALL(4096)},
    {"bn_groups", ALL(1)}, /* synchronised batch norm */
    {"shuffle", ALL(0)},
    {"execution", ALL(MOCO_EXECUTION_AUTO)},
    {"epochs", {100, 300, 100}},
    {"optimizer", {MOCO_OPTIMIZER_LARS, MOCO_OPTIMIZER_ADAMW, MOCO_OPTIMIZER_LARS_SIMCLR}},
    {"base_lr", {0.6, 1.5e-4, 0.3}},
    {"lr_scaling", ALL(MOCO_LR_SCALING_LINEAR)},
    {"weight_decay", {1e-6, 0.1, 1e-6}},
    {"sgd_momentum", {0.9, NAN, 0.9}},
    {"lars_trust", {0.001, NAN, 0.001}},
    {"adam_beta1", {NAN, 0.9, NAN}},
    {"adam_beta2", {NAN, 0.999, NAN}},
    {"adam_epsilon", {NAN, 1e-8, NAN}},
    {"schedule", ALL(MOCO_SCHEDULE_COSINE)},
    {"schedule_unit", ALL(MOCO_SCHEDULE_PER_STEP)},
    {"first_epoch", ALL(0)},
    {"warmup_epochs", {10, 40, 10}},
    {"views", {MOCO_VIEWS_V3, MOCO_VIEWS_V3, MOCO_VIEWS_SIMCLR}},
    {"crop_min_area", {0.2, 0.08, 0.08}},
    {"crop_max_area", ALL(1)},
    {"crop_tries", {10, 10, 100}},
    {"resize_filter", {MOCO_FILTER_BILINEAR, MOCO_FILTER_BILINEAR, MOCO_FILTER_BICUBIC}},
    {"jitter_brightness", {0.4, 0.4, 0.8}},
    {"jitter_contrast", {0.4, 0.4, 0.8}},
    {"jitter_saturation", {0.2, 0.2, 0.8}},
    {"jitter_hue", {0.1, 0.1, 0.2}},
    {"jitter_probability", ALL(0.8)},
    {"gray_probability", ALL(0.2)},
    {"blur_probability", {1, 1, 0.5}},
    {"blur_probability_2", {0.1, 0.1, -1}},
    {"blur_sigma_min", ALL(0.1)},
    {"blur_sigma_max", ALL(2)},
    {"blur_form", {MOCO_BLUR_PILLOW, MOCO_BLUR_PILLOW, MOCO_BLUR_GAUSSIAN}},
    {"solarize_probability", ALL(0)},
    {"solarize_probability_2", {0.2, 0.2, -1}},
    {"flip_probability", ALL(0.5)},
    {"mean_r", {0.485, 0.485, 0}},
    {"mean_g", {0.456, 0.456, 0}},
    {"mean_b", {0.406, 0.406, 0}},
    {"std_r", {0.229, 0.229, 1}},
    {"std_g", {0.224, 0.224, 1}},
    {"std_b", {0.225, 0.225, 1}},
};

static const int32_t whole_batch_numbers[] = {MOCO_RECIPE_V3, MOCO_RECIPE_V3_VIT, MOCO_RECIPE_SIMCLR};

START_TEST(test_whole_batch_recipes)
{
    for (int r = 0; r < 3; r++) {
        moco_trainer_options_t o = recipe(whole_batch_numbers[r]);
        ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
        for (size_t i = 0; i < sizeof whole_batch_recipes / sizeof *whole_batch_recipes; i++) {
            const mo_option_row_t *row = mo_option_find(whole_batch_recipes[i].name);
            double wanted = whole_batch_recipes[i].wanted[r];
            ck_assert_msg(row != NULL, "no option %s", whole_batch_recipes[i].name);
            ck_assert_msg(isnan(wanted) || mo_option_get(&o, row) == wanted, "recipe %d: %s is %g, published %g",
                          whole_batch_numbers[r], row->name, mo_option_get(&o, row), wanted);
        }
    }
}
END_TEST

/* The loss when all logits are equal, 2 * 2T ln B for v3's two halves, ln(2B-1) for NT-Xent, and its doubled form. */
START_TEST(test_chance)
{
    static const struct {
        int32_t recipe, batch;
        double wanted;
    } cases[] = {{MOCO_RECIPE_V3, 4096, 33.2711},     {MOCO_RECIPE_V3_VIT, 4096, 6.6542},
                 {MOCO_RECIPE_V3_VIT, 1024, 5.5452},  {MOCO_RECIPE_SIMCLR, 4096, 9.0108},
                 {MOCO_RECIPE_V2, 256, 11.0904},      {MOCO_RECIPE_CIFAR, 256, 8.3180}};
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
    ck_assert_int_eq(moco_trainer_options_init(&o, sizeof o, 6), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "recipe is 6, wanted moco-v1 (0), moco-v2 (1), moco-cifar (2), moco-v3 (3), "
                                          "simclr (4) or moco-v3-vit (5)");
    ck_assert_int_eq(moco_trainer_options_init(&o, sizeof o, -1), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_init(NULL, sizeof o, 0), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_trainer_options_init(&o, 4, 0), MOCO_ERR_ARGUMENT);
}
END_TEST

/* ---- checks ---- */

/* Both ends of every row are good, one step past either is not. Fields that must agree are left to the next test. */
START_TEST(test_ranges)
{
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    for (int32_t i = 0; i < count; i++) {
        const mo_option_row_t *row = &rows[i];
        moco_trainer_options_t o = recipe(MOCO_RECIPE_V2);
        if (row->type == MO_OPTION_U64)
            continue;
        double low = row->type == MO_OPTION_F64 ? nextafter(row->min, -INFINITY) : row->min - 1;
        double high =
            row->type == MO_OPTION_F64 ? nextafter(row->max, INFINITY) : row->max + (row->max > 1e15 ? 1024 : 1);
        low = row->flags & MO_OPTION_ABOVE_MIN ? row->min : low;
        high = row->flags & MO_OPTION_BELOW_MAX ? row->max : high;
        const double bad[] = {low, high, NAN, INFINITY, -INFINITY};
        for (int b = 0; b < (row->type == MO_OPTION_F64 ? 5 : 2); b++) {
            if (row->type == MO_OPTION_I32 && bad[b] > 2147483647.0)
                continue;
            mo_option_put(&o, row, bad[b]);
            ck_assert_msg(mo_options_check(&o) != MOCO_OK, "%s may be %g", row->name, bad[b]);
            ck_assert_ptr_eq(strstr(moco_last_message(), row->name), moco_last_message());
            assert_message("wanted");
        }
        if (!(row->flags & MO_OPTION_ABOVE_MIN)) {
            mo_option_put(&o, row, row->min);
            moco_status_t status = mo_options_check(&o);
            char range[160], wanted[200];
            mo_option_range(row, range, sizeof range);
            snprintf(wanted, sizeof wanted, "wanted %s",
                     range); /* not refused by its range, if perhaps by another field */
            ck_assert_msg(status == MOCO_OK || strstr(moco_last_message(), wanted) == NULL, "%s may not be %g: %s",
                          row->name, row->min, moco_last_message());
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
    assert_disagree(&o, "blur_probability is 0.25", "wanted 0");
    o.blur_probability_2 = -1;
    o.solarize_probability_2 = 0.5;
    assert_disagree(&o, "solarize_probability is 0.5", "only views v3");
    o.solarize_probability_2 = -0.5;
    assert_disagree(&o, "solarize_probability_2 is -0.5", "or -1 for that of the first view");
    o.solarize_probability_2 = 0;
    o.blur_probability_2 = -0.25;
    assert_disagree(&o, "blur_probability_2 is -0.25", "or -1 for that of the first view");
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

    /* batch norm in the backbone and one device: two passes only where a shard is the whole group */
    const char *found = "execution is two-pass with bn_groups 1", *wanted = "wanted one-pass or more devices";
    o = recipe(MOCO_RECIPE_V3);
    o.execution = MOCO_EXECUTION_TWO_PASS;
    assert_disagree(&o, found, wanted);
    assert_message("the 4096 images of the device, which do not fit one shard of 32");
    o.batch_size = o.shard = 64;
    ck_assert_int_eq(mo_options_check(&o), MOCO_OK);
    o.shard = 32;
    assert_disagree(&o, found, wanted);
    o = recipe(MOCO_RECIPE_SIMCLR);
    o.execution = MOCO_EXECUTION_TWO_PASS;
    o.batch_size = o.shard = 64;
    assert_disagree(&o, found, "the 128 images of the device"); /* both views together */
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
        {256, 8, 0, 32}, {32, 1, 0, 16},  {64, 2, 0, 32},   {64, 1, 0, 32}, {128, 1, 0, 32}, {48, 1, 0, 24},
        {2, 1, 0, 1},    {34, 1, 0, 17},  {74, 1, 0, 2},    {14, 2, 0, 7},  {100, 2, 0, 25}, {256, 8, 8, 8},
        {512, 8, 0, 32}, {6, 1, 0, 3},    {4096, 1, 0, 32}, {4, 2, 0, 2},   {32, 1, 32, 32},
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
    ck_assert_int_eq(moco_trainer_options_init(&newer.known, sizeof newer, MOCO_RECIPE_V1), MOCO_OK);
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
    moco_run_options_t run, full;
    ck_assert_int_eq(moco_run_options_init(&run, sizeof run), MOCO_OK);
    ck_assert_int_eq(moco_run_options_init(NULL, sizeof run), MOCO_ERR_ARGUMENT);
    ck_assert(run.max_steps == 0 && run.save_every == 0 && run.eval_every == 1 && run.log_every == 1);
    run.max_steps = 9;
    ck_assert_int_eq(mo_run_options_overlay(&run, &full), MOCO_OK);
    ck_assert_mem_eq(&run, &full, sizeof run);
    ck_assert_int_eq(mo_run_options_overlay(NULL, &full), MOCO_OK);
    ck_assert_mem_eq(&full, &mo_run_options_defaults, sizeof full);
    run.log_every = 0;
    ck_assert_int_eq(mo_run_options_overlay(&run, &full), MOCO_ERR_ARGUMENT);
    run.log_every = 1;
    run.save_every = -1;
    ck_assert_int_eq(mo_run_options_overlay(&run, &full), MOCO_ERR_ARGUMENT);
    assert_message("save_every -1");
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
        {"queue_length", "1e3", "queue_length is '1e3', wanted 1 to 16777216"},
        {"queue_length", "0", "queue_length is 0, wanted 1 to 16777216"},
        {"queue_length", "99999999999999999999", "queue_length is '99999999999999999999'"},
        {"batch_size", "4294967552", "batch_size is '4294967552'"},
        {"batch_size", "2.5", "batch_size is '2.5'"},
        {"seed", "-1", "seed is '-1', wanted 0 to 18446744073709551615"},
        {"seed", "18446744073709551616", "seed is '18446744073709551616'"},
        {"arch", "vgg", "arch is 'vgg', wanted resnet18, resnet34"},
        {"arch", "2", "arch is '2'"},
        {"recipe", "moco-v1", "recipe is chosen by"},
        {"colour", "1", "no option 'colour'"},
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

/* ---- compare ---- */

START_TEST(test_compare)
{
    int32_t count, differing = 0;
    const mo_option_row_t *rows = mo_option_rows(&count);
    const moco_trainer_options_t saved = recipe(MOCO_RECIPE_V2);
    for (int32_t i = 0; i < count; i++) {
        moco_trainer_options_t now = saved;
        mo_option_put(&now, &rows[i], mo_option_get(&saved, &rows[i]) + 1);
        moco_status_t status = mo_options_compare(&saved, &now);
        differing += status == MOCO_ERR_MISMATCH;
        if (status == MOCO_ERR_MISMATCH)
            ck_assert_ptr_eq(strstr(moco_last_message(), rows[i].name), moco_last_message());
    }
    ck_assert_int_eq(differing, count - 4);
    moco_trainer_options_t now = saved;
    now.memory_cap = now.loader_threads = now.max_broken = now.max_broken_percent = 9;
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
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
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

static const char *const type_names[] = {"uint64", "int64", "int32", "name", "double"};

static char *render(void)
{
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    moco_trainer_options_t recipes[MO_RECIPES];
    for (int32_t r = 0; r < MO_RECIPES; r++)
        recipes[r] = recipe(r);
    fprintf(out,
            "# Options of a trainer\n\n"
            "Every field of `moco_trainer_options_t`, in the order of the struct; `moco train --set name=value` and\n"
            "`moco_trainer_options_set` take the same names. This page is made from the table in `lib/train/recipe.c`\n"
            "and a test compares them; `MOCO_UPDATE_DOCS=1` with that test (`test_options`) rewrites it.\n\n"
            "Fields marked * may differ when a checkpoint is resumed.\n\n"
            "| name | type |");
    for (int32_t r = 0; r < MO_RECIPES; r++) {
        char name[MO_OPTION_TEXT];
        mo_option_text(&recipes[r], mo_option_find("recipe"), name);
        fprintf(out, " %s |", name);
    }
    fprintf(out, " range | unit | meaning |\n|---|---|");
    for (int32_t r = 0; r < MO_RECIPES; r++)
        fprintf(out, "---|");
    fprintf(out, "---|---|---|\n");
    for (int32_t i = 0; i < count; i++) {
        char value[MO_OPTION_TEXT], range[160];
        fprintf(out, "| `%s`%s | %s |", rows[i].name, rows[i].flags & MO_OPTION_FREE ? " *" : "",
                type_names[rows[i].type]);
        for (int32_t r = 0; r < MO_RECIPES; r++) {
            mo_option_text(&recipes[r], &rows[i], value);
            fprintf(out, " %s |", value);
        }
        mo_option_range(&rows[i], range, sizeof range);
        fprintf(out, " %s | %s | %s |\n", range, rows[i].unit, rows[i].meaning);
    }
    fprintf(
        out,
        "\nFields that must agree: `batch_size` is a multiple of `bn_groups` with at least 2 images for each;\n"
        "`shard` divides the images of a batch-norm group; `crop_min_area` <= `crop_max_area`; `blur_sigma_min` <=\n"
        "`blur_sigma_max`; with the step schedule `milestone_1` <= `milestone_2`; `blur_probability` is 0 unless\n"
        "`views` is v2, v3 or simclr; `solarize_probability` is 0 unless `views` is v3; those of\n"
        "the second view are 0 to 1, or exactly -1. `nt-xent` wants `symmetric` and `predictor` 0; a loss over the\n"
        "whole batch (`batch`, `nt-xent`) is refused in one pass with more than one batch-norm group, and in two passes\n"
        "with one where the backbone has batch norm and the images of the device do not fit one shard.\n");
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
    tcase_add_test(tc, test_rows_cover_the_struct);
    tcase_add_test(tc, test_recipes);
    tcase_add_test(tc, test_whole_batch_recipes);
    tcase_add_test(tc, test_chance);
    tcase_add_test(tc, test_recipe_names);
    tcase_add_test(tc, test_ranges);
    tcase_add_test(tc, test_fields_that_must_agree);
    tcase_add_test(tc, test_fields_of_a_method);
    tcase_add_test(tc, test_shard);
    tcase_add_test(tc, test_overlay);
    tcase_add_test(tc, test_run_options);
    tcase_add_test(tc, test_set);
    tcase_add_test(tc, test_set_refusals);
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
