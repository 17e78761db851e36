/* The FIFO of keys, and which image a group encodes in which row. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <moco/queue.h>
#include <moco/status.h>
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

/* ---- contrast ---- */

enum { KEYS = 40, WIDTH = 6, ROWS = 35 }; /* a whole tile of 32 rows and a rest */

#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

static void unit_rows(float *rows, int64_t count, uint32_t number)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 3, 100, number, 0);
    for (int64_t n = 0; n < count; n++) {
        double values[WIDTH], sum = 0;
        for (int i = 0; i < WIDTH; i++) {
            values[i] = mo_rng_normal(&rng);
            sum += values[i] * values[i];
        }
        for (int i = 0; i < WIDTH; i++)
            rows[n * WIDTH + i] = (float)(values[i] / sqrt(sum));
    }
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < WIDTH; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* A row by the definition: its loss, how many keys beat its own, and the gradient of the loss. */
static double row_loss(const float *query, const float *key, const float *queue, double temperature, int *before,
                       double gradient[WIDTH])
{
    const double own = dot(query, key) / temperature;
    double sum = exp(own);
    *before = 0;
    for (int k = 0; k < KEYS; k++) {
        sum += exp(dot(query, queue + k * WIDTH) / temperature);
        *before += dot(query, queue + k * WIDTH) / temperature > own;
    }
    for (int i = 0; i < WIDTH; i++) {
        gradient[i] = (exp(own) / sum - 1) * key[i] / temperature;
        for (int k = 0; k < KEYS; k++)
            gradient[i] += exp(dot(query, queue + k * WIDTH) / temperature) / sum * queue[k * WIDTH + i] / temperature;
    }
    return log(sum) - own;
}

static void check_contrast(moco_queue_t *queue, double temperature)
{
    float held[KEYS * WIDTH], queries[ROWS * WIDTH], keys[ROWS * WIDTH], d_queries[ROWS * WIDTH];
    moco_contrast_options_t o;
    moco_contrast_result_t result = {.struct_size = sizeof result};
    double loss = 0;
    int first = 0, fifth = 0;
    unit_rows(queries, ROWS, 1);
    unit_rows(keys, ROWS, 2);
    for (int i = 0; i < ROWS / 4 * WIDTH; i++)
        keys[i] = queries[i]; /* the likeliest of all */
    OK(moco_queue_keys(queue, held, NULL));
    OK(moco_contrast_options_init(&o, sizeof o));
    o.temperature = temperature;
    o.d_queries = d_queries;
    OK(moco_queue_contrast(queue, ROWS, queries, keys, &o, &result));
    for (int n = 0; n < ROWS; n++) {
        double gradient[WIDTH];
        int before;
        loss += row_loss(queries + n * WIDTH, keys + n * WIDTH, held, temperature, &before, gradient) / ROWS;
        first += before < 1;
        fifth += before < 5;
        for (int i = 0; i < WIDTH; i++)
            ck_assert_double_eq_tol(d_queries[n * WIDTH + i], gradient[i] / ROWS, 2e-6 / temperature);
    }
    ck_assert_double_eq_tol(result.loss, loss, 2e-6 * (1 + loss));
    ck_assert_double_eq_tol(result.chance_loss, log(KEYS + 1.0), 1e-12);
    ck_assert_double_eq_tol(result.top1, 100.0 * first / ROWS, 1e-9);
    ck_assert_double_eq_tol(result.top5, 100.0 * fifth / ROWS, 1e-9);
    ck_assert(first > 0 && first < fifth && fifth < ROWS); /* otherwise nothing is told */
}

/* Against the definition in double, with one temperature after another, before and after keys
 * came. */
START_TEST(test_contrast)
{
    moco_queue_options_t o;
    moco_queue_t *queue = NULL;
    float rows[7 * WIDTH];
    OK(moco_queue_options_init(&o, sizeof o));
    o.length = KEYS;
    o.dimension = WIDTH;
    OK(moco_queue_create(&o, NULL, &queue));
    check_contrast(queue, 0.2);
    check_contrast(queue, 1);
    unit_rows(rows, 7, 3);
    OK(moco_queue_enqueue(queue, 7, rows));
    ck_assert_int_eq(moco_queue_pointer(queue), 7);
    check_contrast(queue, 1);
    moco_queue_free(queue);
}
END_TEST

/* One key of the queue beats the row's own, whichever it is. */
START_TEST(test_every_key_counts)
{
    moco_queue_options_t o;
    moco_contrast_options_t contrast;
    moco_contrast_result_t result = {.struct_size = sizeof result};
    moco_queue_t *queue = NULL;
    float held[KEYS * WIDTH], own[WIDTH];
    OK(moco_queue_options_init(&o, sizeof o));
    OK(moco_contrast_options_init(&contrast, sizeof contrast));
    o.length = KEYS;
    o.dimension = WIDTH;
    OK(moco_queue_create(&o, NULL, &queue));
    OK(moco_queue_keys(queue, held, NULL));
    for (int k = 0; k < KEYS; k++) {
        const float *query = held + k * WIDTH;
        int largest = 0;
        double norm = 0;
        for (int i = 1; i < WIDTH; i++)
            largest = fabsf(query[i]) > fabsf(query[largest]) ? i : largest;
        for (int i = 0; i < WIDTH; i++) {
            own[i] = query[i] * (i == largest ? 1 : 0.99f);
            norm += (double)own[i] * own[i];
        }
        for (int i = 0; i < WIDTH; i++)
            own[i] = (float)(own[i] / sqrt(norm));
        OK(moco_queue_contrast(queue, 1, query, own, &contrast, &result));
        ck_assert(result.top1 == 0 && result.top5 == 100);
    }
    moco_queue_free(queue);
}
END_TEST

/* The pointer of what is put back is one of its rows; what is refused changes nothing. */
START_TEST(test_restore)
{
    static const int64_t pointers[] = {-1, KEYS, 0, KEYS - 1};
    moco_queue_options_t o;
    moco_queue_t *queue = NULL;
    float rows[KEYS * WIDTH], before[KEYS * WIDTH], after[KEYS * WIDTH];
    int64_t pointer = -1;
    OK(moco_queue_options_init(&o, sizeof o));
    o.length = KEYS;
    o.dimension = WIDTH;
    OK(moco_queue_create(&o, NULL, &queue));
    unit_rows(rows, KEYS, 4);
    OK(moco_queue_keys(queue, before, NULL));
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(moco_queue_restore(queue, rows, pointers[i]), i < 2 ? MOCO_ERR_ARGUMENT : MOCO_OK);
        OK(moco_queue_keys(queue, after, &pointer));
        ck_assert_int_eq(pointer, i < 2 ? 0 : pointers[i]);
        ck_assert_mem_eq(after, i < 2 ? before : rows, sizeof after);
    }
    moco_queue_free(queue);
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
    tcase_add_test(tc, test_contrast);
    tcase_add_test(tc, test_every_key_counts);
    tcase_add_test(tc, test_restore);
    tcase_add_test(tc, test_group_means);
    tcase_add_test(tc, test_members_once);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
