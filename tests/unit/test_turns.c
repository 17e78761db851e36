/* The fair share of lane time, in simulated time: no clock, no thread. */
#include <check.h>
#include <stdlib.h>

#include "engine/run/turns.h"

#define MS ((int64_t)1000000)

/* One lane, on which both classes always have work, for 100 seconds. */
static double share_of_training(int32_t percent, int64_t operation, int64_t embedding, int64_t *longest_wait)
{
    mo_turns_t turns;
    int64_t now = 0, spent[2] = {0}, since = 0;
    mo_turns_begin(&turns, percent, 1);
    *longest_wait = 0;
    while (now < 100000 * MS) {
        const mo_class_t class = mo_turns_next(&turns);
        const int64_t took = class == MO_TRAINING ? operation : embedding;
        if (class == MO_EMBEDDING) {
            *longest_wait = now - since > *longest_wait ? now - since : *longest_wait;
            since = now + took;
        }
        now += took;
        spent[class] += took;
        mo_turns_charge(&turns, class, took, took);
    }
    ck_assert_int_eq(turns.spent[MO_TRAINING], spent[MO_TRAINING]);
    ck_assert_int_eq(turns.spent[MO_EMBEDDING], spent[MO_EMBEDDING]);
    return (double)spent[MO_TRAINING] / (double)now;
}

START_TEST(test_shares)
{
    static const int32_t percents[] = {1, 10, 50, 80, 99};
    static const int64_t lengths[] = {MS / 100, MS, 30 * MS, 500 * MS}; /* of an operation, of an embedding */
    for (size_t p = 0; p < sizeof percents / sizeof percents[0]; p++)
        for (size_t o = 0; o < 3; o++)
            for (size_t e = 0; e < 4; e++) {
                int64_t wait;
                const double got = share_of_training(percents[p], lengths[o], lengths[e], &wait);
                ck_assert_double_eq_tol(got, percents[p] / 100.0, 0.01 + percents[p] / 99.0 * 0.006);
                const int64_t bound = lengths[e] * percents[p] / (100 - percents[p]) + lengths[o];
                ck_assert_int_le(wait, bound);
            }
}
END_TEST

START_TEST(test_ends_of_the_range)
{
    int64_t wait;
    ck_assert(share_of_training(0, MS, MS, &wait) == 0.0);
    ck_assert(share_of_training(100, MS, MS, &wait) == 1.0);
}
END_TEST

/* Who was alone for a long time has spent nothing that the other could claim for long. */
START_TEST(test_pauses)
{
    mo_turns_t turns;
    int64_t training = 0, embedding = 0;
    mo_turns_begin(&turns, 50, 1);
    for (int i = 0; i < 1000; i++)
        mo_turns_charge(&turns, MO_EMBEDDING, 100 * MS, 0);
    while (mo_turns_next(&turns) == MO_TRAINING) {
        mo_turns_charge(&turns, MO_TRAINING, MS, MS);
        training += MS;
    }
    ck_assert_int_le(training, 101 * MS);
    for (int i = 0; i < 1000; i++)
        mo_turns_charge(&turns, MO_TRAINING, 100 * MS, 0);
    while (mo_turns_next(&turns) == MO_EMBEDDING) {
        mo_turns_charge(&turns, MO_EMBEDDING, MS, MS);
        embedding += MS;
    }
    ck_assert_int_ge(embedding, 99 * MS);
    ck_assert_int_le(embedding, 102 * MS);
}
END_TEST

/* A lane stays free for training only while that is owed time, and not for long. */
START_TEST(test_hold)
{
    mo_turns_t turns;
    mo_turns_begin(&turns, 50, 2);
    ck_assert_int_eq(mo_turns_hold(&turns, 0), 0); /* nothing has run */
    mo_turns_charge(&turns, MO_EMBEDDING, 30 * MS, 30 * MS);
    ck_assert_int_eq(mo_turns_hold(&turns, 50 * MS), 0); /* nobody trains */
    turns.left = 50 * MS;
    ck_assert_int_gt(mo_turns_hold(&turns, 50 * MS), 0);
    ck_assert_int_le(mo_turns_hold(&turns, 50 * MS), 5 * MS);
    ck_assert_int_eq(mo_turns_hold(&turns, 60 * MS), 0);
    mo_turns_charge(&turns, MO_TRAINING, 31 * MS, 31 * MS);
    ck_assert_int_eq(mo_turns_hold(&turns, 50 * MS), 0); /* it has had its share */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *tc = tcase_create("turns");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_shares);
    tcase_add_test(tc, test_ends_of_the_range);
    tcase_add_test(tc, test_pauses);
    tcase_add_test(tc, test_hold);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
