/* Plain loops over flat blocks: one pass over four streams, where oneDNN's form is two primitives over seven; no
 * contraction, so every instruction set gives the same bits. */
#include "train/sgd.h"

#include "util/clones.h"

MO_CLONES void mo_sgd_update(float *params, float *velocity, const float *gradient, int64_t count,
                             const mo_sgd_rates_t *rates)
{
    const float lr = rates->lr, momentum = rates->momentum, decay = rates->weight_decay;
    if (rates->first) {
        for (int64_t i = 0; i < count; i++) {
            velocity[i] = gradient[i] + decay * params[i];
            params[i] -= lr * velocity[i];
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        float d = gradient[i] + decay * params[i];
        velocity[i] = momentum * velocity[i] + d;
        params[i] -= lr * velocity[i];
    }
}

/* Eight running sums: fixed order, and room for vector registers. */
MO_CLONES double mo_square_sum(const float *values, int64_t count)
{
    double sums[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sums[lane] += (double)values[i + lane] * values[i + lane];
    for (; i < count; i++)
        sums[0] += (double)values[i] * values[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}
