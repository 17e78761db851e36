/* The check of oneDNN's implementations: right ones pass, wrong results of every kind are noticed,
 * a plan takes the next implementation in the place of a wrong one, is refused where all are wrong,
 * and asks once for each primitive. */
#include <stdio.h>
#include <string.h>

#include "engine/check/check.h"
#include "engine/check/narrow.h"
#include "engine/check/trial.h"
#include "engine/ops.h"
#include "engine/plan/plan_internal.h"
#include "engine/run/process.h"
#include "engine_fixtures.h"

/* ---- descriptors of every kind ---- */

static dnnl_engine_t engine;

#define MAKE(call) ck_assert_int_eq(call, dnnl_success)

static mo_md_t mds[8]; /* of the descriptor at work */
static int md_count;
static dnnl_data_type_t type = dnnl_f32; /* of the next ones */

static mo_md_t strided(int rank, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    MAKE(mo_md_strides(&mds[md_count], rank, dims, type, strides));
    return mds[md_count++];
}

static mo_md_t tagged(int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    MAKE(mo_md_tag(&mds[md_count], rank, dims, type, tag));
    return mds[md_count++];
}

#define DIMS(...) ((const dnnl_dims_t){__VA_ARGS__})
#define NHWC(...) tagged(4, DIMS(__VA_ARGS__), dnnl_acdb)
#define MATRIX(rows, columns) tagged(2, DIMS(rows, columns), dnnl_ab)

static dnnl_primitive_desc_t pd, hint;
static mo_attr_t attr;
static const mo_window_t window3 = {.kernel_h = 3, .kernel_w = 3, .stride = 2, .pad = 1};
static const mo_window_t plane = {.kernel_h = 5, .kernel_w = 4, .stride = 1};

static void conv(void)
{
    MAKE(mo_pd_conv_fwd(&pd, engine, dnnl_forward_training, NHWC(2, 24, 9, 7),
                        tagged(4, DIMS(16, 24, 3, 3), dnnl_format_tag_any), tagged(1, DIMS(16), dnnl_a),
                        NHWC(2, 16, 5, 4), &window3, attr.attr));
}

static void conv_back_source(void)
{
    conv();
    hint = pd;
    MAKE(mo_pd_conv_bwd_data(&pd, engine, NHWC(2, 24, 9, 7), tagged(4, DIMS(16, 24, 3, 3), dnnl_format_tag_any),
                             NHWC(2, 16, 5, 4), &window3, hint, attr.attr));
}

static void conv_back_weights(void)
{
    conv();
    hint = pd;
    MAKE(mo_pd_conv_bwd_weights(&pd, engine, NHWC(2, 24, 9, 7), tagged(4, DIMS(16, 24, 3, 3), dnnl_format_tag_any),
                                tagged(1, DIMS(16), dnnl_a), NHWC(2, 16, 5, 4), &window3, hint, attr.attr));
}

/* One channel in, as oneDNN pads it. */
static void conv_one_channel(void)
{
    const mo_window_t w = {.kernel_h = 1, .kernel_w = 1, .stride = 1};
    MAKE(mo_pd_conv_fwd(&pd, engine, dnnl_forward_training, NHWC(1, 1, 3, 3),
                        tagged(4, DIMS(5, 1, 1, 1), dnnl_format_tag_any), NULL, NHWC(1, 5, 3, 3), &w, attr.attr));
}

/* Rows from the middle of an image: no padding above. */
static void conv_part(void)
{
    const mo_window_t w = {.kernel_h = 3, .kernel_w = 3, .stride = 1, .pad = 1, .inside_above = 1};
    MAKE(mo_pd_conv_fwd(&pd, engine, dnnl_forward_inference, NHWC(1, 24, 5, 7),
                        tagged(4, DIMS(16, 24, 3, 3), dnnl_format_tag_any), tagged(1, DIMS(16), dnnl_a),
                        NHWC(1, 16, 4, 7), &w, attr.attr));
}

static void inner(void)
{
    MAKE(mo_pd_linear_fwd(&pd, engine, dnnl_forward_training, MATRIX(6, 20),
                          tagged(2, DIMS(24, 20), dnnl_format_tag_any), tagged(1, DIMS(24), dnnl_a), MATRIX(6, 24),
                          attr.attr));
}

static void inner_back_source(void)
{
    inner();
    hint = pd;
    MAKE(mo_pd_linear_bwd_data(&pd, engine, MATRIX(6, 20), tagged(2, DIMS(24, 20), dnnl_format_tag_any), MATRIX(6, 24),
                               hint, attr.attr));
}

static void inner_back_weights(void)
{
    inner();
    hint = pd;
    MAKE(mo_pd_linear_bwd_weights(&pd, engine, MATRIX(6, 20), tagged(2, DIMS(24, 20), dnnl_format_tag_any),
                                  tagged(1, DIMS(24), dnnl_a), MATRIX(6, 24), hint, attr.attr));
}

static void matmul_bias(void)
{
    MAKE(mo_pd_matmul(&pd, engine, MATRIX(7, 12), strided(2, DIMS(12, 9), DIMS(1, 12)), MATRIX(1, 9), MATRIX(7, 9),
                      attr.attr));
}

/* Keys of an attention's gradient: one query, rows of [q | k | v]. */
static void matmul_one_query(void)
{
    MAKE(mo_pd_matmul(&pd, engine, strided(4, DIMS(3, 2, 17, 1), DIMS(64, 32, 1, 32)),
                      strided(4, DIMS(3, 2, 1, 8), DIMS(17 * 48, 8, 48, 1)), NULL,
                      strided(4, DIMS(3, 2, 17, 8), DIMS(17 * 48, 8, 48, 1)), attr.attr));
}

static void matmul_three_times(void)
{
    MAKE(mo_pd_matmul(&pd, engine, strided(4, DIMS(15, 3, 5, 8), DIMS(360, 8, 72, 1)),
                      strided(4, DIMS(15, 3, 8, 5), DIMS(360, 8, 1, 72)), NULL,
                      strided(4, DIMS(15, 3, 5, 5), DIMS(240, 80, 16, 1)), attr.attr));
}

static void binary_rows(void)
{
    MAKE(mo_pd_binary(&pd, engine, dnnl_binary_mul, MATRIX(9, 24), MATRIX(9, 1), MATRIX(9, 24), attr.attr));
}

static void row_sums(void)
{
    MAKE(mo_pd_reduction(&pd, engine, dnnl_reduction_sum, MATRIX(9, 24), MATRIX(9, 1), attr.attr));
}

static void eltwise(dnnl_alg_kind_t alg, float alpha, float beta)
{
    MAKE(mo_pd_eltwise_fwd(&pd, engine, alg, MATRIX(9, 24), alpha, beta, attr.attr));
}

static void power(void)
{
    eltwise(dnnl_eltwise_pow, 1, -0.5f);
}
static void clip(void)
{
    eltwise(dnnl_eltwise_clip, -1, 3e38f);
}
static void linear(void)
{
    eltwise(dnnl_eltwise_linear, 0.3f, 0.7f);
}
static void relu(void)
{
    eltwise(dnnl_eltwise_relu, 0, 0);
}
static void gelu(void)
{
    eltwise(dnnl_eltwise_gelu_erf, 0, 0);
}

static void eltwise_back(dnnl_alg_kind_t alg)
{
    eltwise(alg, 0, 0);
    hint = pd;
    MAKE(mo_pd_eltwise_bwd(&pd, engine, alg, MATRIX(9, 24), 0, 0, hint, attr.attr));
}

static void relu_back(void)
{
    eltwise_back(dnnl_eltwise_relu_use_dst_for_bwd);
}
static void gelu_back(void)
{
    eltwise_back(dnnl_eltwise_gelu_erf);
}

static void softmax(void)
{
    MAKE(mo_pd_softmax_fwd(&pd, engine, dnnl_forward_training, strided(4, DIMS(2, 3, 4, 5), DIMS(192, 64, 16, 1)), 3,
                           attr.attr));
}

static void softmax_back(void)
{
    softmax();
    hint = pd;
    MAKE(mo_pd_softmax_bwd(&pd, engine, strided(4, DIMS(2, 3, 4, 5), DIMS(192, 64, 16, 1)), 3, hint, attr.attr));
}

static void max_pool(void)
{
    MAKE(mo_pd_pool_fwd(&pd, engine, dnnl_forward_training, dnnl_pooling_max, NHWC(2, 16, 9, 7), NHWC(2, 16, 5, 4),
                        &window3, attr.attr));
}

static void mean_pool(void)
{
    MAKE(mo_pd_pool_fwd(&pd, engine, dnnl_forward_training, dnnl_pooling_avg_exclude_padding, NHWC(2, 24, 5, 4),
                        NHWC(2, 24, 1, 1), &plane, attr.attr));
}

static void copy(void)
{
    MAKE(mo_pd_reorder(&pd, engine, tagged(4, DIMS(20, 3, 7, 7), dnnl_abcd), tagged(4, DIMS(20, 3, 7, 7), dnnl_Acdb16a),
                       attr.attr));
}

/* In bf16 where oneDNN has it, else in float32 again. */
static void with_bf16(void (*make)(void))
{
    mo_md_t md = NULL;
    const dnnl_dims_t dims = {16, 16};
    dnnl_primitive_desc_t found = NULL;
    MAKE(mo_md_tag(&md, 2, dims, dnnl_bf16, dnnl_ab));
    if (mo_pd_matmul(&found, engine, md, md, NULL, md, attr.attr) == dnnl_success)
        type = dnnl_bf16;
    make();
    type = dnnl_f32;
    if (found != NULL)
        dnnl_primitive_desc_destroy(found);
    mo_md_free(md);
}

static void conv_to_float32(void)
{
    const mo_md_t src = NHWC(2, 24, 9, 7), weights = tagged(4, DIMS(16, 24, 3, 3), dnnl_format_tag_any);
    type = dnnl_f32;
    MAKE(mo_pd_conv_fwd(&pd, engine, dnnl_forward_inference, src, weights, tagged(1, DIMS(16), dnnl_a),
                        NHWC(2, 16, 5, 4), &window3, attr.attr));
}

static void copy_from_float32(void)
{
    const mo_md_t to = tagged(4, DIMS(20, 3, 7, 7), dnnl_acdb);
    type = dnnl_f32;
    MAKE(mo_pd_reorder(&pd, engine, tagged(4, DIMS(20, 3, 7, 7), dnnl_abcd), to, attr.attr));
}

static void conv_bf16(void)
{
    with_bf16(conv);
}
static void conv_bf16_to_float32(void)
{
    with_bf16(conv_to_float32);
}
static void matmul_bf16(void)
{
    with_bf16(matmul_three_times);
}
static void max_pool_bf16(void)
{
    with_bf16(max_pool);
}
static void copy_to_bf16(void)
{
    with_bf16(copy_from_float32);
}

static void (*const kinds[])(void) = {conv,
                                      conv_back_source,
                                      conv_back_weights,
                                      conv_one_channel,
                                      conv_part,
                                      inner,
                                      inner_back_source,
                                      inner_back_weights,
                                      matmul_bias,
                                      matmul_one_query,
                                      matmul_three_times,
                                      binary_rows,
                                      row_sums,
                                      power,
                                      clip,
                                      linear,
                                      relu,
                                      gelu,
                                      relu_back,
                                      gelu_back,
                                      softmax,
                                      softmax_back,
                                      max_pool,
                                      mean_pool,
                                      copy,
                                      conv_bf16,
                                      conv_bf16_to_float32,
                                      matmul_bf16,
                                      max_pool_bf16,
                                      copy_to_bf16};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- spoilt results ---- */

/* One number in the last row; the first of the gaps or of what lies behind. */
static void last_number(const char *implementation, float *result, int64_t count)
{
    (void)implementation;
    result[count - 1] += 1;
}

static void first_number(const char *implementation, float *result, int64_t count)
{
    (void)implementation;
    (void)count;
    result[0] = 0.37f;
}

static void beyond(const char *implementation, float *result, int64_t count)
{
    (void)implementation;
    result[count + 3] = 0;
}

static void lost(const char *implementation, float *result, int64_t count)
{
    (void)implementation;
    result[count / 2] = result[count + 3]; /* as if nothing had been written there, or what nobody wrote */
    result[0] = result[count + 3];
}

static void (*const spoils[])(const char *, float *, int64_t) = {last_number, first_number, beyond, lost};

/* ---- one check ---- */

typedef struct asked {
    int kind;
    void (*spoil)(const char *, float *, int64_t);
    mo_verdict_t verdict;
} asked_t;

static void make_kind(mo_lane_t *lane, int kind)
{
    engine = mo_device_engine(lane->device);
    pd = hint = NULL;
    MAKE(mo_attr_begin(&attr));
    MAKE(mo_attr_end(&attr));
    kinds[kind]();
}

static void drop_kind(void)
{
    mo_attr_free(&attr);
    dnnl_primitive_desc_destroy(pd);
    if (hint != NULL)
        dnnl_primitive_desc_destroy(hint);
    while (md_count > 0)
        mo_md_free(mds[--md_count]);
}

static moco_status_t ask(mo_lane_t *lane, void *ctx)
{
    asked_t *asked = ctx;
    char text[400];
    moco_status_t status = mo_gate_enter(lane, MO_MAKING);
    make_kind(lane, asked->kind);
    mo_check_text(pd, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, " of "));
    mo_checks_forget();
    mo_check_spoil = asked->spoil;
    status = status == MOCO_OK ? mo_check(lane, pd, 0, "test a primitive", &asked->verdict) : status;
    mo_check_spoil = NULL;
    ck_assert_uint_eq(lane->scratchpad_bytes, 0); /* what a check takes it gives back */
    if (asked->spoil == NULL && asked->verdict != MO_RIGHT)
        printf("%s\n", text);
    drop_kind();
    mo_gate_leave(lane);
    return status;
}

static mo_verdict_t verdict_of(moco_device_t *device, int kind, void (*spoil)(const char *, float *, int64_t))
{
    asked_t asked = {.kind = kind, .spoil = spoil};
    RIG_OK(mo_device_call(device, ask, &asked));
    return asked.verdict;
}

/* The first implementations of the version at hand: those with a known defect may be wrong. */
START_TEST(test_kinds)
{
    moco_device_t *device = NULL;
    RIG_OK(mo_device_open_lanes(1, &device));
    const mo_verdict_t verdict = verdict_of(device, _i, NULL);
    if (kinds[_i] != matmul_one_query && kinds[_i] != matmul_three_times && kinds[_i] != matmul_bf16)
        ck_assert_int_eq(verdict, MO_RIGHT);
    for (size_t s = 0; s < sizeof spoils / sizeof spoils[0]; s++)
        ck_assert_msg(verdict_of(device, _i, spoils[s]) == MO_WRONG, "spoil %zu was not noticed", s);
    mo_device_release(device);
}
END_TEST

/* ---- numbers of 16 bits ---- */

START_TEST(test_narrow)
{
    static const float numbers[] = {0, 1, -1, 2, -2, 3, 4, 0.5f, -1.5f};
    enum { COUNT = sizeof numbers / sizeof numbers[0] };
    static const dnnl_data_type_t types[] = {dnnl_bf16, dnnl_f16};
    static const uint16_t threes[] = {0x4040, 0x4200}, tiny = 0x0001, greatest = 0x7bff;
    float back[COUNT], none = mo_unwritten();
    uint16_t low[COUNT];
    for (int t = 0; t < 2; t++) {
        mo_narrow(types[t], numbers, COUNT, low);
        ck_assert_uint_eq(low[5], threes[t]);
        mo_widen(types[t], low, COUNT, back);
        ck_assert_mem_eq(numbers, back, sizeof back);
        mo_narrow(types[t], &none, 1, low);
        mo_widen(types[t], low, 1, back);
        ck_assert(mo_is_unwritten(back));
    }
    mo_widen(dnnl_f16, &tiny, 1, back);
    ck_assert_float_eq(back[0], 0x1p-24f);
    mo_widen(dnnl_f16, &greatest, 1, back);
    ck_assert_float_eq(back[0], 65504.0f);
}
END_TEST

/* ---- a list ---- */

/* Two implementations may have one name: what is found of one says nothing of the other. */
static moco_status_t two_of_a_name(mo_lane_t *lane, void *ctx)
{
    mo_verdict_t verdict;
    moco_status_t status = mo_gate_enter(lane, MO_MAKING);
    (void)ctx;
    make_kind(lane, 0);
    mo_checks_forget();
    mo_check_spoil = last_number;
    RIG_OK(mo_check(lane, pd, 0, "test a primitive", &verdict));
    ck_assert_int_eq(verdict, MO_WRONG);
    mo_check_spoil = NULL;
    RIG_OK(mo_check(lane, pd, 0, "test a primitive", &verdict));
    ck_assert_int_eq(verdict, MO_WRONG);
    RIG_OK(mo_check(lane, pd, 1, "test a primitive", &verdict));
    ck_assert_int_eq(verdict, MO_RIGHT);
    mo_checks_forget();
    drop_kind();
    mo_gate_leave(lane);
    return status;
}

/* Every implementation of a list can be preferred, wherever it stands; and where none has the
 * preferred name, or none of that name is right, the first right one of the list is taken. */
static moco_status_t preferred(mo_lane_t *lane, void *ctx)
{
    mo_plan_t plan = {.lane = lane, .device = lane->device};
    const int kind = *(int *)ctx;
    char names[40][80];
    mo_walk_t walk = {0};
    int count = 0;
    moco_status_t status = mo_gate_enter(lane, MO_MAKING);
    mo_checks_forget();
    make_kind(lane, kind);
    do
        snprintf(names[count], sizeof names[count], "%s", mo_pd_name(pd));
    while (++count < 40 && mo_walk_next(&walk, &pd, engine, hint) == dnnl_success);
    mo_walk_end(&walk);
    drop_kind();
    for (int i = 0; i < count; i++) {
        make_kind(lane, kind);
        RIG_OK(mo_plan_choose(&plan, &pd, hint, names[i], "test a list"));
        ck_assert_ptr_nonnull(strstr(mo_pd_name(pd), names[i]));
        drop_kind();
    }
    make_kind(lane, kind);
    RIG_OK(mo_plan_choose(&plan, &pd, hint, "no such name", "test a list"));
    ck_assert_str_eq(mo_pd_name(pd), names[0]);
    drop_kind();
    mo_gate_leave(lane);
    return status;
}

START_TEST(test_list)
{
    moco_device_t *device = NULL;
    RIG_OK(mo_device_open_lanes(1, &device));
    RIG_OK(mo_device_call(device, two_of_a_name, NULL));
    for (int kind = 0; kind < KINDS; kind++)
        if (kinds[kind] == conv || kinds[kind] == conv_back_weights || kinds[kind] == matmul_bias)
            RIG_OK(mo_device_call(device, preferred, &kind));
    mo_device_release(device);
}
END_TEST

/* ---- plans ---- */

static int32_t attention_net(mo_net_t *net, int32_t t)
{
    return mo_linear(net, mo_class_attention(net, mo_linear(net, t, "qkv", 72), 3), "end", 16);
}

static char first_name[80]; /* the implementation that is wrong */

static void spoil_first(const char *implementation, float *result, int64_t count)
{
    if (first_name[0] == '\0')
        snprintf(first_name, sizeof first_name, "%s", implementation);
    if (strcmp(first_name, implementation) == 0)
        result[count - 1] += 1;
}

static void spoil_all(const char *implementation, float *result, int64_t count)
{
    (void)implementation;
    result[count - 1] += 1;
}

static const rig_shape_t shape = {.batch = 4, .groups = 2, .shards_per_group = 1, .sets = 1, .lanes = 1};

START_TEST(test_replaced)
{
    rig_t r;
    twin_t t;
    mo_checks_t before, after, again;
    mo_checks_forget();
    mo_checks_read(&before);
    mo_check_spoil = spoil_first;
    rig_open(&r, shape, (mo_shape_t){16, 17, 1}, 37, attention_net);
    mo_checks_read(&after);
    ck_assert_int_gt(after.made, before.made);
    ck_assert_int_gt(after.refused, before.refused);
    ck_assert_int_lt(after.asked - before.asked, 200); /* lists have an end */
    ck_assert_msg(strncmp(after.first, first_name, strlen(first_name)) == 0, "%s, wanted %s", after.first, first_name);
    ck_assert_double_gt(after.seconds, 0);
    twin_open(&t, &r); /* with the others everything is right */
    rig_run(&r, 0xff);
    rig_assert_forward(&r, &t);
    rig_assert_gradients(&r, &t, 3);
    twin_close(&t);
    rig_close(&r);
    /* Known by now, but where a list goes on behind a wrong implementation: there oneDNN's cache
     * may put another one at the same place. */
    rig_open(&r, shape, (mo_shape_t){16, 17, 1}, 37, attention_net);
    mo_checks_read(&again);
    const int64_t few = (after.made - before.made) / 10;
    ck_assert_int_le(again.made - after.made, few);
    ck_assert_int_le(again.refused - after.refused, few);
    rig_close(&r);
    mo_check_spoil = NULL;
}
END_TEST

/* What writes beyond its scratchpad or workspace is wrong, whatever its result is. Poolings have a
 * workspace on every processor. */
START_TEST(test_overrun)
{
    mo_net_t net = {0};
    mo_plan_t *plan = NULL;
    moco_device_t *device = NULL;
    mo_checks_t checks;
    RIG_OK(mo_device_open_lanes(1, &device));
    net.input = mo_net_tensor(&net, 16, 9, 9);
    const int32_t pooled = mo_max_pool(&net, net.input, 3, 2, 1);
    RIG_OK(mo_net_done(&net));
    const mo_plan_spec_t spec = {.net = &net,
                                 .mode = MO_MODE_TRAIN,
                                 .shard = 2,
                                 .shards_per_group = 1,
                                 .inputs = {-1, -1, -1, -1},
                                 .outputs = {pooled, net.input, -1, -1},
                                 .seeded = 1};
    mo_checks_forget();
    mo_check_overrun = 0;
    const moco_status_t status = mo_plan_create(device, &spec, &plan);
    mo_checks_read(&checks);
    ck_assert_int_gt(mo_check_overrun, 0);
    ck_assert_int_gt(checks.refused, 0);
    ck_assert_int_le(checks.refused, mo_check_overrun); /* one may have both */
    ck_assert_int_eq(status, MOCO_ERR_ENGINE);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "no implementation of it computes what it should"));
    mo_check_overrun = -1;
    mo_checks_forget();
    RIG_OK(mo_plan_create(device, &spec, &plan));
    mo_plan_free(plan);
    mo_net_free(&net);
    mo_device_release(device);
}
END_TEST

static int32_t net_of_images(mo_net_t *net, int32_t t)
{
    t = mo_batchnorm(net, mo_conv(net, t, "conv", 16, 3, 1, 1, MO_INIT_KAIMING), "bn", 1, MO_INIT_ONE);
    t = mo_mean_pool(net, mo_max_pool(net, t, 3, 2, 1));
    return mo_linear(net, t, "end", 16);
}

static int32_t net_of_tokens(mo_net_t *net, int32_t t)
{
    t = mo_attention(net, mo_linear(net, mo_layernorm(net, t, "norm"), "qkv", 72), 3);
    return mo_class_token(net, mo_gelu(net, mo_linear(net, t, "fc", 16)));
}

/* An implementation that has been chosen is not asked about again when its primitive is made. */
START_TEST(test_once)
{
    static const rig_body_t nets[] = {net_of_images, net_of_tokens};
    static const mo_shape_t inputs[] = {{16, 8, 8}, {16, 17, 1}};
    rig_t r;
    mo_checks_t before, after;
    rig_shape_t primitives = shape;
    int32_t made = 0;
    primitives.primitives = 1;
    mo_checks_read(&before);
    rig_open(&r, primitives, inputs[_i], 37, nets[_i]);
    mo_checks_read(&after);
    for (int32_t i = 0; i < r.plan->instr_count; i++)
        made += r.plan->instrs[i].kind == MO_RUN_PRIMITIVE;
    ck_assert_int_eq(after.refused, before.refused);
    ck_assert_int_eq(after.asked - before.asked, made + r.plan->pack_count);
    rig_close(&r);
}
END_TEST

static moco_status_t plan_status(moco_device_t *device, mo_net_t *net)
{
    mo_plan_t *plan = NULL;
    mo_plan_spec_t spec = {.net = net,
                           .mode = MO_MODE_KEY,
                           .shard = 2,
                           .shards_per_group = 1,
                           .inputs = {net->input, -1, -1, -1},
                           .outputs = {net->backbone, -1, -1, -1}};
    moco_status_t status = mo_plan_create(device, &spec, &plan);
    mo_plan_free(plan);
    return status;
}

START_TEST(test_refused)
{
    const dnnl_version_t *v = dnnl_version();
    moco_device_t *device = NULL;
    mo_net_t net = {0};
    char version[32];
    net.input = mo_net_tensor(&net, 16, 17, 1);
    net.backbone = attention_net(&net, net.input);
    RIG_OK(mo_net_done(&net));
    RIG_OK(mo_device_open_lanes(1, &device));
    mo_checks_forget();
    mo_check_spoil = spoil_all;
    ck_assert_int_eq(plan_status(device, &net), MOCO_ERR_ENGINE);
    snprintf(version, sizeof version, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), version));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "make a linear layer"));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), " is wrong, "));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "matrix product of 34x16"));
    ck_assert_int_eq(plan_status(device, &net), MOCO_ERR_ENGINE); /* found in memory this time */
    mo_check_spoil = NULL;
    mo_checks_forget();
    RIG_OK(plan_status(device, &net));
    mo_net_free(&net);
    mo_device_release(device);
}
END_TEST

/* Every call of the engine and every allocation of a check that fails is a failure of the plan. */
START_TEST(test_faults)
{
    moco_device_t *device = NULL;
    mo_net_t net = {0};
    net.input = mo_net_tensor(&net, 16, 17, 1);
    net.backbone = attention_net(&net, net.input);
    RIG_OK(mo_net_done(&net));
    RIG_OK(mo_device_open_lanes(1, &device));
    for (long n = 0;; n++) {
        mo_checks_forget();
        mo_fault_arm(_i, n);
        moco_status_t status = plan_status(device, &net);
        if (mo_fault_arm(_i, -1) <= n) {
            ck_assert_int_eq(status, MOCO_OK);
            ck_assert_int_gt(n, 20);
            break;
        }
        ck_assert_int_eq(status, _i == MO_FAULT_ALLOC ? MOCO_ERR_MEMORY : MOCO_ERR_ENGINE);
    }
    mo_net_free(&net);
    mo_device_release(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("check");
    TCase *tc = tcase_create("check");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_kinds, 0, KINDS);
    tcase_add_test(tc, test_narrow);
    tcase_add_test(tc, test_list);
    tcase_add_loop_test(tc, test_once, 0, 2);
    tcase_add_test(tc, test_replaced);
    tcase_add_test(tc, test_overrun);
    tcase_add_test(tc, test_refused);
    tcase_add_loop_test(tc, test_faults, MO_FAULT_ALLOC, MO_FAULT_ENGINE + 1);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
