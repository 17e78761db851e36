/* SGD with momentum and weight decay, PyTorch's form. */
#ifndef MO_TRAIN_SGD_H
#define MO_TRAIN_SGD_H

#include <stdint.h>

typedef struct mo_sgd_rates {
    float lr, momentum, weight_decay;
    int first; /* the first step: velocity = d */
} mo_sgd_rates_t;

/* d = g + weight_decay p; v = d at first, then momentum v + d; p -= lr v. No dampening, no Nesterov. */
void mo_sgd_update(float *params, float *velocity, const float *gradient, int64_t count, const mo_sgd_rates_t *rates);
/* Sum of squares in double, in order. */
double mo_square_sum(const float *values, int64_t count);

#endif
