/* A network in double precision, by definition and in plain loops: what the engine's tests compare
 * with. It walks the operations of a mo_net_t; activations are [rows, h, w, c] as in the engine.
 * One call is one batch-norm group. */
#ifndef TESTS_ENGINE_REFERENCE_H
#define TESTS_ENGINE_REFERENCE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contrast/contrast.h"
#include "engine/ops.h"

typedef struct reference {
    const mo_net_t *net;
    int32_t rows;
    const double *params; /* [net->params] */
    const double *queue;  /* [K, D]        */
    double **tensor;      /* [net->tensors]; those that the caller fills are set before the call */
    double *stats;        /* [net->stats] mean and biased variance of the group */
} reference_t;

static inline int64_t ref_size(const reference_t *r, int32_t tensor)
{
    mo_shape_t s = r->net->shapes[tensor];
    return (int64_t)r->rows * s.h * s.w * s.c;
}

static inline void ref_conv(const reference_t *r, const mo_op_t *op)
{
    mo_shape_t in = r->net->shapes[op->src], out = r->net->shapes[op->dst];
    const double *w = r->params + r->net->parameters[op->weights].offset, *x = r->tensor[op->src];
    double *y = r->tensor[op->dst];
    const mo_sliding_form_t *f = op->form;
    int32_t k = f->kernel;
    for (int64_t n = 0; n < r->rows; n++)
        for (int32_t i = 0; i < out.h; i++)
            for (int32_t j = 0; j < out.w; j++)
                for (int32_t o = 0; o < out.c; o++) {
                    double sum = 0;
                    for (int32_t a = 0; a < k; a++)
                        for (int32_t b = 0; b < k; b++) {
                            int32_t h = i * f->stride + a - f->pad, v = j * f->stride + b - f->pad;
                            if (h < 0 || h >= in.h || v < 0 || v >= in.w)
                                continue;
                            const double *pixel = x + ((n * in.h + h) * in.w + v) * in.c;
                            for (int32_t c = 0; c < in.c; c++)
                                sum += w[((int64_t)(o * in.c + c) * k + a) * k + b] * pixel[c];
                        }
                    if (op->bias >= 0)
                        sum += r->params[r->net->parameters[op->bias].offset + o];
                    y[((n * out.h + i) * out.w + j) * out.c + o] = sum;
                }
}

static inline void ref_tokens(const reference_t *r, const mo_op_t *op)
{
    mo_shape_t s = r->net->shapes[op->dst];
    const double *first = r->params + r->net->parameters[op->weights].offset, *x = r->tensor[op->src];
    const double *place = r->params + r->net->parameters[op->bias].offset;
    for (int64_t n = 0; n < r->rows; n++)
        for (int64_t t = 0; t < s.h; t++)
            for (int64_t c = 0; c < s.c; c++)
                r->tensor[op->dst][(n * s.h + t) * s.c + c] =
                    place[t * s.c + c] + (t == 0 ? first[c] : x[(n * (s.h - 1) + t - 1) * s.c + c]);
}

static inline void ref_class_token(const reference_t *r, const mo_op_t *op)
{
    mo_shape_t s = r->net->shapes[op->src];
    for (int64_t n = 0; n < r->rows; n++)
        memcpy(r->tensor[op->dst] + n * s.c, r->tensor[op->src] + n * s.h * s.c, (size_t)s.c * sizeof(double));
}

static inline void ref_layernorm(const reference_t *r, const mo_op_t *op)
{
    int64_t width = r->net->shapes[op->src].c, rows = ref_size(r, op->src) / width;
    const double *scale = r->params + r->net->parameters[op->weights].offset;
    const double *shift = r->params + r->net->parameters[op->bias].offset;
    for (int64_t n = 0; n < rows; n++) {
        const double *x = r->tensor[op->src] + n * width;
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < width; c++)
            mean += x[c] / (double)width;
        for (int64_t c = 0; c < width; c++)
            variance += (x[c] - mean) * (x[c] - mean) / (double)width;
        for (int64_t c = 0; c < width; c++)
            r->tensor[op->dst][n * width + c] = (x[c] - mean) / sqrt(variance + 1e-6) * scale[c] + shift[c];
    }
}

/* Head after head, query after query. */
static inline void ref_attention(const reference_t *r, const mo_op_t *op)
{
    mo_shape_t in = r->net->shapes[op->src], out = r->net->shapes[op->dst];
    const int64_t heads = ((const mo_attention_form_t *)op->form)->heads, d = out.c / heads, row = in.c;
    double *p = calloc((size_t)in.h, sizeof *p);
    for (int64_t n = 0; n < r->rows; n++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t a = 0; a < out.h; a++) {
                const double *image = r->tensor[op->src] + n * in.h * row, *q = image + a * row + h * d;
                double sum = 0, *y = r->tensor[op->dst] + (n * out.h + a) * out.c + h * d;
                for (int64_t b = 0; b < in.h; b++) {
                    double dot = 0;
                    for (int64_t c = 0; c < d; c++)
                        dot += q[c] * image[b * row + out.c + h * d + c];
                    sum += p[b] = exp(dot / sqrt((double)d));
                }
                for (int64_t c = 0; c < d; c++) {
                    y[c] = 0;
                    for (int64_t b = 0; b < in.h; b++)
                        y[c] += p[b] / sum * image[b * row + 2 * out.c + h * d + c];
                }
            }
    free(p);
}

static inline void ref_batchnorm(const reference_t *r, const mo_op_t *op)
{
    int32_t channels = r->net->shapes[op->src].c;
    int64_t m = ref_size(r, op->src) / channels;
    const double *x = r->tensor[op->src];
    const double *scale = r->params + r->net->parameters[op->weights].offset;
    const double *shift = r->params + r->net->parameters[op->bias].offset;
    double *stats = r->stats + r->net->bns[op->bn].offset, *y = r->tensor[op->dst];
    for (int32_t c = 0; c < channels; c++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < m; i++)
            mean += x[i * channels + c] / (double)m;
        for (int64_t i = 0; i < m; i++)
            variance += (x[i * channels + c] - mean) * (x[i * channels + c] - mean) / (double)m;
        for (int64_t i = 0; i < m; i++) {
            double v = scale[c] * (x[i * channels + c] - mean) / sqrt(variance + 1e-5) + shift[c];
            y[i * channels + c] = op->activation == MO_ACTIVATION_RELU && v < 0 ? 0 : v;
        }
        stats[c] = mean;
        stats[channels + c] = variance;
    }
}

static inline void ref_max_pool(const reference_t *r, const mo_op_t *op)
{
    mo_shape_t in = r->net->shapes[op->src], out = r->net->shapes[op->dst];
    const mo_sliding_form_t *f = op->form;
    for (int64_t n = 0; n < r->rows; n++)
        for (int32_t i = 0; i < out.h; i++)
            for (int32_t j = 0; j < out.w; j++)
                for (int32_t c = 0; c < out.c; c++) {
                    double best = -HUGE_VAL;
                    for (int32_t h = i * f->stride - f->pad; h < i * f->stride - f->pad + f->kernel; h++)
                        for (int32_t v = j * f->stride - f->pad; v < j * f->stride - f->pad + f->kernel; v++)
                            if (h >= 0 && h < in.h && v >= 0 && v < in.w)
                                best = fmax(best, r->tensor[op->src][((n * in.h + h) * in.w + v) * in.c + c]);
                    r->tensor[op->dst][((n * out.h + i) * out.w + j) * out.c + c] = best;
                }
}

static inline void ref_mean_pool(const reference_t *r, const mo_op_t *op)
{
    mo_shape_t in = r->net->shapes[op->src];
    for (int64_t n = 0; n < r->rows; n++)
        for (int32_t c = 0; c < in.c; c++) {
            double sum = 0;
            for (int64_t i = 0; i < in.h * in.w; i++)
                sum += r->tensor[op->src][(n * in.h * in.w + i) * in.c + c];
            r->tensor[op->dst][n * in.c + c] = sum / (in.h * in.w);
        }
}

static inline void ref_linear(const reference_t *r, const mo_op_t *op)
{
    int32_t in = r->net->shapes[op->src].c, out = r->net->shapes[op->dst].c;
    const double *w = r->params + r->net->parameters[op->weights].offset,
                 *b = r->params + r->net->parameters[op->bias].offset;
    for (int64_t n = 0; n < ref_size(r, op->src) / in; n++)
        for (int64_t o = 0; o < out; o++) {
            double sum = b[o];
            for (int64_t c = 0; c < in; c++)
                sum += w[o * in + c] * r->tensor[op->src][n * in + c];
            r->tensor[op->dst][n * out + o] = sum;
        }
}

static inline void ref_l2norm(const reference_t *r, const mo_op_t *op)
{
    int32_t width = r->net->shapes[op->src].c;
    for (int64_t n = 0; n < r->rows; n++) {
        double sum = 0;
        for (int64_t c = 0; c < width; c++)
            sum += r->tensor[op->src][n * width + c] * r->tensor[op->src][n * width + c];
        for (int64_t c = 0; c < width; c++)
            r->tensor[op->dst][n * width + c] = r->tensor[op->src][n * width + c] / fmax(sqrt(sum), 1e-12);
    }
}

static inline double ref_dot(const double *a, const double *b, int32_t width)
{
    double sum = 0;
    for (int32_t i = 0; i < width; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Cross-entropy of [positive, negatives] / T with label 0, by the shifted sum of exponentials. */
static inline void ref_infonce(const reference_t *r, const mo_op_t *op)
{
    int32_t width = r->net->shapes[op->src].c;
    const mo_infonce_spec_t *form = op->form;
    for (int64_t n = 0; n < r->rows; n++) {
        const double *q = r->tensor[op->src] + n * width;
        double own = ref_dot(q, r->tensor[op->other] + n * width, width) / form->temperature;
        const int64_t left_out = form->place >= 0 ? (int64_t)r->tensor[form->place][n] : -1;
        double top = own, sum = 0, rank = 0;
        for (int64_t k = 0; k < form->count; k++)
            top = fmax(top, ref_dot(q, r->queue + k * width, width) / form->temperature);
        for (int64_t k = 0; k < form->count; k++) {
            double l = ref_dot(q, r->queue + k * width, width) / form->temperature;
            sum += k != left_out ? exp(l - top) : 0;
            rank += k != left_out && l > own;
        }
        sum += exp(own - top);
        r->tensor[op->dst][n * MO_LOSS_WIDTH + MO_LOSS_VALUE] = log(sum) + top - own;
        r->tensor[op->dst][n * MO_LOSS_WIDTH + MO_LOSS_RANK] = rank;
    }
}

/* Every row against all others, its partner half the rows away; the group is the whole batch in
 * order. */
static inline void ref_nt_xent(const reference_t *r, const mo_op_t *op)
{
    int32_t width = r->net->shapes[op->src].c;
    const mo_nt_xent_form_t *form = op->form;
    const double *z = r->tensor[op->src];
    for (int64_t n = 0; n < r->rows; n++) {
        double own = ref_dot(z + n * width, z + (n + r->rows / 2) % r->rows * width, width) / form->temperature;
        double sum = 0, rank = 0;
        for (int64_t a = 0; a < r->rows; a++) {
            double l = ref_dot(z + n * width, z + a * width, width) / form->temperature;
            sum += a != n ? exp(l - own) : 0;
            rank += a != n && l > own;
        }
        r->tensor[op->dst][n * MO_LOSS_WIDTH + MO_LOSS_VALUE] = log(sum);
        r->tensor[op->dst][n * MO_LOSS_WIDTH + MO_LOSS_RANK] = rank;
    }
}

static inline void ref_forward(const reference_t *r)
{
    for (int32_t i = 0; i < r->net->op_count; i++) {
        const mo_op_t *op = &r->net->ops[i];
        const double *a = r->tensor[op->src], *b = op->other >= 0 ? r->tensor[op->other] : NULL;
        double *y = r->tensor[op->dst];
        if (op->kind == &mo_kind_conv)
            ref_conv(r, op);
        else if (op->kind == &mo_kind_batchnorm)
            ref_batchnorm(r, op);
        else if (op->kind == &mo_kind_max_pool)
            ref_max_pool(r, op);
        else if (op->kind == &mo_kind_mean_pool)
            ref_mean_pool(r, op);
        else if (op->kind == &mo_kind_linear)
            ref_linear(r, op);
        else if (op->kind == &mo_kind_l2norm)
            ref_l2norm(r, op);
        else if (op->kind == &mo_kind_infonce)
            ref_infonce(r, op);
        else if (op->kind == &mo_kind_nt_xent)
            ref_nt_xent(r, op);
        else if (op->kind == &mo_kind_tokens)
            ref_tokens(r, op);
        else if (op->kind == &mo_kind_class_token)
            ref_class_token(r, op);
        else if (op->kind == &mo_kind_layernorm)
            ref_layernorm(r, op);
        else if (op->kind == &mo_kind_attention)
            ref_attention(r, op);
        else if (op->kind == &mo_kind_gelu)
            for (int64_t j = 0; j < ref_size(r, op->dst); j++)
                y[j] = 0.5 * a[j] * erfc(-a[j] / sqrt(2.0));
        else if (op->kind == &mo_kind_sum && op->activation == MO_ACTIVATION_NONE)
            for (int64_t j = 0; j < ref_size(r, op->dst); j++)
                y[j] = a[j] + b[j];
        else if (op->kind == &mo_kind_relu || op->kind == &mo_kind_sum)
            for (int64_t j = 0; j < ref_size(r, op->dst); j++)
                y[j] = fmax(a[j] + (op->kind == &mo_kind_sum ? b[j] : 0.0), 0.0);
        else
            abort(); /* a kind of operation that this file does not know */
    }
}

#endif
