/* The FIFO of keys, and which image a group encodes in which row. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <moco/trainer.h>

#include "contrast/contrast.h"
#include "util/fault.h"
#include "util/rng.h"

/* ---- keys ---- */

START_TEST(test_first_content)
{
    mo_keys_t keys, again, other;
    ck_assert_int_eq(mo_keys_create(&keys, 1000, 24, 5), MOCO_OK);
    ck_assert_int_eq(mo_keys_create(&again, 1000, 24, 5), MOCO_OK);
    ck_assert_int_eq(mo_keys_create(&other, 1000, 24, 6), MOCO_OK);
    ck_assert_int_eq(keys.pointer, 0);
    double mean = 0;
    for (int64_t n = 0; n < 1000; n++) {
        double sum = 0;
        for (int i = 0; i < 24; i++) {
            sum += (double)keys.rows[n * 24 + i] * keys.rows[n * 24 + i];
            mean += keys.rows[n * 24 + i] / 24000.0;
        }
        ck_assert_double_eq_tol(sqrt(sum), 1, 1e-6); /* a row of 24 rounded numbers */
    }
    ck_assert_double_eq_tol(mean, 0, 5 / sqrt(24.0 * 24000.0)); /* five standard errors */
    ck_assert_mem_eq(keys.rows, again.rows, 24000 * sizeof(float));
    ck_assert_mem_ne(keys.rows, other.rows, 24 * sizeof(float));
    mo_keys_free(&keys);
    mo_keys_free(&again);
    mo_keys_free(&other);
    mo_fault_arm(MO_FAULT_ALLOC, 0);
    ck_assert_int_eq(mo_keys_create(&keys, 1000, 24, 5), MOCO_ERR_MEMORY);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    mo_keys_free(&keys);
}
END_TEST

/* Against one row at a time, the definition of a ring. */
START_TEST(test_ring)
{
    enum { DIMENSION = 3 };
    static const int64_t lengths[] = {1, 2, 7, 16, 100};
    mo_rng_t rng;
    mo_rng_start(&rng, 3, 100, 0, 0);
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        mo_keys_t keys;
        ck_assert_int_eq(mo_keys_create(&keys, lengths[l], DIMENSION, 1), MOCO_OK);
        size_t bytes = (size_t)lengths[l] * DIMENSION * sizeof(float);
        float *ring = malloc(bytes), rows[300 * DIMENSION], next = 0;
        int64_t at = 0;
        memcpy(ring, keys.rows, bytes);
        for (int round = 0; round < 60; round++) {
            int64_t count = round == 7 ? 3 * lengths[l] : 1 + mo_rng_below(&rng, (uint32_t)lengths[l] * 2);
            for (int64_t i = 0; i < count * DIMENSION; i++)
                rows[i] = next++;
            for (int64_t n = 0; n < count; n++, at = (at + 1) % lengths[l])
                memcpy(ring + at * DIMENSION, rows + n * DIMENSION, sizeof(float) * DIMENSION);
            mo_keys_enqueue(&keys, rows, count);
            ck_assert_int_eq(keys.pointer, at);
            ck_assert_mem_eq(keys.rows, ring, bytes);
        }
        mo_keys_enqueue(&keys, rows, 0); /* nothing */
        ck_assert_int_eq(keys.pointer, at);
        ck_assert_mem_eq(keys.rows, ring, bytes);
        free(ring);
        mo_keys_free(&keys);
    }
}
END_TEST

/* ---- membership ---- */

/* Image n shows the number n: means of the groups for 16 images in 4 groups. */
START_TEST(test_group_means)
{
    static const double strided[] = {6, 7, 8, 9}, contiguous[] = {1.5, 5.5, 9.5, 13.5};
    for (int32_t g = 0; g < 4; g++) {
        double s = 0, c = 0;
        for (int64_t row = 0; row < 4; row++) {
            s += (double)mo_member(MOCO_MEMBERSHIP_STRIDED, 16, 4, g, row, NULL) / 4;
            c += (double)mo_member(MOCO_MEMBERSHIP_CONTIGUOUS, 16, 4, g, row, NULL) / 4;
        }
        ck_assert_double_eq(s, strided[g]);
        ck_assert_double_eq(c, contiguous[g]);
    }
}
END_TEST

/* Every image is in one place of one group, with and without a shuffle; a shuffle moves places, not images. */
START_TEST(test_members_once)
{
    enum { BATCH = 24 };
    int32_t permutation[BATCH];
    ck_assert_int_eq(mo_rng_permutation(9, MO_STREAM_SHUFFLE, 3, BATCH, permutation), MOCO_OK);
    for (int32_t groups = 1; groups <= 12; groups++) {
        if (BATCH % groups != 0)
            continue;
        for (int mode = 0; mode < 4; mode++) {
            int32_t membership = mode & 1 ? MOCO_MEMBERSHIP_STRIDED : MOCO_MEMBERSHIP_CONTIGUOUS, seen[BATCH] = {0};
            const int32_t *order = mode & 2 ? permutation : NULL;
            for (int32_t g = 0; g < groups; g++)
                for (int64_t row = 0; row < BATCH / groups; row++) {
                    int64_t place = mo_member(membership, BATCH, groups, g, row, NULL);
                    int64_t image = mo_member(membership, BATCH, groups, g, row, order);
                    ck_assert_int_eq(g, mode & 1 ? place % groups : place / (BATCH / groups));
                    ck_assert_int_eq(image, order != NULL ? order[place] : place);
                    ck_assert(image >= 0 && image < BATCH);
                    seen[image]++;
                }
            for (int i = 0; i < BATCH; i++)
                ck_assert_int_eq(seen[i], 1);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tc = tcase_create("queue");
    tcase_add_test(tc, test_first_content);
    tcase_add_test(tc, test_ring);
    tcase_add_test(tc, test_group_means);
    tcase_add_test(tc, test_members_once);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
