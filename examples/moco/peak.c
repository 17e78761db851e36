/* Independent chains of fused multiply-adds in registers, one thread a lane; the widest instruction
 * set the machine has. */
#include "peak.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#define HAS_WIDE 1
#include <immintrin.h>
#endif

#define CHAINS 12 /* more than latency times issue width needs */
#define ROUNDS 2000

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef double (*kernel_fn)(void); /* returns multiply-adds done */

static volatile float sink;

#ifdef HAS_WIDE
__attribute__((target("avx512f"))) static double kernel_512(void)
{
    __m512 a[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12 /* chains live in registers only when no index is left */
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    sink = _mm512_reduce_add_ps(a[0]);
    return 16.0 * CHAINS * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double kernel_256(void)
{
    __m256 a[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    float out[8];
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12 /* chains live in registers only when no index is left */
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_fmadd_ps(a[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    _mm256_storeu_ps(out, a[0]);
    sink = out[0];
    return 8.0 * CHAINS * ROUNDS;
}
#endif

static double kernel_plain(void)
{
    float a[CHAINS] = {0};
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12 /* chains live in registers only when no index is left */
        for (int i = 0; i < CHAINS; i++)
            a[i] = a[i] * 0.999f + 0.001f;
    sink = a[0];
    return (double)CHAINS * ROUNDS;
}

static kernel_fn widest_kernel(void)
{
#ifdef HAS_WIDE
    if (__builtin_cpu_supports("avx512f"))
        return kernel_512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return kernel_256;
#endif
    return kernel_plain;
}

typedef struct worker {
    kernel_fn kernel;
    double seconds, rate;
} worker_t;

static void *work(void *argument)
{
    worker_t *w = argument;
    double start = now(), done = 0, spent;
    do {
        for (int i = 0; i < 50; i++)
            done += w->kernel();
        spent = now() - start;
    } while (spent < w->seconds);
    w->rate = done / spent;
    return NULL;
}

double peak_rate(int threads, double seconds)
{
    pthread_t *ids = calloc((size_t)threads, sizeof *ids);
    worker_t *workers = calloc((size_t)threads, sizeof *workers);
    double rate = 0;
    int started = 0;
    if (ids != NULL && workers != NULL)
        for (; started < threads; started++) {
            workers[started] = (worker_t){widest_kernel(), seconds, 0};
            if (pthread_create(&ids[started], NULL, work, &workers[started]) != 0)
                break;
        }
    for (int i = 0; i < started; i++) {
        pthread_join(ids[i], NULL);
        rate += workers[i].rate;
    }
    free(ids);
    free(workers);
    return rate;
}
