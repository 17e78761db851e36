/* Softmax cross entropy against targets that are data: a row of class shares, so that smoothed
 * labels and mixed images need no form of their own. L = sum_c t_c (log sum_j e^{l_j} - l_c), d L /
 * d l_c = (softmax(l)_c sum_j t_j - t_c) / batch. In double within a row; in plans
 * made with `primitives` as those. */
#include <math.h>

#include "engine/emit.h"
#include "engine/ops.h"
#include "util/status.h"

int32_t mo_cross_entropy(mo_net_t *net, int32_t logits, int32_t targets, double batch)
{
    const mo_cross_entropy_form_t form = {.batch = batch};
    mo_op_t *op = targets >= 0 ? mo_net_op(net, &mo_kind_cross_entropy, logits, &form, sizeof form) : NULL;
    if (op != NULL)
        op->other = targets;
    return mo_net_result(net, op, 1, 1, 1);
}

static double log_sum(const float *logits, int32_t classes)
{
    double largest = logits[0], sum = 0;
    for (int32_t c = 1; c < classes; c++)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int32_t c = 0; c < classes; c++)
        sum += exp(logits[c] - largest);
    return largest + log(sum);
}

/* values: l [rows,C], t [rows,C], results [rows,1]. */
static moco_status_t losses(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const int32_t classes = net->shapes[op->src].c;
    for (int64_t n = 0; n < rows; n++) {
        const float *l = values[0] + n * classes, *t = values[1] + n * classes;
        const double z = log_sum(l, classes);
        double loss = 0;
        for (int32_t c = 0; c < classes; c++)
            loss += t[c] * (z - l[c]);
        values[2][n] = (float)loss;
    }
    return MOCO_OK;
}

/* values: l, t, d_l [rows,C]. */
static moco_status_t gradients(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_cross_entropy_form_t *form = op->form;
    const int32_t classes = net->shapes[op->src].c;
    for (int64_t n = 0; n < rows; n++) {
        const float *l = values[0] + n * classes, *t = values[1] + n * classes;
        const double z = log_sum(l, classes);
        double all = 0;
        for (int32_t c = 0; c < classes; c++)
            all += t[c];
        for (int32_t c = 0; c < classes; c++)
            values[2][n * classes + c] = (float)((exp(l[c] - z) * all - t[c]) / form->batch);
    }
    return MOCO_OK;
}

/* ---- as primitives ---- */

enum { MEMO_SOFTMAX, MEMO_SHARES };

static moco_status_t operands(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t *logits, mo_slot_id_t *targets)
{
    moco_status_t status = MOCO_OK;
    const int32_t classes = mo_tensor_channels(plan, op->src);
    TRY(mo_value(plan, op->src, logits));
    TRY(mo_value(plan, op->other, targets));
    TRY(mo_matrix(plan, *logits, classes, logits));
    TRY(mo_matrix(plan, *targets, classes, targets));
cleanup:
    return status;
}

static moco_status_t primitives(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const int32_t rows = mo_plan_shard(plan), classes = mo_tensor_channels(plan, op->src);
    mo_slot_id_t logits, targets, results, softmax, terms, log_sum, shares;
    TRY(operands(plan, op, &logits, &targets));
    TRY(mo_value(plan, op->dst, &results));
    TRY(mo_matrix(plan, results, 1, &results));
    TRY(mo_temporary(plan, rows, classes, &softmax));
    TRY(mo_temporary(plan, rows, classes, &terms));
    TRY(mo_temporary(plan, rows, 1, &log_sum));
    TRY(mo_temporary(plan, rows, 1, &shares));
    TRY(mo_emit_softmax(plan, op, logits, softmax));
    TRY(mo_emit_log_sums(plan, op, logits, softmax, log_sum));
    TRY(mo_emit_binary(plan, op, MO_SUB, logits, log_sum, terms, 0));
    TRY(mo_emit_binary(plan, op, MO_MUL, terms, targets, terms, 0));
    TRY(mo_emit_row_sums(plan, op, terms, results));
    TRY(mo_emit_function(plan, op, MO_LINEAR, -1.0f, 0.0f, results, results));
    TRY(mo_emit_row_sums(plan, op, targets, shares));
    mo_remember(plan, op, MEMO_SOFTMAX, softmax);
    mo_remember(plan, op, MEMO_SHARES, shares);
cleanup:
    return status;
}

static moco_status_t primitives_backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const mo_cross_entropy_form_t *form = op->form;
    const mo_slot_id_t softmax = mo_recall(plan, op, MEMO_SOFTMAX), shares = mo_recall(plan, op, MEMO_SHARES);
    mo_slot_id_t logits, targets, d_src, view;
    TRY(operands(plan, op, &logits, &targets));
    TRY(mo_gradient_slot(plan, op->src, &d_src));
    TRY(mo_matrix(plan, d_src, mo_tensor_channels(plan, op->src), &view));
    TRY(mo_emit_binary(plan, op, MO_MUL, softmax, shares, view, 0));
    TRY(mo_emit_binary(plan, op, MO_SUB, view, targets, view, 0));
    TRY(mo_emit_function(plan, op, MO_LINEAR, (float)(1.0 / form->batch), 0.0f, view, view));
    TRY(mo_gradient_add(plan, op, op->src, d_src));
cleanup:
    return status;
}

/* ---- either ---- */

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    return mo_takes_primitives(plan) ? primitives(plan, op) : mo_emit_host_pair(plan, op, losses);
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    mo_slot_id_t src;
    if (mo_takes_primitives(plan))
        return primitives_backward(plan, op);
    moco_status_t status = mo_value(plan, op->src, &src);
    return status == MOCO_OK ? mo_emit_host_pair_backward(plan, op, src, gradients) : status;
}

const mo_op_kind_t mo_kind_cross_entropy = {.name = "cross entropy", .forward = forward, .backward = backward};
