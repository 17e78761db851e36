/* Random numbers by counter: Philox4x32-10, key = seed, counter = (block, index, time, stream). The
 * same counter gives the same numbers on any thread in any order, so nothing depends on thread
 * counts. */
#ifndef MO_UTIL_RNG_H
#define MO_UTIL_RNG_H

#include <stddef.h>
#include <stdint.h>
#include <moco/status.h>

enum {
    MO_STREAM_WEIGHTS = 0, /* index = number of the tensor, time 0           */
    MO_STREAM_QUEUE = 1,   /* index 0, time 0                                */
    MO_STREAM_ORDER = 2,   /* index 0, time = epoch                          */
    MO_STREAM_SHUFFLE = 3, /* index 0, time = step                           */
    MO_STREAM_VIEW0 = 4,   /* index = image, time = epoch                    */
    MO_STREAM_VIEW1 = 5,
    MO_STREAM_PROBE_WEIGHTS = 16, /* index 0, time 0                         */
    MO_STREAM_PROBE_ORDER = 17,   /* index 0, time = epoch                   */
    MO_STREAM_PROBE_VIEW = 18,    /* index = image, time = epoch             */
    MO_STREAM_TUNE_WEIGHTS = 24,  /* index 0, time 0                         */
    MO_STREAM_TUNE_ORDER = 25,    /* index 0, time = epoch                   */
    MO_STREAM_TUNE_VIEW = 26,     /* index = image, time = epoch             */
    MO_STREAM_TUNE_MIX = 27,      /* index 0, time = step                    */
    MO_STREAM_TUNE_PATH = 28      /* index = place in the batch, time = step */
};

typedef struct mo_rng {
    uint64_t seed;
    uint32_t index, time, stream;
    uint32_t block;   /* next block of four words           */
    uint32_t word[4]; /* current block                      */
    int used;         /* words of it already given; 4 = all */
} mo_rng_t;

void mo_rng_start(mo_rng_t *rng, uint64_t seed, uint32_t stream, uint32_t index, uint32_t time);
uint32_t mo_rng_u32(mo_rng_t *rng);
uint64_t mo_rng_u64(mo_rng_t *rng); /* low word first                               */
double mo_rng_unit(mo_rng_t *rng);  /* [0,1), 53 bits                               */
double mo_rng_range(mo_rng_t *rng, double low, double high);
uint32_t mo_rng_below(mo_rng_t *rng, uint32_t n);      /* uniform 0..n-1, exact                      */
double mo_rng_normal(mo_rng_t *rng);                   /* Box-Muller, one value per two unit draws     */
double mo_rng_gamma(mo_rng_t *rng, double shape);      /* > 0, scale 1; Marsaglia and Tsang 2000     */
double mo_rng_beta(mo_rng_t *rng, double a, double b); /* [0,1], from two gamma draws           */
/* permutation[count]: indices sorted by 64-bit draws of (stream, index 0, time), ties by index. */
moco_status_t mo_rng_permutation(uint64_t seed, uint32_t stream, uint32_t time, int64_t count, int32_t *permutation);
/* The same in memory of the caller, mo_rng_permutation_bytes(count) of it aligned as malloc does;
 * cannot fail. count is 0..2147483647. */
size_t mo_rng_permutation_bytes(int64_t count);
void mo_rng_permutation_in(uint64_t seed, uint32_t stream, uint32_t time, int64_t count, void *memory,
                           int32_t *permutation);

#endif
