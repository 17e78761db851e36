/* The FIFO of keys, and which image a group encodes in which row. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <moco/trainer.h>

#include "buffer_fixtures.h"
#include "contrast/contrast.h"
#include "util/fault.h"
#include "util/rng.h"

/* ---- keys ---- */

START_TEST(test_first_content)
{
    mo_keys_t keys, again, other;
    ck_assert_int_eq(mo_keys_create(&keys, 1000, 24, 5, NULL), MOCO_OK);
    ck_assert_int_eq(mo_keys_create(&again, 1000, 24, 5, NULL), MOCO_OK);
    ck_assert_int_eq(mo_keys_create(&other, 1000, 24, 6, NULL), MOCO_OK);
    ck_assert_int_eq(keys.pointer, 0);
    float *rows = floats_of(keys.rows), *others = floats_of(other.rows);
    double mean = 0;
    for (int64_t n = 0; n < 1000; n++) {
        double sum = 0;
        for (int i = 0; i < 24; i++) {
            sum += (double)rows[n * 24 + i] * rows[n * 24 + i];
            mean += rows[n * 24 + i] / 24000.0;
        }
        ck_assert_double_eq_tol(sqrt(sum), 1, 1e-6); /* a row of 24 rounded numbers */
    }
    ck_assert_double_eq_tol(mean, 0, 5 / sqrt(24.0 * 24000.0)); /* five standard errors */
    assert_buffer(again.rows, rows, 24000);
    ck_assert_mem_ne(rows, others, 24 * sizeof(float));
    free(rows);
    free(others);
    mo_keys_free(&keys);
    mo_keys_free(&again);
    mo_keys_free(&other);
    mo_fault_arm(MO_FAULT_ALLOC, 0);
    ck_assert_int_eq(mo_keys_create(&keys, 1000, 24, 5, NULL), MOCO_ERR_MEMORY);
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
        ck_assert_int_eq(mo_keys_create(&keys, lengths[l], DIMENSION, 1, NULL), MOCO_OK);
        float *ring = floats_of(keys.rows), *mapped, rows[300 * DIMENSION], next = 0;
        int64_t at = 0;
        for (int round = 0; round < 60; round++) {
            int64_t count = round == 7 ? 3 * lengths[l] : 1 + mo_rng_below(&rng, (uint32_t)lengths[l] * 2);
            for (int64_t i = 0; i < count * DIMENSION; i++)
                rows[i] = next++;
            for (int64_t n = 0; n < count; n++, at = (at + 1) % lengths[l])
                memcpy(ring + at * DIMENSION, rows + n * DIMENSION, sizeof(float) * DIMENSION);
            ck_assert_int_eq(mo_buffer_map(keys.rows, MO_UPDATE, &mapped), MOCO_OK);
            mo_keys_enqueue(&keys, mapped, rows, count);
            mo_buffer_unmap(keys.rows, mapped);
            ck_assert_int_eq(keys.pointer, at);
            assert_buffer(keys.rows, ring, lengths[l] * DIMENSION);
        }
        ck_assert_int_eq(mo_buffer_map(keys.rows, MO_UPDATE, &mapped), MOCO_OK);
        mo_keys_enqueue(&keys, mapped, rows, 0); /* nothing */
        mo_buffer_unmap(keys.rows, mapped);
        ck_assert_int_eq(keys.pointer, at);
        assert_buffer(keys.rows, ring, lengths[l] * DIMENSION);
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

/* Every image is in one place of one group, with and without a shuffle; a shuffle moves places, not
 * images. */
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
