/* Files that appear under their name when they are complete: an older one stays until then, and
 * nobody reads half of one. */
#ifndef PROGRAM_WHOLE_FILE_H
#define PROGRAM_WHOLE_FILE_H

#include <stdio.h>

typedef struct whole_file {
    FILE *stream;           /* to write to                                                */
    char *path, *temporary; /* links followed; beside it                                  */
    const char *name;       /* for messages                                               */
    int unsynced;           /* set after the open: one of many that are easily made again */
} whole_file_t;

/* Zeroed on failure. Returns EXIT_DONE, or EXIT_FAILED with a message. */
int whole_open(whole_file_t *file, const char *path);
/* Puts it in place, or with `keep` 0 removes it; what could not be written is EXIT_FAILED with a
 * message, and the older file is still there. */
int whole_close(whole_file_t *file, int keep);

#endif
