/* Random numbers by counter. The generator itself is Random123's Philox4x32-10; this file lays out
 * the counter, turns words into the distributions the library needs, and draws permutations. Every
 * module may call it, from any thread: the only state is the caller's mo_rng_t. */
#include "util/rng.h"

#include <math.h>
#include <Random123/philox.h>

#include "util/alloc.h"
#include "util/status.h"

#define TWO_PI 6.283185307179586476925286766559

void mo_rng_start(mo_rng_t *rng, uint64_t seed, uint32_t stream, uint32_t index, uint32_t time)
{
    *rng = (mo_rng_t){.seed = seed, .index = index, .time = time, .stream = stream, .used = 4};
}

static void next_block(mo_rng_t *rng)
{
    const philox4x32_ctr_t counter = {{rng->block, rng->index, rng->time, rng->stream}};
    const philox4x32_key_t key = {{(uint32_t)rng->seed, (uint32_t)(rng->seed >> 32)}};
    const philox4x32_ctr_t words = philox4x32_R(10, counter, key);
    for (int i = 0; i < 4; i++)
        rng->word[i] = words.v[i];
    rng->block++;
    rng->used = 0;
}

uint32_t mo_rng_u32(mo_rng_t *rng)
{
    if (rng->used == 4)
        next_block(rng);
    return rng->word[rng->used++];
}

uint64_t mo_rng_u64(mo_rng_t *rng)
{
    const uint64_t low = mo_rng_u32(rng);
    return low | (uint64_t)mo_rng_u32(rng) << 32;
}

double mo_rng_unit(mo_rng_t *rng)
{
    return (double)(mo_rng_u64(rng) >> 11) * 0x1p-53;
}

double mo_rng_range(mo_rng_t *rng, double low, double high)
{
    return low + (high - low) * mo_rng_unit(rng);
}

/* Multiply and take the high word; draws whose low word falls into the uneven rest are rejected. */
uint32_t mo_rng_below(mo_rng_t *rng, uint32_t n)
{
    if (n <= 1)
        return 0;
    const uint32_t uneven = (0u - n) % n; /* 2^32 mod n */
    for (;;) {
        const uint64_t product = (uint64_t)mo_rng_u32(rng) * n;
        if ((uint32_t)product >= uneven)
            return (uint32_t)(product >> 32);
    }
}

double mo_rng_normal(mo_rng_t *rng)
{
    const double radius = sqrt(-2.0 * log(1.0 - mo_rng_unit(rng))); /* 1 - u is never 0 */
    return radius * cos(TWO_PI * mo_rng_unit(rng));
}

/* Below 1 the shape is raised by 1, and the draw multiplied by u^(1/shape). */
double mo_rng_gamma(mo_rng_t *rng, double shape)
{
    const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3.0, c = 1 / sqrt(9 * d);
    double v;
    for (;;) {
        const double x = mo_rng_normal(rng), u = 1.0 - mo_rng_unit(rng);
        v = 1 + c * x;
        v = v * v * v;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            break;
    }
    return shape < 1 ? d * v * pow(1.0 - mo_rng_unit(rng), 1 / shape) : d * v;
}

/* Shapes so small that both draws are 0 leave a fair coin. */
double mo_rng_beta(mo_rng_t *rng, double a, double b)
{
    const double x = mo_rng_gamma(rng, a), y = mo_rng_gamma(rng, b);
    return x + y > 0 ? x / (x + y) : (double)mo_rng_below(rng, 2);
}

/* ---- permutations ---- */

typedef struct draw {
    uint64_t key;
    int32_t index;
} draw_t;

/* Draws fall evenly over 2^64, so their top bits are very nearly their rank: one counting pass puts
 * each within a few places of where it belongs, and an insertion sort does the rest. */
static void place_draws(mo_rng_t start, uint32_t count, draw_t *draws, uint32_t *first)
{
    for (uint32_t i = 0; i <= count; i++)
        first[i] = 0;
    mo_rng_t rng = start;
    for (uint32_t i = 0; i < count; i++)
        first[(uint64_t)((unsigned __int128)mo_rng_u64(&rng) * count >> 64) + 1]++;
    for (uint32_t i = 0; i < count; i++)
        first[i + 1] += first[i];
    rng = start;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t key = mo_rng_u64(&rng);
        draws[first[(uint64_t)((unsigned __int128)key * count >> 64)]++] = (draw_t){key, (int32_t)i};
    }
}

/* Stable, so equal keys stay in order of their indices. */
static void insertion_sort(draw_t *draws, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const draw_t item = draws[i];
        uint32_t j = i;
        for (; j > 0 && draws[j - 1].key > item.key; j--)
            draws[j] = draws[j - 1];
        draws[j] = item;
    }
}

size_t mo_rng_permutation_bytes(int64_t count)
{
    return ((size_t)count + 1) * (sizeof(draw_t) + sizeof(uint32_t));
}

void mo_rng_permutation_in(uint64_t seed, uint32_t stream, uint32_t time, int64_t count, void *memory,
                           int32_t *permutation)
{
    draw_t *draws = memory;
    mo_rng_t rng;
    mo_rng_start(&rng, seed, stream, 0, time);
    place_draws(rng, (uint32_t)count, draws, (uint32_t *)(draws + count + 1));
    insertion_sort(draws, (uint32_t)count);
    for (int64_t i = 0; i < count; i++)
        permutation[i] = draws[i].index;
}

moco_status_t mo_rng_permutation(uint64_t seed, uint32_t stream, uint32_t time, int64_t count, int32_t *permutation)
{
    void *memory = NULL;
    if (count < 0 || count > INT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "a permutation of %lld items; wanted 0..2147483647", (long long)count);
    moco_status_t status = mo_calloc(mo_rng_permutation_bytes(count), 1, &memory);
    if (status == MOCO_OK)
        mo_rng_permutation_in(seed, stream, time, count, memory, permutation);
    mo_free(memory);
    return status;
}
