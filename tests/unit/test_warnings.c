/* Warnings of a run: said once, and only when they should be. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/options.h"
#include "train/trainer.h"

static char said[8][400];
static int count;

static void listen(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level == MOCO_LOG_WARNING && count < 8)
        snprintf(said[count++], sizeof said[0], "%s", message);
}

static moco_trainer_t trainer(float *keys)
{
    moco_trainer_t t = {.mapped.keys = keys};
    ck_assert_int_eq(mo_options_defaults(MOCO_RECIPE_CIFAR, &t.state.options), MOCO_OK);
    t.state.options.batch_size = 16;
    t.state.options.dimension = 8;
    t.state.method = mo_method_of(&t.state.options);
    t.state.queue.length = t.state.options.queue_length;
    t.state.queue_seen = t.state.queue.length;
    count = 0;
    moco_set_log(listen, NULL, MOCO_LOG_WARNING);
    return t;
}

/* Unit rows, each another axis or its opposite. */
static void spread_rows(float *keys)
{
    memset(keys, 0, 16 * 8 * sizeof *keys);
    for (int n = 0; n < 16; n++)
        keys[n * 8 + n % 8] = n < 8 ? 1.0f : -1.0f;
}

START_TEST(spread)
{
    float keys[16 * 8];
    spread_rows(keys);
    ck_assert(fabs(mo_spread(keys, 16, 8) - 1) < 1e-6);
    for (int i = 0; i < 16 * 8; i++)
        keys[i] = sqrtf(1.0f / 8);
    ck_assert(mo_spread(keys, 16, 8) < 1e-3);
}
END_TEST

START_TEST(setup)
{
    float keys[16 * 8];
    spread_rows(keys);
    moco_trainer_t t = trainer(keys);
    t.state.listing_count = 50000;
    mo_warn_setup(&t);
    ck_assert_int_eq(count, 0);
    t = trainer(keys);
    t.state.listing_count = 4096;
    mo_warn_setup(&t);
    mo_warn_setup(&t);
    ck_assert_int_eq(count, 1);
    ck_assert_ptr_nonnull(strstr(said[0], "queue_length is 4096 and the data set has 4096 images"));
    t = trainer(keys);
    t.state.options.bn_groups = 1;
    mo_warn_setup(&t);
    mo_warn_setup(&t);
    ck_assert_int_eq(count, 1);
    ck_assert_ptr_nonnull(strstr(said[0], "bn_groups is 1"));
    t = trainer(keys);
    t.state.options.shuffle = 0;
    mo_warn_setup(&t);
    ck_assert_int_eq(count, 1);
    ck_assert_ptr_nonnull(strstr(said[0], "shuffle is 0"));
    ck_assert_int_eq(mo_options_defaults(MOCO_RECIPE_V3, &t.state.options),
                     MOCO_OK); /* no queue: one group is what it wants */
    t.warnings = (mo_warnings_t){0};
    count = 0;
    mo_warn_setup(&t);
    ck_assert_int_eq(count, 0);
}
END_TEST

static void steps(moco_trainer_t *t, int number, double loss, double top1)
{
    mo_outcome_t outcome = {.loss = loss, .top1 = top1};
    for (int i = 0; i < number; i++) {
        t->state.step++;
        mo_warn_step(t, &outcome);
    }
}

START_TEST(along_the_way)
{
    float keys[16 * 8];
    spread_rows(keys);
    moco_trainer_t t = trainer(keys);
    t.state.listing_count = 50000;
    steps(&t, 199, t.state.method.chance * 1.005, 50);
    steps(&t, 1, t.state.method.chance * 0.9, 50); /* the row is broken */
    steps(&t, 199, t.state.method.chance * 1.005, 50);
    ck_assert_int_eq(count, 0);
    steps(&t, 300, t.state.method.chance * 1.005, 50);
    ck_assert_int_eq(count, 1);
    ck_assert_ptr_nonnull(strstr(said[0], "within 1 % of chance"));
    t.state.queue_seen = 0; /* easy while the queue is random */
    steps(&t, 300, 1, 100);
    ck_assert_int_eq(count, 1);
    t.state.queue_seen = t.state.queue.length;
    steps(&t, 300, 1, 100);
    ck_assert_int_eq(count, 2);
    ck_assert_ptr_nonnull(strstr(said[1], "won in 100.0 %"));
    for (int i = 0; i < 16 * 8; i++)
        keys[i] = sqrtf(1.0f / 8);
    steps(&t, 50, 1, 50);
    ck_assert_int_eq(count, 3);
    ck_assert_ptr_nonnull(strstr(said[2], "collapsed"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("warnings");
    TCase *tc = tcase_create("warnings");
    tcase_add_test(tc, spread);
    tcase_add_test(tc, setup);
    tcase_add_test(tc, along_the_way);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
