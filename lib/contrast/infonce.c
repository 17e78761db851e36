/* InfoNCE against the queue (MoCo, arXiv 1911.05722, eq. 1), by row:
 *   l_j = <q, queue_j>/T, l_+ = <q, k>/T, L = -log( e^{l_+} / (e^{l_+} + sum_j e^{l_j}) ).
 * The positive is kept apart from the K negatives, so the queue is read in place and no [rows, 1+K]
 * matrix is built: with Z = log sum_j e^{l_j} and P = sigmoid(Z - l_+) (all negatives together), L
 * = log(1 + e^{Z - l_+}) and
 *   d L / d q = (P / T) * ( sum_j softmax(l)_j queue_j - k ). */
#include <math.h>

#include "contrast/contrast.h"
#include "engine/emit.h"
#include "util/alloc.h"
#include "util/status.h"

int32_t mo_infonce(mo_net_t *net, const mo_infonce_spec_t *spec)
{
    mo_op_t *op = spec->keys >= 0 ? mo_net_op(net, &mo_kind_infonce, spec->queries, spec, sizeof *spec) : NULL;
    if (op != NULL)
        op->other = spec->keys;
    return mo_net_result(net, op, MO_LOSS_WIDTH, 1, 1);
}

static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* values: l [rows,K], place [rows,1]: the row's own key, kept apart, is no negative. */
static moco_status_t leave_out_own(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_infonce_spec_t *form = op->form;
    (void)net;
    for (int64_t n = 0; n < rows; n++)
        values[0][n * form->count + (int64_t)values[1][n]] = -INFINITY;
    return MOCO_OK;
}

/* values: l [rows,K], softmax of l, l_+ [rows,1], results [rows,2], scale P/(T batch) [rows,1]. */
static moco_status_t merge_positive(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values)
{
    const mo_infonce_spec_t *form = op->form;
    const float *negatives = values[0], *softmax = values[1], *positive = values[2];
    (void)net;
    for (int64_t n = 0; n < rows; n++) {
        const float *l = negatives + n * form->count;
        float own = positive[n];
        int64_t rank = 0, best = 0;
        for (int64_t j = 0; j < form->count; j++) {
            rank += l[j] > own;
            best = l[j] > l[best] ? j : best;
        }
        /* Log-sum-exp from the largest term, whose softmax is at least 1/K: Z = l_best - log
         * softmax_best. (Taken the other way round, softmax as exp of a rounded log softmax, all
         * weights of a row would err to the same side.) */
        double margin = (double)l[best] - log((double)softmax[n * form->count + best]) - (double)own;
        values[3][n * MO_LOSS_WIDTH + MO_LOSS_VALUE] = (float)(form->scale * softplus(margin));
        values[3][n * MO_LOSS_WIDTH + MO_LOSS_RANK] = (float)rank;
        values[4][n] = (float)(form->scale / (1.0 + exp(-margin)) / (form->temperature * form->batch));
    }
    return MOCO_OK;
}

/* ---- the two as primitives ---- */

/* Far below every logit, and finite: 0 times it is 0. */
#define NEVER (-1e30f)

/* The numbers 0 … count-1 in each of `rows` rows. */
static moco_status_t numbered(mo_plan_t *plan, int64_t rows, int64_t count, mo_slot_id_t *slot)
{
    float *numbers = NULL;
    moco_status_t status = mo_calloc((size_t)(rows * count), sizeof *numbers, &numbers);
    for (int64_t i = 0; i < rows * count && status == MOCO_OK; i++)
        numbers[i] = (float)(i % count);
    if (status == MOCO_OK)
        status = mo_constant(plan, rows, count, numbers, slot);
    mo_free(numbers);
    return status;
}

static moco_status_t leave_out_primitives(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t negatives,
                                          mo_slot_id_t place)
{
    moco_status_t status = MOCO_OK;
    const mo_infonce_spec_t *form = op->form;
    const int32_t rows = mo_plan_shard(plan);
    mo_slot_id_t numbers, own;
    TRY(mo_matrix(plan, place, 1, &place));
    TRY(numbered(plan, rows, form->count, &numbers));
    TRY(mo_temporary(plan, rows, (int32_t)form->count, &own));
    TRY(mo_emit_binary(plan, op, MO_EQUAL, numbers, place, own, 0));
    TRY(mo_emit_function(plan, op, MO_LINEAR, NEVER, 0.0f, own, own));
    TRY(mo_emit_binary(plan, op, MO_ADD, negatives, own, negatives, 0));
cleanup:
    return status;
}

/* `to` [rows, MO_LOSS_WIDTH] = `values` [rows, 1] in column `column`, zeros beside them. A copy
 * into the column alone is what oneDNN 2.6 gets wrong on a GPU: it forgets the step between
 * rows. */
static moco_status_t put_column(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t values, int column, mo_slot_id_t to)
{
    const int32_t rows = mo_plan_shard(plan);
    float *ones = NULL;
    mo_slot_id_t where;
    moco_status_t status = MOCO_OK;
    TRY(mo_calloc((size_t)rows * MO_LOSS_WIDTH, sizeof *ones, &ones));
    for (int32_t row = 0; row < rows; row++)
        ones[row * MO_LOSS_WIDTH + column] = 1.0f;
    TRY(mo_constant(plan, rows, MO_LOSS_WIDTH, ones, &where));
    TRY(mo_emit_binary(plan, op, MO_MUL, where, values, to, 0));
cleanup:
    mo_free(ones);
    return status;
}

/* slots as of merge_positive; the negatives are no longer there afterwards. */
static moco_status_t merge_primitives(mo_plan_t *plan, const mo_op_t *op, const mo_slot_id_t *slots)
{
    moco_status_t status = MOCO_OK;
    const mo_infonce_spec_t *form = op->form;
    const int32_t rows = mo_plan_shard(plan);
    const float share = (float)(form->scale / (form->temperature * form->batch));
    mo_slot_id_t margin, column, results, ranks;
    TRY(mo_temporary(plan, rows, 1, &margin));
    TRY(mo_temporary(plan, rows, 1, &column));
    TRY(mo_emit_log_sums(plan, op, slots[0], slots[1], margin));
    TRY(mo_emit_binary(plan, op, MO_SUB, margin, slots[2], margin, 0));
    TRY(mo_emit_function(plan, op, MO_LOGISTIC, 0.0f, 0.0f, margin, slots[4]));
    TRY(mo_emit_function(plan, op, MO_LINEAR, share, 0.0f, slots[4], slots[4]));
    TRY(mo_emit_function(plan, op, MO_SOFTPLUS, 1.0f, 0.0f, margin, margin));
    TRY(mo_emit_function(plan, op, MO_LINEAR, (float)form->scale, 0.0f, margin, margin));
    TRY(mo_emit_binary(plan, op, MO_GREATER, slots[0], slots[2], slots[0], 0));
    TRY(mo_emit_row_sums(plan, op, slots[0], column));
    TRY(mo_matrix(plan, slots[3], MO_LOSS_WIDTH, &results));
    TRY(mo_temporary(plan, rows, MO_LOSS_WIDTH, &ranks));
    TRY(put_column(plan, op, margin, MO_LOSS_VALUE, results));
    TRY(put_column(plan, op, column, MO_LOSS_RANK, ranks));
    TRY(mo_emit_binary(plan, op, MO_ADD, results, ranks, results, 0));
cleanup:
    return status;
}

/* ---- forward and backward ---- */

/* Scale of the gradient and softmax survive from forward to backward in these. */
typedef struct pieces {
    mo_slot_id_t q, k, queue, softmax, scale;
    int32_t rows, width;
} pieces_t;

static moco_status_t common(mo_plan_t *plan, const mo_op_t *op, pieces_t *p)
{
    moco_status_t status = MOCO_OK;
    p->rows = mo_plan_shard(plan);
    p->width = mo_tensor_channels(plan, op->src);
    TRY(mo_value(plan, op->src, &p->q));
    TRY(mo_value(plan, op->other, &p->k));
    TRY(mo_matrix(plan, p->q, p->width, &p->q));
    TRY(mo_matrix(plan, p->k, p->width, &p->k));
cleanup:
    return status;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const mo_infonce_spec_t *form = op->form;
    pieces_t p;
    mo_slot_id_t negatives, products, positive, results;
    float inverse = (float)(1.0 / form->temperature);
    TRY(common(plan, op, &p));
    TRY(mo_dictionary_slot(plan, 0, form->count, p.width, &p.queue));
    TRY(mo_temporary(plan, p.rows, (int32_t)form->count, &negatives));
    TRY(mo_temporary(plan, p.rows, (int32_t)form->count, &p.softmax));
    TRY(mo_temporary(plan, p.rows, p.width, &products));
    TRY(mo_temporary(plan, p.rows, 1, &positive));
    TRY(mo_temporary(plan, p.rows, 1, &p.scale));
    TRY(mo_value(plan, op->dst, &results));
    TRY(mo_emit_matmul(plan, op, p.q, p.queue, form->count, p.width, 1, inverse, negatives));
    TRY(mo_emit_binary(plan, op, MO_MUL, p.q, p.k, products, 0));
    TRY(mo_emit_row_sums(plan, op, products, positive));
    TRY(mo_emit_function(plan, op, MO_LINEAR, inverse, 0.0f, positive, positive));
    if (form->place >= 0) {
        mo_slot_id_t own[] = {negatives, -1};
        TRY(mo_value(plan, form->place, &own[1]));
        TRY(mo_takes_primitives(plan) ? leave_out_primitives(plan, op, own[0], own[1])
                                      : mo_emit_host(plan, op, leave_out_own, "ur", own));
    }
    TRY(mo_emit_softmax(plan, op, negatives, p.softmax));
    mo_slot_id_t slots[] = {negatives, p.softmax, positive, results, p.scale};
    TRY(mo_takes_primitives(plan) ? merge_primitives(plan, op, slots)
                                  : mo_emit_host(plan, op, merge_positive, "rrrww", slots));
    mo_remember(plan, op, 0, p.queue);
    mo_remember(plan, op, 1, p.softmax);
    mo_remember(plan, op, 2, p.scale);
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const mo_infonce_spec_t *form = op->form;
    pieces_t p = {.queue = mo_recall(plan, op, 0), .softmax = mo_recall(plan, op, 1), .scale = mo_recall(plan, op, 2)};
    mo_slot_id_t d_q, view;
    TRY(common(plan, op, &p));
    TRY(mo_gradient_slot(plan, op->src, &d_q));
    TRY(mo_matrix(plan, d_q, p.width, &view));
    TRY(mo_emit_matmul(plan, op, p.softmax, p.queue, form->count, p.width, 0, 1.0f, view));
    TRY(mo_emit_binary(plan, op, MO_SUB, view, p.k, view, 0));
    TRY(mo_emit_binary(plan, op, MO_MUL, view, p.scale, view, 0));
    TRY(mo_gradient_add(plan, op, op->src, d_q));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_infonce = {.name = "infonce", .forward = forward, .backward = backward};
