/* A table of counts, true classes against answers, as a file of tab-separated values. */
#ifndef PROGRAM_CONFUSION_H
#define PROGRAM_CONFUSION_H

#include <stdint.h>

/* Name of class `label` of what `owner` is. */
typedef const char *(*confusion_name_fn)(const void *owner, int32_t label);

/* table [classes, classes]. Returns EXIT_DONE, or EXIT_FAILED with a message. */
int confusion_write(const char *path, int32_t classes, confusion_name_fn name, const void *owner, const int64_t *table);

#endif
