/* "Did you mean": the known name that is nearest to one that a caller wrote wrongly. */
#ifndef MO_UTIL_SUGGEST_H
#define MO_UTIL_SUGGEST_H

#include <stddef.h>

/* The nearest of `count` names, or NULL when none is near. `first` is the address of the first name
 * and `stride` the bytes from one name to the next, so that plain arrays and tables of rows both
 * fit:
 *     mo_nearest(word, &rows[0].name, sizeof rows[0], count)
 * NULL names are passed over; of two equally near names the first is taken. */
const char *mo_nearest(const char *word, const char *const *first, size_t stride, size_t count);

/* The end of an error message about an unknown name: "; did you mean 'batch_size'?", or "" when no
 * name is near. */
#define MO_DID_YOU_MEAN 96
void mo_did_you_mean(const char *word, const char *const *first, size_t stride, size_t count,
                     char text[MO_DID_YOU_MEAN]);

#endif
