/* Rows of unit length: embeddings, keys and queries. Sums are taken in double. */
#ifndef MO_UTIL_ROWS_H
#define MO_UTIL_ROWS_H

#include <stdint.h>
#include <moco/status.h>

/* out[count, width] = the rows divided by max(norm, 1e-12); out may be `rows`. MOCO_ERR_ARGUMENT
 * names the first row that is not finite; rows before it have been written. */
moco_status_t mo_rows_normalise(const float *rows, int64_t count, int32_t width, float *out);
/* Rows whose norm is 1 to within 0.001; MOCO_ERR_ARGUMENT names the row of `name` that is
 * another. */
moco_status_t mo_rows_check_unit(const char *name, const float *rows, int64_t count, int32_t width);

#endif
