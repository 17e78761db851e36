/* The optimizer on numbers that lie on a GPU: the same parts, sums and formulas as in optim.c, as
 * kernels (engine/kernel.h). */
#include <math.h>

#include "optim/optim.h"
#include "engine/kernel.h"
#include "util/alloc.h"
#include "util/status.h"

enum { COLUMNS = 3 };

/* What is measured of each part, one block of sums after the other. */
enum { GRADIENT, PARAMS, STEP, SUMS };

struct mo_optim_gpu {
    moco_device_t *device;
    mo_buffer_t parts;   /* [parts][COLUMNS] int64, as the kernels' source says      */
    mo_buffer_t factors; /* [parts][2]                                               */
    mo_buffer_t partial; /* [parts][MO_KERNEL_ITEMS][2]                              */
    mo_buffer_t sums;    /* [SUMS][parts][2]                                         */
    float *host_factors, *host_sums;
};

static moco_status_t write_parts(const mo_optim_t *o, mo_buffer_t to)
{
    int64_t *rows = NULL;
    moco_status_t status = mo_buffer_map(to, MO_WRITE, &rows);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < o->part_count; i++) {
        const mo_optim_part_t *p = &o->parts[i];
        rows[COLUMNS * i] = p->offset;
        rows[COLUMNS * i + 1] = p->count;
        rows[COLUMNS * i + 2] = p->frozen ? 0 : p->count;
    }
    mo_buffer_unmap(to, rows);
    return MOCO_OK;
}

size_t mo_optim_gpu_bytes(const mo_net_t *net)
{
    const size_t pair = 2 * sizeof(float), host = (1 + SUMS) * pair;
    return (size_t)mo_optim_parts(net) * (COLUMNS * sizeof(int64_t) + pair * (1 + MO_KERNEL_ITEMS + SUMS) + host);
}

moco_status_t mo_optim_prepare_on(mo_optim_t *o, moco_device_t *device)
{
    moco_status_t status = MOCO_OK;
    const size_t parts = (size_t)o->part_count, pair = 2 * sizeof(float);
    mo_optim_gpu_t *g = NULL;
    if (!mo_device_is_gpu(device))
        return MOCO_OK;
    TRY(mo_calloc(1, sizeof *g, &g));
    o->gpu = g;
    g->device = device;
    TRY(mo_buffer_create(device, parts * COLUMNS * sizeof(int64_t), &g->parts));
    TRY(mo_buffer_create(device, parts * pair, &g->factors));
    TRY(mo_buffer_create(device, parts * pair * MO_KERNEL_ITEMS, &g->partial));
    TRY(mo_buffer_create(device, parts * pair * SUMS, &g->sums));
    TRY(mo_calloc(parts * 2, sizeof(float), &g->host_factors));
    TRY(mo_calloc(parts * 2 * SUMS, sizeof(float), &g->host_sums));
    TRY(write_parts(o, g->parts));
cleanup:
    return status;
}

void mo_optim_gpu_free(mo_optim_t *o)
{
    mo_optim_gpu_t *g = o->gpu;
    if (g == NULL)
        return;
    mo_buffer_free(&g->parts);
    mo_buffer_free(&g->factors);
    mo_buffer_free(&g->partial);
    mo_buffer_free(&g->sums);
    mo_free(g->host_factors);
    mo_free(g->host_sums);
    mo_free(g);
    o->gpu = NULL;
}

/* ---- parts whose gradients lie in one piece ---- */

typedef struct range {
    int64_t first, count;
    const mo_gradient_piece_t *piece;
} range_t;

/* The parts of piece `i`; parts stand in the order of their offsets. */
static range_t range_of(const mo_optim_t *o, int i)
{
    const mo_gradient_piece_t *piece = &o->pieces[i];
    range_t r = {.piece = piece};
    while (r.first < o->part_count && o->parts[r.first].offset < piece->from)
        r.first++;
    while (r.first + r.count < o->part_count && o->parts[r.first + r.count].offset < piece->from + piece->count)
        r.count++;
    return r;
}

static mo_kernel_arg_t rows_of(mo_buffer_t buffer, int64_t first, int64_t count, size_t row)
{
    return mo_arg_buffer(mo_buffer_part(buffer, (size_t)first * row, (size_t)count * row));
}

/* ---- sums ---- */

/* Of the squares of a, or of a + factor b, over the parts of a range; the blocks begin at those
 * numbers of the parameters. */
static moco_status_t measure(const mo_optim_t *o, range_t r, int which, mo_buffer_t a, int64_t from_a, int both,
                             float factor)
{
    const mo_optim_gpu_t *g = o->gpu;
    const size_t pair = 2 * sizeof(float);
    const mo_kernel_arg_t partial = mo_arg_buffer(g->partial);
    const moco_status_t status = mo_kernel_run(g->device, MO_KERNEL_SQUARES, r.count * MO_KERNEL_ITEMS,
                                               rows_of(g->parts, r.first, r.count, COLUMNS * sizeof(int64_t)),
                                               mo_arg_buffer(a), mo_arg_whole(from_a), mo_arg_buffer(o->params_at),
                                               mo_arg_whole(0), mo_arg_float(factor), mo_arg_whole(both), partial);
    if (status != MOCO_OK)
        return status;
    return mo_kernel_run(g->device, MO_KERNEL_TOTALS, r.count, partial,
                         rows_of(g->sums, which * o->part_count + r.first, r.count, pair));
}

static int is_lars(mo_optimizer_t kind)
{
    return kind == MO_OPTIMIZER_LARS || kind == MO_OPTIMIZER_LARS_SIMCLR;
}

moco_status_t mo_optim_measure(mo_optim_t *o, const mo_optim_rates_t *rates)
{
    moco_status_t status = MOCO_OK;
    mo_optim_gpu_t *g = o->gpu;
    if (g == NULL)
        return MOCO_OK;
    for (int i = 0; i < 2; i++) {
        const range_t r = range_of(o, i);
        if (r.count == 0)
            continue;
        TRY(measure(o, r, GRADIENT, r.piece->at, r.piece->from, 0, 0));
        if (!is_lars(rates->kind))
            continue;
        TRY(measure(o, r, PARAMS, o->params_at, 0, 0, 0));
        TRY(measure(o, r, STEP, r.piece->at, r.piece->from, 1, (float)rates->weight_decay));
    }
    TRY(mo_buffer_fetch(g->sums, g->host_sums));
cleanup:
    return status;
}

void mo_optim_gpu_sums(const mo_optim_t *o, int64_t part, double *gradient, double *params, double *step)
{
    double *to[SUMS] = {gradient, params, step};
    for (int i = 0; i < SUMS; i++) {
        const float *pair = &o->gpu->host_sums[2 * (i * o->part_count + part)];
        if (to[i] != NULL)
            *to[i] = (double)pair[0] + (double)pair[1];
    }
}

/* ---- updates ---- */

/* Two factors for each part, as the kernel of the optimizer wants them. */
static void fill_factors(const mo_optim_t *o, const mo_optim_rates_t *rates, mo_spared_fn spared)
{
    for (int64_t i = 0; i < o->part_count; i++) {
        const int32_t parameter = o->parts[i].parameter;
        float *to = &o->gpu->host_factors[2 * i];
        const mo_parameter_t *p = &o->net->parameters[parameter];
        const double decay = spared != NULL && spared(p) ? 0 : rates->weight_decay;
        const int trusts = is_lars(rates->kind) && mo_optim_takes_trust(o->net, parameter);
        to[0] = trusts ? o->ratio[parameter] : 1.0f;
        to[1] = rates->kind == MO_OPTIMIZER_ADAMW ? (float)(1.0 - rates->lr * decay)
                : is_lars(rates->kind) && !trusts ? 0.0f
                                                  : (float)decay;
    }
}

static moco_status_t update_piece(const mo_optim_t *o, range_t r, const mo_optim_rates_t *rates)
{
    const mo_optim_gpu_t *g = o->gpu;
    const int64_t items = r.count * MO_KERNEL_ITEMS;
    const mo_kernel_arg_t parts = rows_of(g->parts, r.first, r.count, COLUMNS * sizeof(int64_t)),
                          factors = rows_of(g->factors, r.first, r.count, 2 * sizeof(float)),
                          params = mo_arg_buffer(o->params_at), first = mo_arg_buffer(o->state_at[0]),
                          gradient = mo_arg_buffer(r.piece->at), from = mo_arg_whole(r.piece->from);
    float c[MO_ADAMW_CONSTANTS];
    if (rates->kind == MO_OPTIMIZER_ADAMW) {
        const int still = mo_adamw_constants(rates, c);
        return mo_kernel_run(g->device, MO_KERNEL_ADAMW, items, parts, factors, params, first,
                             mo_arg_buffer(o->state_at[1]), gradient, from, mo_arg_float(c[1]), mo_arg_float(c[2]),
                             mo_arg_float(c[3]), mo_arg_float(c[4]), mo_arg_float(c[5]), mo_arg_float(c[6]),
                             mo_arg_whole(still));
    }
    const int is_sgd = rates->kind == MO_OPTIMIZER_SGD;
    return mo_kernel_run(g->device, is_sgd ? MO_KERNEL_SGD : MO_KERNEL_LARS, items, parts, factors, params, first,
                         gradient, from, mo_arg_float((float)rates->lr), mo_arg_float((float)rates->momentum),
                         mo_arg_whole(is_sgd ? rates->step == 1 : rates->kind == MO_OPTIMIZER_LARS_SIMCLR));
}

moco_status_t mo_optim_gpu_update(mo_optim_t *o, const mo_optim_rates_t *rates, mo_spared_fn spared)
{
    moco_status_t status = MOCO_OK;
    fill_factors(o, rates, spared);
    TRY(mo_buffer_upload(o->gpu->factors, o->gpu->host_factors));
    for (int i = 0; i < 2; i++) {
        const range_t r = range_of(o, i);
        if (r.count > 0)
            TRY(update_piece(o, r, rates));
    }
cleanup:
    return status;
}

moco_status_t mo_optim_gpu_follow(mo_optim_t *o, mo_buffer_t key, int64_t count, double momentum)
{
    const mo_optim_gpu_t *g = o->gpu;
    return mo_kernel_run(g->device, MO_KERNEL_FOLLOW, o->part_count * MO_KERNEL_ITEMS, mo_arg_buffer(g->parts),
                         mo_arg_buffer(key), mo_arg_buffer(o->params_at), mo_arg_whole(count),
                         mo_arg_float((float)momentum), mo_arg_float((float)(1.0 - momentum)));
}
