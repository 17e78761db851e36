/* moco_memory_left: the border. */
#include <moco/version.h>

#include <stdio.h>

#include "util/border.h"
#include "util/headroom.h"

uint64_t moco_memory_left(char *source, uint64_t capacity)
{
    MO_BORDER;
    mo_headroom_t memory;
    mo_headroom_read(&memory);
    if (source != NULL && capacity > 0)
        snprintf(source, capacity, "%s", memory.source);
    return memory.left;
}
