/* Memory that catches what host code must not do with buffers; see checked_memory.c. */
#ifndef TESTS_CHECKED_MEMORY_H
#define TESTS_CHECKED_MEMORY_H

#include "engine/run/memory.h"

/* "pages", "copies", or NULL for the host's own memory: the kind of every memory that is made from
 * now on. At start it is what the environment variable MOCO_GUARD says. */
void checked_memory(const char *guard);

#endif
