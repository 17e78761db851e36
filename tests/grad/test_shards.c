/* One batch-norm group cut into shards that meet, against the same group uncut and in double
 * precision; and the same bits for any number of lanes and of groups in flight. */
#include <stdio.h>

#include "engine_fixtures.h"

static int32_t norm_alone(mo_net_t *net, int32_t t)
{
    return mo_mean_pool(net, mo_relu(net, mo_batchnorm(net, t, "bn", 0, MO_INIT_ONE)));
}

static int32_t norm_relu(mo_net_t *net, int32_t t)
{
    return mo_mean_pool(net, mo_batchnorm(net, t, "bn", 1, MO_INIT_ONE));
}

static int32_t block(mo_net_t *net, int32_t src, int32_t channels, const char *const names[6], int32_t stride)
{
    int32_t t = mo_conv(net, src, names[0], channels, 3, stride, 1, MO_INIT_KAIMING), shortcut = src;
    t = mo_batchnorm(net, t, names[1], 1, MO_INIT_ONE);
    if (stride != 1) {
        shortcut = mo_conv(net, src, names[2], channels, 1, stride, 0, MO_INIT_KAIMING);
        shortcut = mo_batchnorm(net, shortcut, names[3], 0, MO_INIT_ONE);
    }
    t = mo_batchnorm(net, mo_conv(net, t, names[4], channels, 3, 1, 1, MO_INIT_KAIMING), names[5], 0, MO_INIT_ONE);
    return mo_residual(net, t, shortcut);
}

static int32_t encoder(mo_net_t *net, int32_t t)
{
    static const char *const first[] = {"a.0", "a.1", "a.2", "a.3", "a.4", "a.5"};
    static const char *const second[] = {"b.0", "b.1", "b.2", "b.3", "b.4", "b.5"};
    t = mo_batchnorm(net, mo_conv(net, t, "conv1", 16, 3, 1, 1, MO_INIT_KAIMING), "bn1", 1, MO_INIT_ONE);
    t = block(net, block(net, t, 16, first, 1), 32, second, 2);
    return mo_linear(net, mo_mean_pool(net, t), "fc", 16);
}

typedef struct shard_case {
    rig_body_t body;
    mo_shape_t image;
    double mean; /* of the images: far from 0, sums of squares would cancel */
} shard_case_t;

static const shard_case_t cases[] = {
    {norm_alone, {16, 5, 5}, 0.3},
    {norm_relu, {24, 4, 4}, 0.3},
    {norm_alone, {32, 3, 3}, 30.0},
    {encoder, {3, 7, 7}, 0.3},
};

/* 8 images as one shard of 8, as 2 of 4, 4 of 2 and 8 of 1; batch norm by the loops, then by the
 * primitives. */
static const int32_t cuts[] = {1, 2, 4, 8};

START_TEST(test_cut)
{
    const shard_case_t *c = &cases[_i / 16];
    rig_shape_t shape = {.batch = 8,
                         .groups = 1,
                         .shards_per_group = cuts[_i % 4],
                         .sets = 1,
                         .lanes = 2,
                         .primitives = _i / 4 % 2,
                         .apart = _i / 8 % 2};
    rig_t r;
    twin_t t;
    rig_open(&r, shape, c->image, 37, c->body);
    rig_normal(r.images, shape.batch * r.feature, c->mean, 1, 1);
    twin_open(&t, &r);
    rig_run(&r, 0xff);
    rig_assert_forward(&r, &t);
    rig_assert_gradients(&r, &t, 1);
    twin_close(&t);
    rig_close(&r);
}
END_TEST

/* Two groups of two shards: each has statistics of its own, and only its own. */
START_TEST(test_groups_apart)
{
    rig_shape_t shape = {.batch = 8, .groups = 2, .shards_per_group = 2, .sets = 1, .lanes = 2};
    rig_t r;
    twin_t t;
    rig_open(&r, shape, (mo_shape_t){3, 7, 7}, 37, encoder);
    rig_normal(r.images + 4 * r.feature, 4 * r.feature, 2, 3, 5); /* the second group looks quite different */
    twin_open(&t, &r);
    rig_run(&r, 0xff);
    rig_assert_forward(&r, &t);
    rig_assert_gradients(&r, &t, 1);
    ck_assert(fabs(t.stats[0] - t.stats[r.net.stats]) > 0.01);
    twin_close(&t);
    rig_close(&r);
}
END_TEST

typedef struct bits {
    float *stats, *grads, *results, *d_images;
} bits_t;

static float *copied(const float *from, int64_t count)
{
    float *to = malloc((size_t)count * sizeof *to + 1);
    memcpy(to, from, (size_t)count * sizeof *to);
    return to;
}

static void zero_padding(rig_t *r)
{
    for (int64_t leaf = 0; leaf < r->leaves; leaf++)
        for (int32_t i = 0; i < r->net.parameter_count; i++) {
            const mo_parameter_t *s = &r->net.parameters[i];
            int64_t end = i + 1 < r->net.parameter_count ? r->net.parameters[i + 1].offset : r->net.params;
            memset(r->grads + leaf * r->net.params + s->offset + s->count, 0,
                   (size_t)(end - s->offset - s->count) * sizeof(float));
        }
}

/* Same bits on 1, 2 and 3 lanes and with 1 to 4 groups in flight, run after run. */
START_TEST(test_lanes)
{
    static const struct {
        int32_t lanes, sets;
    } ways[] = {{1, 1}, {2, 1}, {2, 2}, {3, 2}, {3, 4}, {1, 4}};
    int32_t shards = _i == 0 ? 1 : 2;
    bits_t first = {0};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        rig_shape_t shape = {
            .batch = 16, .groups = 4, .shards_per_group = shards, .sets = ways[w].sets, .lanes = ways[w].lanes};
        rig_t r;
        rig_open(&r, shape, (mo_shape_t){3, 9, 9}, 37, encoder);
        ck_assert_int_eq(mo_device_lanes(r.device), ways[w].lanes);
        for (int run = 0; run < 2; run++) {
            rig_run(&r, run == 0 ? 0xff : 0);
            zero_padding(&r);
            if (first.grads == NULL)
                first = (bits_t){copied(r.stats, 4 * r.net.stats), copied(r.grads, r.leaves * r.net.params),
                                 copied(r.results, 16 * MO_LOSS_WIDTH), copied(r.d_images, 16 * r.feature)};
            ck_assert_mem_eq(r.stats, first.stats, (size_t)(4 * r.net.stats) * sizeof(float));
            ck_assert_mem_eq(r.grads, first.grads, (size_t)(r.leaves * r.net.params) * sizeof(float));
            ck_assert_mem_eq(r.results, first.results, 16 * MO_LOSS_WIDTH * sizeof(float));
            ck_assert_mem_eq(r.d_images, first.d_images, (size_t)(16 * r.feature) * sizeof(float));
        }
        rig_close(&r);
    }
    free(first.stats);
    free(first.grads);
    free(first.results);
    free(first.d_images);
}
END_TEST

/* The hooks see groups in order and each shard once; a hook that fails ends the pass with its
 * message, and the next pass is whole again. */
typedef struct watched {
    rig_t *rig;
    int32_t seen[8], fail_group;
} watched_t;

static moco_status_t watch_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    watched_t *w = ctx;
    __atomic_add_fetch(&w->seen[group * w->rig->shape.shards_per_group + shard], 1, __ATOMIC_RELAXED);
    if (group == w->fail_group)
        return mo_fail(MOCO_ERR_NONFINITE, "group %d fails", group);
    return rig_end(w->rig, instance, group, shard);
}

static moco_status_t watch_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    return rig_begin(((watched_t *)ctx)->rig, instance, group, shard);
}

START_TEST(test_hooks)
{
    rig_shape_t shape = {.batch = 16, .groups = 4, .shards_per_group = 2, .sets = 2, .lanes = 2};
    rig_t r;
    rig_open(&r, shape, (mo_shape_t){3, 7, 7}, 37, encoder);
    watched_t w = {.rig = &r};
    r.pass.begin = watch_begin;
    r.pass.end = watch_end;
    r.pass.ctx = &w;
    for (w.fail_group = 3; w.fail_group >= -1; w.fail_group--) {
        memset(w.seen, 0, sizeof w.seen);
        moco_status_t status = mo_pass_run(r.device, &r.pass);
        char text[64];
        snprintf(text, sizeof text, "group %d fails", w.fail_group);
        ck_assert_int_eq(status, w.fail_group >= 0 ? MOCO_ERR_NONFINITE : MOCO_OK);
        if (status != MOCO_OK)
            ck_assert_str_eq(moco_last_message(), text);
        for (int i = 0; i < 8; i++)
            ck_assert_int_le(w.seen[i], 1);
    }
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(w.seen[i], 1);
    rig_close(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shards");
    TCase *tc = tcase_create("shards");
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, test_cut, 0, 16 * (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tc, test_groups_apart);
    tcase_add_loop_test(tc, test_lanes, 0, 2);
    tcase_add_test(tc, test_hooks);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
