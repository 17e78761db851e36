/* The loops that stand beside oneDNN's primitives, against those primitives, in turn in one run:
 * batch norm forward and backward, the optimizer, the momentum update. Prints medians of
 * nanoseconds per number and their ratio. One lane.
 *
 * usage: bench_loops [ROUNDS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contrast/contrast.h"
#include "engine/emit.h"
#include "engine/ops.h"
#include "optim/optim.h"
#include "util/alloc.h"
#include "util/status.h"

#define CHECK(call)                                                    \
    do {                                                               \
        if ((call) != MOCO_OK) {                                       \
            fprintf(stderr, "bench_loops: %s\n", moco_last_message()); \
            exit(1);                                                   \
        }                                                              \
    } while (0)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

/* ---- operations of the commit as primitives on three tensors: parameter, velocity (or key),
 * gradient ---- */

static moco_status_t sgd_as_primitives(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t p, v, g;
    TRY(mo_value(plan, op->src, &p));
    TRY(mo_value(plan, op->other, &v));
    TRY(mo_value(plan, op->dst, &g));
    mo_slot_id_t t;
    TRY(mo_gradient_slot(plan, op->src, &t));                   /* scratch of the same shape    */
    TRY(mo_emit_function(plan, op, MO_LINEAR, 1e-4f, 0, p, t)); /* t = decay p                  */
    TRY(mo_emit_binary(plan, op, MO_ADD, t, g, t, 0));          /* d = t + g                    */
    TRY(mo_emit_function(plan, op, MO_LINEAR, 0.9f, 0, v, v));  /* v = momentum v               */
    TRY(mo_emit_binary(plan, op, MO_ADD, v, t, v, 0));          /* v += d                       */
    TRY(mo_emit_function(plan, op, MO_LINEAR, 0.03f, 0, v, t)); /* t = lr v                     */
    TRY(mo_emit_binary(plan, op, MO_SUB, p, t, p, 0));          /* p -= t                       */
cleanup:
    return status;
}

static moco_status_t momentum_as_primitives(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t q, k, t;
    TRY(mo_value(plan, op->src, &q));
    TRY(mo_value(plan, op->other, &k));
    TRY(mo_gradient_slot(plan, op->src, &t));
    TRY(mo_emit_function(plan, op, MO_LINEAR, 0.001f, 0, q, t));
    TRY(mo_emit_function(plan, op, MO_LINEAR, 0.999f, 0, k, k));
    TRY(mo_emit_binary(plan, op, MO_ADD, k, t, k, 0));
cleanup:
    return status;
}

static moco_status_t nothing(mo_plan_t *plan, const mo_op_t *op)
{
    (void)plan;
    (void)op;
    return MOCO_OK;
}

typedef struct timed {
    mo_instance_t *instance;
    double seconds;
} timed_t;

static moco_status_t run_instance(mo_lane_t *lane, void *ctx)
{
    timed_t *t = ctx;
    double start = now();
    moco_status_t status = mo_instance_run(lane, t->instance);
    t->seconds = now() - start;
    return status;
}

typedef struct rig {
    mo_plan_t *plan;
    mo_packed_t *packed;
    mo_instance_t *instance;
    mo_buffer_t arena, params, stats, grads;
} rig_t;

static moco_status_t bind_all(mo_lane_t *lane, void *ctx)
{
    rig_t *r = ctx;
    moco_status_t status = MOCO_OK;
    (void)lane;
    TRY(mo_instance_bind(r->instance, MO_IN_STATS, r->stats));
    TRY(mo_instance_bind(r->instance, MO_IN_GRADS, r->grads));
cleanup:
    return status;
}

static void rig_make(rig_t *r, moco_device_t *device, const mo_plan_spec_t *spec)
{
    const mo_net_t *net = spec->net;
    CHECK(mo_plan_create(device, spec, &r->plan));
    float *arena, *params;
    CHECK(mo_buffer_create(device, mo_plan_arena_bytes(r->plan), &r->arena));
    CHECK(mo_buffer_create(device, (size_t)(net->params + 16) * sizeof(float), &r->params));
    CHECK(mo_buffer_create(device, (size_t)(net->params + 16) * sizeof(float), &r->grads));
    CHECK(mo_buffer_create(device, (size_t)(net->stats + 16) * sizeof(float), &r->stats));
    CHECK(mo_buffer_map(r->arena, MO_WRITE, &arena));
    CHECK(mo_buffer_map(r->params, MO_UPDATE, &params));
    for (size_t i = 0; i < mo_plan_arena_bytes(r->plan) / sizeof(float); i++)
        arena[i] = (float)((i * 2654435761u % 1000) * 0.002 - 1.0);
    for (int64_t i = 0; i < net->params; i++)
        params[i] = 1.0f;
    mo_buffer_unmap(r->arena, arena);
    mo_buffer_unmap(r->params, params);
    CHECK(mo_packed_create(r->plan, r->params, &r->packed));
    CHECK(mo_packed_refresh(r->packed));
    CHECK(mo_instance_create(r->plan, r->arena, r->params, r->packed, &r->instance));
    CHECK(mo_device_call(device, bind_all, r));
}

static void rig_free(rig_t *r)
{
    mo_instance_free(r->instance);
    mo_packed_free(r->packed);
    mo_buffer_free(&r->arena);
    mo_buffer_free(&r->params);
    mo_buffer_free(&r->grads);
    mo_buffer_free(&r->stats);
    mo_plan_free(r->plan);
}

static double run_once(moco_device_t *device, mo_instance_t *instance)
{
    timed_t t = {.instance = instance};
    CHECK(mo_device_call(device, run_instance, &t));
    return t.seconds;
}

static void report(const char *what, double *loops, double *primitives, int rounds, double numbers)
{
    double a = median(loops, rounds), b = median(primitives, rounds);
    printf("%-44s %7.3f  %7.3f  %5.2f\n", what, 1e9 * a / numbers, 1e9 * b / numbers, b / a);
}

/* ---- batch norm with ReLU: forward, and forward with backward ---- */

static void bench_norm(moco_device_t *device, int32_t c, int32_t side, int32_t shard, int rounds)
{
    double loops[256], primitives[256];
    rig_t rig[2] = {{0}};
    char what[80];
    mo_net_t net = {0};
    net.input = mo_net_tensor(&net, c, side, side);
    int32_t out = mo_batchnorm(&net, net.input, "bn", 1, MO_INIT_ONE);
    CHECK(mo_net_done(&net));
    for (int i = 0; i < 2; i++) {
        mo_plan_spec_t spec = {.net = &net,
                               .mode = MO_MODE_TRAIN,
                               .shard = shard,
                               .shards_per_group = 1,
                               .inputs = {-1, -1, -1, -1},
                               .outputs = {out, net.input, -1, -1},
                               .seeded = 1,
                               .has_given = 1,
                               .given = net.input,
                               .primitives = i};
        rig_make(&rig[i], device, &spec);
    }
    for (int r = -1; r < rounds; r++) {
        double a = run_once(device, rig[0].instance), b = run_once(device, rig[1].instance);
        if (r >= 0) {
            loops[r] = a;
            primitives[r] = b;
        }
    }
    snprintf(what, sizeof what, "batch norm [%d,%d,%d,%d], both ways", shard, c, side, side);
    report(what, loops, primitives, rounds, (double)c * side * side * shard);
    rig_free(&rig[0]);
    rig_free(&rig[1]);
    mo_net_free(&net);
}

/* ---- the commit on 4 M numbers, 64 K at a time as the trainer does ---- */

enum { SIDE = 512, CHANNELS = 16, NUMBERS = SIDE * SIDE * CHANNELS, PART = 1 << 16 };

static void bench_commit(moco_device_t *device, int is_sgd, int rounds)
{
    static const mo_op_kind_t sgd = {.name = "sgd", .forward = sgd_as_primitives, .backward = nothing},
                              momentum = {.name = "momentum", .forward = momentum_as_primitives, .backward = nothing};
    const mo_optim_rates_t rates = {.lr = 0.03, .momentum = 0.9, .weight_decay = 1e-4, .step = 2};
    double loops[256], primitives[256];
    float *block[3];
    rig_t rig = {0};
    mo_net_t net = {0};
    net.input = mo_net_tensor(&net, CHANNELS, SIDE, SIDE);
    mo_op_t *op = mo_net_op(&net, is_sgd ? &sgd : &momentum, net.input, NULL, 0);
    if (op != NULL)
        op->other = mo_net_tensor(&net, CHANNELS, SIDE, SIDE);
    mo_net_result_like_src(&net, op);
    CHECK(mo_net_done(&net));
    mo_plan_spec_t spec = {.net = &net,
                           .mode = MO_MODE_KEY,
                           .shard = 1,
                           .shards_per_group = 1,
                           .inputs = {op->src, op->other, is_sgd ? op->dst : -1, -1},
                           .outputs = {op->src, op->other, -1, -1}};
    rig_make(&rig, device, &spec);
    for (int i = 0; i < 3; i++) {
        CHECK(mo_block_create(NUMBERS * sizeof(float), &block[i]));
        for (int64_t j = 0; j < NUMBERS; j++)
            block[i][j] = (float)(j % 1000) * 1e-3f;
    }
    for (int r = -1; r < rounds; r++) {
        double start = now();
        for (int64_t at = 0; at < NUMBERS; at += PART)
            if (is_sgd)
                mo_sgd_loop(block[0] + at, block[1] + at, block[2] + at, PART, &rates);
            else
                mo_momentum_update(block[1] + at, block[0] + at, PART, 0.999);
        double a = now() - start, b = run_once(device, rig.instance);
        if (r >= 0) {
            loops[r] = a;
            primitives[r] = b;
        }
    }
    report(is_sgd ? "SGD with momentum and decay, 4 M numbers" : "momentum update, 4 M numbers", loops, primitives,
           rounds, NUMBERS);
    for (int i = 0; i < 3; i++)
        mo_block_free(block[i], NUMBERS * sizeof(float));
    rig_free(&rig);
    mo_net_free(&net);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 21;
    moco_device_t *device = NULL;
    if (rounds < 1 || rounds > 256) {
        fprintf(stderr, "bench_loops: ROUNDS is '%s', wanted 1 to 256\n", argv[1]);
        return 2;
    }
    CHECK(mo_device_open_lanes(1, &device));
    printf("%-44s %7s  %7s  %5s\n", "nanoseconds per number", "loop", "oneDNN", "ratio");
    bench_norm(device, 64, 112, 4, rounds);
    bench_norm(device, 256, 56, 8, rounds);
    bench_norm(device, 512, 28, 16, rounds);
    bench_norm(device, 2048, 7, 32, rounds);
    bench_norm(device, 16, 32, 32, rounds);
    bench_commit(device, 1, rounds);
    bench_commit(device, 0, rounds);
    moco_device_free(device);
    return 0;
}
