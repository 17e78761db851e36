/* BYOL's regression loss behind a normalisation: values against double precision, the gradient
 * against finite differences of a double-precision loss, and a shard's share of a batch's mean. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contrast/contrast.h"
#include "engine/ops.h"
#include "engine/plan.h"
#include "util/rng.h"
#include "util/status.h"

#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

enum { ROWS = 6, WIDTH = 24, BATCH = 18 }; /* a shard of a third of the batch */
#define SCALE 2.0

static void normal(float *values, int64_t count, double spread, uint32_t number)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 5, 100, number, 0);
    for (int64_t i = 0; i < count; i++)
        values[i] += (float)(spread * mo_rng_normal(&rng));
}

static double norm_of(const double *x)
{
    double sum = 0;
    for (int i = 0; i < WIDTH; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* 2 - 2 cos of a row and its key, in double. */
static double row_loss(const double *x, const float *key)
{
    double dot = 0, keys = 0;
    for (int i = 0; i < WIDTH; i++) {
        dot += x[i] * key[i];
        keys += (double)key[i] * key[i];
    }
    return SCALE * (2 - 2 * dot / (norm_of(x) * sqrt(keys)));
}

typedef struct run {
    mo_net_t net;
    int32_t keys, loss;
    mo_instance_t *instance;
    float x[ROWS * WIDTH], key[ROWS * WIDTH], losses[ROWS * MO_LOSS_WIDTH], d_x[ROWS * WIDTH];
} run_t;

static moco_status_t on_lane(mo_lane_t *lane, void *ctx)
{
    run_t *r = ctx;
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_instance_map(r->instance, r->net.input, MO_WRITE, &values));
    memcpy(values, r->x, sizeof r->x);
    mo_instance_unmap(r->instance, r->net.input, values);
    TRY(mo_instance_map(r->instance, r->keys, MO_WRITE, &values));
    memcpy(values, r->key, sizeof r->key);
    mo_instance_unmap(r->instance, r->keys, values);
    TRY(mo_instance_run(lane, r->instance));
    TRY(mo_instance_map(r->instance, r->loss, MO_READ, &values));
    memcpy(r->losses, values, sizeof r->losses);
    mo_instance_unmap(r->instance, r->loss, values);
    TRY(mo_instance_map_gradient(r->instance, r->net.input, MO_READ, &values));
    memcpy(r->d_x, values, sizeof r->d_x);
    mo_instance_unmap_gradient(r->instance, r->net.input, values);
cleanup:
    return status;
}

/* Rows of x of any length; keys of length 1, `apart` from them. */
static void fill(run_t *r, double apart)
{
    normal(r->x, ROWS * WIDTH, 1.5, 1);
    memcpy(r->key, r->x, sizeof r->key);
    normal(r->key, ROWS * WIDTH, apart, 2);
    for (int n = 0; n < ROWS; n++) {
        double row[WIDTH];
        for (int i = 0; i < WIDTH; i++)
            row[i] = r->key[n * WIDTH + i];
        for (int i = 0; i < WIDTH; i++)
            r->key[n * WIDTH + i] = (float)(row[i] / norm_of(row));
    }
}

static void check_rows(const run_t *r, double tolerance)
{
    for (int n = 0; n < ROWS; n++) {
        double x[WIDTH], wanted = 0, size = 0, error = 0;
        for (int i = 0; i < WIDTH; i++)
            x[i] = r->x[n * WIDTH + i];
        const double loss = row_loss(x, r->key + n * WIDTH);
        ck_assert_double_eq_tol(r->losses[n * MO_LOSS_WIDTH + MO_LOSS_VALUE], loss, tolerance * loss + 1e-12);
        for (int i = 0; i < WIDTH; i++) {
            const double h = 1e-6, at = x[i];
            x[i] = at + h;
            wanted = row_loss(x, r->key + n * WIDTH);
            x[i] = at - h;
            wanted = (wanted - row_loss(x, r->key + n * WIDTH)) / (2 * h) / BATCH;
            x[i] = at;
            size += wanted * wanted;
            error += pow(r->d_x[n * WIDTH + i] - wanted, 2);
        }
        ck_assert_msg(sqrt(error) <= tolerance * sqrt(size) + 1e-9, "row %d: gradient off by %g of %g", n, sqrt(error),
                      sqrt(size));
    }
}

START_TEST(test_regression)
{
    static const double apart[] = {10, 1, 0.02}; /* hardly alike, alike, nearly the same */
    run_t r = {0};
    moco_device_t *device = NULL;
    mo_plan_t *plan = NULL;
    mo_packed_t *packed = NULL;
    mo_buffer_t arena = {0}, params = {0};
    OK(mo_device_open_lanes(1, &device));
    r.net.input = mo_net_tensor(&r.net, WIDTH, 1, 1);
    r.keys = mo_net_tensor(&r.net, WIDTH, 1, 1);
    r.loss = mo_regression(&r.net, mo_l2norm(&r.net, r.net.input), r.keys, BATCH, SCALE);
    OK(mo_net_done(&r.net));
    const mo_plan_spec_t spec = {.net = &r.net,
                                 .mode = MO_MODE_TRAIN,
                                 .shard = ROWS,
                                 .shards_per_group = 1,
                                 .inputs = {r.keys, -1, -1, -1},
                                 .outputs = {r.loss, r.net.input, -1, -1},
                                 .has_given = 1,
                                 .given = r.net.input};
    OK(mo_plan_create(device, &spec, &plan));
    OK(mo_buffer_create(device, (size_t)r.net.params * sizeof(float), &params));
    OK(mo_buffer_create(device, mo_plan_arena_bytes(plan), &arena));
    OK(mo_packed_create(plan, params, &packed));
    OK(mo_instance_create(plan, arena, params, packed, &r.instance));
    fill(&r, apart[_i]);
    OK(mo_device_call(device, on_lane, &r));
    check_rows(&r, _i == 2 ? 1e-3 : 2e-6);
    mo_instance_free(r.instance);
    mo_packed_free(packed);
    mo_buffer_free(&arena);
    mo_buffer_free(&params);
    mo_plan_free(plan);
    mo_net_free(&r.net);
    mo_device_release(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("regression");
    TCase *tc = tcase_create("regression");
    tcase_add_loop_test(tc, test_regression, 0, 3);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
