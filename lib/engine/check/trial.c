/* What a descriptor says, whether it is worth a run, and its text. */
#include "engine/check/trial.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/check/check.h"
#include "engine/run/process.h"
#include "util/hash.h"

/* A usual primitive with more work than this is not checked: every program runs such ones, and one
 * run of each would take longer than all other checks. Unusual ones are checked at any size. */
#define USUAL_WORK ((int64_t)1 << 24) /* multiply-adds; a number that is read or written counts as 16 */

/* ---- layouts ---- */

int64_t mo_layout_count(const mo_layout_t *l)
{
    int64_t count = l->rank > 0;
    for (int i = 0; i < l->rank; i++)
        count *= l->dims[i];
    return count;
}

int64_t mo_layout_extent(const mo_layout_t *l)
{
    int64_t last = 0, inner = 1, blocked[MO_RANK] = {1, 1, 1, 1, 1, 1};
    for (int b = 0; b < l->blocks; b++) {
        blocked[l->block_dim[b]] *= l->block[b];
        inner *= l->block[b];
    }
    for (int i = 0; i < l->rank; i++)
        last += (l->padded[i] / blocked[i] - 1) * l->strides[i];
    return l->rank > 0 ? last + inner : 0;
}

int mo_layout_is_padded(const mo_layout_t *l)
{
    for (int i = 0; i < l->rank; i++)
        if (l->padded[i] != l->dims[i])
            return 1;
    return 0;
}

void mo_layout_step(const mo_layout_t *l, int64_t *index)
{
    for (int i = l->rank - 1; i >= 0 && ++index[i] == l->dims[i]; i--)
        index[i] = 0;
}

/* ---- what a descriptor says ---- */

int mo_trial_begin(const_dnnl_primitive_desc_t pd, mo_trial_t *trial)
{
    memset(trial, 0, sizeof *trial);
    mo_pd_formula(pd, &trial->formula);
    trial->reference = mo_reference_of(&trial->formula);
    for (int i = 0; i < MO_OPERANDS && trial->reference != NULL; i++) {
        const int id = trial->reference->operands[i].id;
        mo_layout_t *l = &trial->operands[i].layout;
        if (id == 0)
            continue;
        if (!mo_md_layout(dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, id), l))
            return 0;
        for (int d = 0; d < l->rank; d++)
            if (l->dims[d] <= 0)
                return 0; /* known at run time alone, or nothing to do */
    }
    const int rank = trial->operands[0].layout.rank;
    const mo_computes_t computes = trial->formula.computes;
    return trial->reference != NULL && rank > 0 &&
           (rank == 4 || (computes != MO_COMPUTES_CONV && computes != MO_COMPUTES_POOL)) &&
           (rank == 2 || computes != MO_COMPUTES_INNER);
}

static uint64_t add_layout(uint64_t key, const mo_layout_t *l)
{
    key = mo_hash_add(mo_hash_add(key, (uint64_t)l->rank), (uint64_t)l->type);
    for (int i = 0; i < l->rank; i++) {
        key = mo_hash_add(key, (uint64_t)l->dims[i]);
        key = mo_hash_add(key, (uint64_t)l->padded[i]);
        key = mo_hash_add(key, (uint64_t)l->strides[i]);
    }
    for (int i = 0; i < l->blocks; i++)
        key = mo_hash_add(mo_hash_add(key, (uint64_t)l->block[i]), (uint64_t)l->block_dim[i]);
    return key;
}

static uint64_t add_float(uint64_t key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return mo_hash_add(key, bits);
}

uint64_t mo_trial_key(const mo_trial_t *t, const char *implementation, int number)
{
    const mo_formula_t *f = &t->formula;
    uint64_t key = mo_gate_kind("check", implementation, (int)f->computes * 8 + (int)f->direction);
    key = mo_hash_add(mo_hash_add(mo_hash_add(key, (uint64_t)number), (uint64_t)f->alg), (uint64_t)f->axis);
    key = add_float(add_float(key, f->alpha), f->beta);
    for (int i = 0; i < 2; i++)
        key = mo_hash_add(mo_hash_add(mo_hash_add(key, (uint64_t)f->kernel[i]), (uint64_t)f->strides[i]),
                          (uint64_t)f->pads[i]);
    for (int i = 0; i < f->post_count; i++)
        key = add_float(add_float(mo_hash_add(key, (uint64_t)(f->posts[i].is_sum ? 0 : f->posts[i].alg)),
                                  f->posts[i].alpha),
                        f->posts[i].beta);
    for (int i = 0; i < MO_OPERANDS; i++)
        key = add_layout(key, &t->operands[i].layout);
    return key;
}

/* With gaps between its numbers. Layouts that oneDNN itself has chosen for weights may be
 * padded. */
static int has_gaps(const mo_layout_t *l)
{
    return l->blocks == 0 && mo_layout_extent(l) != mo_layout_count(l);
}

/* As long as 1 along one of the axes from `first` to before `axes`. */
static int has_one(const mo_layout_t *l, int first, int axes)
{
    for (int i = first; i < axes && l->rank > 1; i++)
        if (l->dims[i] == 1)
            return 1;
    return 0;
}

/* Whose extents of 1 say something: not those of a window, nor those of tensors that are taken
 * number by number, unless one number then serves many. */
static int axes_of(const mo_trial_t *t, int operand)
{
    const int id = t->reference->operands[operand].id, rank = t->operands[operand].layout.rank;
    const int is_weights = id == DNNL_ARG_WEIGHTS || id == DNNL_ARG_DIFF_WEIGHTS;
    const int64_t most = mo_layout_count(&t->operands[0].layout);
    switch (t->formula.computes) {
    case MO_COMPUTES_CONV: return is_weights ? 2 : rank;
    case MO_COMPUTES_COPY:
    case MO_COMPUTES_ELTWISE: return 0;
    case MO_COMPUTES_BINARY: return mo_layout_count(&t->operands[operand].layout) < most ? rank : 0;
    default: return rank;
    }
}

/* One image is nothing unusual: every model runs its convolutions so. */
static int first_axis(const mo_trial_t *t, int operand)
{
    const int id = t->reference->operands[operand].id;
    const int is_weights = id == DNNL_ARG_WEIGHTS || id == DNNL_ARG_DIFF_WEIGHTS;
    return !is_weights && (t->formula.computes == MO_COMPUTES_CONV || t->formula.computes == MO_COMPUTES_POOL);
}

int mo_trial_is_worth(const mo_trial_t *t)
{
    int64_t work = 0, floats = 0;
    for (int i = 0; i < MO_OPERANDS; i++) {
        const int id = t->reference->operands[i].id;
        const mo_layout_t *l = &t->operands[i].layout;
        if (id == DNNL_ARG_BIAS || id == DNNL_ARG_DIFF_BIAS || l->rank == 0)
            continue;
        if (has_gaps(l) || has_one(l, first_axis(t, i), axes_of(t, i)))
            return 1;
        if (t->reference->operands[i].value != NULL && work == 0)
            work = mo_layout_count(l) * t->reference->terms(t);
        floats += mo_layout_count(l);
    }
    return work <= USUAL_WORK && 16 * floats <= USUAL_WORK;
}

/* ---- text ---- */

static void append(char *text, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t capacity, const char *format, ...)
{
    const size_t length = strlen(text);
    va_list list;
    va_start(list, format);
    vsnprintf(text + length, capacity - length, format, list);
    va_end(list);
}

void mo_check_text(const_dnnl_primitive_desc_t pd, char *text, size_t capacity)
{
    static const char *const names[] = {
        "primitive", "convolution", "inner product", "matrix product", "elementwise operation",
        "reduction", "function",    "softmax",       "pooling",        "copy"};
    static const char *const directions[] = {"", ", gradient of its source", ", gradient of its weights"};
    mo_trial_t trial;
    text[0] = '\0';
    if (!mo_trial_begin(pd, &trial)) {
        append(text, capacity, "%s", mo_pd_name(pd));
        return;
    }
    append(text, capacity, "%s: %s%s", mo_pd_name(pd), names[trial.formula.computes],
           directions[trial.formula.direction]);
    for (int i = 0; i < MO_OPERANDS; i++) {
        const mo_layout_t *l = &trial.operands[i].layout;
        for (int d = 0; d < l->rank; d++)
            append(text, capacity, "%s%lld", d > 0 ? "x" : i > 0 ? ", " : " of ", (long long)l->dims[d]);
        for (int d = 0; d < l->rank; d++)
            append(text, capacity, "%s%lld%s", d > 0 ? "," : " (strides ", (long long)l->strides[d],
                   d + 1 < l->rank        ? ""
                   : l->type == dnnl_bf16 ? ", bf16)"
                   : l->type == dnnl_f16  ? ", f16)"
                                          : ")");
    }
}
