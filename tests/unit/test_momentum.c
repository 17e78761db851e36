/* The key encoder's update: k <- f32(k m) + f32(q (1-m)), every step of it rounded once. */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "contrast/contrast.h"
#include "util/rng.h"

enum { COUNT = 100003 }; /* odd: the ends of vector loops are seen too */

static float *normals(uint32_t number)
{
    float *values = malloc(COUNT * sizeof *values);
    mo_rng_t rng;
    mo_rng_start(&rng, 1, 100, number, 0);
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)(0.05 * mo_rng_normal(&rng));
    return values;
}

/* Equal numbers; k m may be a zero of the other sign. */
static int same(const float *a, const float *b)
{
    int equal = 1;
    for (int i = 0; i < COUNT; i++)
        equal &= a[i] == b[i];
    return equal;
}

/* Products in double are exact for two floats, so one conversion rounds once. */
START_TEST(test_two_products)
{
    static const double momenta[] = {0.999, 0.99, 0.996, 0.5, 0.0, 1.0};
    float *query = normals(1), *key = normals(2);
    int one_rounding = 0;
    for (size_t m = 0; m < sizeof momenta / sizeof momenta[0]; m++) {
        float keep = (float)momenta[m], take = (float)(1.0 - momenta[m]), *updated = malloc(COUNT * sizeof *updated);
        memcpy(updated, key, COUNT * sizeof *updated);
        mo_momentum_update(updated, query, COUNT, momenta[m]);
        for (int i = 0; i < COUNT; i++) {
            float kept = (float)((double)key[i] * keep), taken = (float)((double)query[i] * take);
            float wanted = (float)((double)kept + (double)taken);
            if (updated[i] != wanted)
                ck_abort_msg("m %g, %d: %a, wanted %a", momenta[m], i, updated[i], wanted);
            one_rounding += fmaf(query[i], take, kept) != wanted;
        }
        free(updated);
    }
    ck_assert_int_gt(one_rounding, COUNT / 100); /* a contracted sum would differ and be seen */
    free(query);
    free(key);
}
END_TEST

/* 1-m is formed in double: with m = 0.999 the float difference would be off by 5e-5 of itself. */
START_TEST(test_complement)
{
    float key = 0.0f, query = 1.0f;
    mo_momentum_update(&key, &query, 1, 0.999);
    ck_assert(key == (float)(1.0 - 0.999));
    ck_assert(key != 1.0f - 0.999f);
}
END_TEST

/* Equal weights do not all stay equal: about 15 % move, by one unit in the last place. */
START_TEST(test_drift)
{
    float *query = normals(3), *key = malloc(COUNT * sizeof *key);
    int moved = 0;
    memcpy(key, query, COUNT * sizeof *key);
    mo_momentum_update(key, query, COUNT, 0.999);
    for (int i = 0; i < COUNT; i++) {
        if (key[i] == query[i])
            continue;
        moved++;
        ck_assert(key[i] == nextafterf(query[i], 0.0f) || key[i] == nextafterf(query[i], 2 * query[i]));
    }
    ck_assert_msg(moved > COUNT / 10 && moved < COUNT / 5, "%d of %d moved", moved, COUNT);
    free(query);
    free(key);
}
END_TEST

START_TEST(test_ends)
{
    float *query = normals(4), *key = normals(5), *kept = normals(5);
    mo_momentum_update(key, query, COUNT, 1.0);
    ck_assert_mem_eq(key, kept, COUNT * sizeof *key);
    mo_momentum_update(key, query, COUNT, 0.0);
    ck_assert(same(key, query));
    mo_momentum_update(key, query, 0, 0.5);
    ck_assert(same(key, query));
    free(query);
    free(key);
    free(kept);
}
END_TEST

/* Only the rows that it is told of. */
START_TEST(test_count)
{
    for (int count = 0; count < 40; count++) {
        float key[41], query[41];
        for (int i = 0; i < 41; i++) {
            key[i] = 1.0f;
            query[i] = 2.0f;
        }
        mo_momentum_update(key, query, count, 0.5);
        for (int i = 0; i < 41; i++)
            ck_assert(key[i] == (i < count ? 1.5f : 1.0f));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("momentum");
    TCase *tc = tcase_create("momentum");
    tcase_add_test(tc, test_two_products);
    tcase_add_test(tc, test_complement);
    tcase_add_test(tc, test_count);
    tcase_add_test(tc, test_drift);
    tcase_add_test(tc, test_ends);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
