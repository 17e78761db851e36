/* Which versions of the hot loops this processor runs. See clones.h. */
#include "util/clones.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <stdatomic.h>

static atomic_int level; /* 0 = nobody has asked yet */

static int find(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return MO_AVX512;
    return __builtin_cpu_supports("avx2") ? MO_AVX2 : MO_PLAIN;
}

/* Threads that find it at once find the same. */
int mo_clones_level(void)
{
    int known = atomic_load_explicit(&level, memory_order_relaxed);
    if (known == 0) {
        known = find();
        atomic_store_explicit(&level, known, memory_order_relaxed);
    }
    return known;
}

#ifdef MOCO_FAULTS
int mo_clones_limit(int most)
{
    const int found = find(), taken = most < found ? most : found;
    atomic_store_explicit(&level, taken, memory_order_relaxed);
    return taken;
}
#endif

#endif
