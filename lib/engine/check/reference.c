/* The definitions. Index of a result in, number out; nothing here is fast, because few numbers are
 * asked for. */
#include "engine/check/reference.h"

#include <math.h>

#define FLOAT_STEP 1.2e-7 /* 2^-23: relative distance of two float32 numbers */

int64_t mo_layout_at(const mo_layout_t *layout, const int64_t *index)
{
    int64_t at = 0, step = 1, outer[MO_RANK];
    for (int i = 0; i < layout->rank; i++)
        outer[i] = index[i];
    for (int b = layout->blocks - 1; b >= 0; b--) {
        const int64_t dim = layout->block_dim[b], size = layout->block[b];
        at += outer[dim] % size * step;
        step *= size;
        outer[dim] /= size;
    }
    for (int i = 0; i < layout->rank; i++)
        at += outer[i] * layout->strides[i];
    return at;
}

static double read_at(const mo_operand_t *operand, const int64_t *index)
{
    return operand->at[mo_layout_at(&operand->layout, index)];
}

/* The number that is broadcast to `index`: along dims of 1 there is one. */
static double read_broadcast(const mo_operand_t *operand, const int64_t *index)
{
    int64_t own[MO_RANK];
    if (operand->layout.rank == 0)
        return 0;
    for (int i = 0; i < operand->layout.rank; i++)
        own[i] = operand->layout.dims[i] == 1 ? 0 : index[i];
    return read_at(operand, own);
}

static mo_answer_t exactly(double value)
{
    return (mo_answer_t){value, 0};
}

/* ---- matrices ---- */

static mo_answer_t matmul(const mo_trial_t *t, const int64_t *index)
{
    const mo_operand_t *a = &t->operands[0], *b = &t->operands[1];
    const int last = a->layout.rank - 1;
    int64_t left[MO_RANK], right[MO_RANK];
    double sum = read_broadcast(&t->operands[2], index);
    for (int i = 0; i <= last; i++) {
        left[i] = a->layout.dims[i] == 1 ? 0 : index[i];
        right[i] = b->layout.dims[i] == 1 ? 0 : index[i];
    }
    for (int64_t k = 0; k < a->layout.dims[last]; k++) {
        left[last] = right[last - 1] = k;
        sum += read_at(a, left) * read_at(b, right);
    }
    return exactly(sum);
}

static int64_t matmul_terms(const mo_trial_t *t)
{
    return t->operands[0].layout.dims[t->operands[0].layout.rank - 1];
}

/* y[n,o] = b[o] + sum_i x[n,i] w[o,i] */
static mo_answer_t inner(const mo_trial_t *t, const int64_t *index)
{
    double sum = t->operands[2].layout.rank > 0 ? t->operands[2].at[index[1]] : 0;
    for (int64_t i = 0; i < t->operands[1].layout.dims[1]; i++)
        sum += read_at(&t->operands[0], (int64_t[]){index[0], i}) * read_at(&t->operands[1], (int64_t[]){index[1], i});
    return exactly(sum);
}

static int64_t inner_terms(const mo_trial_t *t)
{
    return t->operands[1].layout.dims[1];
}

/* d_x[n,i] = sum_o d_y[n,o] w[o,i] */
static mo_answer_t inner_back_source(const mo_trial_t *t, const int64_t *index)
{
    double sum = 0;
    for (int64_t o = 0; o < t->operands[1].layout.dims[0]; o++)
        sum += read_at(&t->operands[0], (int64_t[]){index[0], o}) * read_at(&t->operands[1], (int64_t[]){o, index[1]});
    return exactly(sum);
}

static int64_t inner_back_source_terms(const mo_trial_t *t)
{
    return t->operands[1].layout.dims[0];
}

/* d_w[o,i] = sum_n d_y[n,o] x[n,i] */
static mo_answer_t inner_back_weights(const mo_trial_t *t, const int64_t *index)
{
    double sum = 0;
    for (int64_t n = 0; n < t->operands[0].layout.dims[0]; n++)
        sum += read_at(&t->operands[0], (int64_t[]){n, index[1]}) * read_at(&t->operands[1], (int64_t[]){n, index[0]});
    return exactly(sum);
}

static int64_t rows_of_source(const mo_trial_t *t)
{
    return t->operands[0].layout.dims[0];
}

/* ---- convolutions: y[n,o,i,j] = b[o] + sum_cab w[o,c,a,b] x[n,c,i s+a-p,j s+b-p] ---- */

static int within(int64_t place, int64_t size)
{
    return place >= 0 && place < size;
}

static mo_answer_t conv(const mo_trial_t *t, const int64_t *index)
{
    const mo_operand_t *x = &t->operands[0], *w = &t->operands[1];
    const mo_formula_t *f = &t->formula;
    double sum = t->operands[2].layout.rank > 0 ? t->operands[2].at[index[1]] : 0;
    for (int64_t c = 0; c < w->layout.dims[1]; c++)
        for (int64_t a = 0; a < w->layout.dims[2]; a++)
            for (int64_t b = 0; b < w->layout.dims[3]; b++) {
                const int64_t i = index[2] * f->strides[0] + a - f->pads[0],
                              j = index[3] * f->strides[1] + b - f->pads[1];
                if (within(i, x->layout.dims[2]) && within(j, x->layout.dims[3]))
                    sum += read_at(w, (int64_t[]){index[1], c, a, b}) * read_at(x, (int64_t[]){index[0], c, i, j});
            }
    return exactly(sum);
}

static int64_t conv_terms(const mo_trial_t *t)
{
    const int64_t *w = t->operands[1].layout.dims;
    return w[1] * w[2] * w[3];
}

static mo_answer_t conv_back_source(const mo_trial_t *t, const int64_t *index)
{
    const mo_operand_t *dy = &t->operands[0], *w = &t->operands[1];
    const mo_formula_t *f = &t->formula;
    double sum = 0;
    for (int64_t a = 0; a < w->layout.dims[2]; a++)
        for (int64_t b = 0; b < w->layout.dims[3]; b++) {
            const int64_t i = index[2] + f->pads[0] - a, j = index[3] + f->pads[1] - b;
            if (i % f->strides[0] != 0 || j % f->strides[1] != 0 || !within(i / f->strides[0], dy->layout.dims[2]) ||
                !within(j / f->strides[1], dy->layout.dims[3]))
                continue;
            for (int64_t o = 0; o < w->layout.dims[0]; o++)
                sum += read_at(w, (int64_t[]){o, index[1], a, b}) *
                       read_at(dy, (int64_t[]){index[0], o, i / f->strides[0], j / f->strides[1]});
        }
    return exactly(sum);
}

static int64_t conv_back_source_terms(const mo_trial_t *t)
{
    const int64_t *w = t->operands[1].layout.dims;
    return w[0] * w[2] * w[3] / (t->formula.strides[0] * t->formula.strides[1]) + 1;
}

static mo_answer_t conv_back_weights(const mo_trial_t *t, const int64_t *index)
{
    const mo_operand_t *x = &t->operands[0], *dy = &t->operands[1];
    const mo_formula_t *f = &t->formula;
    double sum = 0;
    for (int64_t n = 0; n < dy->layout.dims[0]; n++)
        for (int64_t p = 0; p < dy->layout.dims[2]; p++)
            for (int64_t q = 0; q < dy->layout.dims[3]; q++) {
                const int64_t i = p * f->strides[0] + index[2] - f->pads[0],
                              j = q * f->strides[1] + index[3] - f->pads[1];
                if (within(i, x->layout.dims[2]) && within(j, x->layout.dims[3]))
                    sum += read_at(dy, (int64_t[]){n, index[0], p, q}) * read_at(x, (int64_t[]){n, index[1], i, j});
            }
    return exactly(sum);
}

static int64_t places(const mo_layout_t *l)
{
    return l->dims[0] * (l->rank == 4 ? l->dims[2] * l->dims[3] : 1);
}

static int64_t conv_back_weights_terms(const mo_trial_t *t)
{
    return places(&t->operands[1].layout);
}

/* Of inner products and convolutions: d_b[o] = the sum of d_y over all else. */
static mo_answer_t back_bias(const mo_trial_t *t, const int64_t *index)
{
    const mo_operand_t *dy = &t->operands[1];
    const int plane = dy->layout.rank == 4;
    double sum = 0;
    for (int64_t n = 0; n < dy->layout.dims[0]; n++)
        for (int64_t p = 0; p < (plane ? dy->layout.dims[2] : 1); p++)
            for (int64_t q = 0; q < (plane ? dy->layout.dims[3] : 1); q++)
                sum += read_at(dy, (int64_t[]){n, index[0], p, q});
    return exactly(sum);
}

/* ---- number by number ---- */

/* oneDNN's erf is a polynomial that is right to 5e-7. */
static mo_answer_t gelu(double x)
{
    return (mo_answer_t){0.5 * x * (1 + erf(x * M_SQRT1_2)), 4e-6 * fabs(x)};
}

mo_answer_t mo_reference_function(dnnl_alg_kind_t alg, double alpha, double beta, double x)
{
    switch ((int)alg) {
    case dnnl_eltwise_relu:
    case dnnl_eltwise_relu_use_dst_for_bwd: return exactly(x > 0 ? x : alpha * x);
    case dnnl_eltwise_linear: return (mo_answer_t){alpha * x + beta, 4 * FLOAT_STEP * (fabs(alpha * x) + fabs(beta))};
    case dnnl_eltwise_clip: return exactly(x < alpha ? alpha : x > beta ? beta : x);
    case dnnl_eltwise_pow: /* by a logarithm and an exponential */
        return (mo_answer_t){alpha * pow(x, beta), 1e-4 * fabs(alpha * pow(x, beta))};
    case dnnl_eltwise_gelu_erf: return gelu(x);
    default: return (mo_answer_t){0, -1};
    }
}

static mo_answer_t eltwise(const mo_trial_t *t, const int64_t *index)
{
    return mo_reference_function(t->formula.alg, (double)t->formula.alpha, (double)t->formula.beta,
                                 read_at(&t->operands[0], index));
}

/* Operands: the source or the result of forward, d_y. */
static mo_answer_t eltwise_back(const mo_trial_t *t, const int64_t *index)
{
    const double x = read_at(&t->operands[0], index), dy = read_at(&t->operands[1], index);
    switch ((int)t->formula.alg) {
    case dnnl_eltwise_relu:
    case dnnl_eltwise_relu_use_dst_for_bwd: return exactly(x > 0 ? dy : (double)t->formula.alpha * dy);
    case dnnl_eltwise_linear:
        return (mo_answer_t){(double)t->formula.alpha * dy, 4 * FLOAT_STEP * fabs((double)t->formula.alpha * dy)};
    case dnnl_eltwise_gelu_erf:
        return (mo_answer_t){dy * (0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI)),
                             1e-5 * fabs(dy) * (1 + fabs(x))};
    default: return (mo_answer_t){0, -1};
    }
}

static mo_answer_t binary(const mo_trial_t *t, const int64_t *index)
{
    const double a = read_broadcast(&t->operands[0], index), b = read_broadcast(&t->operands[1], index);
    switch ((int)t->formula.alg) {
    case dnnl_binary_add: return exactly(a + b);
    case dnnl_binary_sub: return exactly(a - b);
    case dnnl_binary_mul: return exactly(a * b);
    case dnnl_binary_max: return exactly(a > b ? a : b);
    case dnnl_binary_min: return exactly(a < b ? a : b);
    default: return (mo_answer_t){0, -1};
    }
}

static mo_answer_t copy(const mo_trial_t *t, const int64_t *index)
{
    return exactly(read_at(&t->operands[0], index));
}

static int64_t one_term(const mo_trial_t *t)
{
    (void)t;
    return 1;
}

/* ---- over an axis or a window ---- */

/* Sums over the dims that are 1 in the result. */
static mo_answer_t reduction(const mo_trial_t *t, const int64_t *index)
{
    const mo_layout_t *src = &t->operands[0].layout, *dst = &t->operands[1].layout;
    int64_t at[MO_RANK];
    double sum = 0, most = -INFINITY;
    for (int i = 0; i < src->rank; i++)
        at[i] = index[i];
    for (int i = 0;;) {
        const double x = read_at(&t->operands[0], at);
        sum += x;
        most = x > most ? x : most;
        for (i = 0; i < src->rank; i++) {
            if (dst->dims[i] == src->dims[i])
                continue;
            if (++at[i] < src->dims[i])
                break;
            at[i] = 0;
        }
        if (i == src->rank)
            break;
    }
    if (t->formula.alg == dnnl_reduction_max)
        return exactly(most);
    return t->formula.alg == dnnl_reduction_sum ? exactly(sum) : (mo_answer_t){0, -1};
}

static int64_t reduction_terms(const mo_trial_t *t)
{
    int64_t terms = 1;
    for (int i = 0; i < t->operands[0].layout.rank; i++)
        terms *= t->operands[0].layout.dims[i] / t->operands[1].layout.dims[i];
    return terms;
}

/* The integers are small, so no greatest one has to be taken away first. */
static mo_answer_t softmax(const mo_trial_t *t, const int64_t *index)
{
    const int axis = t->formula.axis;
    const int64_t count = t->operands[0].layout.dims[axis];
    int64_t at[MO_RANK];
    double sum = 0;
    for (int i = 0; i < t->operands[0].layout.rank; i++)
        at[i] = index[i];
    for (at[axis] = 0; at[axis] < count; at[axis]++)
        sum += exp(read_at(&t->operands[0], at));
    const double value = exp(read_at(&t->operands[0], index)) / sum;
    return (mo_answer_t){value, value * (1e-5 + (double)count * FLOAT_STEP)};
}

static int64_t softmax_terms(const mo_trial_t *t)
{
    return t->operands[0].layout.dims[t->formula.axis];
}

/* d_x = y (d_y - sum y d_y), in which any y will do. */
static mo_answer_t softmax_back(const mo_trial_t *t, const int64_t *index)
{
    const int axis = t->formula.axis;
    int64_t at[MO_RANK];
    double sum = 0;
    for (int i = 0; i < t->operands[0].layout.rank; i++)
        at[i] = index[i];
    for (at[axis] = 0; at[axis] < t->operands[0].layout.dims[axis]; at[axis]++)
        sum += read_at(&t->operands[0], at) * read_at(&t->operands[1], at);
    return exactly(read_at(&t->operands[0], index) * (read_at(&t->operands[1], index) - sum));
}

static mo_answer_t pool(const mo_trial_t *t, const int64_t *index)
{
    const mo_formula_t *f = &t->formula;
    const mo_operand_t *x = &t->operands[0];
    double sum = 0, most = -INFINITY;
    int64_t count = 0;
    for (int64_t a = 0; a < f->kernel[0]; a++)
        for (int64_t b = 0; b < f->kernel[1]; b++) {
            const int64_t i = index[2] * f->strides[0] + a - f->pads[0], j = index[3] * f->strides[1] + b - f->pads[1];
            if (!within(i, x->layout.dims[2]) || !within(j, x->layout.dims[3]))
                continue;
            const double value = read_at(x, (int64_t[]){index[0], index[1], i, j});
            sum += value;
            most = value > most ? value : most;
            count++;
        }
    if (f->alg == dnnl_pooling_max)
        return exactly(most);
    if (f->alg != dnnl_pooling_avg_exclude_padding || count == 0)
        return (mo_answer_t){0, -1};
    return (mo_answer_t){sum / (double)count, 4 * FLOAT_STEP * fabs(sum / (double)count)};
}

static int64_t pool_terms(const mo_trial_t *t)
{
    return t->formula.kernel[0] * t->formula.kernel[1];
}

/* ---- all of them ---- */

static const mo_reference_t references[] = {
    {MO_COMPUTES_CONV,
     MO_FORWARD,
     {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_BIAS, NULL}, {DNNL_ARG_DST, conv}},
     conv_terms,
     0},
    {MO_COMPUTES_CONV,
     MO_BACK_SOURCE,
     {{DNNL_ARG_DIFF_DST, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DIFF_SRC, conv_back_source}},
     conv_back_source_terms,
     0},
    {MO_COMPUTES_CONV,
     MO_BACK_WEIGHTS,
     {{DNNL_ARG_SRC, NULL},
      {DNNL_ARG_DIFF_DST, NULL},
      {DNNL_ARG_DIFF_WEIGHTS, conv_back_weights},
      {DNNL_ARG_DIFF_BIAS, back_bias}},
     conv_back_weights_terms,
     0},
    {MO_COMPUTES_INNER,
     MO_FORWARD,
     {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_BIAS, NULL}, {DNNL_ARG_DST, inner}},
     inner_terms,
     0},
    {MO_COMPUTES_INNER,
     MO_BACK_SOURCE,
     {{DNNL_ARG_DIFF_DST, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_DIFF_SRC, inner_back_source}},
     inner_back_source_terms,
     0},
    {MO_COMPUTES_INNER,
     MO_BACK_WEIGHTS,
     {{DNNL_ARG_SRC, NULL},
      {DNNL_ARG_DIFF_DST, NULL},
      {DNNL_ARG_DIFF_WEIGHTS, inner_back_weights},
      {DNNL_ARG_DIFF_BIAS, back_bias}},
     rows_of_source,
     0},
    {MO_COMPUTES_MATMUL,
     MO_FORWARD,
     {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_WEIGHTS, NULL}, {DNNL_ARG_BIAS, NULL}, {DNNL_ARG_DST, matmul}},
     matmul_terms,
     0},
    {MO_COMPUTES_BINARY,
     MO_FORWARD,
     {{DNNL_ARG_SRC_0, NULL}, {DNNL_ARG_SRC_1, NULL}, {DNNL_ARG_DST, binary}},
     one_term,
     0},
    {MO_COMPUTES_REDUCTION, MO_FORWARD, {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_DST, reduction}}, reduction_terms, 0},
    {MO_COMPUTES_ELTWISE, MO_FORWARD, {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_DST, eltwise}}, one_term, 0},
    {MO_COMPUTES_ELTWISE,
     MO_BACK_SOURCE,
     {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_DIFF_DST, NULL}, {DNNL_ARG_DIFF_SRC, eltwise_back}},
     one_term,
     0},
    {MO_COMPUTES_SOFTMAX, MO_FORWARD, {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_DST, softmax}}, softmax_terms, 0},
    {MO_COMPUTES_SOFTMAX,
     MO_BACK_SOURCE,
     {{DNNL_ARG_DST, NULL}, {DNNL_ARG_DIFF_DST, NULL}, {DNNL_ARG_DIFF_SRC, softmax_back}},
     softmax_terms,
     0},
    {MO_COMPUTES_POOL, MO_FORWARD, {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_DST, pool}}, pool_terms, 0},
    {MO_COMPUTES_COPY, MO_FORWARD, {{DNNL_ARG_FROM, NULL}, {DNNL_ARG_TO, copy}}, one_term, 0},
};

/* The gradient of ReLU reads the result, not the source. A power is defined above 0 alone. */
static const mo_reference_t relu_back = {
    MO_COMPUTES_ELTWISE,
    MO_BACK_SOURCE,
    {{DNNL_ARG_DST, NULL}, {DNNL_ARG_DIFF_DST, NULL}, {DNNL_ARG_DIFF_SRC, eltwise_back}},
    one_term,
    0};
static const mo_reference_t power = {
    MO_COMPUTES_ELTWISE, MO_FORWARD, {{DNNL_ARG_SRC, NULL}, {DNNL_ARG_DST, eltwise}}, one_term, 1};

const mo_reference_t *mo_reference_of(const mo_formula_t *formula)
{
    if (formula->computes == MO_COMPUTES_ELTWISE && formula->alg == dnnl_eltwise_pow)
        return formula->direction == MO_FORWARD ? &power : NULL;
    if (formula->computes == MO_COMPUTES_ELTWISE && formula->direction == MO_BACK_SOURCE &&
        formula->alg == dnnl_eltwise_relu_use_dst_for_bwd)
        return &relu_back;
    for (size_t i = 0; i < sizeof references / sizeof references[0]; i++)
        if (references[i].computes == formula->computes && references[i].direction == formula->direction)
            return &references[i];
    return NULL;
}
