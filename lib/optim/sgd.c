/* SGD with momentum, PyTorch's form: one pass over four streams. */
#include "optim/optim.h"
#include "util/clones.h"

MO_CLONES(void, mo_sgd_loop,
          (float *params, float *velocity, const float *gradient, int64_t count, const mo_optim_rates_t *rates),
          (params, velocity, gradient, count, rates))
{
    const float lr = (float)rates->lr, momentum = (float)rates->momentum, decay = (float)rates->weight_decay;
    if (rates->step == 1) {
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
