/* Which image a group encodes in which row, for queries and for shuffled keys (fact: MoCo section
 * 3.3, and the strided membership of the single-process demo). */
#include "contrast/contrast.h"

#include <stddef.h>

#include <moco/trainer.h>

int64_t mo_member(int32_t membership, int64_t batch, int32_t groups, int32_t group, int64_t row,
                  const int32_t *permutation)
{
    int64_t position = membership == MOCO_MEMBERSHIP_STRIDED ? row * groups + group : group * (batch / groups) + row;
    return permutation != NULL ? permutation[position] : position;
}
