/* CRC-32 as zip archives have it (reflected polynomial 0xedb88320), over bytes that come in
 * pieces: tells whether a member is still what was written. Files of the library's own have XXH3
 * (checksum.h), which is faster. */
#ifndef MO_UTIL_CRC32_H
#define MO_UTIL_CRC32_H

#include <stdint.h>

/* The sum of all bytes before, which had `sum` (0 of none), and these. */
uint32_t mo_crc32(uint32_t sum, const void *bytes, uint64_t size);

#endif
