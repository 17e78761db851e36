/* Limits of control groups. For headroom.c alone. */
#ifndef MO_UTIL_HEADROOM_GROUPS_H
#define MO_UTIL_HEADROOM_GROUPS_H

#include "util/headroom.h"

/* The first number behind `word` in a file of lines "word number"; with `word` "" the number that
 * the file begins with. Returns 0 where there is none. */
int mo_headroom_number(const char *path, const char *word, uint64_t *number);

/* The groups of this process and all groups around them, in version 1 and 2. `swap`: bytes free for
 * swapping. */
void mo_headroom_groups(const char *root, uint64_t swap, mo_headroom_t *memory);

#endif
