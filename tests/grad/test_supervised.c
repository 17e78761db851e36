/* The operations of supervised training against the same in double: softmax cross entropy with
 * targets that are data, and drop path with factors that are data. One net has both: two branches
 * scaled per image, a linear layer, the loss. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device_of_tests.h"
#include "engine/plan.h"
#include "engine/ops.h"
#include "util/alloc.h"
#include "util/rng.h"
#include "util/status.h"

#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

enum { ROWS = 5, CHANNELS = 16, HEIGHT = 3, WIDTH = 5, CLASSES = 7, BRANCHES = 2, BATCH = 20 };
enum { AREA = HEIGHT * WIDTH, IMAGE = CHANNELS * AREA };

typedef struct rig {
    moco_device_t *device;
    mo_net_t net;
    int32_t factors, targets, loss;
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_instance_t *instance;
    mo_buffer_t arena, on_params, on_grads;
    float *params, *grads, losses[ROWS], d_images[ROWS * IMAGE];
    float images[ROWS * IMAGE], factor[ROWS * BRANCHES], target[ROWS * CLASSES];
} rig_t;

static void normal(float *values, int64_t count, double spread, uint32_t number)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 5, 100, number, 0);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(spread * mo_rng_normal(&rng));
}

/* y = ReLU(a0 image + image), z = ReLU(a1 y + image), logits = linear(mean(z)). */
static void build(rig_t *r)
{
    mo_net_t *net = &r->net;
    net->input = mo_net_tensor(net, CHANNELS, HEIGHT, WIDTH);
    r->factors = mo_net_tensor(net, 0, 1, 1);
    int32_t t = mo_residual(net, mo_drop_path(net, net->input, r->factors), net->input);
    t = mo_residual(net, mo_drop_path(net, t, r->factors), net->input);
    t = mo_linear(net, mo_mean_pool(net, t), "fc", CLASSES);
    r->targets = mo_net_tensor(net, CLASSES, 1, 1);
    r->loss = mo_cross_entropy(net, t, r->targets, BATCH);
    OK(mo_net_done(net));
    ck_assert_int_eq(net->shapes[r->factors].c, BRANCHES);
}

static void open_rig(rig_t *r, double spread, int primitives)
{
    *r = (rig_t){0};
    OK(device_of_tests(1, &r->device));
    build(r);
    mo_plan_spec_t spec = {.net = &r->net,
                           .mode = MO_MODE_TRAIN,
                           .shard = ROWS,
                           .shards_per_group = 1,
                           .inputs = {r->factors, r->targets, -1, -1},
                           .outputs = {r->loss, r->net.input, -1, -1},
                           .has_given = 1,
                           .given = r->net.input,
                           .primitives = primitives};
    OK(mo_plan_create(r->device, &spec, &r->plan));
    OK(mo_block_create((size_t)r->net.params * sizeof(float), &r->params));
    OK(mo_block_create((size_t)r->net.params * sizeof(float), &r->grads));
    OK(mo_buffer_create(r->device, mo_plan_arena_bytes(r->plan), &r->arena));
    OK(mo_buffer_create(r->device, (size_t)r->net.params * sizeof(float), &r->on_params));
    OK(mo_buffer_create(r->device, (size_t)r->net.params * sizeof(float), &r->on_grads));
    normal(r->params, r->net.params, spread, 1);
    normal(r->images, ROWS * IMAGE, 1, 2);
    for (int i = 0; i < ROWS * BRANCHES; i++)
        r->factor[i] = i % 4 == 2 ? 0.0f : 1.0f + 0.25f * (float)i; /* one branch of some images is left out */
    normal(r->target, ROWS * CLASSES, 0.3, 3); /* any numbers, also below 0: shares that do not sum to 1 */
    OK(mo_packed_create(r->plan, r->on_params, &r->packed));
    OK(mo_instance_create(r->plan, r->arena, r->on_params, r->packed, &r->instance));
}

static void close_rig(rig_t *r)
{
    mo_instance_free(r->instance);
    mo_packed_free(r->packed);
    mo_buffer_free(&r->arena);
    mo_buffer_free(&r->on_params);
    mo_buffer_free(&r->on_grads);
    mo_block_free(r->params, (size_t)r->net.params * sizeof(float));
    mo_block_free(r->grads, (size_t)r->net.params * sizeof(float));
    mo_plan_free(r->plan);
    mo_net_free(&r->net);
    mo_device_release(r->device);
}

static moco_status_t put(mo_instance_t *instance, int32_t tensor, const float *from, int64_t count)
{
    float *values;
    moco_status_t status = mo_instance_map(instance, tensor, MO_WRITE, &values);
    if (status != MOCO_OK)
        return status;
    memcpy(values, from, (size_t)count * sizeof *values);
    mo_instance_unmap(instance, tensor, values);
    return MOCO_OK;
}

static moco_status_t run_on_lane(mo_lane_t *lane, void *ctx)
{
    rig_t *r = ctx;
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_buffer_map(r->arena, MO_WRITE, &values));
    memset(values, 0x7f, r->arena.bytes); /* what stood there must not matter */
    mo_buffer_unmap(r->arena, values);
    TRY(mo_instance_bind(r->instance, MO_IN_GRADS, r->on_grads));
    TRY(put(r->instance, r->net.input, r->images, ROWS * IMAGE));
    TRY(put(r->instance, r->factors, r->factor, ROWS * BRANCHES));
    TRY(put(r->instance, r->targets, r->target, ROWS * CLASSES));
    TRY(mo_instance_run(lane, r->instance));
    TRY(mo_instance_map(r->instance, r->loss, MO_READ, &values));
    memcpy(r->losses, values, sizeof r->losses);
    mo_instance_unmap(r->instance, r->loss, values);
    TRY(mo_instance_map_gradient(r->instance, r->net.input, MO_READ, &values));
    memcpy(r->d_images, values, sizeof r->d_images);
    mo_instance_unmap_gradient(r->instance, r->net.input, values);
cleanup:
    return status;
}

static void run(rig_t *r)
{
    OK(mo_buffer_write(r->on_params, r->params));
    OK(mo_packed_refresh(r->packed));
    OK(mo_device_call(r->device, run_on_lane, r));
    OK(mo_buffer_read(r->on_grads, r->grads));
}

/* ---- the same in double ---- */

typedef struct twin {
    double images[ROWS * IMAGE], *params, losses[ROWS];
} twin_t;

/* Images lie as [h,w,c]. */
static double twin_loss(twin_t *t, const rig_t *r)
{
    const mo_parameter_t *weight = &r->net.parameters[0], *bias = &r->net.parameters[1];
    double sum = 0;
    for (int n = 0; n < ROWS; n++) {
        double mean[CHANNELS] = {0}, logits[CLASSES], z = 0;
        const float *a = r->factor + n * BRANCHES;
        for (int i = 0; i < IMAGE; i++) {
            const double x = t->images[n * IMAGE + i];
            mean[i % CHANNELS] += fmax(a[1] * fmax(a[0] * x + x, 0) + x, 0) / AREA;
        }
        for (int c = 0; c < CLASSES; c++) {
            logits[c] = t->params[bias->offset + c];
            for (int k = 0; k < CHANNELS; k++)
                logits[c] += t->params[weight->offset + c * CHANNELS + k] * mean[k];
        }
        for (int c = 0; c < CLASSES; c++)
            z += exp(logits[c] - logits[0]);
        t->losses[n] = 0;
        for (int c = 0; c < CLASSES; c++)
            t->losses[n] += r->target[n * CLASSES + c] * (logits[0] + log(z) - logits[c]);
        sum += t->losses[n];
    }
    return sum / BATCH;
}

/* Every coordinate's slope, by central differences. */
static void assert_gradient(const char *what, double *values, const float *ours, int64_t count, twin_t *t,
                            const rig_t *r)
{
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(ours[i]));
    ck_assert_msg(largest > 1e-4, "%s: all below %g", what, largest);
    for (int64_t i = 0; i < count; i++) {
        const double kept = values[i], step = 1e-6;
        values[i] = kept + step;
        double above = twin_loss(t, r);
        values[i] = kept - step;
        double wanted = (above - twin_loss(t, r)) / (2 * step);
        values[i] = kept;
        ck_assert_msg(fabs(ours[i] - wanted) <= 2e-5 * largest + 1e-9, "%s[%lld]: %.9g, wanted %.9g", what,
                      (long long)i, ours[i], wanted);
    }
}

static const double spreads[] = {0.3, 6}; /* the second: sure answers, logits far apart */

START_TEST(losses_and_gradients)
{
    rig_t *r = malloc(sizeof *r);
    twin_t *t = calloc(1, sizeof *t);
    open_rig(r, spreads[_i / 2], _i % 2); /* loops, then primitives alone */
    run(r);
    t->params = calloc((size_t)r->net.params, sizeof *t->params);
    for (int64_t i = 0; i < r->net.params; i++)
        t->params[i] = r->params[i];
    for (int i = 0; i < ROWS * IMAGE; i++)
        t->images[i] = r->images[i];
    twin_loss(t, r);
    for (int n = 0; n < ROWS; n++)
        ck_assert_double_eq_tol(r->losses[n], t->losses[n], 2e-5 * (1 + fabs(t->losses[n])));
    for (int32_t i = 0; i < r->net.parameter_count; i++) {
        const mo_parameter_t *s = &r->net.parameters[i];
        assert_gradient(s->name, t->params + s->offset, r->grads + s->offset, s->count, t, r);
    }
    assert_gradient("images", t->images, r->d_images, ROWS * IMAGE, t, r);
    free(t->params);
    free(t);
    close_rig(r);
    free(r);
}
END_TEST

/* Logits of some hundred and of a thousand neither overflow nor lose the loss. */
START_TEST(large_logits)
{
    rig_t *r = malloc(sizeof *r);
    open_rig(r, 1, _i);
    for (int c = 0; c < CLASSES; c++)
        r->params[r->net.parameters[1].offset + c] = c == 2 ? 1000.0f : -500.0f * (float)c;
    memset(r->target, 0, sizeof r->target);
    for (int n = 0; n < ROWS; n++)
        r->target[n * CLASSES + (n == 0 ? 2 : 6)] = 1;
    run(r);
    ck_assert_double_eq_tol(r->losses[0], 0, 1e-6);
    for (int n = 1; n < ROWS; n++)
        ck_assert(r->losses[n] > 3900 && r->losses[n] < 4100);
    for (int64_t i = 0; i < r->net.params; i++)
        ck_assert(isfinite(r->grads[i]));
    close_rig(r);
    free(r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("supervised");
    TCase *c = tcase_create("operations");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, losses_and_gradients, 0, 4);
    tcase_add_loop_test(c, large_logits, 0, 2);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
