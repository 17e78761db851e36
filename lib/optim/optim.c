/* Parameters cut into parts, norms over them, and the choice of the loop. */
#include "optim/optim.h"

#include <math.h>
#include <string.h>
#include <moco/types.h>

#include "util/alloc.h"
#include "util/clones.h"
#include "util/rate.h"
#include "util/status.h"

#define PART ((int64_t)1 << 16) /* floats; fixed, so sums do not depend on the lanes */

double mo_lr_scale(int32_t scaling, int32_t batch)
{
    if (scaling == MOCO_LR_SCALING_NONE)
        return 1.0;
    return scaling == MOCO_LR_SCALING_SQRT ? sqrt((double)batch) : batch / MO_BASE_BATCH;
}

int32_t mo_optim_blocks(mo_optimizer_t kind)
{
    return kind == MO_OPTIMIZER_ADAMW ? 2 : 1;
}

const char *mo_optim_block_name(mo_optimizer_t kind, int32_t block)
{
    if (kind != MO_OPTIMIZER_ADAMW)
        return "momentum_buffer";
    return block == 0 ? "exp_avg" : "exp_avg_sq";
}

int mo_optim_block_is_squares(mo_optimizer_t kind, int32_t block)
{
    return kind == MO_OPTIMIZER_ADAMW && block == 1;
}

static int64_t parts_of(const mo_parameter_t *parameter)
{
    return parameter->hidden ? 0 : (parameter->count + PART - 1) / PART;
}

int64_t mo_optim_parts(const mo_net_t *net)
{
    int64_t count = 0;
    for (int32_t i = 0; i < net->parameter_count; i++)
        count += parts_of(&net->parameters[i]);
    return count;
}

moco_status_t mo_optim_prepare(mo_optim_t *o, const mo_net_t *net)
{
    moco_status_t status = MOCO_OK;
    const int64_t count = mo_optim_parts(net);
    o->net = net;
    TRY(mo_calloc((size_t)count, sizeof *o->parts, &o->parts));
    TRY(mo_calloc((size_t)count * 2, sizeof *o->sums, &o->sums));
    TRY(mo_calloc((size_t)net->parameter_count, sizeof *o->ratio, &o->ratio));
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        for (int64_t k = 0; k < parts_of(parameter); k++) {
            const int64_t left = parameter->count - k * PART;
            o->parts[o->part_count++] = (mo_optim_part_t){.offset = parameter->offset + k * PART,
                                                          .count = left < PART ? left : PART,
                                                          .parameter = i,
                                                          .frozen = parameter->frozen};
        }
    }
cleanup:
    return status;
}

void mo_optim_free(mo_optim_t *o)
{
    mo_optim_gpu_free(o);
    mo_free(o->parts);
    mo_free(o->sums);
    mo_free(o->ratio);
    memset(o, 0, sizeof *o);
}

static const float *gradient_at(const mo_optim_t *o, int64_t offset)
{
    const mo_gradient_piece_t *piece = &o->pieces[0];
    if (offset < piece->from || offset >= piece->from + piece->count)
        piece = &o->pieces[1];
    return piece->values + (offset - piece->from);
}

/* ---- sums: eight running ones, for a fixed order, and for vector registers ---- */

MO_CLONES(double, mo_square_sum_of, (const float *a, const float *b, float factor, int64_t count),
          (a, b, factor, count))
{
    double sums[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++) {
            float value = a[i + lane] + factor * b[i + lane];
            sums[lane] += (double)value * value;
        }
    for (; i < count; i++) {
        float value = a[i] + factor * b[i];
        sums[0] += (double)value * value;
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

MO_CLONES(double, mo_square_sum, (const float *values, int64_t count), (values, count))
{
    double sums[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sums[lane] += (double)values[i + lane] * values[i + lane];
    for (; i < count; i++)
        sums[0] += (double)values[i] * values[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

static void gradient_part(void *ctx, int64_t part)
{
    mo_optim_t *o = ctx;
    const mo_optim_part_t *p = &o->parts[part];
    o->sums[part] = p->frozen ? 0 : mo_square_sum(gradient_at(o, p->offset), p->count);
}

moco_status_t mo_optim_gradient_norm(mo_optim_t *o, moco_device_t *device, double *norm)
{
    double sum = 0;
    moco_status_t status = MOCO_OK;
    if (o->gpu == NULL)
        status = mo_device_parallel(device, o->part_count, gradient_part, o);
    else
        for (int64_t i = 0; i < o->part_count; i++)
            mo_optim_gpu_sums(o, i, &o->sums[i], NULL, NULL);
    for (int64_t i = 0; i < o->part_count; i++)
        sum += o->sums[i];
    *norm = sqrt(sum);
    return status;
}

/* ---- LARS: the step of a tensor is as long as trust times the tensor ---- */

typedef struct ratios {
    mo_optim_t *optim;
    float weight_decay;
} ratios_t;

/* Vectors (biases, scales and shifts of norms) have neither decay nor trust. */
int mo_optim_takes_trust(const mo_net_t *net, int32_t parameter)
{
    return net->parameters[parameter].rank > 1;
}

static void ratio_part(void *ctx, int64_t part)
{
    const ratios_t *r = ctx;
    mo_optim_t *o = r->optim;
    const mo_optim_part_t *p = &o->parts[part];
    double *sums = o->sums + 2 * part;
    sums[0] = sums[1] = 0;
    if (p->frozen || !mo_optim_takes_trust(o->net, p->parameter))
        return;
    sums[0] = mo_square_sum(o->params + p->offset, p->count);
    sums[1] = mo_square_sum_of(gradient_at(o, p->offset), o->params + p->offset, r->weight_decay, p->count);
}

moco_status_t mo_optim_begin(mo_optim_t *o, moco_device_t *device, const mo_optim_rates_t *rates)
{
    ratios_t r = {o, (float)rates->weight_decay};
    if (rates->kind != MO_OPTIMIZER_LARS && rates->kind != MO_OPTIMIZER_LARS_SIMCLR)
        return MOCO_OK;
    moco_status_t status = MOCO_OK;
    if (o->gpu == NULL)
        status = mo_device_parallel(device, o->part_count, ratio_part, &r);
    else
        for (int64_t i = 0; i < o->part_count; i++)
            mo_optim_gpu_sums(o, i, NULL, &o->sums[2 * i], &o->sums[2 * i + 1]);
    if (status != MOCO_OK)
        return status;
    for (int64_t at = 0; at < o->part_count;) {
        int32_t parameter = o->parts[at].parameter;
        double params = 0, step = 0;
        for (; at < o->part_count && o->parts[at].parameter == parameter; at++) {
            params += o->sums[2 * at];
            step += o->sums[2 * at + 1];
        }
        o->ratio[parameter] = params > 0 && step > 0 ? (float)(rates->trust * sqrt(params) / sqrt(step)) : 1.0f;
    }
    return MOCO_OK;
}

void mo_optim_update(mo_optim_t *o, const mo_optim_part_t *p, const mo_optim_rates_t *rates)
{
    float *params = o->params + p->offset, *first = o->state[0] + p->offset;
    if (p->frozen)
        return;
    const float *gradient = gradient_at(o, p->offset);
    if (rates->kind == MO_OPTIMIZER_SGD)
        mo_sgd_loop(params, first, gradient, p->count, rates);
    else if (rates->kind == MO_OPTIMIZER_ADAMW)
        mo_adamw_loop(params, first, o->state[1] + p->offset, gradient, p->count, rates);
    else if (mo_optim_takes_trust(o->net, p->parameter))
        mo_lars_loop(params, first, gradient, p->count, o->ratio[p->parameter], (float)rates->weight_decay, rates);
    else
        mo_lars_loop(params, first, gradient, p->count, 1.0f, 0.0f, rates);
}
