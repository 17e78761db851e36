/* XXH3, 64 bits, over bytes that come in pieces: tells whether a file is still what was written. It
 * is no defence against somebody who changes a file on purpose. */
#ifndef MO_UTIL_CHECKSUM_H
#define MO_UTIL_CHECKSUM_H

#include <stdint.h>

#define MO_CHECKSUM_STATE 576 /* bytes, held against xxhash.h where it is included */
#define MO_CHECKSUM_TEXT 17   /* 16 hexadecimal digits and the end                 */

typedef struct mo_checksum {
    _Alignas(64) uint8_t state[MO_CHECKSUM_STATE];
} mo_checksum_t;

void mo_checksum_start(mo_checksum_t *sum);
void mo_checksum_add(mo_checksum_t *sum, const void *bytes, uint64_t size);
uint64_t mo_checksum_value(const mo_checksum_t *sum); /* of all so far; more may follow */
void mo_checksum_text(uint64_t value, char text[MO_CHECKSUM_TEXT]);

#endif
