/* Learning rates against the published schedules, worked out by hand. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "train/options.h"
#include "train/schedule.h"

static moco_trainer_options_t recipe(int32_t number)
{
    moco_trainer_options_t options;
    ck_assert_int_eq(mo_options_defaults(number, &options), MOCO_OK);
    return options;
}

/* To the digits that the value was worked out to. */
static void assert_rate(const moco_trainer_options_t *options, int64_t epoch, double want, double digits)
{
    double got = mo_schedule_lr(options, (mo_time_t){epoch, 0, 100});
    ck_assert_msg(fabs(got - want) <= digits, "epoch %lld: %.12g, wanted %.12g", (long long)epoch, got, want);
}

START_TEST(test_v2_cosine)
{
    moco_trainer_options_t options = recipe(MOCO_RECIPE_V2);
    assert_rate(&options, 0, 0.03, 1e-12);
    assert_rate(&options, 1, 0.029998149, 5e-10);
    assert_rate(&options, 50, 0.025606602, 5e-10);
    assert_rate(&options, 100, 0.015, 1e-12);
    assert_rate(&options, 199, 1.8505e-6, 5e-11);
    assert_rate(&options, 200, 0, 0);
    assert_rate(&options, 250, 0, 0);
    options.batch_size = 64;
    assert_rate(&options, 0, 0.0075, 1e-12);
    assert_rate(&options, -1, 0.0075, 1e-12);
}
END_TEST

/* The demonstration counts epochs from 1: its last epoch has rate 0. */
START_TEST(test_cifar_cosine)
{
    moco_trainer_options_t options = recipe(MOCO_RECIPE_CIFAR);
    options.batch_size = 512; /* the published check values: base 0.03 doubled */
    assert_rate(&options, 0, 0.059996299, 5e-10);
    assert_rate(&options, 49, 0.051213203, 5e-10);
    assert_rate(&options, 99, 0.03, 1e-12);
    assert_rate(&options, 149, 0.0087867966, 5e-11);
    assert_rate(&options, 198, 3.7010e-6, 5e-11);
    assert_rate(&options, 199, 0, 0);
    assert_rate(&options, -1, 0.06, 1e-12);
}
END_TEST

START_TEST(test_v1_step)
{
    moco_trainer_options_t options = recipe(MOCO_RECIPE_V1);
    assert_rate(&options, 0, 0.03, 1e-12);
    assert_rate(&options, 119, 0.03, 1e-12);
    assert_rate(&options, 120, 0.003, 1e-12);
    assert_rate(&options, 159, 0.003, 1e-12);
    assert_rate(&options, 160, 0.0003, 1e-12);
    assert_rate(&options, 1000, 0.0003, 1e-12);
    options.first_epoch = 1;
    assert_rate(&options, 119, 0.003, 1e-12);
    options.milestone_2 = options.milestone_1;
    assert_rate(&options, 119, 0.0003, 1e-12);
}
END_TEST

START_TEST(test_constant)
{
    moco_trainer_options_t options = recipe(MOCO_RECIPE_CIFAR);
    options.schedule = MOCO_SCHEDULE_CONSTANT;
    assert_rate(&options, 0, 0.03, 0);
    assert_rate(&options, 5000, 0.03, 0);
    assert_rate(&options, -1, 0.03, 0);
}
END_TEST

/* v3: every step, warm-up from exactly 0, the momentum's own cosine without one. */
START_TEST(test_v3)
{
    moco_trainer_options_t o = recipe(MOCO_RECIPE_V3);
    ck_assert(mo_schedule_lr(&o, (mo_time_t){0, 0, 312}) == 0);
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){5, 0, 312}) - 4.8) < 1e-12);
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){9, 156, 312}) - 9.6 * 0.95) < 1e-12);
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){10, 0, 312}) - 9.6) < 1e-12);
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){55, 0, 312}) - 4.8) < 1e-12);
    ck_assert(mo_schedule_lr(&o, (mo_time_t){100, 0, 312}) == 0);
    const double wanted[] = {0.99, 0.991464, 0.995, 0.998536, 1};
    for (int i = 0; i < 5; i++)
        ck_assert(fabs(mo_schedule_momentum(&o, (mo_time_t){25 * i, 0, 312}) - wanted[i]) < 5e-7);
    ck_assert(mo_schedule_momentum(&o, (mo_time_t){-1, 0, 0}) == 0.99);
    mo_time_t next = mo_time_next((mo_time_t){0, 0, 2});
    ck_assert(next.epoch == 0 && next.step == 1 && next.per_epoch == 2);
    next = mo_time_next(next);
    ck_assert(next.epoch == 1 && next.step == 0 && next.per_epoch == 2);
    next = mo_time_next((mo_time_t){3, 311, 312});
    ck_assert(next.epoch == 4 && next.step == 0 && next.per_epoch == 312);
    next = mo_time_next((mo_time_t){-1, 0, 0});
    ck_assert(next.epoch == -1);
    o = recipe(MOCO_RECIPE_V3_VIT);
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){40, 0, 312}) - 2.4e-3) < 1e-15);
    o.batch_size = 1024;
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){40, 0, 312}) - 6e-4) < 1e-15);
    o = recipe(MOCO_RECIPE_SIMCLR);
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){10, 0, 312}) - 4.8) < 1e-12);
    o.base_lr = 0.075;
    o.lr_scaling = MOCO_LR_SCALING_SQRT;
    ck_assert(fabs(mo_schedule_lr(&o, (mo_time_t){10, 0, 312}) - 4.8) < 1e-12);
    o.lr_scaling = MOCO_LR_SCALING_NONE; /* base_lr as it is, whatever the batch */
    ck_assert(mo_schedule_lr(&o, (mo_time_t){10, 0, 312}) == 0.075);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedule");
    TCase *tc = tcase_create("schedule");
    tcase_add_test(tc, test_v2_cosine);
    tcase_add_test(tc, test_cifar_cosine);
    tcase_add_test(tc, test_v1_step);
    tcase_add_test(tc, test_constant);
    tcase_add_test(tc, test_v3);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
