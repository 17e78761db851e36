/* The parser of JSON texts from files. jansson's own takes a failed allocation inside a text for
 * damage of the text, or loses bytes of it; here each failure is told as what it is. The values are
 * jansson's. Called by json.c. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/json.h"
#include "util/number.h"
#include "util/printable.h"
#include "util/status.h"

typedef struct parser {
    const char *start, *at, *end;
    char *scratch; /* a string or number, NUL-terminated */
    uint64_t capacity;
    uint64_t items;
    char *reason; /* MO_JSON_REASON bytes */
} parser_t;

static moco_status_t take_value(parser_t *p, int depth, json_t **out);

static moco_status_t refuse(parser_t *p, const char *what)
{
    snprintf(p->reason, MO_JSON_REASON, "%s at byte %llu", what, (unsigned long long)(p->at - p->start));
    return MOCO_ERR_FORMAT;
}

static moco_status_t no_memory(parser_t *p)
{
    snprintf(p->reason, MO_JSON_REASON, "no memory for its values");
    return MOCO_ERR_MEMORY;
}

/* ---- characters ---- */

static void skip_spaces(parser_t *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
        p->at++;
}

/* Past spaces and `c`, if it is next. */
static int take(parser_t *p, char c)
{
    skip_spaces(p);
    if (p->at == p->end || *p->at != c)
        return 0;
    p->at++;
    return 1;
}

static int is_digit(const parser_t *p, const char *at)
{
    return at < p->end && *at >= '0' && *at <= '9';
}

static moco_status_t reserve(parser_t *p, uint64_t size)
{
    if (size <= p->capacity)
        return MOCO_OK;
    if (mo_grow(&p->scratch, size + size / 2, 1) != MOCO_OK)
        return no_memory(p);
    p->capacity = size + size / 2;
    return MOCO_OK;
}

/* ---- strings ---- */

/* The four digits behind "\u"; -1 where there are none. */
static int32_t take_hex(parser_t *p)
{
    int32_t code = 0;
    if (p->end - p->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char c = p->at[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    p->at += 4;
    return code;
}

static size_t put_utf8(int32_t code, char *to)
{
    if (code < 0x80)
        return to[0] = (char)code, 1;
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    for (int i = more; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)(lead[more] | code);
    return (size_t)more + 1;
}

/* Behind "\u", of which one that stands for the first half of a character is followed by the
 * second. */
static moco_status_t take_code(parser_t *p, char *to, size_t *length)
{
    int32_t code = take_hex(p);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff))
        return refuse(p, "no character behind \\u");
    if (code == 0)
        return refuse(p, "a zero byte in a string");
    if (code >= 0xd800 && code <= 0xdbff) {
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return refuse(p, "half a character behind \\u");
        p->at += 2;
        const int32_t low = take_hex(p);
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(p, "half a character behind \\u");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *length = put_utf8(code, to);
    return MOCO_OK;
}

static moco_status_t take_escape(parser_t *p, char *to, size_t *length)
{
    static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char c = p->at < p->end ? *p->at : '\0';
    const char *found = c != '\0' ? strchr(from, c) : NULL;
    if (c == 'u') {
        p->at++;
        return take_code(p, to, length);
    }
    if (found == NULL)
        return refuse(p, "an unknown escape in a string");
    p->at++;
    *to = meant[found - from];
    *length = 1;
    return MOCO_OK;
}

/* The string behind a quotation mark, in p->scratch. What it stands for is never longer than what
 * is written. */
static moco_status_t take_string(parser_t *p, size_t *size)
{
    moco_status_t status = MOCO_OK;
    const char *last = p->at;
    size_t used = 0;
    while (last < p->end && *last != '"')
        last += *last == '\\' && p->end - last > 1 ? 2 : 1;
    if (last >= p->end)
        return refuse(p, "a string that does not end");
    TRY(reserve(p, (uint64_t)(last - p->at) + 1));
    while (*p->at != '"') {
        size_t length = 1;
        if (*p->at == '\\') {
            p->at++;
            TRY(take_escape(p, p->scratch + used, &length));
        } else {
            if ((uint8_t)*p->at < ' ')
                return refuse(p, "a control character in a string");
            length = mo_utf8_length(p->at, (size_t)(p->end - p->at));
            if (length == 0)
                return refuse(p, "a string that is not UTF-8");
            memcpy(p->scratch + used, p->at, length);
            p->at += length;
        }
        used += length;
    }
    p->at++;
    p->scratch[used] = '\0';
    *size = used;
cleanup:
    return status;
}

/* ---- numbers ---- */

static const char *past_digits(const parser_t *p, const char *at)
{
    while (is_digit(p, at))
        at++;
    return at;
}

/* The end of the number at p->at, or NULL; *real: it has a fraction or an exponent. */
static const char *end_of_number(const parser_t *p, int *real)
{
    const char *at = p->at + (*p->at == '-');
    if (!is_digit(p, at))
        return NULL;
    at = *at == '0' ? at + 1 : past_digits(p, at);
    if (is_digit(p, at))
        return NULL; /* behind a leading zero */
    *real = 0;
    if (at < p->end && *at == '.') {
        if (!is_digit(p, ++at))
            return NULL;
        at = past_digits(p, at);
        *real = 1;
    }
    if (at < p->end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < p->end && (*at == '+' || *at == '-');
        if (!is_digit(p, at))
            return NULL;
        at = past_digits(p, at);
        *real = 1;
    }
    return at;
}

static moco_status_t take_number(parser_t *p, json_t **out)
{
    moco_status_t status = MOCO_OK;
    int real = 0;
    int64_t whole = 0;
    double value = 0;
    const char *end = end_of_number(p, &real);
    if (end == NULL)
        return refuse(p, "a malformed number");
    for (const char *at = p->at + (*p->at == '-'); !real && at < end; at++) /* downwards: INT64_MIN has no other sign */
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_sub_overflow(whole, *at - '0', &whole))
            return refuse(p, "a number that is too large");
    if (!real && *p->at != '-' && __builtin_sub_overflow(0, whole, &whole))
        return refuse(p, "a number that is too large");
    if (real) {
        TRY(reserve(p, (uint64_t)(end - p->at) + 1));
        memcpy(p->scratch, p->at, (size_t)(end - p->at));
        p->scratch[end - p->at] = '\0';
        if (!mo_read_double(p->scratch, &value) || value - value != 0)
            return refuse(p, "a number that is too large");
    }
    p->at = end;
    *out = real ? json_real(value) : json_integer(whole);
    if (*out == NULL)
        status = no_memory(p);
cleanup:
    return status;
}

/* ---- containers ---- */

static moco_status_t count_item(parser_t *p)
{
    return p->items++ < MO_JSON_MAX_ITEMS ? MOCO_OK : refuse(p, "too many values");
}

static moco_status_t take_member(parser_t *p, int depth, json_t *object)
{
    moco_status_t status = MOCO_OK;
    json_t *value = NULL;
    char *key = NULL;
    size_t size;
    if (!take(p, '"'))
        return refuse(p, "wanted a name in quotation marks");
    TRY(take_string(p, &size));
    if (json_object_get(object, p->scratch) != NULL)
        return refuse(p, "a duplicate name");
    if (mo_strdup(p->scratch, &key) != MOCO_OK)
        return no_memory(p);
    if (!take(p, ':'))
        TRY(refuse(p, "wanted ':'"));
    TRY(take_value(p, depth, &value));
    if (json_object_set_new_nocheck(object, key, value) != 0)
        status = no_memory(p);
cleanup:
    mo_free(key);
    return status;
}

static moco_status_t take_element(parser_t *p, int depth, json_t *array)
{
    json_t *value = NULL;
    moco_status_t status = take_value(p, depth, &value);
    if (status == MOCO_OK && json_array_append_new(array, value) != 0)
        status = no_memory(p);
    return status;
}

/* Behind its first bracket. `close`: '}' of an object, ']' of an array. */
static moco_status_t take_container(parser_t *p, int depth, char close, json_t **out)
{
    moco_status_t status = MOCO_OK;
    json_t *made = close == '}' ? json_object() : json_array();
    if (made == NULL)
        return no_memory(p);
    if (depth == 0)
        TRY(refuse(p, "nested too deeply"));
    if (!take(p, close)) {
        do {
            TRY(count_item(p));
            TRY(close == '}' ? take_member(p, depth - 1, made) : take_element(p, depth - 1, made));
        } while (take(p, ','));
        if (!take(p, close))
            TRY(refuse(p, close == '}' ? "wanted ',' or '}'" : "wanted ',' or ']'"));
    }
    *out = made;
    made = NULL;
cleanup:
    json_decref(made);
    return status;
}

static int take_word(parser_t *p, const char *word)
{
    const size_t size = strlen(word);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, word, size) != 0)
        return 0;
    p->at += size;
    return 1;
}

static moco_status_t take_value(parser_t *p, int depth, json_t **out)
{
    size_t size;
    if (take(p, '{'))
        return take_container(p, depth, '}', out);
    if (take(p, '['))
        return take_container(p, depth, ']', out);
    if (take(p, '"')) {
        const moco_status_t status = take_string(p, &size);
        if (status == MOCO_OK)
            *out = json_stringn_nocheck(p->scratch, size);
        return status != MOCO_OK || *out != NULL ? status : no_memory(p);
    }
    if (p->at < p->end && (*p->at == '-' || is_digit(p, p->at)))
        return take_number(p, out);
    if (take_word(p, "null"))
        *out = json_null();
    else if (take_word(p, "true"))
        *out = json_true();
    else if (take_word(p, "false"))
        *out = json_false();
    else
        return refuse(p, "wanted a value");
    return MOCO_OK;
}

moco_status_t mo_json_load(const char *text, uint64_t size, int depth, json_t **out, char reason[MO_JSON_REASON])
{
    moco_status_t status = MOCO_OK;
    parser_t p = {.start = text, .at = text, .end = text + size, .reason = reason};
    json_t *made = NULL;
    skip_spaces(&p);
    if (p.at == p.end || (*p.at != '{' && *p.at != '['))
        return refuse(&p, "wanted '{' or '['");
    TRY(take_value(&p, depth, &made));
    skip_spaces(&p);
    if (p.at != p.end)
        TRY(refuse(&p, "more than one value"));
    *out = made;
    made = NULL;
cleanup:
    json_decref(made);
    mo_free(p.scratch);
    return status;
}
