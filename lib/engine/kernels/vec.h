/* Vectors of 16 floats for the loops of this folder: one AVX-512 register, two of AVX2, four of
 * SSE. Macros, because a function that takes or returns wide vectors has another ABI on every
 * instruction set. */
#ifndef MO_KERNELS_VEC_H
#define MO_KERNELS_VEC_H

#include <stdint.h>

#define WIDTH 16 /* numbers side by side */
#define RUN 64   /* numbers added up in float before they join a double sum */

typedef float vec __attribute__((vector_size(WIDTH * 4), aligned(WIDTH * 4)));
typedef int32_t words __attribute__((vector_size(WIDTH * 4), aligned(WIDTH * 4)));

typedef uint32_t bits __attribute__((vector_size(WIDTH * 4), aligned(WIDTH * 4)));
typedef uint16_t halves __attribute__((vector_size(WIDTH * 2), aligned(WIDTH * 2)));

#define LOAD(from) (*(const vec *)__builtin_assume_aligned((from), WIDTH * 4))
#define STORE(to, value) (*(vec *)__builtin_assume_aligned((to), WIDTH * 4) = (value))
#define ZERO ((vec){0})

#endif
