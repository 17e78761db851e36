/* What a GPU does in a step beside its plans, against a CPU's loops on random numbers: optimizers
 * with the key encoder behind them, gradient norm, gradient tree, queue; then three steps of
 * trainers and of fine-tuning, with the waits and maps of each. On the device of
 * device_of_tests.h. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <moco/moco.h>

#include "device_of_tests.h"
#include "engine/ops.h"
#include "train/finetune.h"
#include "train/trainer.h"
#include "util/fault.h"

#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

static uint64_t drawing;

static float drawn(void)
{
    drawing = drawing * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(drawing >> 11) * 0x1p-53 - 0.5);
}

static void draw(mo_buffer_t to)
{
    float *values;
    OK(mo_buffer_map(to, MO_WRITE, &values));
    for (size_t i = 0; i < to.bytes / sizeof *values; i++)
        values[i] = drawn();
    mo_buffer_unmap(to, values);
}

static float *read_all(mo_buffer_t from)
{
    float *values = calloc(1, from.bytes);
    OK(mo_buffer_read(from, values));
    return values;
}

/* Largest distance of two blocks, of the largest number. */
static double apart(mo_buffer_t a, mo_buffer_t b)
{
    float *x = read_all(a), *y = read_all(b);
    double most = 0, size = 0;
    for (size_t i = 0; i < a.bytes / sizeof *x; i++) {
        most = fmax(most, fabs((double)x[i] - y[i]));
        size = fmax(size, fabs(y[i]));
    }
    free(x);
    free(y);
    return most / size;
}

/* ---- optimizers ---- */

enum { STEPS = 3 };

typedef struct rig {
    moco_device_t *device;
    mo_optim_t optim;
    mo_buffer_t key, gradient[2];
    double norm[STEPS];
} rig_t;

static int is_vector(const mo_parameter_t *parameter)
{
    return parameter->rank == 1;
}

static void make_net(mo_net_t *net)
{
    net->input = mo_net_tensor(net, 300, 1, 1);
    int32_t t = mo_linear(net, net->input, "fc", 257); /* two parts, and a vector */
    t = mo_batchnorm_part(net, t, "bn", 0, MO_AFFINE_SCALE);
    mo_linear_plain(net, t, "last", 3, MO_INIT_UNIFORM);
    net->parameters[4].frozen = 1;
    OK(mo_net_done(net));
}

/* Three steps; the key encoder has all but the last parameter, which is frozen. */
static void run_steps(const mo_net_t *net, mo_optimizer_t kind, rig_t *r)
{
    const int64_t cut = net->parameters[1].offset, keys = net->parameters[4].offset;
    const size_t bytes = (size_t)net->params * sizeof(float);
    const int gpu = mo_device_is_gpu(r->device);
    mo_optim_t *o = &r->optim;
    drawing = 99;
    OK(mo_optim_prepare(o, net));
    OK(mo_buffer_create(r->device, bytes, &o->params_at));
    OK(mo_buffer_create(r->device, (size_t)keys * sizeof(float), &r->key));
    for (int i = 0; i < mo_optim_blocks(kind); i++)
        OK(mo_buffer_create(r->device, bytes, &o->state_at[i]));
    OK(mo_buffer_create(r->device, (size_t)cut * sizeof(float), &r->gradient[0]));
    OK(mo_buffer_create(r->device, bytes - (size_t)cut * sizeof(float), &r->gradient[1]));
    OK(mo_optim_prepare_on(o, r->device));
    draw(o->params_at);
    draw(r->key);
    for (int step = 0; step < STEPS; step++) {
        mo_update_t u = {.optim = o,
                         .rates = {.kind = kind,
                                   .lr = step == 1 ? 0 : 0.1,
                                   .momentum = 0.9,
                                   .weight_decay = 0.01,
                                   .trust = 0.02,
                                   .beta1 = 0.9,
                                   .beta2 = 0.99,
                                   .epsilon = 1e-8,
                                   .step = step + 1},
                         .spared = is_vector,
                         .follower = {.at = r->key, .count = keys, .momentum = 0.99}};
        const int64_t from[] = {0, cut}, count[] = {cut, net->params - cut};
        float *gradients[2] = {NULL};
        mo_hold_t holds[] = {{r->gradient[0], MO_READ, &gradients[0]},  {r->gradient[1], MO_READ, &gradients[1]},
                             {o->params_at, MO_UPDATE, &o->params},     {o->state_at[0], MO_UPDATE, &o->state[0]},
                             {o->state_at[1], MO_UPDATE, &o->state[1]}, {r->key, MO_UPDATE, &u.follower.params}};
        draw(r->gradient[0]);
        draw(r->gradient[1]);
        if (!gpu)
            OK(mo_holds_map(holds, 6));
        for (int i = 0; i < 2; i++)
            o->pieces[i] = (mo_gradient_piece_t){gradients[i], from[i], count[i], r->gradient[i]};
        OK(mo_update_measure(&u, r->device));
        OK(mo_device_wait(r->device));
        OK(mo_update_prepare(&u, r->device, 1, &r->norm[step]));
        mo_update_commit(&u, r->device);
        if (!gpu)
            mo_holds_release(holds, 6);
    }
}

static void free_rig(rig_t *r)
{
    for (int i = 0; i < 2; i++) {
        mo_buffer_free(&r->gradient[i]);
        mo_buffer_free(&r->optim.state_at[i]);
    }
    mo_buffer_free(&r->key);
    mo_buffer_free(&r->optim.params_at);
    mo_optim_free(&r->optim);
    mo_device_release(r->device);
}

START_TEST(test_optimizers)
{
    const mo_optimizer_t kind = (mo_optimizer_t)_i;
    /* The formulas are the same, so SGD has the same bits; LARS's ratios come from other sums. */
    const double bound = kind == MO_OPTIMIZER_SGD ? 0 : 1e-6;
    mo_net_t net = {0};
    rig_t ours = {0}, theirs = {0};
    make_net(&net);
    OK(device_of_tests(1, &ours.device));
    OK(mo_device_open_lanes(1, &theirs.device));
    run_steps(&net, kind, &ours);
    run_steps(&net, kind, &theirs);
    for (int i = 0; i < STEPS; i++)
        ck_assert_double_le(fabs(ours.norm[i] / theirs.norm[i] - 1), 1e-12);
    ck_assert_double_le(apart(ours.optim.params_at, theirs.optim.params_at), bound);
    ck_assert_double_le(apart(ours.key, theirs.key), bound);
    for (int i = 0; i < mo_optim_blocks(kind); i++)
        ck_assert_double_le(apart(ours.optim.state_at[i], theirs.optim.state_at[i]), bound);
    free_rig(&ours);
    free_rig(&theirs);
    mo_net_free(&net);
}
END_TEST

/* ---- gradient tree and queue ---- */

START_TEST(test_tree)
{
    enum { LEAVES = 5, FLOATS = 1000 };
    static const int32_t order[LEAVES] = {3, 0, 4, 2, 1};
    moco_device_t *devices[2] = {NULL};
    mo_gradients_t trees[2];
    OK(device_of_tests(1, &devices[0]));
    OK(mo_device_open_lanes(1, &devices[1]));
    for (int d = 0; d < 2; d++) {
        OK(mo_gradients_create(&trees[d], FLOATS, LEAVES, LEAVES, 1, devices[d]));
        for (int i = 0; i < LEAVES; i++) {
            mo_buffer_t block;
            drawing = (uint64_t)order[i];
            OK(mo_gradients_take(&trees[d], &block));
            draw(block);
            OK(mo_gradients_finish(&trees[d], order[i], block));
        }
    }
    ck_assert_double_le(apart(trees[0].total, trees[1].total), 0);
    for (int d = 0; d < 2; d++) {
        mo_gradients_free(&trees[d]);
        mo_device_release(devices[d]);
    }
}
END_TEST

START_TEST(test_queue)
{
    enum { LENGTH = 10, WIDTH = 3, MOST = 12 };
    moco_device_t *device = NULL;
    mo_keys_t ours = {.length = LENGTH, .dimension = WIDTH}, theirs = ours;
    mo_buffer_t rows;
    float *mapped, *source;
    OK(device_of_tests(1, &device));
    OK(mo_buffer_create(device, LENGTH * WIDTH * sizeof(float), &ours.rows));
    OK(mo_buffer_create(NULL, LENGTH * WIDTH * sizeof(float), &theirs.rows));
    OK(mo_buffer_create(device, MOST * WIDTH * sizeof(float), &rows));
    OK(mo_buffer_map(theirs.rows, MO_UPDATE, &mapped));
    for (int64_t count = 0; count <= MOST; count++) { /* wraps, fits, is longer */
        draw(rows);
        source = read_all(rows);
        OK(mo_keys_move_in(&ours, rows, count));
        mo_keys_enqueue(&theirs, mapped, source, count);
        free(source);
        source = read_all(ours.rows);
        ck_assert_mem_eq(source, mapped, LENGTH * WIDTH * sizeof(float));
        ck_assert_int_eq(ours.pointer, theirs.pointer);
        free(source);
    }
    mo_buffer_unmap(theirs.rows, mapped);
    mo_buffer_free(&ours.rows);
    mo_buffer_free(&theirs.rows);
    mo_buffer_free(&rows);
    mo_device_release(device);
}
END_TEST

/* ---- a trainer ---- */

enum { BATCH = 16, SIZE = 16, IMAGE = 3 * SIZE * SIZE };

/* MoCo v2 takes a step in one pass, v3 in two, and with both views; BYOL has no negatives. The
 * group of SimCLR has two shards, which meet in its batch norms and in NT-Xent. */
typedef struct training {
    int32_t recipe, groups, shard;
} training_t;

static const training_t trainings[] = {
    {MOCO_RECIPE_V2, 2, 0}, {MOCO_RECIPE_V3, 2, 0}, {MOCO_RECIPE_SIMCLR, 1, 8}, {MOCO_RECIPE_BYOL, 2, 0}};
enum { TRAININGS = sizeof trainings / sizeof trainings[0] };

static moco_trainer_t *make_trainer(moco_device_t *device, const training_t *training)
{
    const int32_t recipe = training->recipe;
    moco_trainer_options_t o;
    moco_trainer_t *t = NULL;
    OK(moco_trainer_options_init(&o, sizeof o, recipe, MOCO_ARCH_RESNET18));
    o.arch = MOCO_ARCH_RESNET18;
    o.stem = MOCO_STEM_CIFAR;
    o.width = 0.25;
    o.image_size = SIZE;
    o.batch_size = BATCH;
    o.bn_groups = training->groups;
    o.shard = training->shard;
    if (recipe == MOCO_RECIPE_V2)
        o.queue_length = 64;
    o.steps_per_epoch = 4;
    OK(moco_trainer_create(&o, device, &t));
    return t;
}

static moco_status_t try_step(moco_trainer_t *t, uint64_t number, int32_t layout, mo_outcome_t *outcome)
{
    static float views[2][BATCH * IMAGE];
    drawing = number;
    for (int view = 0; view < 2; view++)
        for (int64_t i = 0; i < (int64_t)BATCH * IMAGE; i++)
            views[view][i] = 4 * drawn();
    const moco_status_t status = moco_trainer_push_views(t, BATCH, views[0], views[1], layout);
    return status == MOCO_OK || status == MOCO_ERR_FULL ? mo_step_pushed(t, outcome)
                                                        : status; /* FULL: of a failed one */
}

static void step(moco_trainer_t *t, uint64_t number, int32_t layout, mo_outcome_t *outcome)
{
    OK(try_step(t, number, layout, outcome));
}

START_TEST(test_trainer)
{
    moco_device_t *devices[2] = {NULL};
    moco_trainer_t *ours, *theirs;
    OK(device_of_tests(1, &devices[0]));
    OK(mo_device_open_lanes(1, &devices[1]));
    ours = make_trainer(devices[0], &trainings[_i]);
    theirs = make_trainer(devices[1], &trainings[_i]);
    for (uint64_t i = 0; i < STEPS; i++) {
        mo_device_counts_t before, after;
        mo_outcome_t a, b;
        const int32_t layout = i == 1 ? MOCO_LAYOUT_NHWC : MOCO_LAYOUT_NCHW;
        step(theirs, i, layout, &b);
        mo_device_counts(devices[0], &before);
        step(ours, i, layout, &a);
        mo_device_counts(devices[0], &after);
        ck_assert_int_eq(after.waits - before.waits, on_gpu());
        ck_assert_int_eq(after.maps - before.maps, 0);
        ck_assert_double_le(fabs(a.loss / b.loss - 1), 1e-5);
        /* A ReLU that is rounded to the other side of 0 changes one of 16 x 2 x 2 x 128 numbers. */
        ck_assert_double_le(fabs(a.gradient_norm / b.gradient_norm - 1), 1 / sqrt(8192.0));
    }
    const mo_state_t *x = &ours->state, *y = &theirs->state;
    ck_assert_double_le(apart(x->query.params, y->query.params), 1e-4);
    if (x->method.key_views > 0)
        ck_assert_double_le(apart(x->key.params, y->key.params), 1e-4);
    if (trainings[_i].recipe ==
        MOCO_RECIPE_V2) { /* v3's LARS divides gradients by their norms, which may be rounding alone */
        ck_assert_double_le(apart(x->optimizer[0], y->optimizer[0]), 1e-2);
        ck_assert_double_le(apart(x->queue.rows, y->queue.rows), 1e-3);
    }
    ck_assert_int_eq(x->queue.pointer, y->queue.pointer);
    for (int32_t i = 0; i < x->query.net.stats; i++)
        ck_assert_double_le(fabs((double)x->query.running[i] - y->query.running[i]),
                            1e-4 * (1 + fabs(y->query.running[i])));
    for (int32_t i = 0; i < x->key.net.stats; i++)
        ck_assert_double_le(fabs((double)x->key.running[i] - y->key.running[i]), 1e-4 * (1 + fabs(y->key.running[i])));
    moco_trainer_free(ours);
    moco_trainer_free(theirs);
    mo_device_release(devices[0]);
    mo_device_release(devices[1]);
}
END_TEST

/* The n-th call of the engine fails: a step that says so has changed nothing, and the next one has
 * the loss that it has without that. */
START_TEST(test_failing_calls)
{
    enum { TRIES = 5 };
    moco_device_t *device = NULL;
    mo_outcome_t wanted, got;
    OK(device_of_tests(1, &device));
    moco_trainer_t *calm = make_trainer(device, &trainings[_i]), *ours = make_trainer(device, &trainings[_i]);
    step(calm, 1, MOCO_LAYOUT_NCHW, &wanted);
    mo_fault_arm(MO_FAULT_ENGINE, -1);
    step(calm, 2, MOCO_LAYOUT_NCHW, &wanted);
    const long calls = mo_fault_arm(MO_FAULT_ENGINE, -1);
    ck_assert_int_gt(calls, TRIES);
    step(ours, 1, MOCO_LAYOUT_NCHW, &got);
    for (long n = 0; n < calls; n += calls / TRIES) {
        mo_fault_arm(MO_FAULT_ENGINE, n);
        const moco_status_t status = try_step(ours, 2, MOCO_LAYOUT_NCHW, &got);
        mo_fault_arm(MO_FAULT_ENGINE, -1);
        if (status == MOCO_OK) /* behind the commit: the next step would be told */
            break;
        ck_assert_msg(status == MOCO_ERR_ENGINE || status == MOCO_ERR_MEMORY, "call %ld: status %d", n, status);
        ck_assert_ptr_null(strstr(moco_last_message(), "finish its work"));
        ck_assert_int_eq(ours->state.step, 1);
    }
    if (ours->state.step == 1)
        step(ours, 2, MOCO_LAYOUT_NCHW, &got);
    ck_assert(got.loss == wanted.loss);
    moco_trainer_free(ours);
    moco_trainer_free(calm);
    mo_device_release(device);
}
END_TEST

/* ---- fine-tuning ---- */

enum { CLASSES = 5 };

static void make_tuner(moco_device_t *device, int32_t arch, mo_tuner_t *t)
{
    moco_trainer_options_t o;
    moco_finetune_options_t f;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    OK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_V3, arch));
    o.arch = arch;
    o.stem = MOCO_STEM_CIFAR;
    o.width = 0.25;
    o.image_size = SIZE;
    o.patch_size = 8;
    o.vit_depth = 2;
    o.vit_heads = 3;
    o.batch_size = BATCH;
    o.bn_groups = 2;
    OK(moco_trainer_create(&o, device, &trainer));
    OK(moco_trainer_snapshot(trainer, NULL, device, &model));
    OK(moco_finetune_options_init(&f, sizeof f,
                                  arch == MOCO_ARCH_RESNET18 ? MOCO_OPTIMIZER_SGD : MOCO_OPTIMIZER_ADAMW));
    f.batch_size = BATCH;
    f.bn_groups = 2;
    f.epochs = 1;
    f.label_smoothing = 0.1;
    f.drop_path = arch == MOCO_ARCH_RESNET18 ? 0 : 0.2;
    OK(mo_tuner_create(t, model, &f, CLASSES));
    moco_model_free(model);
    moco_trainer_free(trainer);
}

/* Batch `number`; images are mixed in every other one. */
static moco_status_t tune(mo_tuner_t *t, int number, double *loss)
{
    static uint8_t pixels[BATCH * IMAGE];
    const uint8_t *rows[BATCH];
    int32_t labels[BATCH];
    float factors[BATCH * 16];
    mo_tune_batch_t batch = {.rows = rows, .labels = labels, .share = number % 2 ? 0.75 : 1, .factors = factors};
    drawing = (uint64_t)number;
    for (int i = 0; i < BATCH * IMAGE; i++)
        pixels[i] = (uint8_t)(255 * (drawn() + 0.5f));
    for (int i = 0; i < BATCH; i++) {
        rows[i] = pixels + (BATCH - 1 - i) * IMAGE;
        labels[i] = (i * 3 + number) % CLASSES;
    }
    ck_assert_int_le(t->branches, 16);
    for (int i = 0; i < BATCH * t->branches; i++)
        factors[i] = drawn() < 0.3f ? 1.25f : 0;
    return mo_tuner_step(t, &batch, 1e-3, loss);
}

START_TEST(test_tuner)
{
    static const int32_t archs[] = {MOCO_ARCH_RESNET18, MOCO_ARCH_VIT_SMALL};
    moco_device_t *devices[2] = {NULL};
    mo_tuner_t ours = {0}, theirs = {0};
    OK(device_of_tests(1, &devices[0]));
    OK(mo_device_open_lanes(1, &devices[1]));
    make_tuner(devices[0], archs[_i], &ours);
    make_tuner(devices[1], archs[_i], &theirs);
    for (int i = 0; i < STEPS; i++) {
        mo_device_counts_t before, after;
        double a, b;
        OK(tune(&theirs, i, &b));
        mo_device_counts(devices[0], &before);
        OK(tune(&ours, i, &a));
        mo_device_counts(devices[0], &after);
        ck_assert_int_eq(after.waits - before.waits, on_gpu());
        ck_assert_int_eq(after.maps - before.maps, 0);
        ck_assert_double_le(fabs(a / b - 1), 1e-5);
    }
    ck_assert_double_le(apart(ours.encoder.params, theirs.encoder.params), 1e-3);
    for (int32_t i = 0; i < theirs.encoder.net.stats; i++)
        ck_assert_double_le(fabs((double)ours.encoder.running[i] - theirs.encoder.running[i]),
                            1e-4 * (1 + fabs(theirs.encoder.running[i])));
    mo_tuner_free(&ours);
    mo_tuner_free(&theirs);
    mo_device_release(devices[0]);
    mo_device_release(devices[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gpu step");
    TCase *tests = tcase_create("gpu step");
    tcase_set_timeout(tests, 600);
    tcase_add_loop_test(tests, test_optimizers, 0, 4);
    tcase_add_test(tests, test_tree);
    tcase_add_test(tests, test_queue);
    tcase_add_loop_test(tests, test_trainer, 0, TRAININGS);
    tcase_add_loop_test(tests, test_failing_calls, 0, 2);
    tcase_add_loop_test(tests, test_tuner, 0, 2);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
