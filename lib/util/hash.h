/* One hash for what only has to tell things apart: FNV-1a, 64 bits, over whatever units the caller
 * adds. Hashes are stored in files, so neither the arithmetic nor a caller's order may change. */
#ifndef MO_UTIL_HASH_H
#define MO_UTIL_HASH_H

#include <stdint.h>

#define MO_HASH_START 0xcbf29ce484222325u

static inline uint64_t mo_hash_add(uint64_t hash, uint64_t unit)
{
    return (hash ^ unit) * 0x100000001b3u;
}

#endif
