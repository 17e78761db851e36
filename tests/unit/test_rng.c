/* util/rng: known answers of Philox4x32-10, the layout of the counter, distributions,
 * permutations. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "util/fault.h"
#include "util/rng.h"

static void words(uint64_t seed, uint32_t block, uint32_t index, uint32_t time, uint32_t stream, uint32_t out[4])
{
    mo_rng_t rng;
    mo_rng_start(&rng, seed, stream, index, time);
    rng.block = block;
    for (int i = 0; i < 4; i++)
        out[i] = mo_rng_u32(&rng);
}

/* The three published vectors of philox 4x32 with 10 rounds; the last one fixes the order of all
 * six words. */
START_TEST(known_answers)
{
    static const uint32_t want[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                        {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                        {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    uint32_t got[4];
    words(0, 0, 0, 0, 0, got);
    ck_assert_mem_eq(got, want[0], sizeof got);
    words(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, got);
    ck_assert_mem_eq(got, want[1], sizeof got);
    words(0x299f31d0a4093822, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, got);
    ck_assert_mem_eq(got, want[2], sizeof got);
}
END_TEST

START_TEST(blocks_follow_and_words_combine)
{
    uint32_t first[4], second[4];
    words(7, 0, 1, 2, 3, first);
    words(7, 1, 1, 2, 3, second);
    mo_rng_t rng;
    mo_rng_start(&rng, 7, 3, 1, 2);
    ck_assert_uint_eq(mo_rng_u64(&rng), first[0] | (uint64_t)first[1] << 32);
    ck_assert(mo_rng_unit(&rng) == (double)((first[2] | (uint64_t)first[3] << 32) >> 11) * 0x1p-53);
    ck_assert_uint_eq(mo_rng_u32(&rng), second[0]);
}
END_TEST

START_TEST(distributions)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 1, MO_STREAM_WEIGHTS, 0, 0);
    enum { N = 100000 };
    double sum = 0, squares = 0, unit = 0;
    for (int i = 0; i < N; i++) {
        const double x = mo_rng_normal(&rng);
        ck_assert(isfinite(x));
        sum += x;
        squares += x * x;
        const double u = mo_rng_range(&rng, 2, 4);
        ck_assert(u >= 2 && u < 4);
        unit += u;
    }
    ck_assert_double_eq_tol(sum / N, 0, 0.02);
    ck_assert_double_eq_tol(squares / N, 1, 0.03);
    ck_assert_double_eq_tol(unit / N, 3, 0.02);
}
END_TEST

/* Mean and variance: shape and shape; a/(a+b) and ab/((a+b)^2 (a+b+1)). */
START_TEST(gamma_and_beta)
{
    static const double shapes[] = {0.1, 0.8, 1, 2.5, 40};
    enum { N = 20000 };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const double a = shapes[s], b = 2 * a, mean = a / (a + b), spread = mean * (1 - mean) / (a + b + 1);
        double sums[4] = {0};
        mo_rng_t rng;
        mo_rng_start(&rng, 4, 0, (uint32_t)s, 0);
        for (int i = 0; i < N; i++) {
            const double x = mo_rng_gamma(&rng, a), y = mo_rng_beta(&rng, a, b);
            ck_assert(x >= 0 && isfinite(x) && y >= 0 && y <= 1);
            sums[0] += x;
            sums[1] += (x - a) * (x - a);
            sums[2] += y;
            sums[3] += (y - mean) * (y - mean);
        }
        ck_assert_double_eq_tol(sums[0] / N, a, 5 * sqrt(a / N));
        ck_assert_double_eq_tol(sums[1] / N, a, a * 5 * sqrt((2 + 6 / a) / N));
        ck_assert_double_eq_tol(sums[2] / N, mean, 5 * sqrt(spread / N));
        ck_assert_double_eq_tol(sums[3] / N, spread, 0.1 * spread);
    }
    mo_rng_t rng;
    mo_rng_start(&rng, 4, 0, 9, 0);
    double coins = 0;
    for (int i = 0; i < 1000; i++) {
        const double x = mo_rng_beta(&rng, 1e-5, 1e-5); /* both draws underflow, as a rule */
        ck_assert(x >= 0 && x <= 1);
        coins += x;
    }
    ck_assert(coins > 400 && coins < 600);
}
END_TEST

/* How many draws of the stream a number takes is as fixed as the number: other constants of the
 * method would draw from the same distribution, and a run of the same seed would be another one.
 * The last digits are those of log and pow. */
START_TEST(gamma_keeps_its_draws)
{
    static const struct {
        double shape, numbers[4];
        uint32_t after;
    } cases[] = {
        {0.3, {0.025987327872833657, 0.5680874276101967, 0.013149286682501803, 6.9840694398609124e-07}, 0x6d4e3052},
        {1, {0.72552055991713105, 1.3614580095305722, 0.90636971705944913, 0.50419133642312319}, 0xa68aa64d},
        {2.5, {2.271434184704233, 3.2871384609931695, 2.5790932923903149, 1.8616535478619678}, 0xa68aa64d},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mo_rng_t rng;
        mo_rng_start(&rng, 4, 1, 2, 3);
        for (int k = 0; k < 4; k++)
            ck_assert_double_eq_tol(mo_rng_gamma(&rng, cases[i].shape) / cases[i].numbers[k], 1, 1e-12);
        ck_assert_uint_eq(mo_rng_u32(&rng), cases[i].after);
    }
}
END_TEST

START_TEST(below_is_even)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 2, 0, 0, 0);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        const uint32_t n = mo_rng_below(&rng, 7);
        ck_assert_uint_lt(n, 7);
        seen[n]++;
    }
    for (int i = 0; i < 7; i++)
        ck_assert(abs(seen[i] - 10000) < 500);
    ck_assert_uint_eq(mo_rng_below(&rng, 1), 0);
    /* 3 * 2^30 rejects a quarter of all words: a plain high word would give the multiples of 3
     * twice as often */
    int third = 0;
    for (int i = 0; i < 30000; i++)
        third += mo_rng_below(&rng, 3u << 30) % 3 == 0;
    ck_assert(abs(third - 10000) < 500);
}
END_TEST

static uint64_t *keys; /* for the comparison */

static int by_key(const void *a, const void *b)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    return keys[i] != keys[j] ? (keys[i] > keys[j]) - (keys[i] < keys[j]) : (i > j) - (i < j);
}

START_TEST(permutation_sorts_draws)
{
    static const int64_t counts[] = {0, 1, 2, 8, 256, 1024, 1025, 50000};
    const int64_t count = counts[_i];
    int32_t *got = calloc((size_t)count + 1, sizeof *got), *want = calloc((size_t)count + 1, sizeof *want);
    keys = calloc((size_t)count + 1, sizeof *keys);
    mo_rng_t rng;
    mo_rng_start(&rng, 42, MO_STREAM_ORDER, 0, 3);
    for (int32_t i = 0; i < count; i++) {
        keys[i] = mo_rng_u64(&rng);
        want[i] = i;
    }
    qsort(want, (size_t)count, sizeof *want, by_key);
    ck_assert_int_eq(mo_rng_permutation(42, MO_STREAM_ORDER, 3, count, got), MOCO_OK);
    for (int64_t i = 0; i < count; i++)
        ck_assert_int_eq(got[i], want[i]);
    free(got);
    free(want);
    free(keys);
}
END_TEST

START_TEST(permutation_refuses)
{
    int32_t one = -1;
    ck_assert_int_eq(mo_rng_permutation(1, 0, 0, -1, &one), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_rng_permutation(1, 0, 0, (int64_t)1 << 31, &one), MOCO_ERR_ARGUMENT);
    int32_t *many = calloc(2000, sizeof *many);
    mo_fault_arm(MO_FAULT_ALLOC, 0);
    ck_assert_int_eq(mo_rng_permutation(1, 0, 0, 2000, many), MOCO_ERR_MEMORY);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    free(many);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rng");
    TCase *tcase = tcase_create("rng");
    tcase_add_test(tcase, known_answers);
    tcase_add_test(tcase, blocks_follow_and_words_combine);
    tcase_add_test(tcase, distributions);
    tcase_add_test(tcase, gamma_and_beta);
    tcase_add_test(tcase, gamma_keeps_its_draws);
    tcase_add_test(tcase, below_is_even);
    tcase_add_loop_test(tcase, permutation_sorts_draws, 0, 8);
    tcase_add_test(tcase, permutation_refuses);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
