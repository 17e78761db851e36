/* LARS (arXiv 1708.03888) as MoCo v3 and SimCLR use it. The two differ in where the learning rate
 * stands, which shows whenever the rate changes. */
#include "optim/optim.h"
#include "util/clones.h"

MO_CLONES(void, mo_lars_loop,
          (float *params, float *velocity, const float *gradient, int64_t count, float ratio, float weight_decay,
           const mo_optim_rates_t *rates),
          (params, velocity, gradient, count, ratio, weight_decay, rates))
{
    const float lr = (float)rates->lr, momentum = (float)rates->momentum;
    if (rates->kind == MO_OPTIMIZER_LARS) {
        for (int64_t i = 0; i < count; i++) {
            float d = (gradient[i] + weight_decay * params[i]) * ratio;
            velocity[i] = momentum * velocity[i] + d;
            params[i] -= lr * velocity[i];
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        float d = (gradient[i] + weight_decay * params[i]) * ratio;
        velocity[i] = momentum * velocity[i] + lr * d;
        params[i] -= velocity[i];
    }
}
