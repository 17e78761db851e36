/* Initial parameters, as published. ResNets: Kaiming normal (fan-out) for convolutions, PyTorch's
 * default uniform for linear layers and for the CIFAR stem, batch norm 1 and 0. ViTs: uniform by
 * inputs and outputs, an almost vanishing class token, fixed positions. Each tensor has its own
 * random stream. */
#include <math.h>

#include "nets/encoder.h"
#include "util/rng.h"

/* [1, 1+g*g, D]: the class token's row is zero; the patch in row y and column x of the grid has
 * [sin(y w) | cos(y w) | sin(x w) | cos(x w)], w_i = 10000^(-i/d) for i = 0..d-1, d = D/4 (arXiv
 * 2104.02057). */
void mo_init_positions(const mo_parameter_t *parameter, float *values)
{
    int64_t tokens = parameter->dims[1], width = parameter->dims[2], quarter = width / 4;
    int64_t grid = (int64_t)(sqrt((double)(tokens - 1)) + 0.5);
    for (int64_t c = 0; c < width; c++)
        values[c] = 0.0f;
    for (int64_t t = 0; t < tokens - 1; t++)
        for (int64_t i = 0; i < quarter; i++) {
            double w = pow(10000.0, -(double)i / (double)quarter);
            double y = (double)(t / grid) * w, x = (double)(t % grid) * w;
            float *to = values + (1 + t) * width + i;
            to[0] = (float)sin(y);
            to[quarter] = (float)cos(y);
            to[2 * quarter] = (float)sin(x);
            to[3 * quarter] = (float)cos(x);
        }
}

void mo_init_params(const mo_net_t *net, uint64_t seed, float *params)
{
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        float *values = params + parameter->offset;
        double bound = parameter->fan > 0 ? 1.0 / sqrt((double)parameter->fan) : 0.0;
        double wide = sqrt(6.0) * bound;
        mo_rng_t rng;
        if (parameter->init == MO_INIT_SINCOS) {
            mo_init_positions(parameter, values);
            continue;
        }
        mo_rng_start(&rng, seed, MO_STREAM_WEIGHTS, (uint32_t)i, 0);
        for (int64_t j = 0; j < parameter->count; j++)
            switch (parameter->init) {
            case MO_INIT_ONE: values[j] = 1.0f; break;
            case MO_INIT_KAIMING: values[j] = (float)(sqrt(2.0) * bound * mo_rng_normal(&rng)); break;
            case MO_INIT_UNIFORM: values[j] = (float)mo_rng_range(&rng, -bound, bound); break;
            case MO_INIT_NORMAL: values[j] = (float)(0.01 * mo_rng_normal(&rng)); break;
            case MO_INIT_XAVIER: values[j] = (float)mo_rng_range(&rng, -wide, wide); break;
            case MO_INIT_TINY: values[j] = (float)(1e-6 * mo_rng_normal(&rng)); break;
            case MO_INIT_ZERO:
            case MO_INIT_SINCOS: values[j] = 0.0f; break;
            }
    }
}

void mo_init_stats(const mo_net_t *net, float *stats)
{
    for (int32_t i = 0; i < net->bn_count; i++)
        for (int32_t c = 0; c < net->bns[i].channels; c++) {
            stats[net->bns[i].offset + c] = 0.0f;
            stats[net->bns[i].offset + net->bns[i].channels + c] = 1.0f;
        }
}
