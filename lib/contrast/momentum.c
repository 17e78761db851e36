/* The key encoder follows the query encoder. */
#include "contrast/contrast.h"
#include "util/clones.h"

/* 1-m is formed in double and each factor rounded once, as the reference does; no contraction
 * (build flag), so the bits do not depend on the instruction set. */
MO_CLONES(void, mo_momentum_update, (float *key, const float *query, int64_t count, double momentum),
          (key, query, count, momentum))
{
    float keep = (float)momentum, take = (float)(1.0 - momentum);
    for (int64_t i = 0; i < count; i++) {
        float kept = key[i] * keep, taken = query[i] * take;
        key[i] = kept + taken;
    }
}
