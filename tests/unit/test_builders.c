/* The functions that list operations: the shape of what each makes, and that each hands on the
 * failure of the one before it. */
#include <check.h>
#include <stdlib.h>

#include "contrast/contrast.h"
#include "engine/ops.h"

enum { C = 8, H = 6, W = 4 };

/* Builder number k on source `src`; `second` is what a builder with two sources reads beside it. */
static int32_t call(mo_net_t *net, int k, int32_t src, int32_t second)
{
    const mo_infonce_spec_t spec = {
        .queries = src, .keys = second, .place = -1, .count = 5, .temperature = 1, .batch = 2, .scale = 1};
    switch (k) {
    case 0: return mo_conv(net, src, "a", 5, 3, 2, 1, MO_INIT_KAIMING);
    case 1: return mo_conv_bias(net, src, "a", 5, 2, 2, MO_INIT_UNIFORM, MO_INIT_ZERO, 1);
    case 2: return mo_batchnorm(net, src, "a", 1, MO_INIT_ONE);
    case 3: return mo_batchnorm_part(net, src, "a", 0, MO_AFFINE_NONE);
    case 4: return mo_relu(net, src);
    case 5: return mo_max_pool(net, src, 3, 2, 1);
    case 6: return mo_mean_pool(net, src);
    case 7: return mo_linear(net, src, "a", 5);
    case 8: return mo_linear_from(net, src, "a", 5, MO_INIT_XAVIER, 4, MO_INIT_ZERO);
    case 9: return mo_linear_plain(net, src, "a", 5, MO_INIT_NORMAL);
    case 10: return mo_residual(net, src, second);
    case 11: return mo_class_token(net, src);
    case 12: return mo_layernorm(net, src, "a");
    case 13: return mo_gelu(net, src);
    case 14: return mo_sum(net, src, second);
    case 15: return mo_l2norm(net, src);
    case 16: return mo_cross_entropy(net, src, second, 2);
    case 17: return mo_drop_path(net, src, second);
    case 18: return mo_infonce(net, &spec);
    case 19: return mo_nt_xent(net, src, second, 2, 1, 1);
    case 20: return mo_regression(net, src, second, 2, 1);
    case 21: return mo_attention(net, src, 2);
    case 22: return mo_class_attention(net, src, 2);
    default: return mo_tokens(net, src, second);
    }
}

static const struct {
    int two;          /* has two sources */
    mo_shape_t shape; /* of what becomes of [C,H,W] */
} builders[] = {
    {0, {5, 3, 2}},
    {0, {5, 3, 2}},
    {0, {C, H, W}},
    {0, {C, H, W}},
    {0, {C, H, W}},
    {0, {C, 3, 2}},
    {0, {C, 1, 1}},
    {0, {5, H, W}},
    {0, {5, H, W}},
    {0, {5, H, W}},
    {1, {C, H, W}},
    {0, {C, 1, 1}},
    {0, {C, H, W}},
    {0, {C, H, W}},
    {1, {C, H, W}},
    {0, {C, 1, 1}},
    {1, {1, 1, 1}},
    {1, {C, H, W}},
    {1, {MO_LOSS_WIDTH, 1, 1}},
    {1, {MO_LOSS_WIDTH, 1, 1}},
    {1, {MO_LOSS_WIDTH, 1, 1}},
};
enum { BUILDERS = sizeof builders / sizeof *builders };

START_TEST(shapes)
{
    mo_net_t net = {0};
    const int32_t src = mo_net_tensor(&net, C, H, W), second = mo_net_tensor(&net, C, H, W);
    const int32_t dst = call(&net, _i, src, second);
    ck_assert_int_eq(mo_net_done(&net), MOCO_OK);
    ck_assert_int_eq(net.op_count, 1);
    ck_assert_int_eq(net.ops[0].src, src);
    ck_assert_int_eq(net.ops[0].dst, dst);
    ck_assert_int_eq(net.shapes[dst].c, builders[_i].shape.c);
    ck_assert_int_eq(net.shapes[dst].h, builders[_i].shape.h);
    ck_assert_int_eq(net.shapes[dst].w, builders[_i].shape.w);
    mo_net_free(&net);
}
END_TEST

/* Any tensor can be the second source, the first one too. */
START_TEST(first_tensor_second)
{
    mo_net_t net = {0};
    const int32_t second = mo_net_tensor(&net, C, H, W), src = mo_net_tensor(&net, C, H, W);
    ck_assert_int_eq(second, 0);
    ck_assert_int_ge(call(&net, _i, src, second), 0);
    ck_assert_int_eq(mo_net_done(&net), MOCO_OK);
    ck_assert_int_eq(net.op_count, 1);
    mo_net_free(&net);
}
END_TEST

START_TEST(tokens)
{
    mo_net_t net = {0};
    const int32_t patches = mo_net_tensor(&net, C, H, W), parameters = mo_token_parameters(&net, 1 + H * W, C, 1);
    const int32_t rows = mo_tokens(&net, patches, parameters), all = mo_linear(&net, rows, "qkv", 3 * C);
    const int32_t each = mo_attention(&net, all, 2), first = mo_class_attention(&net, all, 2);
    const mo_shape_t wanted[] = {{C, 1 + H * W, 1}, {C, 1 + H * W, 1}, {C, 1, 1}};
    const int32_t made[] = {rows, each, first};
    ck_assert_int_eq(mo_net_done(&net), MOCO_OK);
    for (int i = 0; i < 3; i++)
        ck_assert_mem_eq(&net.shapes[made[i]], &wanted[i], sizeof *wanted);
    const int64_t dims[2][3] = {{1, 1, C}, {1, 1 + H * W, C}};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(net.parameters[parameters + i].rank, 3);
        ck_assert_mem_eq(net.parameters[parameters + i].dims, dims[i], sizeof dims[i]);
        ck_assert_int_eq(net.parameters[parameters + i].frozen, i);
    }
    mo_net_free(&net);
}
END_TEST

/* Nothing is listed from what an earlier builder could not make, nor in a net that ran out of
 * memory. */
START_TEST(failures)
{
    mo_net_t net = {0};
    const int32_t src = mo_net_tensor(&net, C, H, W);
    ck_assert_int_eq(call(&net, _i, -1, src), -1);
    if (_i < BUILDERS && builders[_i].two)
        ck_assert_int_eq(call(&net, _i, src, -1), -1);
    ck_assert_int_eq(net.op_count, 0);
    net.failed = 1;
    ck_assert_int_eq(call(&net, _i, src, src), -1);
    ck_assert_int_eq(mo_net_done(&net), MOCO_ERR_MEMORY);
    ck_assert_int_eq(net.op_count, 0);
    mo_net_free(&net);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("builders");
    TCase *tc = tcase_create("builders");
    tcase_add_loop_test(tc, shapes, 0, BUILDERS);
    tcase_add_loop_test(tc, first_tensor_second, 0, BUILDERS);
    tcase_add_test(tc, tokens);
    tcase_add_loop_test(tc, failures, 0, 24);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
