/* Batches pushed by the host: accumulation, refusals that take nothing, the views drawn, and a
 * trainer that learns. */
#include <float.h>

#include "draw.h"
#include "call_options.h"

#define SIDE 16
#define BATCH 8
#define FEATURE (3 * SIDE * SIDE)

static moco_trainer_t *fresh(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    return trainer;
}

static int waiting(const moco_trainer_t *trainer)
{
    return (int)trainer_number(trainer, "pushed");
}

static moco_image_t image_of(int number, uint8_t **pixels)
{
    *pixels = draw_pixels(20, 18, 3, number);
    return (moco_image_t){
        .struct_size = sizeof(moco_image_t), .planes = {*pixels}, .width = 20, .height = 18, .format = MOCO_PIXELS_RGB};
}

static float *views_of(int64_t count, int number)
{
    float *views = malloc((size_t)count * FEATURE * sizeof *views);
    for (int64_t i = 0; i < count * FEATURE; i++)
        views[i] = (float)(((i + number) * 2654435761u >> 7) % 1000) / 250.f - 2.f;
    return views;
}

START_TEST(accumulation)
{
    moco_trainer_t *trainer = fresh();
    moco_step_report_t report = {.struct_size = sizeof report};
    moco_image_t images[BATCH + 1];
    uint8_t *pixels[BATCH + 1];
    for (int i = 0; i <= BATCH; i++)
        images[i] = image_of(i, &pixels[i]);
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_step(trainer, NULL, &report));
    expect_message("0");
    expect_message("8");
    expect_ok(moco_trainer_push_pixels(trainer, 3, images));
    expect_ok(moco_trainer_push_pixels(trainer, 4, images + 3));
    ck_assert_int_eq(waiting(trainer), 7);
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_step(trainer, NULL, &report));
    expect_message("7");
    expect_status(MOCO_ERR_FULL, moco_trainer_push_pixels(trainer, 2, images + 7));
    expect_message("7");
    expect_message("2");
    ck_assert_int_eq(waiting(trainer), 7);

    const uint8_t broken[] = "no JPEG";
    picture_t jpeg = draw_jpeg(20, 18, 3, 7);
    expect_status(MOCO_ERR_IMAGE, moco_trainer_push_encoded(trainer, ONE_FILE(broken, sizeof broken)));
    expect_status(MOCO_ERR_IMAGE, moco_trainer_push_encoded(trainer, ONE_FILE(jpeg.bytes, jpeg.size / 2)));
    expect_message("truncated");
    ck_assert_int_eq(waiting(trainer), 7);
    expect_ok(moco_trainer_push_encoded(trainer, ONE_FILE(jpeg.bytes, jpeg.size))); /* 8-bit images mix with JPEGs */
    ck_assert_int_eq(waiting(trainer), 8);
    expect_status(MOCO_ERR_FULL, moco_trainer_push_encoded(trainer, ONE_FILE(jpeg.bytes, jpeg.size)));
    expect_ok(moco_trainer_step(trainer, NULL, &report));
    ck_assert_int_eq(report.step, 1);
    ck_assert_int_eq(waiting(trainer), 0);
    ck_assert_double_eq_tol(report.queue_fill, 0.25, 1e-12);

    expect_ok(moco_trainer_push_pixels(trainer, 5, images));
    ck_assert_int_eq(moco_trainer_discard(trainer), 5);
    ck_assert_int_eq(moco_trainer_discard(trainer), 0);
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_step(trainer, NULL, &report));
    for (int i = 0; i <= BATCH; i++)
        free(pixels[i]);
    free(jpeg.bytes);
    moco_trainer_free(trainer);
}
END_TEST

START_TEST(kinds_do_not_mix)
{
    moco_trainer_t *trainer = fresh();
    uint8_t *pixels;
    moco_image_t image = image_of(0, &pixels);
    float *views = views_of(2, 0);
    expect_ok(moco_trainer_push_pixels(trainer, 1, &image));
    expect_status(MOCO_ERR_STATE, moco_trainer_push_views(trainer, 2, views, views, MOCO_LAYOUT_NCHW));
    ck_assert_int_eq(moco_trainer_discard(trainer), 1);
    expect_ok(moco_trainer_push_views(trainer, 2, views, views, MOCO_LAYOUT_NCHW));
    expect_status(MOCO_ERR_STATE, moco_trainer_push_pixels(trainer, 1, &image));
    expect_status(MOCO_ERR_STATE, moco_trainer_push_views(trainer, 2, views, views, MOCO_LAYOUT_NHWC));
    ck_assert_int_eq(waiting(trainer), 2);
    free(pixels);
    free(views);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- the views that are drawn ---- */

static void normalise(const moco_trainer_options_t *o, const uint8_t *from, float *to)
{
    const double mean[3] = {o->mean_r, o->mean_g, o->mean_b}, std[3] = {o->std_r, o->std_g, o->std_b};
    for (int i = 0; i < FEATURE; i++)
        to[i] = ((float)from[i] / 255.0f - (float)mean[i % 3]) / (float)std[i % 3];
}

/* A data set of the pushed images in pushing order has the same views at epoch 0, in every
 * pipeline: a step on those, pushed as floats, gives the same bits. The second batch goes on with
 * the numbers. */
START_TEST(pixels_equal_data_set_views)
{
    scratch_t scratch = scratch_make();
    moco_trainer_t *a = NULL, *b = NULL;
    moco_trainer_options_t options;
    moco_step_report_t report_a = {.struct_size = sizeof report_a}, report_b = {.struct_size = sizeof report_b};
    float *views[2] = {views_of(BATCH, 0), views_of(BATCH, 0)}, rows[2][16];
    uint8_t bytes[2][FEATURE];
    tiny_options(&options);
    options.views = _i;
    if (_i != MOCO_VIEWS_V1 && _i != MOCO_VIEWS_CIFAR) {
        options.blur_probability = 1;
        options.blur_probability_2 = 0.3;
    }
    if (_i == MOCO_VIEWS_V3)
        options.solarize_probability_2 = 0.7;
    options.resize_filter = _i >= MOCO_VIEWS_SIMCLR ? MOCO_FILTER_BICUBIC : MOCO_FILTER_BILINEAR;
    expect_ok(moco_trainer_create(&options, NULL, &a));
    expect_ok(moco_trainer_create(&options, NULL, &b));
    draw_tree(scratch.path, 2 * BATCH, 1, 24);
    moco_dataset_t *dataset = dataset_of(scratch.path);
    for (int batch = 0; batch < 2; batch++) {
        for (int i = 0; i < BATCH; i++) {
            int number = batch * BATCH + i;
            picture_t jpeg = draw_jpeg(24, 24, 3, number);
            expect_ok(moco_trainer_push_encoded(a, ONE_FILE(jpeg.bytes, jpeg.size)));
            free(jpeg.bytes);
            expect_ok(moco_dataset_views(dataset, &options, 0, number, bytes[0]));
            for (int view = 0; view < 2; view++)
                normalise(&options, bytes[view], views[view] + i * FEATURE);
        }
        expect_ok(moco_trainer_push_views(b, BATCH, views[0], views[1], MOCO_LAYOUT_NHWC));
        expect_ok(moco_trainer_step(a, NULL, &report_a));
        expect_ok(moco_trainer_step(b, NULL, &report_b));
        ck_assert(report_a.loss == report_b.loss && report_a.gradient_norm == report_b.gradient_norm);
    }
    moco_trainer_t *both[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        moco_model_t *model = NULL;
        expect_ok(moco_trainer_snapshot(both[i], NULL, NULL, &model));
        expect_ok(moco_model_embed_tensor(model, 1, views[0],
                                          EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), rows[i]));
        moco_model_free(model);
        moco_trainer_free(both[i]);
    }
    free(views[0]);
    free(views[1]);
    ck_assert_mem_eq(rows[0], rows[1], sizeof rows[0]);
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}
END_TEST

START_TEST(layouts_are_the_same_images)
{
    moco_trainer_t *a = fresh(), *b = fresh();
    moco_step_report_t report_a = {.struct_size = sizeof report_a}, report_b = {.struct_size = sizeof report_b};
    float *nhwc[2], *nchw[2];
    for (int v = 0; v < 2; v++) {
        nhwc[v] = views_of(BATCH, 50 * v);
        nchw[v] = views_of(BATCH, 0);
        for (int i = 0; i < BATCH * SIDE * SIDE; i++)
            for (int c = 0; c < 3; c++)
                nchw[v][i / (SIDE * SIDE) * FEATURE + c * SIDE * SIDE + i % (SIDE * SIDE)] = nhwc[v][3 * i + c];
    }
    expect_ok(moco_trainer_push_views(a, 5, nhwc[0], nhwc[1], MOCO_LAYOUT_NHWC));
    expect_ok(moco_trainer_push_views(a, 3, nhwc[0] + 5 * FEATURE, nhwc[1] + 5 * FEATURE, MOCO_LAYOUT_NHWC));
    expect_ok(moco_trainer_push_views(b, 8, nchw[0], nchw[1], MOCO_LAYOUT_NCHW));
    memset(nchw[0], 0, FEATURE * sizeof **nchw); /* they were copied */
    expect_ok(moco_trainer_step(a, NULL, &report_a));
    expect_ok(moco_trainer_step(b, NULL, &report_b));
    ck_assert(report_a.loss == report_b.loss && report_a.gradient_norm == report_b.gradient_norm);
    for (int v = 0; v < 2; v++) {
        free(nhwc[v]);
        free(nchw[v]);
    }
    moco_trainer_free(a);
    moco_trainer_free(b);
}
END_TEST

/* ---- failures change nothing ---- */

START_TEST(a_step_that_fails_changes_nothing)
{
    scratch_t scratch = scratch_make();
    moco_trainer_t *trainer = fresh(), *twin = NULL;
    moco_step_report_t report = {.struct_size = sizeof report};
    float *views = views_of(BATCH, 0);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    float *huge = views_of(BATCH, 0);
    for (int i = 0; i < FEATURE; i++) /* finite, and too much for the first layer */
        huge[i] = FLT_MAX;
    expect_ok(moco_trainer_push_views(trainer, BATCH, views, views, MOCO_LAYOUT_NCHW));
    expect_ok(moco_trainer_step(trainer, NULL, &report));
    for (int i = 0; i < 3; i++) {
        float good = views[100 + FEATURE * i];
        expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "before")));
        views[100 + FEATURE * i] = bad[i];
        expect_status(MOCO_ERR_NONFINITE, moco_trainer_push_views(trainer, BATCH, views, views, MOCO_LAYOUT_NCHW));
        expect_message("number 100 of view ");
        expect_status(MOCO_ERR_NONFINITE, moco_trainer_push_views(trainer, BATCH, huge, views, MOCO_LAYOUT_NCHW));
        expect_message("keys: ");
        expect_ok(moco_trainer_push_views(trainer, BATCH, huge, huge, MOCO_LAYOUT_NCHW));
        expect_status(MOCO_ERR_NONFINITE, moco_trainer_step(trainer, NULL, &report));
        expect_message("step 2");
        expect_status(MOCO_ERR_NONFINITE, moco_trainer_step(trainer, NULL, &report)); /* the batch is still there */
        ck_assert_int_eq(report.step, 1);
        ck_assert_int_eq(moco_trainer_discard(trainer), BATCH);
        views[100 + FEATURE * i] = good;
    }
    /* All of its state: on to the same bits as a trainer loaded from before the failures. */
    expect_ok(moco_trainer_load(in_scratch(&scratch, "before"), NULL, NULL, &twin));
    moco_trainer_t *both[2] = {trainer, twin};
    const char *names[2] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        for (int n = 0; n < 2; n++) {
            expect_ok(moco_trainer_push_views(both[i], BATCH, views, views, MOCO_LAYOUT_NCHW));
            expect_ok(moco_trainer_step(both[i], NULL, &report));
        }
        ck_assert_int_eq(report.step, 3);
        expect_ok(moco_trainer_save(both[i], in_scratch(&scratch, names[i])));
        moco_trainer_free(both[i]);
    }
    mask_file(in_scratch(&scratch, "a"), "pushed_number"); /* a discarded batch has used up its numbers */
    mask_file(in_scratch(&scratch, "b"), "pushed_number");
    ck_assert(same_checkpoints(in_scratch(&scratch, "a"), in_scratch(&scratch, "b")));
    free(huge);
    free(views);
    scratch_drop(&scratch);
}
END_TEST

static void push_one(moco_trainer_t *trainer, int number)
{
    uint8_t *pixels;
    moco_image_t image = image_of(number, &pixels);
    expect_ok(moco_trainer_push_pixels(trainer, 1, &image));
    free(pixels);
}

/* Pushed images that wait are not saved, their numbers are not used up: push them again and the
 * bits are the same. */
START_TEST(saving_between_pushes)
{
    scratch_t scratch = scratch_make();
    moco_trainer_t *trainer = fresh();
    for (int i = 0; i < BATCH; i++)
        push_one(trainer, i);
    expect_ok(moco_trainer_step(trainer, NULL, NULL));
    for (int i = 0; i < 2 * BATCH; i++) {
        if (i == 3)
            expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "waiting")));
        push_one(trainer, i);
        if (i % BATCH == BATCH - 1)
            expect_ok(moco_trainer_step(trainer, NULL, NULL));
    }
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "a")));
    moco_trainer_free(trainer);
    expect_ok(moco_trainer_load(in_scratch(&scratch, "waiting"), NULL, NULL, &trainer));
    ck_assert_int_eq(waiting(trainer), 0);
    for (int i = 0; i < 2 * BATCH; i++) {
        push_one(trainer, i);
        if (i % BATCH == BATCH - 1)
            expect_ok(moco_trainer_step(trainer, NULL, NULL));
    }
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "b")));
    moco_trainer_free(trainer);
    ck_assert(same_checkpoints(in_scratch(&scratch, "a"), in_scratch(&scratch, "b")));
    scratch_drop(&scratch);
}
END_TEST

/* Pushed steps are no part of a data set's epochs. */
START_TEST(pushes_and_a_data_set)
{
    scratch_t scratch = scratch_make();
    draw_tree(scratch.path, 4 * BATCH, 1, 20);
    moco_dataset_t *dataset = dataset_of(scratch.path);
    moco_trainer_t *trainer = fresh();
    moco_step_report_t report = {.struct_size = sizeof report};
    for (int step = 0; step < 6; step++) {
        for (int i = 0; i < BATCH; i++)
            push_one(trainer, i);
        expect_ok(moco_trainer_step(trainer, NULL, &report));
        if (step == 2) {
            expect_ok(moco_trainer_steps(trainer, dataset, 1, NULL, &report));
            ck_assert_int_eq(report.step_in_epoch, 1);
            ck_assert_int_eq(report.epoch, 0);
            ck_assert_int_eq(report.steps_per_epoch, 4);
        }
    }
    expect_ok(moco_trainer_steps(trainer, dataset, 3, NULL, &report));
    ck_assert_int_eq(report.step, 10);
    ck_assert_int_eq(report.step_in_epoch, 4);
    ck_assert_int_eq(report.epoch, 0);
    expect_ok(moco_trainer_steps(trainer, dataset, 1, NULL, &report));
    ck_assert_int_eq(report.step_in_epoch, 1);
    ck_assert_int_eq(report.epoch, 1);
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}
END_TEST

/* ---- it learns ---- */

/* Pictures over and over: the loss falls well below chance, and below what it was when the queue
 * had just filled; queries find their own key among 32 others. */
START_TEST(overfit)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_step_report_t report = {.struct_size = sizeof report};
    double first = 0, last = 0, top = 0;
    tiny_options(&options);
    options.batch_size = 16;
    options.bn_groups = 1;
    options.base_lr = 0.5;
    options.weight_decay = 0;
    options.temperature = 0.2;
    options.key_momentum = 0.9;
    options.crop_min_area = 0.9;
    options.jitter_probability = options.gray_probability = options.flip_probability = 0;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    for (int step = 0; step < 120; step++) {
        for (int i = 0; i < 16; i++)
            push_one(trainer, (step * 16 + i) % 64);
        expect_ok(moco_trainer_step(trainer, NULL, &report));
        if (step >= 20 && step < 40)
            first += report.loss / 20;
        if (step >= 100) {
            last += report.loss / 20;
            top += report.contrast_top1 / 20;
        }
    }
    ck_assert_msg(last < 0.6 * report.chance_loss && last < 0.8 * first, "loss %.3f, then %.3f; chance is %.3f", first,
                  last, report.chance_loss);
    ck_assert_msg(top > 60, "%.1f %% of the queries find their key; chance is 3 %%", top);
    moco_trainer_free(trainer);
}
END_TEST

/* SimCLR on a plain ViT whose head has no batch norm: the loss alone joins the shards, in both
 * executions alike. */
START_TEST(loss_over_the_whole_batch)
{
    enum { ROWS = 96 };
    static const int32_t shards[] = {4, 12, 32, 96};
    double loss[8], norm[8];
    for (int i = 0; i < 8; i++) {
        moco_trainer_options_t options;
        moco_trainer_t *trainer = NULL;
        moco_step_report_t report = {.struct_size = sizeof report};
        expect_ok(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_SIMCLR, MOCO_ARCH_RECIPE));
        options.arch = MOCO_ARCH_VIT_SMALL;
        options.width = 0.125;
        options.vit_depth = 1;
        options.vit_heads = 3;
        options.image_size = SIDE;
        options.patch_size = 4;
        options.head = MOCO_HEAD_LINEAR;
        options.dimension = 8;
        options.batch_size = ROWS;
        options.shard = shards[i % 4];
        options.execution = i < 4 ? MOCO_EXECUTION_ONE_PASS : MOCO_EXECUTION_TWO_PASS;
        expect_ok(moco_trainer_create(&options, NULL, &trainer));
        float *queries = views_of(ROWS, 1), *keys = views_of(ROWS, 5);
        expect_ok(moco_trainer_push_views(trainer, ROWS, queries, keys, MOCO_LAYOUT_NCHW));
        expect_ok(moco_trainer_step(trainer, NULL, &report));
        loss[i] = report.loss;
        norm[i] = report.gradient_norm;
        free(queries);
        free(keys);
        moco_trainer_free(trainer);
        ck_assert_double_eq_tol(loss[i], loss[0], 1e-5 * loss[0]);
        ck_assert_double_eq_tol(norm[i], norm[0], 1e-4 * norm[0]);
    }
}
END_TEST

/* Float views take more than a loader would: the cap is asked. */
START_TEST(memory_cap_of_float_views)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    options.image_size = 64;
    options.memory_cap = INT64_C(1) << 40;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    const double total = trainer_number(trainer, "total");
    moco_trainer_free(trainer);
    options.memory_cap = (int64_t)total;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    float *views = calloc(3 * 64 * 64, sizeof *views);
    expect_status(MOCO_ERR_MEMORY_CAP, moco_trainer_push_views(trainer, 1, views, views, MOCO_LAYOUT_NCHW));
    expect_message("float views");
    const double bytes = 2.0 * BATCH * 3 * 64 * 64 * sizeof *views, store = trainer_number(trainer, "views");
    for (int less = 0; less < 2; less++) { /* what it takes, to the byte */
        moco_trainer_t *other = NULL;
        options.memory_cap = (int64_t)(total - store + bytes) - less;
        expect_ok(moco_trainer_create(&options, NULL, &other));
        expect_status(less ? MOCO_ERR_MEMORY_CAP : MOCO_OK,
                      moco_trainer_push_views(other, 1, views, views, MOCO_LAYOUT_NCHW));
        moco_trainer_free(other);
    }
    uint8_t *pixels;
    moco_image_t image = image_of(1, &pixels);
    expect_ok(moco_trainer_push_pixels(trainer, 1, &image));
    free(pixels);
    free(views);
    moco_trainer_free(trainer);
}
END_TEST

/* A trainer of that cap holds one store at a time: that of the other kind goes when a batch of this
 * kind begins, and images that wait leave no memory for the loader of a data set. */
START_TEST(memory_cap_of_a_waiting_batch)
{
    scratch_t scratch = scratch_make();
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    draw_tree(in_scratch(&scratch, "images"), 2 * BATCH, 2, 28);
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    options.memory_cap = (int64_t)trainer_number(trainer, "total");
    moco_trainer_free(trainer);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    push_one(trainer, 1);
    expect_status(MOCO_ERR_MEMORY_CAP, moco_trainer_steps(trainer, dataset, 1, NULL, NULL));
    expect_message("1 pushed images wait");
    ck_assert_int_eq(moco_trainer_discard(trainer), 1);
    expect_ok(moco_trainer_steps(trainer, dataset, 1, NULL, NULL));
    moco_trainer_free(trainer);
    const int64_t cap = options.memory_cap;
    for (int less = 0; less < 2; less++) { /* what both take, to the byte */
        options.memory_cap = cap + 2 * BATCH * FEATURE - less;
        expect_ok(moco_trainer_create(&options, NULL, &trainer));
        push_one(trainer, 1);
        expect_status(less ? MOCO_ERR_MEMORY_CAP : MOCO_OK, moco_trainer_steps(trainer, dataset, 1, NULL, NULL));
        moco_trainer_free(trainer);
    }
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}
END_TEST

/* A count that would overflow is refused like any other that is too large. */
START_TEST(absurd_counts)
{
    moco_trainer_t *trainer = fresh();
    uint8_t *pixels;
    moco_image_t image = image_of(1, &pixels);
    expect_ok(moco_trainer_push_pixels(trainer, 1, &image));
    expect_status(MOCO_ERR_FULL, moco_trainer_push_pixels(trainer, INT64_MAX, &image));
    ck_assert_int_eq(waiting(trainer), 1);
    free(pixels);
    moco_trainer_free(trainer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("push");
    TCase *tcase = tcase_create("push");
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, accumulation);
    tcase_add_test(tcase, kinds_do_not_mix);
    tcase_add_loop_test(tcase, pixels_equal_data_set_views, MOCO_VIEWS_V1, MOCO_VIEWS_SIMCLR_CODE + 1);
    tcase_add_test(tcase, layouts_are_the_same_images);
    tcase_add_test(tcase, a_step_that_fails_changes_nothing);
    tcase_add_test(tcase, saving_between_pushes);
    tcase_add_test(tcase, pushes_and_a_data_set);
    tcase_add_test(tcase, overfit);
    tcase_add_test(tcase, loss_over_the_whole_batch);
    tcase_add_test(tcase, memory_cap_of_float_views);
    tcase_add_test(tcase, memory_cap_of_a_waiting_batch);
    tcase_add_test(tcase, absurd_counts);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
