/* Growing the lists of a network. */
#include "engine/net.h"

#include <string.h>

#include "util/alloc.h"
#include "util/status.h"

#define PARAMETER_ALIGN 16 /* floats: 64 bytes, so every tensor starts on a cache line, as vector loops want */
#define ALIGNED(floats) (((floats) + PARAMETER_ALIGN - 1) / PARAMETER_ALIGN * PARAMETER_ALIGN)

/* One more item fits. */
static int grow(mo_net_t *net, void *list, int32_t count, size_t size)
{
    if (net->failed || mo_grow_by_one(list, count, size) != MOCO_OK)
        net->failed = 1;
    return !net->failed;
}

int32_t mo_net_tensor(mo_net_t *net, int32_t c, int32_t h, int32_t w)
{
    if (!grow(net, &net->shapes, net->tensors, sizeof *net->shapes))
        return -1;
    net->shapes[net->tensors] = (mo_shape_t){c, h, w};
    return net->tensors++;
}

int32_t mo_net_parameter(mo_net_t *net, const char *prefix, const char *name, int32_t rank, const int64_t *dims,
                         mo_init_t init, int64_t fan)
{
    if (!grow(net, &net->parameters, net->parameter_count, sizeof *net->parameters))
        return -1;
    mo_parameter_t *parameter = &net->parameters[net->parameter_count];
    *parameter = (mo_parameter_t){.rank = rank, .count = 1, .offset = net->params, .init = init, .fan = fan};
    for (int i = 0; i < rank; i++) {
        parameter->dims[i] = dims[i];
        parameter->count *= dims[i];
    }
    if (mo_strprintf(&parameter->name, "%s%s%s", prefix != NULL ? prefix : "", prefix != NULL ? "." : "", name) !=
        MOCO_OK) {
        net->failed = 1;
        return -1;
    }
    net->params += ALIGNED(parameter->count);
    return net->parameter_count++;
}

void mo_net_freeze(mo_net_t *net, int32_t parameter)
{
    if (!net->failed)
        net->parameters[parameter].frozen = 1;
}

int32_t mo_net_bn(mo_net_t *net, const char *prefix, int32_t channels)
{
    if (!grow(net, &net->bns, net->bn_count, sizeof *net->bns))
        return -1;
    mo_bn_t *bn = &net->bns[net->bn_count];
    *bn = (mo_bn_t){.channels = channels, .offset = net->stats};
    if (mo_strdup(prefix, &bn->name) != MOCO_OK) {
        net->failed = 1;
        return -1;
    }
    net->stats += ALIGNED(2 * (int64_t)channels);
    return net->bn_count++;
}

mo_op_t *mo_net_op(mo_net_t *net, const mo_op_kind_t *kind, int32_t src, const void *form, size_t bytes)
{
    if (src < 0 || !grow(net, &net->ops, net->op_count, sizeof *net->ops))
        return NULL;
    mo_op_t *op = &net->ops[net->op_count];
    *op = (mo_op_t){.kind = kind, .src = src, .other = -1, .dst = -1, .weights = -1, .bias = -1, .bn = -1};
    if (form != NULL && mo_calloc(1, bytes, &op->form) != MOCO_OK) {
        net->failed = 1;
        return NULL;
    }
    if (form != NULL)
        memcpy(op->form, form, bytes);
    net->op_count++;
    return op;
}

int32_t mo_net_result(mo_net_t *net, mo_op_t *op, int32_t c, int32_t h, int32_t w)
{
    return op != NULL ? op->dst = mo_net_tensor(net, c, h, w) : -1;
}

int32_t mo_net_result_like_src(mo_net_t *net, mo_op_t *op)
{
    if (op == NULL)
        return -1;
    const mo_shape_t s = net->shapes[op->src];
    return mo_net_result(net, op, s.c, s.h, s.w);
}

int mo_net_syncs(const mo_net_t *net, int32_t from_op, int32_t to_op)
{
    for (int32_t i = from_op; i < to_op; i++)
        if (net->ops[i].kind->traits & MO_SYNCS)
            return 1;
    return 0;
}

int64_t mo_net_multiply_adds(const mo_net_t *net, int32_t from_op, int32_t to_op, int backward)
{
    int64_t sum = 0;
    for (int32_t i = from_op; i < to_op; i++) {
        const mo_op_t *op = &net->ops[i];
        if (op->kind->multiply_adds == NULL)
            continue;
        int gradients = (op->src != net->input) + !(op->weights >= 0 && net->parameters[op->weights].frozen);
        sum += op->kind->multiply_adds(net, op) * (backward ? gradients : 1);
    }
    return sum;
}

moco_status_t mo_net_done(const mo_net_t *net)
{
    return net->failed ? mo_fail(MOCO_ERR_MEMORY, "no memory for a network of %d operations", net->op_count) : MOCO_OK;
}

void mo_net_free(mo_net_t *net)
{
    for (int32_t i = 0; i < net->parameter_count; i++)
        mo_free(net->parameters[i].name);
    for (int32_t i = 0; i < net->bn_count; i++)
        mo_free(net->bns[i].name);
    for (int32_t i = 0; i < net->op_count; i++)
        mo_free(net->ops[i].form);
    mo_free(net->shapes);
    mo_free(net->ops);
    mo_free(net->parameters);
    mo_free(net->bns);
    memset(net, 0, sizeof *net);
}

void mo_parameter_constant(const mo_parameter_t *parameter, float *params)
{
    for (int64_t i = 0; i < parameter->count; i++)
        params[parameter->offset + i] = parameter->init == MO_INIT_ONE ? 1.0f : 0.0f;
}

int64_t mo_net_numel(const mo_net_t *net)
{
    int64_t count = 0;
    for (int32_t i = 0; i < net->parameter_count; i++)
        count += net->parameters[i].hidden ? 0 : net->parameters[i].count;
    return count;
}
