/* The same bits for any number of lanes and of loader threads: checkpoints after ten steps, byte
 * for byte. */
#include "draw.h"
#include "call_options.h"

#define STEPS 10

static scratch_t scratch;

/* How a batch is cut; 8 images of which 27 (two broken) are there. */
typedef struct cut {
    const char *name;
    int32_t groups, shard, membership;
    const char *method; /* "name=value …": 0 = as the tiny options have it */
} cut_t;

#define V3 \
    "loss=batch loss_scale=2t symmetric=1 predictor=1 head=mlp-v3 head_width=32 momentum_schedule=cosine shuffle=0 "
#define VIT "arch=vit_small width=0.125 vit_depth=2 vit_heads=4 patch_size=8 "
#define BYOL                                                                                                       \
    "loss=regression symmetric=1 predictor=1 head=mlp-byol head_width=32 momentum_schedule=cosine optimizer=lars " \
    "shuffle=0 "
#define SIMCLR "loss=nt-xent head=mlp-simclr optimizer=lars-simclr shuffle=0 "

static const cut_t cuts[] = {
    {"two groups of one shard", 2, 4, MOCO_MEMBERSHIP_CONTIGUOUS, ""},
    {"one group of four shards", 1, 2, MOCO_MEMBERSHIP_CONTIGUOUS, ""},
    {"four strided groups of one shard", 4, 2, MOCO_MEMBERSHIP_STRIDED, ""},
    {"two strided groups of two shards", 2, 2, MOCO_MEMBERSHIP_STRIDED, ""},
    {"symmetric loss with a queue", 2, 4, MOCO_MEMBERSHIP_CONTIGUOUS, "symmetric=1"},
    {"v3, one group of four shards", 1, 2, MOCO_MEMBERSHIP_CONTIGUOUS, V3 "optimizer=lars"},
    {"v3, two passes over groups of two shards", 2, 2, MOCO_MEMBERSHIP_CONTIGUOUS, V3 "optimizer=adamw"},
    {"v3 with ViT, two passes over four shards", 1, 2, MOCO_MEMBERSHIP_CONTIGUOUS, V3 VIT "optimizer=adamw"},
    {"v3 with ViT, one pass over four shards", 1, 2, MOCO_MEMBERSHIP_CONTIGUOUS, V3 VIT "execution=one-pass"},
    {"BYOL, one group of four shards", 1, 2, MOCO_MEMBERSHIP_CONTIGUOUS, BYOL},
    {"SimCLR, one group of four shards", 1, 4, MOCO_MEMBERSHIP_CONTIGUOUS, SIMCLR},
    {"SimCLR, two passes over groups of two shards", 4, 2, MOCO_MEMBERSHIP_CONTIGUOUS, SIMCLR "head_layers=2"},
};
#define CUTS ((int)(sizeof cuts / sizeof *cuts))

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), 27, 3, 20);
    break_picture(in_scratch(&scratch, "images"), 5, 3);
    break_picture(in_scratch(&scratch, "images"), 17, 3);
}

static void tear_down(void)
{
    scratch_drop(&scratch);
}

static void cut_options(const cut_t *cut, moco_trainer_options_t *options)
{
    tiny_options(options);
    options->seed = 20;
    options->base_lr = 1;
    options->bn_groups = cut->groups;
    options->shard = cut->shard;
    options->membership = cut->membership;
    char method[256], *rest = method;
    snprintf(method, sizeof method, "%s", cut->method);
    for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
        char *value = strchr(name, '=');
        *value++ = '\0';
        expect_ok(moco_trainer_options_set(options, name, value));
    }
}

/* Ten steps, saved as NAME. */
static void train(const moco_trainer_options_t *options, int32_t lanes, int32_t threads, const char *name)
{
    moco_trainer_options_t own = *options;
    moco_device_t *device = device_of(lanes);
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    moco_trainer_t *trainer = NULL;
    moco_step_report_t report = {.struct_size = sizeof report};
    own.loader_threads = threads;
    expect_ok(moco_trainer_create(&own, device, &trainer));
    moco_device_free(device); /* the trainer keeps its own */
    expect_ok(moco_trainer_steps(trainer, dataset, STEPS, NULL, &report));
    ck_assert_int_eq(report.step, STEPS);
    ck_assert(isfinite(report.loss) && report.gradient_norm > 0);
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, name)));
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
}

static int same_as_first(const char *name)
{
    return same_checkpoints(in_scratch(&scratch, "first"), in_scratch(&scratch, name));
}

START_TEST(lanes_and_loader_threads)
{
    static const int32_t pairs[][2] = {{1, 2}, {1, 4}, {2, 1}, {2, 2}, {2, 4}, {3, 1}, {3, 2}, {3, 4}};
    const cut_t *cut = &cuts[_i];
    moco_trainer_options_t options;
    cut_options(cut, &options);
    train(&options, 1, 1, "first");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (_i > 0 && i % 3 != 1)
            continue; /* every pair for the first cut, (1,4), (2,4) and (3,4) for the others */
        train(&options, pairs[i][0], pairs[i][1], "next");
        ck_assert_msg(same_as_first("next"), "%s: %d lanes and %d loader threads give other bits than one of each",
                      cut->name, pairs[i][0], pairs[i][1]);
    }
}
END_TEST

/* Four steps, a checkpoint, and six more in a new trainer: every kind of optimizer state and of
 * encoder goes through it. */
START_TEST(saved_and_loaded)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    cut_options(&cuts[_i], &options);
    train(&options, 2, 2, "first");
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_steps(trainer, dataset, 4, NULL, NULL));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "half")));
    moco_trainer_free(trainer);
    expect_ok(moco_trainer_load(in_scratch(&scratch, "half"), NULL, NULL, &trainer));
    expect_ok(moco_trainer_steps(trainer, dataset, STEPS - 4, NULL, NULL));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "next")));
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
    ck_assert_msg(same_as_first("next"), "%s: a run through a checkpoint gives other bits", cuts[_i].name);
}
END_TEST

/* ---- a whole-batch loss over shards of every size ---- */

enum { WHOLE_BATCH = 64, WHOLE_SIZE = 16, WHOLE_STEPS = 2 };

static const struct {
    const char *name, *method;
} wholes[] = {
    {"v3", V3 VIT "optimizer=adamw execution=two-pass"},
    {"NT-Xent", SIMCLR VIT "head_layers=2 execution=two-pass"},
};
#define WHOLES ((int)(sizeof wholes / sizeof *wholes))

static const int32_t whole_shards[] = {4, 16, 32, 64};
#define WHOLE_SHARDS ((int)(sizeof whole_shards / sizeof *whole_shards))

/* One view of the batch: every image is stripes of its own; the second view of an image is its
 * first, shifted. */
static float *whole_view(int view, int step)
{
    enum { FLOATS = WHOLE_SIZE * WHOLE_SIZE * 3 };
    float *values = malloc((size_t)WHOLE_BATCH * FLOATS * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (int i = 0; i < WHOLE_BATCH; i++) {
        uint8_t *pixels = draw_pixels(WHOLE_SIZE, WHOLE_SIZE, 3, i + step * WHOLE_BATCH);
        for (int j = 0; j < FLOATS; j++)
            values[i * FLOATS + j] = ((float)pixels[(j + 9 * view) % FLOATS] - 128) / 64;
        free(pixels);
    }
    return values;
}

/* Two passes over a batch of 64: lanes change nothing, whatever the shard. */
START_TEST(whole_batch_lanes)
{
    for (int s = 0; s < WHOLE_SHARDS; s++) {
        for (int32_t lanes = 1; lanes <= 3; lanes++) {
            moco_trainer_options_t options;
            moco_device_t *device = device_of(lanes);
            moco_trainer_t *trainer = NULL;
            moco_step_report_t report = {.struct_size = sizeof report};
            cut_t cut = {wholes[_i].name, 1, whole_shards[s], MOCO_MEMBERSHIP_CONTIGUOUS, wholes[_i].method};
            cut_options(&cut, &options);
            options.batch_size = WHOLE_BATCH;
            options.image_size = WHOLE_SIZE;
            expect_ok(moco_trainer_create(&options, device, &trainer));
            moco_device_free(device);
            for (int step = 0; step < WHOLE_STEPS; step++) {
                float *first = whole_view(0, step), *second = whole_view(1, step);
                expect_ok(moco_trainer_push_views(trainer, WHOLE_BATCH, first, second, MOCO_LAYOUT_NHWC));
                expect_ok(moco_trainer_step(trainer, NULL, &report));
                ck_assert(isfinite(report.loss) && report.gradient_norm > 0 && report.lr > 0);
                free(first);
                free(second);
            }
            expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, lanes == 1 ? "first" : "next")));
            moco_trainer_free(trainer);
            ck_assert_msg(lanes == 1 || same_as_first("next"), "%s, shards of %d: %d lanes give other bits than one",
                          wholes[_i].name, whole_shards[s], lanes);
        }
    }
}
END_TEST

/* What should matter does: otherwise the test above would pass on a trainer that does nothing. */
START_TEST(what_changes_the_bits)
{
    moco_trainer_options_t options;
    cut_options(&cuts[0], &options);
    train(&options, 2, 1, "first");
    options.seed++;
    train(&options, 2, 1, "next");
    ck_assert(!same_as_first("next"));

    /* Options are part of the file, so the numbers themselves are compared: embeddings of one
     * picture. */
    float rows[4][16], *row = rows[0];
    picture_t jpeg = draw_jpeg(20, 20, 3, 3);
    const uint8_t *data[1] = {jpeg.bytes};
    const uint64_t sizes[1] = {jpeg.size};
    for (int variant = 0; variant < 4; variant++, row += 16) {
        moco_model_t *model = NULL;
        cut_options(&cuts[0], &options);
        options.shuffle = variant != 1;
        options.membership = variant == 2 ? MOCO_MEMBERSHIP_STRIDED : MOCO_MEMBERSHIP_CONTIGUOUS;
        train(&options, 2, 1, "next");
        expect_ok(moco_model_load(in_scratch(&scratch, "next"), NULL, NULL, &model));
        expect_ok(moco_model_embed_encoded(model, 1, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION), row));
        moco_model_free(model);
    }
    ck_assert_mem_eq(rows[0], rows[3], sizeof rows[0]);
    ck_assert_mem_ne(rows[0], rows[1], sizeof rows[0]); /* shuffle off  */
    ck_assert_mem_ne(rows[0], rows[2], sizeof rows[0]); /* other groups */
    free(jpeg.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bits");
    TCase *tcase = tcase_create("bits");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 250);
    tcase_add_loop_test(tcase, lanes_and_loader_threads, 0, CUTS);
    tcase_add_loop_test(tcase, saved_and_loaded, 4, CUTS);
    tcase_add_loop_test(tcase, whole_batch_lanes, 0, WHOLES);
    tcase_add_test(tcase, what_changes_the_bits);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
