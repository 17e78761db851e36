/* Products that train in bf16. Integers below 256 are bf16 numbers, and float32 sums of their
 * products are exact in every order: so results and gradients have the bits of float32's plan.
 * test_layers.c compares whole networks of other numbers. */
#include <stdio.h>

#include "engine/plan/plan_internal.h"
#include "engine_fixtures.h"

typedef struct product {
    const char *name;
    mo_shape_t image;
    int32_t images;
    int32_t (*list)(mo_net_t *net, int32_t t);
} product_t;

/* clang-format off */
static int32_t conv1(mo_net_t *net, int32_t t) { return mo_conv(net, t, "conv", 32, 1, 1, 0, MO_INIT_KAIMING); }
static int32_t conv1_2(mo_net_t *net, int32_t t) { return mo_conv(net, t, "conv", 48, 1, 2, 0, MO_INIT_KAIMING); }
static int32_t conv3(mo_net_t *net, int32_t t) { return mo_conv(net, t, "conv", 16, 3, 1, 1, MO_INIT_KAIMING); }
static int32_t conv3_2(mo_net_t *net, int32_t t) { return mo_conv(net, t, "conv", 32, 3, 2, 1, MO_INIT_KAIMING); }
static int32_t linear(mo_net_t *net, int32_t t) { return mo_linear(net, t, "fc", 24); }
static int32_t plain(mo_net_t *net, int32_t t) { return mo_linear_plain(net, t, "fc", 40, MO_INIT_UNIFORM); }
static int32_t bias(mo_net_t *net, int32_t t) { return mo_conv_bias(net, t, "conv", 32, 1, 1, MO_INIT_UNIFORM, MO_INIT_UNIFORM, 0); }
static int32_t frozen(mo_net_t *net, int32_t t) { return mo_conv_bias(net, t, "conv", 16, 2, 2, MO_INIT_UNIFORM, MO_INIT_UNIFORM, 1); }
/* clang-format on */

/* One tensor that two products read, and results that are added. */
static int32_t two_readers(mo_net_t *net, int32_t t)
{
    const int32_t a = mo_conv(net, t, "a", 16, 3, 1, 1, MO_INIT_KAIMING);
    return mo_sum(net, a, mo_conv(net, t, "b", 16, 1, 1, 0, MO_INIT_KAIMING));
}

/* Float32 operations read it as well. */
static int32_t other_readers(mo_net_t *net, int32_t t)
{
    return mo_residual(net, mo_conv(net, t, "a", 16, 3, 1, 1, MO_INIT_KAIMING), t);
}

static const product_t products[] = {
    {"1x1", {16, 5, 7}, 3, conv1},
    {"1x1, odd channels", {24, 5, 7}, 3, conv1},
    {"1x1, stride 2", {16, 7, 7}, 2, conv1_2},
    {"3x3", {16, 7, 6}, 3, conv3},
    {"3x3, 3 channels", {3, 7, 6}, 3, conv3},
    {"3x3, stride 2", {16, 9, 7}, 3, conv3_2},
    {"3x3, stride 2, one image", {32, 8, 6}, 1, conv3_2},
    {"1x1 with bias", {16, 5, 5}, 3, bias},
    {"2x2 with bias, frozen", {16, 6, 6}, 3, frozen},
    {"linear", {24, 1, 1}, 5, linear},
    {"linear, one row", {48, 1, 1}, 1, linear},
    {"linear on tokens", {16, 17, 1}, 3, linear},
    {"linear on many tokens", {32, 145, 1}, 2, linear},
    {"linear without bias", {16, 7, 1}, 3, plain},
    {"two readers", {16, 7, 6}, 3, two_readers},
    {"readers of two types", {16, 7, 6}, 3, other_readers},
};
enum { PRODUCTS = sizeof products / sizeof products[0] };

typedef struct run {
    mo_net_t net;
    int32_t result;
    moco_device_t *device;
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_instance_t *instance;
    mo_buffer_t arena, params, grads;
    float *values, *d_input, *d_params; /* what came out */
    int64_t value_count, input_count;
} run_t;

/* -1, 0 and 1: sums of 9 * 16 products stay below 256, should they be rounded. */
static void small(float *values, int64_t count, uint32_t state)
{
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)((int)(state >> 16) % 3 - 1);
    }
}

static int64_t numbers(const run_t *r, int32_t tensor, int32_t images)
{
    const mo_shape_t s = r->net.shapes[tensor];
    return (int64_t)images * s.c * s.h * s.w;
}

static void fill(mo_buffer_t buffer, uint32_t state)
{
    void *values;
    RIG_OK(mo_buffer_map(buffer, MO_WRITE, &values));
    small(values, (int64_t)(buffer.bytes / sizeof(float)), state);
    mo_buffer_unmap(buffer, values);
}

static moco_status_t run_on_lane(mo_lane_t *lane, void *ctx)
{
    run_t *r = ctx;
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_instance_bind(r->instance, MO_IN_GRADS, r->grads));
    TRY(mo_instance_map(r->instance, r->net.input, MO_WRITE, &values));
    small(values, r->input_count, 1);
    mo_instance_unmap(r->instance, r->net.input, values);
    TRY(mo_instance_map_gradient(r->instance, r->result, MO_WRITE, &values));
    small(values, r->value_count, 2);
    mo_instance_unmap_gradient(r->instance, r->result, values);
    TRY(mo_instance_run(lane, r->instance));
    TRY(mo_instance_map(r->instance, r->result, MO_READ, &values));
    memcpy(r->values, values, (size_t)r->value_count * sizeof(float));
    mo_instance_unmap(r->instance, r->result, values);
    TRY(mo_instance_map_gradient(r->instance, r->net.input, MO_READ, &values));
    memcpy(r->d_input, values, (size_t)r->input_count * sizeof(float));
    mo_instance_unmap_gradient(r->instance, r->net.input, values);
cleanup:
    return status;
}

/* Forward and backward from a given gradient; 0 where there is no such precision. The product
 * stands behind a ReLU, since what reads the images themselves stays float32. */
static int run(run_t *r, const product_t *product, mo_precision_t precision, int primitives)
{
    *r = (run_t){0};
    RIG_OK(device_of_tests(1, &r->device));
    r->net.input = mo_net_tensor(&r->net, product->image.c, product->image.h, product->image.w);
    r->result = product->list(&r->net, mo_relu(&r->net, r->net.input));
    r->net.body_ops = r->net.op_count;
    RIG_OK(mo_net_done(&r->net));
    const mo_plan_spec_t spec = {.net = &r->net,
                                 .mode = MO_MODE_TRAIN,
                                 .shard = product->images,
                                 .shards_per_group = 1,
                                 .inputs = {-1, -1, -1, -1},
                                 .outputs = {r->result, r->net.input, -1, -1},
                                 .seeded = 1,
                                 .precision = precision,
                                 .primitives = primitives};
    const moco_status_t status = mo_plan_create(r->device, &spec, &r->plan);
    if (status == MOCO_ERR_UNSUPPORTED && precision != MO_PRECISION_FLOAT32)
        return 0;
    RIG_OK(status);
    r->value_count = numbers(r, r->result, product->images);
    r->input_count = numbers(r, r->net.input, product->images);
    r->values = rig_block(r->value_count);
    r->d_input = rig_block(r->input_count);
    r->d_params = rig_block(r->net.params);
    RIG_OK(mo_buffer_create(r->device, mo_plan_arena_bytes(r->plan), &r->arena));
    RIG_OK(mo_buffer_create(r->device, (size_t)r->net.params * sizeof(float), &r->params));
    RIG_OK(mo_buffer_create(r->device, (size_t)r->net.params * sizeof(float), &r->grads));
    rig_fill(r->arena, 0xff);
    rig_fill(r->grads, 0xff);
    fill(r->params, 3);
    RIG_OK(mo_packed_create(r->plan, r->params, &r->packed));
    RIG_OK(mo_packed_refresh(r->packed));
    RIG_OK(mo_instance_create(r->plan, r->arena, r->params, r->packed, &r->instance));
    RIG_OK(mo_device_call(r->device, run_on_lane, r));
    RIG_OK(mo_buffer_read(r->grads, r->d_params));
    return 1;
}

static void end(run_t *r)
{
    mo_instance_free(r->instance);
    mo_packed_free(r->packed);
    mo_plan_free(r->plan);
    mo_buffer_free(&r->arena);
    mo_buffer_free(&r->params);
    mo_buffer_free(&r->grads);
    mo_block_free(r->values, 0);
    mo_block_free(r->d_input, 0);
    mo_block_free(r->d_params, 0);
    mo_net_free(&r->net);
    mo_device_release(r->device);
}

static void same(const char *name, const char *what, const float *a, const float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg(a[i] == b[i], "%s: %s %lld is %g, wanted %g", name, what, (long long)i, a[i], b[i]);
}

/* The processor has instructions for bf16, and nobody told oneDNN to do without. */
static int must_have_bf16(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16") && getenv("ONEDNN_MAX_CPU_ISA") == NULL &&
           getenv("DNNL_MAX_CPU_ISA") == NULL && !on_gpu();
#else
    return 0;
#endif
}

START_TEST(test_exact)
{
    const product_t *product = &products[_i / 2];
    run_t full, low;
    ck_assert_int_eq(run(&full, product, MO_PRECISION_FLOAT32, _i % 2), 1);
    if (run(&low, product, MO_PRECISION_BF16, _i % 2)) {
        ck_assert_int_ge(low.plan->converted[low.net.ops[0].dst], 0); /* what ReLU makes is read in bf16 */
        same(product->name, "result", low.values, full.values, full.value_count);
        same(product->name, "input gradient", low.d_input, full.d_input, full.input_count);
        for (int32_t i = 0; i < full.net.parameter_count; i++) {
            const mo_parameter_t *p = &full.net.parameters[i];
            same(product->name, p->name, low.d_params + p->offset, full.d_params + p->offset, p->count);
        }
    } else {
        ck_assert_int_eq(must_have_bf16(), 0);
        if (_i == 0)
            printf("skipped: %s\n", moco_last_message());
    }
    end(&low);
    end(&full);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("low");
    TCase *tc = tcase_create("low");
    tcase_add_loop_test(tc, test_exact, 0, 2 * PRODUCTS);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
