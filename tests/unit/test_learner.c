/* How a batch is cut, and what ends a step that went wrong. */
#include <check.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fault/trainer_fixtures.h"
#include "train/learner.h"
#include "train/update.h"
#include "train/schedule.h"
#include "util/alloc.h"

START_TEST(test_cut)
{
    static const struct {
        int64_t rows;
        int32_t groups, shard, syncs;
        mo_cut_t wanted;
        int32_t sets[3]; /* with 1, 3 and 64 shards in flight at most */
    } cases[] = {
        {64, 2, 8, 1, {8, 4, 2}, {1, 1, 2}}, /* a group at least, all at most                  */
        {64, 2, 8, 0, {8, 1, 8}, {1, 3, 8}}, /* nothing syncs: every shard is a group          */
        {64, 8, 8, 1, {8, 1, 8}, {1, 3, 8}},
        {30, 1, 5, 1, {5, 6, 1}, {1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mo_cut_t cut = mo_cut(cases[i].rows, cases[i].groups, cases[i].shard, cases[i].syncs);
        mo_learner_t l = {.cut = cut};
        ck_assert_mem_eq(&cut, &cases[i].wanted, sizeof cut);
        ck_assert_int_eq(mo_learner_shards(&l), cases[i].rows / cases[i].shard);
        for (int k = 0; k < 3; k++) {
            l.sets = mo_learner_sets(&l, (const int32_t[]){1, 3, 64}[k]);
            ck_assert_int_eq(l.sets, cases[i].sets[k]);
            ck_assert_int_eq(mo_learner_in_flight(&l), l.sets * cut.shards_per_group);
        }
    }
}
END_TEST

START_TEST(test_shard_size)
{
    static const int32_t cases[][4] = {{256, 8, 0, 32}, {8, 1, 0, 4}, {12, 1, 0, 6}, {96, 2, 0, 24}, {96, 2, 16, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_int_eq(mo_shard_size(cases[i][0], cases[i][1], cases[i][2]), cases[i][3]);
}
END_TEST

/* A gradient or a loss that is no number is refused by the number of its step. */
START_TEST(test_norm)
{
    mo_net_t net = {0};
    mo_optim_t optim = {0};
    moco_device_t *device = NULL;
    float gradient[16] = {3, 4};
    double norm = 0;
    const int64_t dims[] = {2};
    mo_net_parameter(&net, NULL, "w", 1, dims, MO_INIT_ZERO, 1);
    OK(mo_net_done(&net));
    OK(mo_device_open_lanes(1, &device));
    OK(mo_optim_prepare(&optim, &net));
    optim.pieces[0] = (mo_gradient_piece_t){.values = gradient, .count = net.params};
    const mo_update_t update = {.optim = &optim, .rates = {.step = 7}};
    OK(mo_update_prepare(&update, device, 1.5, &norm));
    ck_assert_double_eq_tol(norm, 5, 1e-12);
    ck_assert_int_eq(mo_update_prepare(&update, device, NAN, &norm), MOCO_ERR_NONFINITE);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "step 7: loss is"));
    gradient[1] = INFINITY;
    ck_assert_int_eq(mo_update_prepare(&update, device, 1.5, &norm), MOCO_ERR_NONFINITE);
    mo_optim_free(&optim);
    mo_net_free(&net);
    mo_device_release(device);
}
END_TEST

/* ---- a request to stop ---- */

typedef struct drop {
    moco_cancel_t *cancel;
    atomic_int begun, ended;
} drop_t;

static moco_status_t ask(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    drop_t *drop = ctx;
    (void)instance;
    (void)group;
    (void)shard;
    drop->begun++;
    moco_cancel_request(drop->cancel);
    return MOCO_OK;
}

static moco_status_t count_end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    drop_t *drop = ctx;
    (void)instance;
    (void)group;
    (void)shard;
    drop->ended++;
    return MOCO_OK;
}

/* Shards at work are dropped between two of their instructions; the next step is as if nothing had
 * been. */
START_TEST(test_dropped)
{
    const moco_trainer_options_t o = tiny_options(8, 2);
    moco_device_t *device = tiny_device(2);
    moco_trainer_t *trainer = NULL;
    drop_t drop = {0};
    float *views = tiny_views(8, 0);
    OK(moco_cancel_create(&drop.cancel));
    OK(moco_trainer_create(&o, device, &trainer));
    for (int stage = MO_STAGE_KEY; stage <= MO_STAGE_QUERY; stage++) {
        const mo_feed_t feed = {ask, count_end, &drop, drop.cancel};
        moco_cancel_reset(drop.cancel);
        mo_gradients_recycle(&trainer->gradients[0]);
        ck_assert_int_eq(mo_learner_run(&trainer->stages[stage].learner, device, &feed), MOCO_ERR_CANCELLED);
    }
    ck_assert_int_ge(drop.begun, 2);
    ck_assert_int_eq(drop.ended, 0);
    OK(tiny_push(trainer, views));
    OK(moco_trainer_step(trainer, NULL, NULL));
    moco_trainer_free(trainer);
    moco_device_free(device);
    moco_cancel_free(drop.cancel);
    free(views);
}
END_TEST

/* A schedule without a trainer's options. */
START_TEST(test_schedule)
{
    const mo_lr_schedule_t s = {
        .rate = 2, .form = MOCO_SCHEDULE_COSINE, .unit = MOCO_SCHEDULE_PER_STEP, .epochs = 12, .warmup_epochs = 2};
    ck_assert(mo_lr_at(&s, (mo_time_t){0, 0, 10}) == 0);
    ck_assert_double_eq_tol(mo_lr_at(&s, (mo_time_t){0, 5, 10}), 0.5, 1e-15);
    ck_assert_double_eq_tol(mo_lr_at(&s, (mo_time_t){2, 0, 10}), 2, 1e-15);
    ck_assert_double_eq_tol(mo_lr_at(&s, (mo_time_t){7, 0, 10}), 1, 1e-12);
    ck_assert_double_eq_tol(mo_lr_at(&s, (mo_time_t){12, 0, 10}), 0, 1e-12);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("learner");
    TCase *tc = tcase_create("learner");
    tcase_add_test(tc, test_cut);
    tcase_add_test(tc, test_shard_size);
    tcase_add_test(tc, test_norm);
    tcase_add_test(tc, test_dropped);
    tcase_add_test(tc, test_schedule);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
