/* What the numbers of a tensor must be, whether it is read or written. */
#ifndef MO_PERSIST_CHECK_H
#define MO_PERSIST_CHECK_H

#include <stdint.h>
#include <moco/status.h>

/* MOCO_ERR_NONFINITE names the tensor and the place of the first number that is not finite. */
moco_status_t mo_check_finite(const char *name, int32_t rank, const int64_t *dims, const float *values, int64_t count);
/* Squares and their means: MOCO_ERR_FORMAT names the first one below 0. */
moco_status_t mo_check_variance(const char *name, const float *values, int64_t count);
/* A dictionary's rows of length 1, or of zeros as a network that has died gives them:
 * MOCO_ERR_FORMAT. */
moco_status_t mo_check_keys(const char *name, const float *rows, int64_t count, int32_t width);

#endif
