/* XXH3; see checksum.h. The one file that includes xxhash.h, whose code is all in the header. */
#include "util/checksum.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= MO_CHECKSUM_STATE && _Alignof(XXH3_state_t) <= 64, "the state of XXH3 fits");

void mo_checksum_start(mo_checksum_t *sum)
{
    XXH3_64bits_reset((XXH3_state_t *)sum->state);
}

void mo_checksum_add(mo_checksum_t *sum, const void *bytes, uint64_t size)
{
    XXH3_64bits_update((XXH3_state_t *)sum->state, bytes, size);
}

uint64_t mo_checksum_value(const mo_checksum_t *sum)
{
    return XXH3_64bits_digest((const XXH3_state_t *)sum->state);
}

void mo_checksum_text(uint64_t value, char text[MO_CHECKSUM_TEXT])
{
    snprintf(text, MO_CHECKSUM_TEXT, "%016" PRIx64, value);
}
