/* Running statistics of batch norms: one update by the definition, and which rows of what a step
 * has staged each update takes. */
#include <check.h>
#include <stdlib.h>

#include "engine/ops.h"
#include "train/running.h"

enum { CHANNELS = 3, GROUPS = 4 };

/* An encoder whose backbone has a batch norm of 2 x 2 places, and whose head has one of vectors. */
static void make(mo_encoder_t *e)
{
    mo_net_t *net = &e->net;
    net->input = mo_net_tensor(net, 2, 2, 2);
    int32_t t = mo_conv(net, net->input, "conv", CHANNELS, 1, 1, 0, MO_INIT_KAIMING);
    t = mo_batchnorm(net, t, "bn", 1, MO_INIT_ONE);
    t = mo_mean_pool(net, t);
    net->body_ops = net->op_count;
    t = mo_linear(net, t, "fc", CHANNELS);
    mo_batchnorm(net, t, "head", 0, MO_INIT_ONE);
    ck_assert_int_eq(mo_net_done(net), MOCO_OK);
    e->running = calloc((size_t)net->stats, sizeof *e->running);
}

/* Row g of what a step has staged. */
static float staged_value(int64_t g, int64_t i)
{
    return (float)(1 + (37 * g + 11 * i) % 29);
}

static float *staged_of(const mo_net_t *net, int32_t rows)
{
    float *staged = calloc((size_t)(rows * net->stats), sizeof *staged);
    for (int64_t g = 0; g < rows; g++)
        for (int64_t i = 0; i < net->stats; i++)
            staged[g * net->stats + i] = staged_value(g, i);
    return staged;
}

/* running <- 0.9 running + 0.1 of the mean of rows [from, to), variances unbiased by m values. */
static void expect(const mo_bn_t *bn, double *running, int from, int to, double m)
{
    for (int64_t c = 0; c < 2 * CHANNELS; c++) {
        double sum = 0;
        for (int g = from; g < to; g++)
            sum += staged_value(g, bn->offset + c);
        running[c] = 0.9 * running[c] + 0.1 * sum / (to - from) * (c >= CHANNELS && m > 1 ? m / (m - 1) : 1);
    }
}

static void compare(const mo_encoder_t *e, int32_t bn, const double *wanted)
{
    for (int c = 0; c < 2 * CHANNELS; c++)
        ck_assert_double_eq_tol(e->running[e->net.bns[bn].offset + c], wanted[c], 1e-6 * wanted[c]);
}

START_TEST(fold)
{
    static const double values[] = {1, 2, 8};
    for (int i = 0; i < 3; i++) {
        mo_encoder_t e = {0};
        double wanted[2 * CHANNELS] = {0};
        make(&e);
        float *staged = staged_of(&e.net, GROUPS);
        mo_running_fold(&e.net, &e.net.bns[1], staged, 1, 3, values[i], e.running);
        mo_running_fold(&e.net, &e.net.bns[1], staged, 3, 4, values[i], e.running);
        expect(&e.net.bns[1], wanted, 1, 3, values[i]);
        expect(&e.net.bns[1], wanted, 3, 4, values[i]);
        compare(&e, 1, wanted);
        for (int64_t k = 0; k < 2 * CHANNELS; k++)
            ck_assert(e.running[e.net.bns[0].offset + k] == 0); /* another norm's */
        free(staged);
        free(e.running);
        mo_net_free(&e.net);
    }
}
END_TEST

/* Two passes of 8 images over four groups of the backbone and two of the head: two groups of four
 * images with four places each, and one group of eight vectors. */
START_TEST(commit)
{
    mo_encoder_t e = {0};
    const mo_staged_t rows = {.rows = GROUPS, .body_groups = GROUPS, .head_groups = GROUPS / 2};
    double body[2 * CHANNELS] = {0}, head[2 * CHANNELS] = {0};
    const int first = _i;
    make(&e);
    float *staged = staged_of(&e.net, GROUPS);
    mo_running_commit(&e, &rows, staged, 8, 2, first);
    for (int pass = 0; pass < 2; pass++) {
        expect(&e.net.bns[0], body, 2 * pass, 2 * pass + (first ? 1 : 2), 4 * 4);
        expect(&e.net.bns[1], head, pass, pass + 1, 8);
    }
    compare(&e, 0, body);
    compare(&e, 1, head);
    free(staged);
    free(e.running);
    mo_net_free(&e.net);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("running");
    TCase *tc = tcase_create("running");
    tcase_add_test(tc, fold);
    tcase_add_loop_test(tc, commit, 0, 2);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
