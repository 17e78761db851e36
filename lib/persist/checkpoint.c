/* Encoders to and from safetensors; see checkpoint.h. */
#include "persist/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/check.h"
#include "persist/layout.h"
#include "util/alloc.h"
#include "util/number.h"
#include "util/status.h"

#define NAME_SIZE 256

/* The predictor stands beside the encoder, not in it, as published checkpoints have it. */
static void full_name(char name[NAME_SIZE], const char *prefix, int is_encoder, const char *own, const char *suffix)
{
    int apart = is_encoder && mo_stands_apart(own);
    snprintf(name, NAME_SIZE, "%s%s%s", apart ? "" : prefix, own, suffix);
}

static moco_status_t put_params(mo_st_writer_t *writer, const char *prefix, int is_encoder, const mo_net_t *net,
                                const float *params)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        char name[NAME_SIZE];
        if (parameter->hidden ||
            (parameter->frozen && !is_encoder)) /* an optimizer has nothing on what it does not move */
            continue;
        full_name(name, prefix, is_encoder, parameter->name, "");
        TRY(mo_st_add(writer, name, MO_F32, parameter->rank, parameter->dims, params + parameter->offset));
    }
cleanup:
    return status;
}

moco_status_t mo_params_put(mo_st_writer_t *writer, const char *prefix, const mo_net_t *net, const float *params)
{
    return put_params(writer, prefix, 0, net, params);
}

moco_status_t mo_encoder_put(mo_st_writer_t *writer, const char *prefix, const mo_encoder_t *e, const float *params,
                             const int64_t *batches)
{
    moco_status_t status = MOCO_OK;
    TRY(put_params(writer, prefix, 1, &e->net, params));
    for (int32_t i = 0; i < e->net.bn_count; i++) {
        const mo_bn_t *bn = &e->net.bns[i];
        int64_t dims[1] = {bn->channels};
        char name[NAME_SIZE];
        full_name(name, prefix, 1, bn->name, ".running_mean");
        TRY(mo_st_add(writer, name, MO_F32, 1, dims, e->running + bn->offset));
        full_name(name, prefix, 1, bn->name, ".running_var");
        TRY(mo_check_variance(name, e->running + bn->offset + bn->channels, bn->channels));
        TRY(mo_st_add(writer, name, MO_F32, 1, dims, e->running + bn->offset + bn->channels));
        full_name(name, prefix, 1, bn->name, ".num_batches_tracked");
        TRY(mo_st_add(writer, name, MO_I64, 0, dims, batches));
    }
cleanup:
    return status;
}

mo_shape_text_t mo_shape_text(int32_t rank, const int64_t *dims)
{
    mo_shape_text_t shape = {"["};
    size_t at = 1;
    for (int32_t i = 0; i < rank && at < sizeof shape.text - 24; i++)
        at += (size_t)snprintf(shape.text + at, sizeof shape.text - at, i ? ",%" PRId64 : "%" PRId64, dims[i]);
    snprintf(shape.text + at, sizeof shape.text - at, "]");
    return shape;
}

moco_status_t mo_shape_check(const mo_file_tensor_t *t, int32_t rank, const int64_t *dims)
{
    int same = t->rank == rank;
    for (int32_t i = 0; i < rank && same; i++)
        same = t->dims[i] == dims[i];
    if (same)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_SHAPE, "'%s' is %s, wanted %s", t->name, mo_shape_text(t->rank, t->dims).text,
                   mo_shape_text(rank, dims).text);
}

static moco_status_t get_floats(const mo_tensor_file_t *st, const char *name, int32_t rank, const int64_t *dims,
                                float *out)
{
    const mo_file_tensor_t *t = mo_tensor_file_find(st, name);
    int64_t count = 1;
    if (t == NULL)
        return mo_fail(MOCO_ERR_SHAPE, "tensor '%s' is missing", name);
    for (int32_t i = 0; i < rank; i++)
        count *= dims[i];
    moco_status_t status = mo_shape_check(t, rank, dims);
    return status == MOCO_OK && out != NULL ? mo_file_floats(t, out, count) : status;
}

static moco_status_t get_params(const mo_tensor_file_t *st, const char *prefix, int is_encoder, const mo_net_t *net,
                                float *params)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        char name[NAME_SIZE];
        if (parameter->hidden && params != NULL)
            mo_parameter_constant(parameter, params);
        if (parameter->hidden || (parameter->frozen && !is_encoder))
            continue;
        full_name(name, prefix, is_encoder, parameter->name, "");
        TRY(get_floats(st, name, parameter->rank, parameter->dims, params != NULL ? params + parameter->offset : NULL));
    }
cleanup:
    return status;
}

moco_status_t mo_params_get(const mo_tensor_file_t *st, const char *prefix, const mo_net_t *net, float *params)
{
    return get_params(st, prefix, 0, net, params);
}

moco_status_t mo_encoder_get(const mo_tensor_file_t *st, const char *prefix, const mo_encoder_t *e)
{
    moco_status_t status = MOCO_OK;
    float *params = NULL;
    if (e->params.memory != NULL)
        TRY(mo_buffer_map(e->params, MO_UPDATE, &params)); /* padding stays 0 */
    TRY(get_params(st, prefix, 1, &e->net, params));
    for (int32_t i = 0; i < e->net.bn_count; i++) {
        const mo_bn_t *bn = &e->net.bns[i];
        int64_t dims[1] = {bn->channels};
        float *mean = e->running != NULL ? e->running + bn->offset : NULL;
        char name[NAME_SIZE];
        full_name(name, prefix, 1, bn->name, ".running_mean");
        TRY(get_floats(st, name, 1, dims, mean));
        full_name(name, prefix, 1, bn->name, ".running_var");
        TRY(get_floats(st, name, 1, dims, mean != NULL ? mean + bn->channels : NULL));
        if (mean != NULL)
            TRY(mo_check_variance(name, mean + bn->channels, bn->channels));
    }
cleanup:
    mo_buffer_unmap(e->params, params);
    return status;
}

moco_status_t mo_meta_int(mo_st_writer_t *writer, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return mo_st_meta(writer, key, text);
}

moco_status_t mo_meta_double(mo_st_writer_t *writer, const char *key, double value)
{
    char text[MO_NUMBER_TEXT];
    mo_text_double(value, 17, text);
    return mo_st_meta(writer, key, text);
}

static moco_status_t meta_text(const mo_tensor_file_t *st, const char *key, const char **text)
{
    *text = mo_tensor_file_text(st, key);
    return *text != NULL ? MOCO_OK : mo_fail(MOCO_ERR_FORMAT, "the metadata has no '%s'", key);
}

moco_status_t mo_meta_get_int(const mo_tensor_file_t *st, const char *key, int64_t low, int64_t high, int64_t *value)
{
    const char *text;
    char *end;
    moco_status_t status = meta_text(st, key, &text);
    if (status != MOCO_OK)
        return status;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < low || number > high)
        return mo_fail(MOCO_ERR_FORMAT, "metadata '%s' is '%.40s', wanted a whole number %" PRId64 " to %" PRId64, key,
                       text, low, high);
    *value = number;
    return MOCO_OK;
}

moco_status_t mo_meta_get_double(const mo_tensor_file_t *st, const char *key, double low, double high, double *value)
{
    const char *text;
    moco_status_t status = meta_text(st, key, &text);
    if (status != MOCO_OK)
        return status;
    if (mo_parse_double(text, low, high, value) != MOCO_OK)
        return mo_fail(MOCO_ERR_FORMAT, "metadata '%s' is '%.40s', wanted a number %g to %g", key, text, low, high);
    return MOCO_OK;
}

moco_status_t mo_format_check(const mo_tensor_file_t *st, const char *path)
{
    int64_t version = 0;
    moco_status_t status = mo_meta_get_int(st, "format_version", 1, INT64_MAX, &version);
    if (status != MOCO_OK)
        return status;
    if (version > MO_FORMAT_VERSION)
        return mo_fail(MOCO_ERR_VERSION, "'%s' has format %" PRId64 ", this library reads up to %d", path, version,
                       MO_FORMAT_VERSION);
    return MOCO_OK;
}
