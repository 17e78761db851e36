/* Making and freeing a model: batch norm folded into its neighbours, weights packed once per plan
 * size. */
#include "eval/model.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <moco/trainer.h>

#include "engine/ops.h"
#include "util/alloc.h"
#include "util/finite.h"
#include "util/headroom.h"
#include "util/size.h"
#include "util/status.h"

int32_t mo_eval_resize(int32_t stem, int32_t image_size)
{
    return stem == MOCO_STEM_CIFAR ? image_size : (int32_t)(8.0 * image_size / 7.0 + 0.5);
}

void mo_transform_of(const moco_trainer_options_t *o, mo_transform_t *transform)
{
    int32_t s = o->image_size;
    *transform = (mo_transform_t){.mean = {o->mean_r, o->mean_g, o->mean_b},
                                  .std = {o->std_r, o->std_g, o->std_b},
                                  .eval_crop = s,
                                  .eval_resize = mo_eval_resize(o->stem, s)};
}

mo_encoder_spec_t mo_encoder_spec_of(const moco_trainer_options_t *o)
{
    return (mo_encoder_spec_t){.arch = o->arch,
                               .stem = o->stem,
                               .head = o->head,
                               .width = o->width,
                               .head_width = o->head_width,
                               .head_layers = o->head_layers,
                               .image_size = o->image_size,
                               .dimension = o->dimension,
                               .zero_init_residual = o->zero_init_residual,
                               .patch_size = o->patch_size,
                               .depth = o->vit_depth,
                               .heads = o->vit_heads,
                               .vit_norm = o->vit_norm,
                               .freeze_patch = o->freeze_patch};
}

/* What a batch norm does to channel c at inference: y = factor * x + offset. */
typedef struct affine {
    double factor, offset;
} affine_t;

static affine_t affine_of(const mo_net_t *net, const mo_op_t *bn_op, const float *running, const float *params,
                          int32_t c)
{
    const mo_bn_t *bn = &net->bns[bn_op->bn];
    double mean = running[bn->offset + c], variance = running[bn->offset + bn->channels + c];
    double factor = params[net->parameters[bn_op->weights].offset + c] / sqrt(variance + MO_BATCHNORM_EPSILON);
    return (affine_t){factor, params[net->parameters[bn_op->bias].offset + c] - mean * factor};
}

/* Into the product in front: w' = w * factor per output channel; the shift's place takes the
 * bias. */
static void fold_forward(const mo_net_t *net, const mo_op_t *bn_op, const mo_op_t *front, const float *running,
                         float *params)
{
    const mo_parameter_t *weights = &net->parameters[front->weights];
    float *shift = params + net->parameters[bn_op->bias].offset;
    int64_t row = weights->count / weights->dims[0];
    for (int32_t c = 0; c < weights->dims[0]; c++) {
        affine_t a = affine_of(net, bn_op, running, params, c);
        float *w = params + weights->offset + c * row;
        for (int64_t k = 0; k < row; k++)
            w[k] = (float)(w[k] * a.factor);
        shift[c] = (float)a.offset;
    }
}

/* Into the linear layer behind: w' = w * factor per input channel, b' = b + w * offset. The batch
 * norm's own places, which nobody else reads, hold factor and offset meanwhile. */
static void fold_backward(const mo_net_t *net, const mo_op_t *bn_op, const mo_op_t *linear, const float *running,
                          float *params)
{
    const mo_parameter_t *weights = &net->parameters[linear->weights];
    float *w = params + weights->offset, *bias = params + net->parameters[linear->bias].offset;
    float *factor = params + net->parameters[bn_op->weights].offset,
          *offset = params + net->parameters[bn_op->bias].offset;
    int64_t inputs = weights->dims[1];
    for (int32_t c = 0; c < inputs; c++) {
        affine_t a = affine_of(net, bn_op, running, params, c);
        factor[c] = (float)a.factor;
        offset[c] = (float)a.offset;
    }
    for (int64_t o = 0; o < weights->dims[0]; o++, w += inputs) {
        double sum = bias[o];
        for (int64_t c = 0; c < inputs; c++) {
            sum += (double)w[c] * offset[c];
            w[c] *= factor[c];
        }
        bias[o] = (float)sum;
    }
}

static void fold(const mo_net_t *net, const float *running, float *params)
{
    for (int32_t i = 0; i < net->op_count; i++) {
        int behind;
        int32_t target = net->ops[i].bn >= 0 ? mo_fold_target(net->ops, net->op_count, i, &behind) : -1;
        if (target < 0) /* no batch norm; making the plan has refused one without a place to go */
            continue;
        if (behind)
            fold_backward(net, &net->ops[i], &net->ops[target], running, params);
        else
            fold_forward(net, &net->ops[i], &net->ops[target], running, params);
    }
}

/* Finite weights and statistics may fold into what no float holds, and ReLUs behind it would make
 * zeros of that. */
static moco_status_t check_folded(const mo_net_t *net, const float *params, int32_t precision)
{
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        const int low = precision == MOCO_PRECISION_F16 && parameter->offset < (int64_t)net->body_params;
        const float most = low ? 65504.0f : FLT_MAX;
        int64_t at = mo_find_nonfinite(params + parameter->offset, parameter->count);
        for (int64_t n = 0; at < 0 && low && n < parameter->count; n++)
            if (fabsf(params[parameter->offset + n]) > most)
                at = n;
        if (at >= 0)
            return mo_fail(
                MOCO_ERR_NONFINITE,
                "'%s': number %lld is %g when the batch norm beside it is folded in, %s holds at most %g: a weight or "
                "the inverse of a running variance is too large",
                parameter->name, (long long)at, (double)params[parameter->offset + at], low ? "f16" : "float32",
                (double)most);
    }
    return MOCO_OK;
}

static moco_status_t make_plans(moco_model_t *m)
{
    static const int32_t sizes[MO_MODEL_SIZES] = {1, MO_MANY};
    moco_status_t status = MOCO_OK;
    const mo_net_t *net = &m->encoder.net;
    for (int i = 0; i < MO_MODEL_SIZES; i++) {
        mo_plan_spec_t spec = {.net = net,
                               .mode = MO_MODE_INFER,
                               .shard = sizes[i],
                               .shards_per_group = 1,
                               .precision = mo_precision_of(m->precision),
                               .cut = 1,
                               .inputs = {net->input, -1, -1, -1},
                               .outputs = {net->backbone, m->encoder.embedding, -1, -1}};
        TRY(mo_plan_create(m->device, &spec, &m->plan[i]));
        if (mo_plan_arena_bytes(m->plan[i]) > m->arena_bytes)
            m->arena_bytes = mo_plan_arena_bytes(m->plan[i]);
    }
cleanup:
    return status;
}

/* The folded copy lives only until its values are packed. */
static moco_status_t pack(moco_model_t *m)
{
    moco_status_t status = MOCO_OK;
    mo_buffer_t folded = {0};
    float *params = NULL;
    TRY(mo_buffer_create(m->device, m->encoder.params.bytes, &folded));
    TRY(mo_buffer_copy(folded, m->encoder.params));
    TRY(mo_buffer_map(folded, MO_UPDATE, &params));
    fold(&m->encoder.net, m->encoder.running, params);
    status = check_folded(&m->encoder.net, params, m->precision);
    mo_buffer_unmap(folded, params);
    TRY(status);
    for (int i = 0; i < MO_MODEL_SIZES; i++) {
        TRY(mo_packed_create(m->plan[i], folded, &m->packed[i]));
        TRY(mo_packed_refresh(m->packed[i]));
    }
cleanup:
    mo_buffer_free(&folded);
    return status;
}

/* Whether one image is worth more than one lane. */
static int takes_all_lanes(const moco_model_t *m)
{
    return mo_plan_is_cut(m->plan[MO_SIZE_ONE]) && mo_device_lanes(m->device) > 1;
}

static moco_status_t take_lanes(moco_model_t *m)
{
    moco_status_t status = MOCO_OK;
    int32_t lanes = mo_device_lanes(m->device);
    TRY(mo_calloc((size_t)lanes, sizeof *m->lanes, &m->lanes));
    for (int32_t i = 0; i < lanes; i++) {
        TRY(mo_buffer_create(m->device, m->arena_bytes, &m->lanes[i].arena));
        TRY(mo_calloc((size_t)m->feature, 1, &m->lanes[i].view));
        for (int s = 0; s < MO_MODEL_SIZES; s++)
            TRY(mo_instance_create(m->plan[s], m->lanes[i].arena, (mo_buffer_t){0}, m->packed[s],
                                   &m->lanes[i].instance[s]));
    }
    if (takes_all_lanes(m)) {
        TRY(mo_buffer_create(m->device, mo_plan_arena_bytes(m->plan[MO_SIZE_ONE]), &m->shared_arena));
        TRY(mo_instance_create(m->plan[MO_SIZE_ONE], m->shared_arena, (mo_buffer_t){0}, m->packed[MO_SIZE_ONE],
                               &m->shared));
    }
cleanup:
    return status;
}

/* What the encoder's copy, the packed weights of the plans, the folded copy on the way to them and
 * the lanes take. */
static uint64_t bytes_of(const moco_model_t *m)
{
    const mo_net_t *net = &m->encoder.net;
    const uint64_t lanes = (uint64_t)mo_device_lanes(m->device);
    uint64_t bytes = (2 * (uint64_t)net->params + (uint64_t)net->stats) * sizeof(float), scratch = 0;
    for (int i = 0; i < MO_MODEL_SIZES; i++) {
        const uint64_t each = mo_plan_scratchpad_bytes(m->plan[i]);
        bytes += mo_plan_packed_bytes(m->plan[i]);
        scratch = each > scratch ? each : scratch;
    }
    if (takes_all_lanes(m))
        bytes += mo_plan_arena_bytes(m->plan[MO_SIZE_ONE]);
    return bytes + lanes * (m->arena_bytes + scratch + (uint64_t)m->feature);
}

static moco_status_t check_memory(const moco_model_t *m, int64_t cap)
{
    const uint64_t bytes = bytes_of(m), each = m->arena_bytes;
    mo_headroom_t memory;
    char advice[160];
    if (cap > 0 && bytes > (uint64_t)cap)
        return mo_fail(MOCO_ERR_MEMORY_CAP, "the model needs %s, of that %s for each of %d lanes; the memory cap is %s",
                       mo_size(bytes).text, mo_size(each).text, mo_device_lanes(m->device),
                       mo_size((uint64_t)cap).text);
    if (cap > 0)
        return MOCO_OK;
    snprintf(advice, sizeof advice, "; each of %d lanes takes %s; memory_cap = %llu takes it whatever the machine says",
             mo_device_lanes(m->device), mo_size(each).text, (unsigned long long)bytes);
    mo_device_headroom(m->device, &memory);
    return mo_headroom_check_in(&memory, MOCO_ERR_MEMORY_CAP, "the model needs", bytes, advice);
}

static moco_status_t take_memory(moco_model_t *m, const mo_encoder_t *encoder, int64_t cap)
{
    moco_status_t status = MOCO_OK;
    TRY(check_memory(m, cap));
    if (cap > 0) /* whoever sets one may know better than the machine */
        mo_headroom_planned_begin();
    status = mo_encoder_take(&m->encoder, NULL);
    if (status == MOCO_OK)
        status = mo_encoder_copy_numbers(encoder, &m->encoder);
    if (status == MOCO_OK)
        status = pack(m);
    if (status == MOCO_OK)
        status = take_lanes(m);
    if (cap > 0)
        mo_headroom_planned_end();
cleanup:
    return status;
}

moco_status_t mo_model_create(const mo_encoder_t *encoder, const mo_transform_t *transform, int32_t precision,
                              int64_t memory_cap, moco_device_t *device, moco_model_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_model_t *m = NULL;
    TRY(mo_calloc(1, sizeof *m, &m));
    atomic_init(&m->references, 1);
    pthread_mutex_init(&m->sharing, NULL);
    TRY(mo_device_default(device, &m->device));
    m->transform = *transform;
    m->precision = precision;
    m->feature = 3 * (int64_t)encoder->spec.image_size * encoder->spec.image_size;
    mo_input_table(m->transform.mean, m->transform.std, m->lut);
    TRY(mo_encoder_build(&m->encoder, &encoder->spec));
    m->encoder.steps = encoder->steps;
    TRY(make_plans(m));
    TRY(take_memory(m, encoder, memory_cap));
    *out = m;
    m = NULL;
cleanup:
    mo_model_release(m);
    return status;
}

moco_model_t *mo_model_retain(moco_model_t *m)
{
    atomic_fetch_add(&m->references, 1);
    return m;
}

void mo_model_release(moco_model_t *m)
{
    if (m == NULL || atomic_fetch_sub(&m->references, 1) > 1)
        return;
    for (int32_t i = 0; m->lanes != NULL && i < mo_device_lanes(m->device); i++) {
        for (int s = 0; s < MO_MODEL_SIZES; s++)
            mo_instance_free(m->lanes[i].instance[s]);
        mo_buffer_free(&m->lanes[i].arena);
        mo_pixels_free(&m->lanes[i].pixels);
        mo_view_work_free(&m->lanes[i].work);
        mo_free(m->lanes[i].view);
    }
    mo_free(m->lanes);
    mo_instance_free(m->shared);
    mo_buffer_free(&m->shared_arena);
    pthread_mutex_destroy(&m->sharing);
    for (int s = 0; s < MO_MODEL_SIZES; s++) {
        mo_packed_free(m->packed[s]);
        mo_plan_free(m->plan[s]);
    }
    mo_encoder_free(&m->encoder);
    json_decref(m->report);
    mo_device_release(m->device);
    mo_free(m);
}
