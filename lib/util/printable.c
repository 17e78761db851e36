/* See printable.h. */
#include "util/printable.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"

/* Lowest code point of a character of so many bytes; fewer bytes would do for lower ones. */
static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};

/* Reads one character; 0 bytes where there is none. */
static size_t read_character(const char *text, size_t size, uint32_t *code)
{
    const uint8_t first = size > 0 ? (uint8_t)text[0] : 0xff;
    const size_t length = first < 0x80             ? 1
                          : (first & 0xe0) == 0xc0 ? 2
                          : (first & 0xf0) == 0xe0 ? 3
                          : (first & 0xf8) == 0xf0 ? 4
                                                   : 0;
    if (length == 0 || length > size)
        return 0;
    *code = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (((uint8_t)text[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | ((uint8_t)text[i] & 0x3f);
    }
    const int surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < lowest[length] || *code > 0x10ffff || surrogate ? 0 : length;
}

size_t mo_utf8_length(const char *text, size_t size)
{
    uint32_t code;
    return read_character(text, size, &code);
}

int mo_is_utf8(const char *text)
{
    const size_t size = strlen(text);
    for (size_t at = 0, length; at < size; at += length)
        if ((length = mo_utf8_length(text + at, size - at)) == 0)
            return 0;
    return 1;
}

size_t mo_utf8_fit(const char *text, size_t most)
{
    size_t length = strlen(text);
    if (length > most)
        for (length = most; length > 0 && ((uint8_t)text[length] & 0xc0) == 0x80;)
            length--;
    return length;
}

void mo_vformat(char *out, size_t capacity, const char *format, va_list args)
{
    if (vsnprintf(out, capacity, format, args) < (int)capacity)
        return;
    size_t last = capacity - 1; /* where the last character begins, at most four bytes before the end */
    for (int i = 0; i < 3 && last > 0 && ((uint8_t)out[last - 1] & 0xc0) == 0x80; i++)
        last--;
    last -= last > 0;
    if (mo_utf8_length(out + last, capacity - 1 - last) == 0)
        out[last] = '\0';
}

static int is_safe(uint32_t code)
{
    if (code < ' ' || (code >= 0x7f && code <= 0x9f))
        return 0; /* control characters */
    if (code == 0x2028 || code == 0x2029)
        return 0;                                                                       /* ends of lines */
    return !((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)); /* directions */
}

/* `reversible`: a backslash of the text's own is written as those are that this puts in. */
static size_t write_safe(const char *from, int reversible, char *out, size_t capacity)
{
    const size_t size = strlen(from);
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code = 0;
        const size_t length = read_character(from + at, size - at, &code), bytes = length == 0 ? 1 : length;
        const int safe = length > 0 && is_safe(code) && !(reversible && code == '\\');
        if (used + (safe ? bytes : 4 * bytes) >= capacity)
            break;
        for (size_t i = 0; i < bytes; i++)
            used += safe ? (out[used] = from[at + i], 1u)
                         : (size_t)snprintf(out + used, capacity - used, "\\x%02x", (uint8_t)from[at + i]);
        at += bytes;
    }
    out[used] = '\0';
    return used;
}

size_t mo_printable(const char *from, char *out, size_t capacity)
{
    return write_safe(from, 0, out, capacity);
}

moco_status_t mo_name_text(const char *name, char **out)
{
    const size_t capacity = 4 * strlen(name) + 1;
    const moco_status_t status = mo_calloc(capacity, 1, out);
    if (status == MOCO_OK)
        write_safe(name, 1, *out, capacity);
    return status;
}
