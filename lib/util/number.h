/* Numbers as text, always with a decimal point: a host may have set a locale that writes a
 * comma. */
#ifndef MO_UTIL_NUMBER_H
#define MO_UTIL_NUMBER_H

#include <moco/status.h>

#define MO_NUMBER_TEXT 40 /* bytes of any double in up to 17 digits, its end included */

/* `digits` significant digits, 1..17; 0 = the fewest from 6 on that read back to the same bits. */
void mo_text_double(double value, int digits, char text[MO_NUMBER_TEXT]);
/* Whether all of `text` is a number, which may be "inf" or "nan"; *value is set then. */
int mo_read_double(const char *text, double *value);
/* The same within a range, which no "nan" is in; MOCO_ERR_FORMAT without a message. */
moco_status_t mo_parse_double(const char *text, double low, double high, double *value);

#endif
