/* Plans: places that never overlap in use, the three modes against each other and against double
 * precision, and what is refused. */
#include <stdio.h>

#include "engine/ops.h"
#include "engine/plan/plan_internal.h"
#include "engine_fixtures.h"
#include "nets/encoder.h"

#include <moco/trainer.h>

static mo_encoder_spec_t tiny_spec(int32_t arch)
{
    return (mo_encoder_spec_t){.arch = arch,
                               .stem = MOCO_STEM_IMAGENET,
                               .head = MOCO_HEAD_MLP,
                               .width = 0.0625,
                               .image_size = 32,
                               .dimension = 16};
}

static mo_plan_t *planned(moco_device_t *device, const mo_net_t *net, int32_t unit, mo_mode_t mode, int32_t shards)
{
    mo_plan_t *plan = NULL;
    mo_plan_spec_t spec = {.net = net,
                           .mode = mode,
                           .shard = 2,
                           .shards_per_group = shards,
                           .inputs = {net->input, -1, -1, -1},
                           .outputs = {unit, net->backbone, -1, -1}};
    RIG_OK(mo_plan_create(device, &spec, &plan));
    return plan;
}

/* ---- places ---- */

/* First and last instruction that touches a slot or a view of it, found from the instructions
 * themselves. */
static void life_of(const mo_plan_t *plan, int32_t root, int32_t *first, int32_t *last)
{
    *first = plan->instr_count + 1;
    *last = -1;
    for (int32_t i = 0; i < plan->instr_count; i++)
        for (int a = 0; a < plan->instrs[i].arg_count; a++)
            if (plan->instrs[i].args[a].slot >= 0 && plan->slots[plan->instrs[i].args[a].slot].root == root) {
                *first = i < *first ? i : *first;
                *last = i;
            }
}

static void assert_no_overlap(const mo_plan_t *plan)
{
    size_t total = 0;
    for (int32_t i = 0; i < plan->slot_count; i++) {
        const mo_slot_t *a = &plan->slots[i];
        int32_t first, last, other_first, other_last;
        life_of(plan, i, &first, &last);
        if (a->space != MO_IN_ARENA || a->root != i || last < 0)
            continue;
        ck_assert_int_eq(a->offset % 64, 0);
        ck_assert_uint_le((size_t)a->offset + a->bytes, plan->arena_bytes);
        total += a->bytes;
        for (int32_t j = 0; j < i; j++) {
            const mo_slot_t *b = &plan->slots[j];
            life_of(plan, j, &other_first, &other_last);
            if (b->space != MO_IN_ARENA || b->root != j || other_last < 0 || other_first > last || first > other_last)
                continue;
            ck_assert_msg(a->offset + (int64_t)a->bytes <= b->offset || b->offset + (int64_t)b->bytes <= a->offset,
                          "slots %d and %d are in use at once and overlap", i, j);
        }
    }
    ck_assert_uint_lt(plan->arena_bytes, total); /* places are used again */
}

START_TEST(test_places)
{
    static const int32_t archs[] = {MOCO_ARCH_RESNET18, MOCO_ARCH_RESNET50};
    moco_device_t *device = NULL;
    RIG_OK(mo_device_open_lanes(1, &device));
    for (int a = 0; a < 2; a++) {
        mo_net_t net = {0};
        mo_encoder_spec_t spec = tiny_spec(archs[a]);
        RIG_OK(mo_encoder_net(&spec, &net));
        const int32_t unit = mo_l2norm(&net, net.projection);
        mo_plan_t *key = planned(device, &net, unit, MO_MODE_KEY, 1);
        mo_plan_t *infer = planned(device, &net, unit, MO_MODE_INFER, 1);
        assert_no_overlap(key);
        assert_no_overlap(infer);
        ck_assert_int_lt(infer->instr_count, key->instr_count); /* batch norms, sums and ReLUs are taken over */
        mo_plan_free(key);
        mo_plan_free(infer);
        mo_net_free(&net);
    }
    mo_device_release(device);
}
END_TEST

static int32_t block(mo_net_t *net, int32_t src)
{
    int32_t t = mo_batchnorm(net, mo_conv(net, src, "conv1", 16, 3, 1, 1, MO_INIT_KAIMING), "bn1", 1, MO_INIT_ONE);
    t = mo_batchnorm(net, mo_conv(net, t, "conv2", 16, 3, 1, 1, MO_INIT_KAIMING), "bn2", 0, MO_INIT_ONE);
    return mo_linear(net, mo_mean_pool(net, mo_residual(net, t, src)), "fc", 16);
}

START_TEST(test_train_places)
{
    for (int32_t shards = 1; shards <= 2; shards++) {
        rig_t r;
        rig_open(&r, (rig_shape_t){.batch = 4, .groups = 1, .shards_per_group = shards, .sets = 1, .lanes = 1},
                 (mo_shape_t){16, 7, 7}, 37, block);
        assert_no_overlap(r.plan);
        rig_close(&r);
    }
}
END_TEST

/* ---- modes ---- */

typedef struct run {
    mo_instance_t *instance;
    const mo_net_t *net;
    const float *image;
    int32_t unit;
    mo_buffer_t stats;
    float values[2 * 16];
} run_t;

static moco_status_t run_on_lane(mo_lane_t *lane, void *ctx)
{
    run_t *r = ctx;
    moco_status_t status = MOCO_OK;
    float *values;
    TRY(mo_instance_bind(r->instance, MO_IN_STATS, r->stats));
    TRY(mo_instance_map(r->instance, r->net->input, MO_WRITE, &values));
    memcpy(values, r->image, 2 * 3 * 32 * 32 * sizeof(float));
    mo_instance_unmap(r->instance, r->net->input, values);
    TRY(mo_instance_run(lane, r->instance));
    TRY(mo_instance_map(r->instance, r->unit, MO_READ, &values));
    memcpy(r->values, values, sizeof r->values);
    mo_instance_unmap(r->instance, r->unit, values);
cleanup:
    return status;
}

/* Keys of a whole encoder against double precision, and the same bits twice in a dirty arena. */
START_TEST(test_key_mode)
{
    mo_net_t net = {0};
    mo_encoder_spec_t spec = tiny_spec(MOCO_ARCH_RESNET50);
    moco_device_t *device = NULL;
    mo_packed_t *packed = NULL;
    mo_buffer_t arena, on_params;
    run_t run = {.net = &net};
    float first[2 * 16];
    RIG_OK(mo_device_open_lanes(1, &device));
    RIG_OK(mo_encoder_net(&spec, &net));
    run.unit = mo_l2norm(&net, net.projection);
    mo_plan_t *plan = planned(device, &net, run.unit, MO_MODE_KEY, 1);
    float *params = rig_block(net.params), *image = rig_block(2 * 3 * 32 * 32);
    RIG_OK(mo_buffer_create(device, (size_t)net.stats * sizeof(float), &run.stats));
    run.image = image;
    mo_init_params(&net, 3, params);
    rig_normal(image, 2 * 3 * 32 * 32, 0, 1, 1);
    RIG_OK(mo_buffer_create(device, mo_plan_arena_bytes(plan), &arena));
    RIG_OK(mo_buffer_create(device, (size_t)net.params * sizeof(float), &on_params));
    RIG_OK(mo_buffer_write(on_params, params));
    RIG_OK(mo_packed_create(plan, on_params, &packed));
    RIG_OK(mo_packed_refresh(packed));
    RIG_OK(mo_instance_create(plan, arena, on_params, packed, &run.instance));
    for (int junk = 0; junk < 2; junk++) {
        rig_fill(arena, junk ? 0xff : 0);
        RIG_OK(mo_device_call(device, run_on_lane, &run));
        if (junk)
            ck_assert_mem_eq(first, run.values, sizeof first);
        memcpy(first, run.values, sizeof first);
    }
    reference_t ref = {.net = &net,
                       .rows = 2,
                       .params = rig_doubles(params, net.params),
                       .stats = rig_doubles(NULL, net.stats),
                       .tensor = calloc((size_t)net.tensors, sizeof(double *))};
    for (int32_t i = 0; i < net.tensors; i++)
        ref.tensor[i] = rig_doubles(i == net.input ? image : NULL, ref_size(&ref, i));
    ref_forward(&ref);
    for (int i = 0; i < 2 * 16; i++) /* 50 layers with batch norms of as few as two values a channel */
        ck_assert_double_eq_tol(run.values[i], ref.tensor[run.unit][i], 2e-3);
    for (int32_t i = 0; i < net.tensors; i++)
        free(ref.tensor[i]);
    free(ref.tensor);
    free((void *)ref.params);
    free(ref.stats);
    mo_instance_free(run.instance);
    mo_packed_free(packed);
    mo_plan_free(plan);
    mo_buffer_free(&arena);
    mo_buffer_free(&on_params);
    mo_buffer_free(&run.stats);
    mo_block_free(params, 0);
    mo_block_free(image, 0);
    mo_net_free(&net);
    mo_device_release(device);
}
END_TEST

/* ---- refusals and profile ---- */

static moco_status_t map_unplanned(mo_lane_t *lane, void *ctx)
{
    rig_t *r = ctx;
    float *values;
    (void)lane;
    return mo_instance_map_gradient(r->instances[0], r->keys_tensor, MO_READ, &values);
}

START_TEST(test_refusals)
{
    rig_t r;
    mo_net_t net = {0};
    mo_plan_t *plan = NULL;
    rig_open(&r, (rig_shape_t){.batch = 4, .groups = 1, .shards_per_group = 1, .sets = 1, .lanes = 1},
             (mo_shape_t){16, 7, 7}, 37, block);
    ck_assert_int_eq(mo_device_call(r.device, map_unplanned, &r), MOCO_ERR_ENGINE); /* keys have no gradient */
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "not in this plan"));
    net.input = mo_net_tensor(&net, 16, 4, 4); /* a batch norm that no convolution can take over */
    int32_t out = mo_batchnorm(&net, net.input, "bn", 0, MO_INIT_ONE);
    mo_plan_spec_t spec = {.net = &net,
                           .mode = MO_MODE_INFER,
                           .shard = 1,
                           .shards_per_group = 1,
                           .inputs = {net.input, -1, -1, -1},
                           .outputs = {out, -1, -1, -1}};
    ck_assert_int_eq(mo_plan_create(r.device, &spec, &plan), MOCO_ERR_ENGINE);
    ck_assert_ptr_null(plan);
    mo_net_free(&net);
    rig_close(&r);
}
END_TEST

START_TEST(test_profile)
{
    rig_t r;
    mo_plan_times_t times[16];
    double forward = 0, backward = 0;
    rig_open(&r, (rig_shape_t){.batch = 4, .groups = 1, .shards_per_group = 1, .sets = 1, .lanes = 1},
             (mo_shape_t){16, 7, 7}, 37, block);
    ck_assert_int_eq(mo_plan_profile(r.plan, 1, times, 16), 0); /* nothing was measured yet */
    rig_run(&r, 0);
    int32_t count = mo_plan_profile(r.plan, 0, times, 16);
    ck_assert_int_eq(count, 7); /* convolution, batch norm, residual, mean pool, linear, l2 norm, infonce */
    for (int32_t i = 0; i < count; i++) {
        ck_assert_ptr_nonnull(times[i].kind);
        forward += times[i].forward_seconds;
        backward += times[i].backward_seconds;
    }
    ck_assert(forward > 0 && backward > 0);
    ck_assert_int_eq(mo_plan_profile(r.plan, 1, times, 16), 0);
    for (int32_t i = 0; i < r.plan->instr_count; i++)
        r.plan->seconds[i] = 1;
    count = mo_plan_profile(r.plan, 0, times, 16);
    double all = 0;
    for (int32_t i = 0; i < count; i++)
        all += times[i].forward_seconds + times[i].backward_seconds;
    ck_assert_double_eq(all, r.plan->instr_count); /* each of them once */
    rig_run(&r, 0);
    ck_assert_int_eq(mo_plan_profile(r.plan, 0, times, 16), 0); /* off again */
    rig_close(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan");
    TCase *tc = tcase_create("plan");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_places);
    tcase_add_test(tc, test_train_places);
    tcase_add_test(tc, test_key_mode);
    tcase_add_test(tc, test_refusals);
    tcase_add_test(tc, test_profile);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
