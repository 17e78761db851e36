/* A header of a tar archive, as far as it is the same in all of its forms. */
#ifndef MO_DATA_TAR_HEADER_H
#define MO_DATA_TAR_HEADER_H

#include <stddef.h>
#include <stdint.h>

#define MO_TAR_BLOCK 512u

/* A field's number: octal, or base 256 where the top bit is set. Returns 0 where it holds none. */
int mo_tar_number(const uint8_t *field, size_t length, uint64_t *out);
/* Whether the checksum fits: the sum of all bytes, its own field taken as spaces; some old writers
 * summed signed bytes. */
int mo_tar_sum_is_right(const uint8_t *header);
int mo_tar_is_zero(const uint8_t *block);

#endif
