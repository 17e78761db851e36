/* Initial parameters, as published: Kaiming normal (fan-out) for convolutions, PyTorch's default uniform for linear
 * layers and for the CIFAR stem, batch norm 1 and 0. Each tensor has its own random stream. */
#include <math.h>

#include "nets/encoder.h"
#include "util/rng.h"

void mo_init_params(const mo_net_t *net, uint64_t seed, float *params)
{
    for (int32_t i = 0; i < net->span_count; i++) {
        const mo_span_t *span = &net->spans[i];
        float *values = params + span->offset;
        double bound = span->fan > 0 ? 1.0 / sqrt((double)span->fan) : 0.0;
        mo_rng_t rng;
        mo_rng_start(&rng, seed, MO_STREAM_WEIGHTS, (uint32_t)i, 0);
        for (int64_t j = 0; j < span->count; j++)
            switch (span->init) {
            case MO_INIT_ZERO: values[j] = 0.0f; break;
            case MO_INIT_ONE: values[j] = 1.0f; break;
            case MO_INIT_KAIMING: values[j] = (float)(sqrt(2.0) * bound * mo_rng_normal(&rng)); break;
            case MO_INIT_UNIFORM: values[j] = (float)mo_rng_range(&rng, -bound, bound); break;
            case MO_INIT_NORMAL: values[j] = (float)(0.01 * mo_rng_normal(&rng)); break;
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
