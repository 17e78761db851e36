/* Results on stdout, for scripts (JSON lines) and for people (tables). */
#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

void output_json(json_t *object)
{
    if (object == NULL)
        return;
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    fflush(stdout);
    json_decref(object);
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

json_t *output_text(const char *text)
{
    json_t *string = json_string(text);
    char *plain;

    if (string != NULL || (plain = strdup(text)) == NULL)
        return string;
    for (char *c = plain; *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    string = json_string(plain);
    free(plain);
    return string;
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

static void print_value(const json_t *value, int bytes)
{
    char text[32];
    size_t index;
    json_t *item;

    switch (json_typeof(value)) {
    case JSON_STRING: fputs(json_string_value(value), stdout); break;
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
        print_value(value, are_bytes);
        putchar('\n');
    }
}

void output_table(const json_t *object, int indent)
{
    table(object, indent, 0);
}

int output_close(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fail("cannot write to standard output: %s", strerror(errno));
    return code == EXIT_DONE ? EXIT_FAILED : code;
}
