/* The linear probe's classifiers: gradients against finite differences, steps against a naive
 * double-precision SGD, scores against counting, and the same bits on any number of lanes and
 * whatever learns beside. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/device.h"
#include "eval/linear.h"
#include "eval/supervised.h"
#include "util/rng.h"

#define OK(call) ck_assert_int_eq(call, MOCO_OK)

enum { MOST_HEADS = 3 };

typedef struct sizes {
    int32_t heads, classes, features;
    int64_t rows, batch;
} sizes_t;

/* Below, at and beyond the tiles of the arithmetic, and none a multiple of them. */
static const sizes_t cases[] = {{1, 2, 3, 7, 7},      {1, 10, 64, 40, 16},   {2, 5, 33, 130, 130},
                                {3, 37, 130, 61, 33}, {2, 70, 65, 300, 257}, {1, 3, 1, 5, 1}};
enum { CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    sizes_t s;
    float *rows;
    int32_t *labels, *order;
} problem_t;

static problem_t make(sizes_t s, uint64_t seed)
{
    problem_t p = {.s = s};
    mo_rng_t rng;
    mo_rng_start(&rng, seed, 99, 0, 0);
    p.rows = calloc((size_t)(s.rows * s.features), sizeof *p.rows);
    p.labels = calloc((size_t)s.rows, sizeof *p.labels);
    p.order = calloc((size_t)s.rows, sizeof *p.order);
    for (int64_t i = 0; i < s.rows * s.features; i++)
        p.rows[i] = (float)mo_rng_normal(&rng);
    for (int64_t i = 0; i < s.rows; i++)
        p.labels[i] = (int32_t)mo_rng_below(&rng, (uint32_t)s.classes);
    OK(mo_rng_permutation(seed, 98, 0, s.rows, p.order));
    return p;
}

static void drop(problem_t *p)
{
    free(p->rows);
    free(p->labels);
    free(p->order);
}

static mo_linear_t classifiers(moco_device_t *device, const sizes_t *s, double std)
{
    mo_linear_t l;
    OK(mo_linear_create(device, s->heads, s->classes, s->features, s->batch, &l));
    mo_linear_init(&l, 5, std);
    return l;
}

/* Mean loss in double; gradient by weights [C,F] and bias [C] if wanted. */
static double naive_loss(const problem_t *p, const int32_t *order, int64_t count, const double *w, const double *b,
                         double *dw, double *db)
{
    const int32_t classes = p->s.classes, features = p->s.features;
    double loss = 0, z[128] = {0};
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = order != NULL ? order[i] : i;
        const float *x = p->rows + at * features;
        double most = -INFINITY, sum = 0;
        for (int32_t c = 0; c < classes; c++) {
            z[c] = b[c];
            for (int32_t f = 0; f < features; f++)
                z[c] += w[c * features + f] * x[f];
            most = fmax(most, z[c]);
        }
        for (int32_t c = 0; c < classes; c++)
            sum += exp(z[c] - most);
        loss += log(sum) + most - z[p->labels[at]];
        for (int32_t c = 0; c < classes && dw != NULL; c++) {
            const double g = (exp(z[c] - most) / sum - (c == p->labels[at])) / (double)count;
            db[c] += g;
            for (int32_t f = 0; f < features; f++)
                dw[c * features + f] += g * x[f];
        }
    }
    return loss / (double)count;
}

/* The naive gradient itself, by differences of the naive loss. */
START_TEST(test_naive)
{
    const sizes_t s = {1, 4, 5, 9, 9};
    problem_t p = make(s, 3);
    double w[20], b[4], dw[20] = {0}, db[4] = {0};
    mo_rng_t rng;
    mo_rng_start(&rng, 1, 97, 0, 0);
    for (int i = 0; i < 20; i++)
        w[i] = mo_rng_normal(&rng);
    for (int i = 0; i < 4; i++)
        b[i] = mo_rng_normal(&rng);
    naive_loss(&p, NULL, s.rows, w, b, dw, db);
    for (int i = 0; i < 24; i++) {
        double *at = i < 20 ? &w[i] : &b[i - 20], was = *at, h = 1e-5;
        *at = was + h;
        double up = naive_loss(&p, NULL, s.rows, w, b, NULL, NULL);
        *at = was - h;
        double down = naive_loss(&p, NULL, s.rows, w, b, NULL, NULL);
        *at = was;
        ck_assert_double_eq_tol((up - down) / (2 * h), i < 20 ? dw[i] : db[i - 20], 1e-8);
    }
    drop(&p);
}
END_TEST

/* Five steps at rates of their own, with momentum and decay. */
START_TEST(test_steps)
{
    const sizes_t s = cases[_i];
    problem_t p = make(s, 11);
    moco_device_t *device = NULL;
    OK(mo_device_open_lanes(2, &device));
    mo_linear_t l = classifiers(device, &s, 0.5);
    const int64_t block = (int64_t)s.classes * s.features, all = block + s.classes;
    const double lr[MOST_HEADS] = {0.3, 0.05, 1.1};
    double *w = calloc((size_t)(s.heads * all), sizeof *w), *v = calloc((size_t)(s.heads * all), sizeof *v);
    double *g = calloc((size_t)all, sizeof *g);
    l.momentum = 0.9f;
    l.decay = 0.01f;
    for (int32_t h = 0; h < s.heads; h++)
        for (int64_t i = 0; i < block; i++)
            w[h * all + i] = l.weights[h * block + i];
    for (int step = 0; step < 5; step++) {
        const int64_t first = step * 13 % (s.rows - s.batch + 1);
        const mo_linear_rows_t rows = {p.rows, p.labels, p.order + first, s.batch};
        double loss[MOST_HEADS] = {0};
        OK(mo_linear_step(&l, &rows, lr, loss));
        for (int32_t h = 0; h < s.heads; h++) {
            memset(g, 0, (size_t)all * sizeof *g);
            double want = naive_loss(&p, rows.order, s.batch, w + h * all, w + h * all + block, g, g + block);
            ck_assert_double_eq_tol(loss[h] / (double)s.batch, want, 1e-5 * (1 + want));
            for (int64_t i = 0; i < all; i++) {
                v[h * all + i] = 0.9f * v[h * all + i] + g[i] + 0.01f * w[h * all + i];
                w[h * all + i] -= lr[h] * v[h * all + i];
            }
        }
    }
    for (int32_t h = 0; h < s.heads; h++)
        for (int64_t i = 0; i < all; i++) {
            double got = i < block ? l.weights[h * block + i] : l.bias[h * s.classes + i - block];
            ck_assert_msg(fabs(got - w[h * all + i]) < 2e-5 * (1 + fabs(w[h * all + i])),
                          "classifier %d, parameter %ld: %.8g, wanted %.8g", h, (long)i, got, w[h * all + i]);
        }
    mo_linear_free(&l);
    free(w);
    free(v);
    free(g);
    drop(&p);
    moco_device_free(device);
}
END_TEST

static void train(mo_linear_t *l, const problem_t *p, const double *lr, double *loss)
{
    for (int step = 0; step < 4; step++) {
        const mo_linear_rows_t rows = {p->rows, p->labels, p->order, p->s.batch};
        l->momentum = 0.9f;
        OK(mo_linear_step(l, &rows, lr, loss));
    }
}

/* Lanes 1, 2, 3, 5; together and alone; picked by an order or lying in it. */
START_TEST(test_bits)
{
    const sizes_t s = cases[_i];
    problem_t p = make(s, 23);
    const size_t block = (size_t)s.classes * (size_t)s.features;
    const double lr[MOST_HEADS] = {0.3, 0.05, 1.1};
    double want_loss[MOST_HEADS] = {0};
    moco_device_t *device = NULL;
    OK(mo_device_open_lanes(1, &device));
    mo_linear_t want = classifiers(device, &s, 0.1);
    train(&want, &p, lr, want_loss);
    for (int32_t lanes = 2; lanes <= 5; lanes += lanes == 3 ? 2 : 1) {
        double loss[MOST_HEADS] = {0};
        moco_device_t *other = NULL;
        OK(mo_device_open_lanes(lanes, &other));
        mo_linear_t l = classifiers(other, &s, 0.1);
        train(&l, &p, lr, loss);
        ck_assert_mem_eq(l.weights, want.weights, (size_t)s.heads * block * sizeof(float));
        ck_assert_mem_eq(l.bias, want.bias, (size_t)(s.heads * s.classes) * sizeof(float));
        ck_assert_mem_eq(loss, want_loss, sizeof loss);
        mo_linear_free(&l);
        moco_device_free(other);
    }
    for (int32_t h = 0; h < s.heads; h++) {
        sizes_t one = s;
        one.heads = 1;
        mo_linear_t l = classifiers(device, &one, 0.1);
        double loss[1] = {0};
        train(&l, &p, lr + h, loss);
        ck_assert_mem_eq(l.weights, want.weights + (size_t)h * block, block * sizeof(float));
        ck_assert_mem_eq(l.bias, want.bias + h * s.classes, (size_t)s.classes * sizeof(float));
        ck_assert_mem_eq(loss, &want_loss[h], sizeof *loss);
        mo_linear_free(&l);
    }
    problem_t sorted = make(s, 23);
    for (int64_t i = 0; i < s.rows; i++) {
        memcpy(sorted.rows + i * s.features, p.rows + p.order[i] * s.features, (size_t)s.features * sizeof(float));
        sorted.labels[i] = p.labels[p.order[i]];
    }
    free(sorted.order);
    sorted.order = NULL;
    double loss[MOST_HEADS] = {0};
    mo_linear_t l = classifiers(device, &s, 0.1);
    train(&l, &sorted, lr, loss);
    ck_assert_mem_eq(l.weights, want.weights, (size_t)s.heads * block * sizeof(float));
    mo_linear_free(&l);
    mo_linear_free(&want);
    drop(&sorted);
    drop(&p);
    moco_device_free(device);
}
END_TEST

/* Whole numbers, so that logits are exact and tie often. */
START_TEST(test_score)
{
    const sizes_t s = cases[_i];
    problem_t p = make(s, 31);
    moco_device_t *device = NULL;
    OK(mo_device_open_lanes(3, &device));
    mo_linear_t l = classifiers(device, &s, 0);
    mo_rng_t rng;
    mo_rng_start(&rng, 2, 96, 0, 0);
    for (int64_t i = 0; i < s.rows * s.features; i++)
        p.rows[i] = (float)mo_rng_below(&rng, 3) - 1;
    for (int64_t i = 0; i < (int64_t)s.heads * s.classes * s.features; i++)
        l.weights[i] = (float)mo_rng_below(&rng, 3) - 1;
    for (int32_t i = 0; i < s.heads * s.classes; i++)
        l.bias[i] = (float)mo_rng_below(&rng, 2);
    mo_linear_score_t scores[MOST_HEADS];
    int64_t *confusion = calloc((size_t)(s.classes * s.classes), sizeof *confusion);
    int64_t *wanted = calloc((size_t)(s.classes * s.classes), sizeof *wanted);
    const mo_linear_rows_t rows = {p.rows, p.labels, NULL, s.rows};
    const int32_t head = s.heads - 1;
    OK(mo_linear_score(&l, &rows, scores, head, confusion));
    for (int32_t h = 0; h < s.heads; h++) {
        int64_t first = 0, fifth = 0;
        double loss = 0;
        for (int64_t i = 0; i < s.rows; i++) {
            double z[128], sum = 0;
            int32_t place = 0, best = 0;
            for (int32_t c = 0; c < s.classes; c++) {
                z[c] = l.bias[h * s.classes + c];
                for (int32_t f = 0; f < s.features; f++)
                    z[c] += (double)l.weights[(h * s.classes + c) * s.features + f] * p.rows[i * s.features + f];
                best = z[c] > z[best] ? c : best;
            }
            for (int32_t c = 0; c < s.classes; c++) {
                const double own = z[p.labels[i]];
                place += z[c] > own || (z[c] == own && c < p.labels[i]);
                sum += exp(z[c] - own);
            }
            first += place == 0;
            fifth += place < 5;
            loss += log(sum);
            if (h == head)
                wanted[p.labels[i] * s.classes + best]++;
        }
        ck_assert_int_eq(scores[h].first, first);
        ck_assert_int_eq(scores[h].fifth, fifth);
        ck_assert_double_eq_tol(scores[h].loss, loss, 1e-5 * (1 + loss));
    }
    ck_assert_mem_eq(confusion, wanted, (size_t)(s.classes * s.classes) * sizeof *wanted);
    free(confusion);
    free(wanted);
    mo_linear_free(&l);
    drop(&p);
    moco_device_free(device);
}
END_TEST

/* A classifier that has diverged is never right and disturbs nobody. */
START_TEST(test_diverged)
{
    const sizes_t s = {2, 3, 8, 20, 20};
    problem_t p = make(s, 41);
    moco_device_t *device = NULL;
    OK(mo_device_open_lanes(1, &device));
    mo_linear_t l = classifiers(device, &s, 0.1);
    const double lr[2] = {1e38, 0.1};
    double loss[2] = {0};
    train(&l, &p, lr, loss);
    train(&l, &p, lr, loss);
    ck_assert(!isfinite(loss[0]) && isfinite(loss[1]));
    mo_linear_score_t scores[2];
    const mo_linear_rows_t rows = {p.rows, p.labels, NULL, s.rows};
    OK(mo_linear_score(&l, &rows, scores, 0, NULL));
    ck_assert(!isfinite(scores[0].loss) && isfinite(scores[1].loss));
    ck_assert_int_gt(scores[1].first, 0);
    sizes_t one = s;
    one.heads = 1;
    mo_linear_t alone = classifiers(device, &one, 0.1);
    double other[1] = {0};
    train(&alone, &p, lr + 1, other);
    train(&alone, &p, lr + 1, other);
    ck_assert_mem_eq(alone.weights, l.weights + 24, 24 * sizeof(float));
    mo_linear_free(&alone);
    mo_linear_free(&l);
    drop(&p);
    moco_device_free(device);
}
END_TEST

/* Features are brought to length 1 where that is wanted; what cannot be is the model's fault. */
START_TEST(test_features)
{
    float rows[2][2] = {{3, 4}, {INFINITY, 0}};
    const mo_supervised_t as_they_are = {.normalize = 0}, normalised = {.normalize = 1};
    OK(mo_supervised_normalize(&as_they_are, rows[0], 2, 2));
    ck_assert(rows[0][0] == 3 && rows[0][1] == 4);
    ck_assert_int_eq(mo_supervised_normalize(&normalised, rows[0], 2, 2), MOCO_ERR_NONFINITE);
    ck_assert_str_eq(moco_last_message(), "features of the model: row 1 holds a number that is not finite");
    rows[0][0] = 3, rows[0][1] = 4;
    OK(mo_supervised_normalize(&normalised, rows[0], 1, 2));
    ck_assert(rows[0][0] == 0.6f && rows[0][1] == 0.8f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("linear");
    TCase *tc = tcase_create("linear");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_naive);
    tcase_add_loop_test(tc, test_steps, 0, CASES);
    tcase_add_loop_test(tc, test_bits, 0, CASES);
    tcase_add_loop_test(tc, test_score, 0, CASES);
    tcase_add_test(tc, test_diverged);
    tcase_add_test(tc, test_features);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
