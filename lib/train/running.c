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
