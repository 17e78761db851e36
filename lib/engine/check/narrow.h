/* Numbers of 16 bits, for the check of implementations: it compares float32 numbers, and primitives
 * of bf16 and f16 read and write copies of them. */
#ifndef MO_ENGINE_CHECK_NARROW_H
#define MO_ENGINE_CHECK_NARROW_H

#include <stdint.h>

#include "engine/onednn/compat.h"

/* A float32 number that no result is: a NaN of our own. Each type has one. */
float mo_unwritten(void);
int mo_is_unwritten(const float *number); /* compared by bits: a NaN equals nothing */

/* Half the distance of neighbouring numbers, for those of size 1: what one rounding may change. 0
 * for float32, with which sums of integers are exact. */
double mo_type_slack(dnnl_data_type_t type);
/* Numbers that the type holds exactly, and the one above; and back. Not for float32. */
void mo_narrow(dnnl_data_type_t type, const float *from, int64_t count, uint16_t *to);
void mo_widen(dnnl_data_type_t type, const uint16_t *from, int64_t count, float *to);

#endif
