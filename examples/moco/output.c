/* Results on stdout, for scripts (JSON lines) and for people (tables). */
#include "output.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

/* A line of stdout is missing: no memory for it. */
static int lost;

static void lose(void)
{
    if (!lost)
        fail("no memory for a result: a line is missing");
    lost = 1;
}

void output_json(json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

    if (text != NULL) {
        puts(text);
        fflush(stdout);
    } else {
        lose();
    }
    free(text);
    json_decref(object);
}

/* `failed`: the value did not get into `holder`. */
static json_t *whole(json_t *holder, int failed)
{
    if (!failed)
        return holder;
    json_decref(holder);
    return NULL;
}

json_t *output_with(json_t *object, const char *key, json_t *value)
{
    return whole(object, json_object_set_new(object, key, value) != 0);
}

json_t *output_item(json_t *list, json_t *value)
{
    return whole(list, json_array_append_new(list, value) != 0);
}

json_t *output_real(double value, int digits)
{
    const double scale = pow(10.0, digits);
    const double rounded = round(value * scale) / scale;
    return isfinite(value) ? json_real(isfinite(rounded) ? rounded : value) : json_null();
}

json_t *output_measured(double percent, int digits)
{
    return percent >= 0 ? output_real(percent, digits) : json_null();
}

/* Bytes of the UTF-8 character at `text`, 0 if there is none that may be shown. */
static int shown(const unsigned char *text)
{
    const unsigned first = text[0];
    const int length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    unsigned code = length > 1 ? first & (0x7fu >> length) : first;

    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3fu);
    }
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) /* C0, DEL, C1 */
        return 0;
    if (code == 0x2028 || code == 0x2029) /* end lines */
        return 0;
    if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) /* turn the line around */
        return 0;
    return (length == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
                   (length == 4 && (code < 0x10000 || code > 0x10ffff))
               ? 0
               : length;
}

/* A name that is not UTF-8 comes as the library writes it: \xNN stands for a byte, also of a
 * backslash. */
json_t *output_text(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    json_t *string = json_string(text);
    char *plain;
    size_t used = 0;

    if (string != NULL || (plain = malloc(4 * strlen(text) + 1)) == NULL)
        return string;
    while (*at != '\0') {
        const int length = *at == '\\' ? 0 : shown(at);
        if (length == 0)
            used += (size_t)sprintf(plain + used, "\\x%02x", *at++);
        for (int i = 0; i < length; i++)
            plain[used++] = (char)*at++;
    }
    string = json_stringn(plain, used);
    free(plain);
    return string;
}

void output_plain(const char *text, FILE *stream)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        const int length = shown(at);
        if (length == 0)
            fprintf(stream, "\\x%02x", *at++);
        for (int i = 0; i < length; i++)
            putc(*at++, stream);
    }
}

int output_unread(void)
{
    struct pollfd ends[] = {{.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};

    return poll(ends, 2, 0) > 0 && ((ends[0].revents | ends[1].revents) & POLLERR) != 0;
}

char *output_bytes(double bytes, char text[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int unit = 0;

    while (bytes >= 1024 && unit < 5) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

/* "16.2 billion": counts of operations are too long to be read digit by digit. */
static void print_count(double count)
{
    static const char *const units[] = {"", " thousand", " million", " billion", " trillion"};
    int unit = 0;

    for (; count >= 1000 && unit < 4; unit++)
        count /= 1000;
    printf("%.4g%s", count, units[unit]);
}

static void print_value(const json_t *value, int bytes)
{
    char text[32];
    size_t index;
    json_t *item;

    switch (json_typeof(value)) {
    case JSON_STRING: output_plain(json_string_value(value), stdout); break;
    case JSON_INTEGER:
        if (bytes && json_integer_value(value) >= 4096)
            fputs(output_bytes((double)json_integer_value(value), text), stdout);
        else
            printf("%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL: printf("%.9g", json_real_value(value)); break;
    case JSON_ARRAY:
        json_array_foreach((json_t *)value, index, item)
        {
            fputs(index > 0 ? ", " : "", stdout);
            print_value(item, bytes);
        }
        break;
    case JSON_OBJECT: json_dumpf(value, stdout, JSON_REAL_PRECISION(9)); break;
    default: fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-", stdout); break;
    }
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void table(const json_t *object, int indent, int bytes)
{
    const char *key;
    json_t *value;
    int width = 0;

    json_object_foreach((json_t *)object, key, value) width = (int)strlen(key) > width ? (int)strlen(key) : width;
    json_object_foreach((json_t *)object, key, value)
    {
        const int are_bytes = bytes || strcmp(key, "bytes") == 0 || ends_with(key, "_bytes");
        if (json_is_object(value)) {
            printf("%*s%s\n", indent, "", key);
            table(value, indent + 2, are_bytes);
            continue;
        }
        printf("%*s%-*s  ", indent, "", width, key);
        if (strcmp(key, "multiply_adds") == 0 && json_is_integer(value))
            print_count((double)json_integer_value(value));
        else
            print_value(value, are_bytes);
        putchar('\n');
    }
}

void output_table(const json_t *object, int indent)
{
    if (object != NULL)
        table(object, indent, 0);
    else
        lose();
}

int output_close(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return lost && code == EXIT_DONE ? EXIT_FAILED : code;
    fail("cannot write to standard output: %s", strerror(errno));
    return code == EXIT_DONE ? EXIT_FAILED : code;
}
