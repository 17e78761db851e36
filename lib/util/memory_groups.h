/* Limits of control groups. For memory.c alone. */
#ifndef MO_UTIL_MEMORY_GROUPS_H
#define MO_UTIL_MEMORY_GROUPS_H

#include "util/memory.h"

/* A limit found: it counts where it leaves less than what is known so far. */
void mo_memory_offer(mo_memory_t *memory, uint64_t left, uint64_t limit, const char *source);
/* The first number behind `word` in a file of lines "word number"; with `word` "" the number that
 * the file begins with. Returns 0 where there is none. */
int mo_memory_number(const char *path, const char *word, uint64_t *number);

/* The groups of this process and all groups around them, in version 1 and 2. `swap`: bytes free for
 * swapping. */
void mo_memory_groups(const char *root, uint64_t swap, mo_memory_t *memory);

#endif
