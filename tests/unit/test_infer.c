/* Plans of finished encoders. One image on several lanes: products that are cut into parts against
 * the same ones whole, the same bits for any number of lanes, what stops in between, and what is
 * not cut. Many images: channels in blocks and Winograd's convolutions against oneDNN's usual
 * ones. */
#include <math.h>
#include <stdio.h>

#include <moco/cancel.h>

#include "engine/ops.h"
#include "engine/plan/plan_internal.h"
#include "engine_fixtures.h"

typedef struct body {
    const char *name;
    mo_shape_t input;
    int32_t (*list)(mo_net_t *net, int32_t input);
    int32_t parts; /* of its first product that is cut; 1: none is */
} body_t;

static int32_t normed(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride,
                      int relu)
{
    char bn[16];
    snprintf(bn, sizeof bn, "%s.bn", name);
    return mo_batchnorm(net, mo_conv(net, src, name, channels, kernel, stride, kernel / 2, MO_INIT_KAIMING), bn, relu,
                        MO_INIT_ONE);
}

static int32_t conv(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t kernel, int32_t stride)
{
    return normed(net, src, name, channels, kernel, stride, 1);
}

static int32_t pointwise(mo_net_t *net, int32_t src)
{
    return conv(net, src, "a", 160, 1, 1);
}

static int32_t three(mo_net_t *net, int32_t src)
{
    return conv(net, src, "a", 72, 3, 1);
}

static int32_t stem(mo_net_t *net, int32_t src)
{
    return conv(net, src, "a", 64, 7, 2);
}

static int32_t halving(mo_net_t *net, int32_t src)
{
    return conv(net, src, "a", 128, 3, 2);
}

static int32_t thinning(mo_net_t *net, int32_t src)
{
    return conv(net, src, "a", 256, 1, 2);
}

static int32_t wide(mo_net_t *net, int32_t src)
{
    return conv(net, src, "a", 512, 3, 1);
}

static int32_t block(mo_net_t *net, int32_t src)
{
    int32_t t = conv(net, src, "a", 64, 3, 1);
    t = mo_residual(net, normed(net, t, "b", 64, 3, 1, 0), src);
    t = mo_residual(net, conv(net, t, "c", 64, 1, 1), t);
    return mo_linear(net, mo_mean_pool(net, t), "d", 10);
}

static int32_t tokens(mo_net_t *net, int32_t src)
{
    const int32_t t = mo_gelu(net, mo_linear(net, src, "a", 384));
    return mo_sum(net, mo_linear(net, t, "b", 192), src);
}

/* A small ResNet: the first stem has its own result in blocks, the second one its pooling's. */
static int32_t stages(mo_net_t *net, int32_t t)
{
    const int32_t first = mo_residual(net, normed(net, conv(net, t, "a", 32, 3, 1), "b", 32, 3, 1, 0), t);
    const int32_t side = normed(net, first, "c", 48, 1, 2, 0);
    const int32_t main = normed(net, conv(net, first, "d", 48, 3, 2), "e", 48, 3, 1, 0);
    return mo_linear(net, mo_mean_pool(net, mo_residual(net, main, side)), "f", 10);
}

static int32_t small_images(mo_net_t *net, int32_t src)
{
    return stages(net, conv(net, src, "s", 32, 3, 1));
}

static int32_t large_images(mo_net_t *net, int32_t src)
{
    return stages(net, mo_max_pool(net, conv(net, src, "s", 32, 7, 2), 3, 2, 1));
}

/* Something in between that has no use for blocks. */
static int32_t no_blocks(mo_net_t *net, int32_t src)
{
    const int32_t t = conv(net, src, "a", 32, 3, 1);
    return mo_linear(net, mo_mean_pool(net, mo_linear(net, t, "b", 32)), "c", 10);
}

/* A product into one position has no fast form that reads blocks. */
static int32_t one_position(mo_net_t *net, int32_t src)
{
    const int32_t t = conv(net, src, "a", 32, 3, 1);
    return mo_linear(net, mo_mean_pool(net, conv(net, t, "b", 32, 3, 2)), "c", 10);
}

static int32_t vector(mo_net_t *net, int32_t src)
{
    return mo_linear(net, src, "a", 4096);
}

static int32_t small(mo_net_t *net, int32_t src)
{
    return conv(net, conv(net, src, "a", 64, 3, 1), "b", 64, 1, 1);
}

static const body_t bodies[] = {
    {"1x1", {48, 37, 29}, pointwise, 2},           {"3x3", {64, 23, 19}, three, 4},
    {"7x7, stride 2", {3, 61, 45}, stem, 2},       {"3x3, stride 2", {64, 29, 31}, halving, 4},
    {"1x1, stride 2", {128, 35, 35}, thinning, 3}, {"fewer rows than parts", {512, 3, 3}, wide, 3},
    {"shortcuts", {64, 14, 14}, block, 2},         {"tokens", {192, 101, 1}, tokens, 2},
    {"one row", {2048, 1, 1}, vector, 1},          {"too small", {64, 9, 9}, small, 1},
};
static const body_t in_blocks[] = {{"3x3 stem", {3, 13, 11}, small_images, 1},
                                   {"7x7 stem", {3, 53, 45}, large_images, 1},
                                   {"linear layers of positions", {3, 9, 9}, no_blocks, 1},
                                   {"down to one position", {3, 2, 2}, one_position, 1}};

enum { DRAWN = 65521, BODIES = sizeof bodies / sizeof bodies[0] };

typedef enum way { PLAIN, CUT, BLOCKS, PRIMITIVES } way_t;
enum { MANY = 3 }; /* images of the last two */

typedef struct whole {
    moco_device_t *device;
    mo_net_t net;
    int32_t out;
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_buffer_t params, arena;
    mo_instance_t *instance;
    float *image, *result;
    int64_t inputs, outputs;
    moco_cancel_t *cancel;
    moco_status_t begins; /* what `begin` gives */
    int began, ended;
} whole_t;

static int64_t floats_of(const mo_net_t *net, int32_t tensor)
{
    const mo_shape_t s = net->shapes[tensor];
    return (int64_t)s.c * s.h * s.w;
}

/* Normal numbers; of many, the first ones again and again. */
static void fill(float *values, int64_t count, double spread, uint32_t number)
{
    const int64_t own = count < DRAWN ? count : DRAWN;
    rig_normal(values, own, 0, spread, number);
    for (int64_t i = own; i < count; i++)
        values[i] = values[i - own];
}

static void open_whole(whole_t *w, const body_t *body, int32_t lanes, way_t way)
{
    const int32_t images = way == BLOCKS || way == PRIMITIVES ? MANY : 1;
    *w = (whole_t){0};
    RIG_OK(mo_device_open_lanes(lanes, &w->device));
    w->net.input = mo_net_tensor(&w->net, body->input.c, body->input.h, body->input.w);
    w->out = body->list(&w->net, w->net.input);
    RIG_OK(mo_net_done(&w->net));
    const mo_plan_spec_t spec = {.net = &w->net,
                                 .mode = MO_MODE_INFER,
                                 .shard = images,
                                 .shards_per_group = 1,
                                 .inputs = {w->net.input, -1, -1, -1},
                                 .outputs = {w->out, -1, -1, -1},
                                 .cut = way == CUT,
                                 .primitives = way == PRIMITIVES};
    RIG_OK(mo_plan_create(w->device, &spec, &w->plan));
    float *params = rig_block(w->net.params);
    for (int32_t i = 0; i < w->net.parameter_count; i++) {
        const mo_parameter_t *p = &w->net.parameters[i];
        fill(params + p->offset, p->count, sqrt(1.0 / (double)(p->count / p->dims[0])), (uint32_t)(10 + i));
    }
    RIG_OK(mo_buffer_create(w->device, (size_t)w->net.params * sizeof(float), &w->params));
    RIG_OK(mo_buffer_write(w->params, params));
    mo_block_free(params, 0);
    RIG_OK(mo_packed_create(w->plan, w->params, &w->packed));
    RIG_OK(mo_packed_refresh(w->packed));
    RIG_OK(mo_buffer_create(w->device, mo_plan_arena_bytes(w->plan), &w->arena));
    RIG_OK(mo_instance_create(w->plan, w->arena, w->params, w->packed, &w->instance));
    w->inputs = images * floats_of(&w->net, w->net.input);
    w->outputs = images * floats_of(&w->net, w->out);
    w->image = rig_block(w->inputs);
    w->result = rig_block(w->outputs);
    rig_normal(w->image, w->inputs, 0, 1, 1);
}

static void close_whole(whole_t *w)
{
    mo_instance_free(w->instance);
    mo_packed_free(w->packed);
    mo_plan_free(w->plan);
    mo_buffer_free(&w->params);
    mo_buffer_free(&w->arena);
    mo_block_free(w->image, 0);
    mo_block_free(w->result, 0);
    mo_net_free(&w->net);
    mo_device_release(w->device);
}

static moco_status_t begin(void *ctx, mo_lane_t *lane, mo_instance_t *instance)
{
    whole_t *w = ctx;
    float *values;
    (void)lane;
    w->began++;
    if (w->begins != MOCO_OK)
        return mo_fail(w->begins, "it does not begin");
    RIG_OK(mo_instance_map(instance, w->net.input, MO_WRITE, &values));
    memcpy(values, w->image, (size_t)w->inputs * sizeof(float));
    mo_instance_unmap(instance, w->net.input, values);
    return MOCO_OK;
}

static moco_status_t end(void *ctx, mo_instance_t *instance)
{
    whole_t *w = ctx;
    float *values;
    w->ended++;
    RIG_OK(mo_instance_map(instance, w->out, MO_READ, &values));
    memcpy(w->result, values, (size_t)w->outputs * sizeof(float));
    mo_instance_unmap(instance, w->out, values);
    return MOCO_OK;
}

static moco_status_t alone(mo_lane_t *lane, void *ctx)
{
    whole_t *w = ctx;
    moco_status_t status = MOCO_OK;
    TRY(begin(w, lane, w->instance));
    TRY(mo_instance_run(lane, w->instance));
    TRY(end(w, w->instance));
cleanup:
    return status;
}

static moco_status_t run_team(whole_t *w)
{
    const mo_team_t team = {.instance = w->instance, .begin = begin, .end = end, .ctx = w, .cancel = w->cancel};
    memset(w->result, 0xff, (size_t)w->outputs * sizeof(float));
    rig_fill(w->arena, 0xff);
    return mo_team_run(w->device, &team);
}

static int32_t first_parts(const mo_plan_t *plan)
{
    for (int32_t i = 0; i < plan->instr_count; i++)
        if (plan->instrs[i].parts > 1)
            return plan->instrs[i].parts;
    return 1;
}

START_TEST(test_parts)
{
    const body_t *body = &bodies[_i];
    whole_t whole, cut;
    open_whole(&whole, body, 1, PLAIN);
    open_whole(&cut, body, 1, CUT);
    ck_assert_int_eq(first_parts(whole.plan), 1);
    ck_assert_int_eq(first_parts(cut.plan), body->parts);
    ck_assert_int_eq(mo_plan_is_cut(cut.plan), body->parts > 1);
    RIG_OK(mo_device_call(whole.device, alone, &whole));
    RIG_OK(mo_device_call(cut.device, alone, &cut));
    for (int64_t i = 0; i < whole.outputs; i++) /* sums of a few thousand products of about 1 / their root */
        ck_assert_double_eq_tol(cut.result[i], whole.result[i], 1e-5 * (1 + fabs((double)whole.result[i])));
    for (int32_t lanes = 1; lanes <= 3; lanes++) {
        whole_t team;
        open_whole(&team, body, lanes, CUT);
        for (int time = 0; time < 10; time++) {
            RIG_OK(run_team(&team));
            ck_assert_mem_eq(team.result, cut.result, (size_t)cut.outputs * sizeof(float));
        }
        close_whole(&team);
    }
    close_whole(&whole);
    close_whole(&cut);
}
END_TEST

START_TEST(test_stops)
{
    whole_t w;
    open_whole(&w, &bodies[6], 2, CUT);
    w.begins = MOCO_ERR_IMAGE;
    ck_assert_int_eq(run_team(&w), MOCO_ERR_IMAGE);
    ck_assert_str_eq(moco_last_message(), "it does not begin");
    w.begins = MOCO_OK;
    RIG_OK(moco_cancel_create(&w.cancel));
    moco_cancel_request(w.cancel);
    ck_assert_int_eq(run_team(&w), MOCO_ERR_CANCELLED);
    ck_assert_int_eq(w.began, 2);
    ck_assert_int_eq(w.ended, 0);
    moco_cancel_free(w.cancel);
    w.cancel = NULL;
    RIG_OK(run_team(&w)); /* nothing of that is left behind */
    ck_assert_int_eq(w.ended, 1);
    close_whole(&w);
}
END_TEST

/* ---- many images ---- */

static int blocks_of(const mo_plan_t *plan)
{
    int count = 0;
    for (int32_t i = 0; i < plan->net->tensors; i++)
        count += plan->value[i] >= 0 && plan->blocked[i];
    return count;
}

/* Instructions in Winograd's form. */
static int winograd_of(const mo_plan_t *plan)
{
    int count = 0;
    for (int32_t i = 0; i < plan->instr_count; i++) {
        const_dnnl_primitive_desc_t pd = NULL;
        if (plan->instrs[i].kind == MO_RUN_PRIMITIVE &&
            dnnl_primitive_get_primitive_desc(plan->instrs[i].primitive, &pd) == dnnl_success)
            count += strstr(mo_pd_name(pd), "wino") != NULL;
    }
    return count;
}

START_TEST(test_blocks)
{
    whole_t usual, blocks;
    double scale = 0;
    int has = 0;
    open_whole(&usual, &in_blocks[_i], 1, PRIMITIVES);
    open_whole(&blocks, &in_blocks[_i], 1, BLOCKS);
    ck_assert_int_eq(blocks_of(usual.plan), 0);
    ck_assert_int_eq(mo_has_winograd(mo_device_engine(blocks.device), &has), dnnl_success);
    ck_assert_int_eq(winograd_of(usual.plan), 0);
    if (has) {
        const int wanted = in_blocks[_i].list != no_blocks && in_blocks[_i].list != one_position;
        ck_assert_int_eq(blocks_of(blocks.plan) > 0, wanted);
        ck_assert_int_eq(winograd_of(blocks.plan) > 0, wanted);
    }
    rig_fill(blocks.arena, 0xff);
    RIG_OK(mo_device_call(usual.device, alone, &usual));
    RIG_OK(mo_device_call(blocks.device, alone, &blocks));
    for (int64_t i = 0; i < usual.outputs; i++)
        scale = fmax(scale, fabs((double)usual.result[i]));
    for (int64_t i = 0; i < usual.outputs; i++) /* Winograd rounds some five times as much as a plain sum */
        ck_assert_double_eq_tol(blocks.result[i], usual.result[i], 1e-5 * scale);
    close_whole(&usual);
    close_whole(&blocks);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("infer");
    TCase *tc = tcase_create("infer");
    tcase_add_loop_test(tc, test_parts, 0, BODIES);
    tcase_add_test(tc, test_stops);
    tcase_add_loop_test(tc, test_blocks, 0, 4);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
