/* AdamW, PyTorch's form: the decay is multiplied by the rate. The scalars that depend on the step
 * are formed in double. */
#include <math.h>

#include "optim/optim.h"
#include "util/clones.h"

static MO_CLONES(void, update,
                 (float *restrict params, float *restrict mean, float *restrict square, const float *restrict gradient,
                  int64_t count, const float c[7]),
                 (params, mean, square, gradient, count, c))
{
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i];
        mean[i] = mean[i] * c[1] + g * c[2];
        square[i] = square[i] * c[3] + g * g * c[4];
        params[i] = params[i] * c[0] - mean[i] / (sqrtf(square[i]) * c[5] + c[6]);
    }
}

/* lr/(1-b1^t) is divided into the denominator: step m / (sqrt(s) r + eps) = m / (sqrt(s) r/step +
 * eps/step). */
int mo_adamw_constants(const mo_optim_rates_t *rates, float c[MO_ADAMW_CONSTANTS])
{
    const double t = (double)rates->step, step = rates->lr / (1.0 - pow(rates->beta1, t));
    const double moved = step > 0 ? step : 1; /* at rate 0 nothing is divided by it */
    const double root = 1.0 / sqrt(1.0 - pow(rates->beta2, t));
    c[0] = (float)(1.0 - rates->lr * rates->weight_decay);
    c[1] = (float)rates->beta1;
    c[2] = (float)(1.0 - rates->beta1);
    c[3] = (float)rates->beta2;
    c[4] = (float)(1.0 - rates->beta2);
    c[5] = (float)(root / moved);
    c[6] = (float)(rates->epsilon / moved);
    return !(step > 0);
}

void mo_adamw_loop(float *params, float *mean, float *square, const float *gradient, int64_t count,
                   const mo_optim_rates_t *rates)
{
    float constants[MO_ADAMW_CONSTANTS];
    if (!mo_adamw_constants(rates, constants)) {
        update(params, mean, square, gradient, count, constants);
        return;
    }
    /* At rate 0 the parameters stay, and only the moments move. */
    for (int64_t i = 0; i < count; i++) {
        mean[i] = mean[i] * constants[1] + gradient[i] * constants[2];
        square[i] = square[i] * constants[3] + gradient[i] * gradient[i] * constants[4];
    }
}
