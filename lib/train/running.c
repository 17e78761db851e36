/* Running statistics; see running.h. */
#include "train/running.h"

#define BN_MOMENTUM 0.1

void mo_running_fold(const mo_net_t *net, const mo_bn_t *bn, const float *staged, int32_t from, int32_t to, double m,
                     float *running)
{
    for (int64_t c = 0; c < 2 * (int64_t)bn->channels; c++) {
        double sum = 0;
        for (int32_t g = from; g < to; g++)
            sum += staged[g * net->stats + bn->offset + c];
        double value = sum / (to - from);
        if (c >= bn->channels && m > 1)
            value *= m / (m - 1);
        float *at = &running[bn->offset + c];
        *at = (float)((1.0 - BN_MOMENTUM) * *at + BN_MOMENTUM * value);
    }
}

void mo_running_commit(mo_encoder_t *e, const mo_staged_t *staged, const float *values, int64_t rows, int32_t forwards,
                       int first)
{
    for (int32_t i = 0; i < e->net.op_count; i++) {
        const mo_op_t *op = &e->net.ops[i];
        if (op->bn < 0)
            continue;
        const mo_shape_t shape = e->net.shapes[op->src];
        const int32_t groups = (i < e->net.body_ops ? staged->body_groups : staged->head_groups) / forwards;
        const double m = (double)(rows / groups) * shape.h * shape.w;
        for (int32_t f = 0; f < forwards; f++)
            mo_running_fold(&e->net, &e->net.bns[op->bn], values, f * groups, first ? f * groups + 1 : (f + 1) * groups,
                            m, e->running);
    }
}
