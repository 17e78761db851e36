/* Optimizers against the same formulas in double, on a net with a matrix, a vector, a frozen and a
 * hidden tensor, with gradients in two pieces; any number of lanes gives the same bits. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <moco/types.h>

#include "engine/ops.h"
#include "optim/optim.h"

enum { STEPS = 4, BIG = 300 };

typedef struct rig {
    mo_net_t net;
    moco_device_t *device;
    mo_optim_t optim;
    float *gradient[2]; /* as two blocks: of the numbers in front of `cut`, and of those behind it */
    int64_t cut;
    double *params, *first, *second; /* the reference */
} rig_t;

static double drawn(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 11) * 0x1p-53 - 0.5;
}

static void rig_make(rig_t *r, int32_t lanes)
{
    uint64_t state = 99;
    memset(r, 0, sizeof *r);
    r->net.input = mo_net_tensor(&r->net, BIG, 1, 1);
    int32_t t = mo_linear(&r->net, r->net.input, "fc", 257); /* 77,100 numbers: two parts; and a vector */
    t = mo_batchnorm_part(&r->net, t, "bn", 0, MO_AFFINE_SCALE);
    mo_linear_plain(&r->net, t, "last", 3, MO_INIT_UNIFORM);
    r->net.parameters[4].frozen = 1;
    ck_assert_int_eq(mo_net_done(&r->net), MOCO_OK);
    ck_assert_int_eq(mo_device_open_lanes(lanes, &r->device), MOCO_OK);
    size_t count = (size_t)r->net.params;
    r->params = calloc(count, sizeof(double));
    r->first = calloc(count, sizeof(double));
    r->second = calloc(count, sizeof(double));
    r->optim.params = calloc(count, sizeof(float));
    for (int i = 0; i < MO_OPTIM_BLOCKS; i++)
        r->optim.state[i] = calloc(count, sizeof(float));
    for (size_t i = 0; i < count; i++)
        r->params[i] = r->optim.params[i] = (float)drawn(&state);
    ck_assert_int_eq(mo_optim_prepare(&r->optim, &r->net), MOCO_OK);
    r->cut = r->net.parameters[1].offset; /* a parameter never lies across two pieces */
    r->gradient[0] = calloc((size_t)r->cut, sizeof(float));
    r->gradient[1] = calloc(count - (size_t)r->cut, sizeof(float));
    r->optim.pieces[0] = (mo_gradient_piece_t){.values = r->gradient[0], .count = r->cut};
    r->optim.pieces[1] =
        (mo_gradient_piece_t){.values = r->gradient[1], .from = r->cut, .count = r->net.params - r->cut};
}

static float *gradient_at(rig_t *r, int64_t at)
{
    return at < r->cut ? r->gradient[0] + at : r->gradient[1] + (at - r->cut);
}

static void rig_free(rig_t *r)
{
    free(r->optim.params);
    for (int i = 0; i < MO_OPTIM_BLOCKS; i++)
        free(r->optim.state[i]);
    mo_optim_free(&r->optim);
    free(r->gradient[0]);
    free(r->gradient[1]);
    free(r->params);
    free(r->first);
    free(r->second);
    moco_device_free(r->device);
    mo_net_free(&r->net);
}

static void update_part(void *ctx, int64_t part)
{
    void **both = ctx;
    rig_t *r = both[0];
    mo_optim_update(&r->optim, &r->optim.parts[part], both[1]);
}

/* One parameter by the book. */
static void reference(rig_t *r, const mo_parameter_t *parameter, const mo_optim_rates_t *o)
{
    double own = 0, step = 0, ratio = 1, decay = o->weight_decay, t = (double)o->step;
    int lars = o->kind == MO_OPTIMIZER_LARS || o->kind == MO_OPTIMIZER_LARS_SIMCLR;
    if (parameter->frozen || parameter->hidden)
        return;
    if (lars && parameter->rank == 1)
        decay = 0;
    for (int64_t i = parameter->offset; i < parameter->offset + parameter->count; i++) {
        own += r->params[i] * r->params[i];
        step += pow(*gradient_at(r, i) + decay * r->params[i], 2);
    }
    if (lars && parameter->rank > 1 && own > 0 && step > 0)
        ratio = o->trust * sqrt(own) / sqrt(step);
    for (int64_t i = parameter->offset; i < parameter->offset + parameter->count; i++) {
        double g = *gradient_at(r, i), d = ratio * (g + decay * r->params[i]);
        if (o->kind == MO_OPTIMIZER_ADAMW) {
            r->params[i] *= 1 - o->lr * decay;
            r->first[i] = o->beta1 * r->first[i] + (1 - o->beta1) * g;
            r->second[i] = o->beta2 * r->second[i] + (1 - o->beta2) * g * g;
            r->params[i] -= o->lr / (1 - pow(o->beta1, t)) * r->first[i] /
                            (sqrt(r->second[i]) / sqrt(1 - pow(o->beta2, t)) + o->epsilon);
        } else if (o->kind == MO_OPTIMIZER_LARS_SIMCLR) {
            r->first[i] = o->momentum * r->first[i] + o->lr * d;
            r->params[i] -= r->first[i];
        } else {
            r->first[i] = o->momentum * r->first[i] + d;
            r->params[i] -= o->lr * r->first[i];
        }
    }
}

static void run(rig_t *r, mo_optimizer_t kind)
{
    uint64_t state = 5;
    for (int step = 1; step <= STEPS; step++) {
        /* the rate changes, and is 0 once: where it stands must show */
        mo_optim_rates_t rates = {.kind = kind,
                                  .lr = step == 2 ? 0 : 0.1 / step,
                                  .momentum = 0.9,
                                  .weight_decay = 0.05,
                                  .trust = 0.01,
                                  .beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .epsilon = 1e-6,
                                  .step = step};
        void *both[] = {r, &rates};
        double norm, sum = 0;
        for (int32_t s = 0; s < r->net.parameter_count; s++)
            for (int64_t i = 0; i < r->net.parameters[s].count; i++) {
                float g = (float)(0.1 * drawn(&state));
                *gradient_at(r, r->net.parameters[s].offset + i) = g;
                sum += r->net.parameters[s].frozen ? 0 : (double)g * g;
            }
        ck_assert_int_eq(mo_optim_gradient_norm(&r->optim, r->device, &norm), MOCO_OK);
        ck_assert(fabs(norm / sqrt(sum) - 1) < 1e-12);
        ck_assert_int_eq(mo_optim_begin(&r->optim, r->device, &rates), MOCO_OK);
        ck_assert_int_eq(mo_device_parallel(r->device, r->optim.part_count, update_part, both), MOCO_OK);
        for (int32_t s = 0; s < r->net.parameter_count; s++)
            reference(r, &r->net.parameters[s], &rates);
    }
}

START_TEST(by_the_book)
{
    rig_t r;
    rig_make(&r, 2);
    ck_assert_int_eq(mo_optim_blocks((mo_optimizer_t)_i), _i == MO_OPTIMIZER_ADAMW ? 2 : 1);
    ck_assert_str_eq(mo_optim_block_name((mo_optimizer_t)_i, 0),
                     _i == MO_OPTIMIZER_ADAMW ? "exp_avg" : "momentum_buffer");
    run(&r, (mo_optimizer_t)_i);
    for (int32_t s = 0; s < r.net.parameter_count; s++)
        for (int64_t i = r.net.parameters[s].offset; i < r.net.parameters[s].offset + r.net.parameters[s].count; i++)
            ck_assert_msg(fabs(r.optim.params[i] - r.params[i]) < 2e-6, "%s of optimizer %d: %.9g, wanted %.9g",
                          r.net.parameters[s].name, _i, (double)r.optim.params[i], r.params[i]);
    rig_free(&r);
}
END_TEST

START_TEST(lanes)
{
    rig_t one, three;
    rig_make(&one, 1);
    rig_make(&three, 3);
    run(&one, (mo_optimizer_t)_i);
    run(&three, (mo_optimizer_t)_i);
    ck_assert_mem_eq(one.optim.params, three.optim.params, (size_t)one.net.params * sizeof(float));
    rig_free(&one);
    rig_free(&three);
}
END_TEST

/* ---- the sums ---- */

/* A plain sum of whole numbers, which no order rounds. Numbers behind the last one would be
 * seen. */
START_TEST(square_sums)
{
    enum { MOST = 43 };
    float a[MOST], b[MOST];
    for (int i = 0; i < MOST; i++) {
        a[i] = (float)(3 * i + 1);
        b[i] = (float)(2 * i + 5);
    }
    for (int count = 0; count < MOST; count++) {
        double plain = 0, both = 0;
        for (int i = 0; i < count; i++) {
            plain += a[i] * a[i];
            both += (a[i] + 0.5 * b[i]) * (a[i] + 0.5 * b[i]);
        }
        ck_assert_double_eq(mo_square_sum(a, count), plain);
        ck_assert_double_eq(mo_square_sum_of(a, b, 0.5f, count), both);
    }
}
END_TEST

/* Eight running sums, added in pairs: 2^54 + 2 and + 2 are lost one by one, and 2 + 2 is not. What
 * is left over belongs to the first of them, where 2^54 swallows ones that together are seen. */
START_TEST(order_of_sums)
{
    const float a[8] = {0x1p27f, 1, 1, 1, 1, 1, 1, 1}, left[10] = {0x1p27f, 1, [8] = 1, [9] = 1}, none[10] = {0};
    ck_assert_double_eq(mo_square_sum(a, 8), 0x1p54 + 4);
    ck_assert_double_eq(mo_square_sum_of(a, none, 1, 8), 0x1p54 + 4);
    ck_assert_double_eq(mo_square_sum(left, 10), 0x1p54);
    ck_assert_double_eq(mo_square_sum_of(left, none, 1, 10), 0x1p54);
}
END_TEST

/* ---- parts and trust ---- */

/* A net of which one tensor fills a part exactly, one takes two, one has a single number, and one
 * is hidden. */
static void odd_net(mo_net_t *net)
{
    net->input = mo_net_tensor(net, 256, 1, 1);
    int32_t t = mo_linear(net, net->input, "full", 256); /* 65,536 numbers */
    t = mo_linear(net, t, "two", 257);
    mo_linear(net, t, "last", 1);
    net->parameters[1].hidden = 1;
    net->parameters[3].frozen = 1;
    ck_assert_int_eq(mo_net_done(net), MOCO_OK);
}

START_TEST(parts)
{
    mo_net_t net = {0};
    mo_optim_t optim = {0};
    odd_net(&net);
    ck_assert_int_eq(net.parameters[0].count, 65536);
    ck_assert_int_eq(net.parameters[5].count, 1);
    ck_assert_int_eq(mo_optim_prepare(&optim, &net), MOCO_OK);
    ck_assert_int_eq(optim.part_count, 1 + 2 + 1 + 1 + 1);
    int64_t part = 0;
    for (int32_t i = 0; i < net.parameter_count; i++) {
        int64_t at = 0;
        for (; part < optim.part_count && optim.parts[part].parameter == i; part++) {
            ck_assert_int_eq(optim.parts[part].offset, net.parameters[i].offset + at);
            ck_assert_int_eq(optim.parts[part].frozen, net.parameters[i].frozen);
            ck_assert(optim.parts[part].count > 0 && optim.parts[part].count <= 65536);
            at += optim.parts[part].count;
        }
        ck_assert_int_eq(at, net.parameters[i].hidden ? 0 : net.parameters[i].count);
    }
    mo_optim_free(&optim);
    mo_net_free(&net);
}
END_TEST

/* The trust ratio of every tensor, from the definition. Gradients lean towards the parameters, so
 * that the sign of the decay shows. Ratios of tensors without a length or without a step are 1. */
START_TEST(trust)
{
    mo_optim_rates_t rates = {.kind = (mo_optimizer_t)_i, .weight_decay = 0.5, .trust = 0.02};
    uint64_t state = 3;
    rig_t r;
    rig_make(&r, 2);
    for (int mode = 0; mode < 3; mode++) { /* as they are, tiny parameters, no parameters */
        const float size = mode == 0 ? 1.0f : mode == 1 ? 1e-4f : 0.0f;
        for (int64_t i = 0; i < r.net.params; i++) {
            r.params[i] = r.optim.params[i] = (float)drawn(&state) * size;
            *gradient_at(&r, i) = r.optim.params[i] + 0.1f * size * (float)drawn(&state);
        }
        ck_assert_int_eq(mo_optim_begin(&r.optim, r.device, &rates), MOCO_OK);
        for (int32_t s = 0; s < r.net.parameter_count; s++) {
            const mo_parameter_t *parameter = &r.net.parameters[s];
            double own = 0, step = 0;
            for (int64_t i = parameter->offset; i < parameter->offset + parameter->count; i++) {
                own += r.params[i] * r.params[i];
                step += pow(*gradient_at(&r, i) + rates.weight_decay * r.params[i], 2);
            }
            const int without = parameter->rank == 1 || parameter->frozen || own == 0;
            const double wanted = without ? 1 : rates.trust * sqrt(own / step);
            if (!parameter->hidden)
                ck_assert_double_eq_tol(r.optim.ratio[s], wanted, 1e-6 * wanted);
        }
    }
    for (int64_t i = 0; i < r.net.params; i++) {
        *gradient_at(&r, i) = 0;
        r.optim.params[i] = 1;
    }
    rates.weight_decay = 0;
    ck_assert_int_eq(mo_optim_begin(&r.optim, r.device, &rates), MOCO_OK);
    for (int32_t s = 0; s < r.net.parameter_count; s++)
        ck_assert(r.net.parameters[s].hidden || r.optim.ratio[s] == 1.0f);
    rig_free(&r);
}
END_TEST

/* At rate 0 and without gradients nothing moves, and nothing becomes NaN. */
START_TEST(nothing_to_do)
{
    rig_t r;
    rig_make(&r, 1);
    for (int step = 1; step <= 2; step++) {
        mo_optim_rates_t rates = {.kind = (mo_optimizer_t)_i,
                                  .momentum = 0.9,
                                  .trust = 0.01,
                                  .beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .epsilon = 1e-8,
                                  .weight_decay = 0.1,
                                  .step = step};
        void *both[] = {&r, &rates};
        ck_assert_int_eq(mo_optim_begin(&r.optim, r.device, &rates), MOCO_OK);
        ck_assert_int_eq(mo_device_parallel(r.device, r.optim.part_count, update_part, both), MOCO_OK);
    }
    for (int64_t i = 0; i < r.net.params; i++)
        ck_assert(r.optim.params[i] == (float)r.params[i]);
    rig_free(&r);
}
END_TEST

START_TEST(rate_scales)
{
    ck_assert_double_eq(mo_lr_scale(MOCO_LR_SCALING_NONE, 1024), 1);
    ck_assert_double_eq(mo_lr_scale(MOCO_LR_SCALING_LINEAR, 1024), 4);
    ck_assert_double_eq(mo_lr_scale(MOCO_LR_SCALING_SQRT, 1024), 32);
}
END_TEST

START_TEST(blocks)
{
    for (int kind = MO_OPTIMIZER_SGD; kind <= MO_OPTIMIZER_ADAMW; kind++)
        for (int32_t block = 0; block < mo_optim_blocks((mo_optimizer_t)kind); block++) {
            const char *name = kind != MO_OPTIMIZER_ADAMW ? "momentum_buffer" : block == 0 ? "exp_avg" : "exp_avg_sq";
            ck_assert_str_eq(mo_optim_block_name((mo_optimizer_t)kind, block), name);
            ck_assert_int_eq(mo_optim_block_is_squares((mo_optimizer_t)kind, block), block == 1);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("optim");
    TCase *tc = tcase_create("optim");
    tcase_add_loop_test(tc, by_the_book, 0, 4);
    tcase_add_loop_test(tc, lanes, 0, 4);
    tcase_add_test(tc, square_sums);
    tcase_add_test(tc, order_of_sums);
    tcase_add_test(tc, parts);
    tcase_add_loop_test(tc, trust, MO_OPTIMIZER_LARS, MO_OPTIMIZER_LARS_SIMCLR + 1);
    tcase_add_loop_test(tc, nothing_to_do, 0, 4);
    tcase_add_test(tc, rate_scales);
    tcase_add_test(tc, blocks);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
