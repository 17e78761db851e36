/* Dot products of many rows with many rows: the arithmetic of search and kNN. */
#ifndef MO_EVAL_DOT_H
#define MO_EVAL_DOT_H

#include <stdint.h>

/* out[nq, nv] = queries[nq, dim] times vectors[nv, dim] transposed. Rows need no alignment. Each
 * number is summed in one fixed order, so it does not depend on its neighbours, on how callers cut
 * their tiles, or on the instruction set. */
void mo_dot_tile(const float *queries, int64_t nq, const float *vectors, int64_t nv, int32_t dim, float *out);

#endif
