/* Bytes of others, such as names in archives, as text that is safe on a terminal and in a log. */
#ifndef MO_UTIL_PRINTABLE_H
#define MO_UTIL_PRINTABLE_H

#include <stdarg.h>
#include <stddef.h>
#include <moco/status.h>

/* Bytes of the UTF-8 character that `text` begins with, 1 to 4; 0 where it begins with none. */
size_t mo_utf8_length(const char *text, size_t size);
int mo_is_utf8(const char *text);
/* Bytes of `text` that `most` leaves room for, whole characters where it is UTF-8. */
size_t mo_utf8_fit(const char *text, size_t most);
/* Like vsnprintf; what does not fit is cut between characters. */
void mo_vformat(char *out, size_t capacity, const char *format, va_list args);

/* Writes `from` into out[capacity], NUL-terminated, in one line. As \xNN stand: control characters,
 * bytes that are no UTF-8, and characters that turn the direction of what follows them. What does
 * not fit is cut between characters. Text that is printable comes out as it is, so doing it twice
 * changes nothing. Every message and log line passes it (status.c). Returns the length. */
size_t mo_printable(const char *from, char *out, size_t capacity);

/* A name as files of results and JSON have it (mo_free): like mo_printable, and a backslash is
 * \x5c, so that every \xNN stands for a byte and two names are never written alike. */
moco_status_t mo_name_text(const char *name, char **out);

#endif
