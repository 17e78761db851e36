/* Sizes as people type them and as programs count them. */
#ifndef MO_UTIL_SIZE_H
#define MO_UTIL_SIZE_H

#include <stdint.h>

typedef struct mo_size_text {
    char text[48];
} mo_size_text_t;

/* "1.61 GiB (1734967296 bytes)"; below 1 KiB "512 bytes". For the arguments of a message:
 * mo_size(bytes).text. */
mo_size_text_t mo_size(uint64_t bytes);

#endif
