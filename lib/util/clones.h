/* Hot plain loops built for several instruction sets, the best chosen at load time. Without
 * contraction every version gives the same bits. The choice is glibc's: other C libraries, such as
 * musl, cannot load a library that leaves it to them, and get the plain version. */
#ifndef MO_UTIL_CLONES_H
#define MO_UTIL_CLONES_H

#include <stdlib.h> /* __GLIBC__ */

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && defined(__GNUC__) && !defined(__clang__)
#define MO_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MO_CLONES
#endif

#endif
