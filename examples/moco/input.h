/* Files that a command reads by itself: never one without an end, and never a wait for a writer
 * that does not come. */
#ifndef PROGRAM_INPUT_H
#define PROGRAM_INPUT_H

#include <stdint.h>
#include <stdio.h>

/* A regular file of at most `limit` bytes; the caller closes it. Returns NULL with a message. */
FILE *input_open(const char *path, uint64_t limit);

/* All of such a file, or of a pipe up to the limit; the caller frees it. Returns NULL with a
 * message. */
uint8_t *input_read(const char *path, uint64_t limit, uint64_t *size);

#endif
