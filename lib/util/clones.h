/* Hot plain loops compiled for several instruction sets, of which the best is chosen when they are
 * called. Without contraction every version gives the same bits. Nothing is asked of the C library
 * or the loader, so every compiler, C library and sanitizer gets the same loops.
 *
 *     static MO_CLONES(void, add, (float *sums, const float *x, int64_t count), (sums, x, count))
 *     {
 *         …
 *     }
 *
 * defines `add`. Its type must be named without `static`, which may stand in front. Functions that
 * the body calls are compiled for one instruction set alone unless they are inlined into it. */
#ifndef MO_UTIL_CLONES_H
#define MO_UTIL_CLONES_H

/* What the processor and its system offer, each including those before it. */
enum { MO_PLAIN = 1, MO_AVX2, MO_AVX512 };

#define MO_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__)

#define MO_TARGET_AVX2 __attribute__((target("avx2")))
#define MO_TARGET_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) /* all of Skylake's and Zen 4's */

/* clones.c */
int mo_clones_level(void);
#ifdef MOCO_FAULTS
/* From now on no level above `most` is taken; gives the one that is. For tests, one thread. */
int mo_clones_limit(int most);
#endif

#define MO_CLONES(type, name, parameters, arguments)              \
    type name parameters;                                         \
    MO_INLINE type name##_body parameters;                        \
    MO_TARGET_AVX512 static type name##_avx512 parameters         \
    {                                                             \
        return name##_body arguments;                             \
    }                                                             \
    MO_TARGET_AVX2 static type name##_avx2 parameters             \
    {                                                             \
        return name##_body arguments;                             \
    }                                                             \
    static __attribute__((noinline)) type name##_plain parameters \
    {                                                             \
        return name##_body arguments;                             \
    }                                                             \
    type name parameters                                          \
    {                                                             \
        const int level_ = mo_clones_level();                     \
        return level_ == MO_AVX512 ? name##_avx512 arguments      \
               : level_ == MO_AVX2 ? name##_avx2 arguments        \
                                   : name##_plain arguments;      \
    }                                                             \
    MO_INLINE type name##_body parameters

#else

static inline int mo_clones_level(void)
{
    return MO_PLAIN;
}
static inline int mo_clones_limit(int most)
{
    (void)most;
    return MO_PLAIN;
}
#define MO_CLONES(type, name, parameters, arguments) type name parameters

#endif

#endif
