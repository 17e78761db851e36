/* Options as text: values and ranges for messages, parsing, JSON for logs and checkpoints. Numbers
 * are always written and read in the C locale: a host may have set another. */
#include "util/options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/json.h"
#include "util/number.h"
#include "util/status.h"
#include "util/suggest.h"

/* ---- numbers ---- */

/* "1e3" and "1000.0" are whole numbers too, as long as a double holds them exactly. */
static int parse_whole_decimal(const char *text, int64_t *value)
{
    double number;
    if (strpbrk(text, "xX") != NULL || !mo_read_double(text, &number))
        return 0;
    if (!(fabs(number) <= 0x1p53) || number != floor(number))
        return 0;
    *value = (int64_t)number;
    return 1;
}

static int parse_whole(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return (end != text && *end == '\0' && errno == 0) || parse_whole_decimal(text, value);
}

static int parse_unsigned(const char *text, uint64_t *value)
{
    char *end;
    int64_t whole;
    if (text[0] < '0' || text[0] > '9') /* strtoull takes "-1" for the largest number */
        return 0;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (*end == '\0' && errno == 0)
        return 1;
    if (!parse_whole_decimal(text, &whole))
        return 0;
    *value = (uint64_t)whole;
    return 1;
}

static void append(char *text, uint64_t capacity, const char *more)
{
    uint64_t used = strlen(text);
    snprintf(text + used, capacity - used, "%s", more);
}

/* ---- names ---- */

static int has_names(const mo_option_row_t *row)
{
    return row->type == MO_OPTION_ENUM || row->type == MO_OPTION_PRESET;
}

/* NULL where a number has none. */
static const char *name_of(const mo_option_table_t *table, const mo_option_row_t *row, int32_t number)
{
    if (row->type == MO_OPTION_PRESET) {
        const mo_preset_t *preset = mo_preset_find(table, number);
        return preset != NULL ? preset->name : NULL;
    }
    return has_names(row) && number >= 0 && number <= row->max ? row->names[number] : NULL;
}

static int parse_name(const mo_option_table_t *table, const mo_option_row_t *row, const char *value, int64_t *number)
{
    if (row->type == MO_OPTION_PRESET) {
        const mo_preset_t *preset = mo_preset_named(table, value);
        *number = preset != NULL ? preset->number : -1;
        return preset != NULL;
    }
    for (*number = 0; *number <= row->max; (*number)++) {
        if (row->names[*number] != NULL && strcmp(row->names[*number], value) == 0)
            return 1;
    }
    return 0;
}

/* "; did you mean 'resnet50'?" after the value of an enumeration. */
static void suggest(const mo_option_row_t *row, const char *value, char text[MO_DID_YOU_MEAN])
{
    text[0] = '\0';
    if (row->type == MO_OPTION_ENUM)
        mo_did_you_mean(value, row->names, sizeof row->names[0], (size_t)row->max + 1, text);
}

/* ---- one field ---- */

static void list_text(const void *options, const mo_option_row_t *row, const char *join, char text[MO_OPTION_TEXT])
{
    const double *values = (const double *)((const uint8_t *)options + row->offset);
    int32_t used;
    memcpy(&used, (const uint8_t *)options + row->used, sizeof used);
    text[0] = '\0';
    for (int32_t i = 0; i < used && i < (int32_t)row->items; i++) {
        char number[MO_NUMBER_TEXT];
        mo_text_double(values[i], 0, number);
        append(text, MO_OPTION_TEXT, i > 0 ? join : "");
        append(text, MO_OPTION_TEXT, number);
    }
}

void mo_option_text(const mo_option_table_t *table, const void *options, const mo_option_row_t *row,
                    char text[MO_OPTION_TEXT])
{
    const void *at = (const uint8_t *)options + row->offset;
    const char *name;
    switch (row->type) {
    case MO_OPTION_U64: snprintf(text, MO_OPTION_TEXT, "%" PRIu64, *(const uint64_t *)at); break;
    case MO_OPTION_I64: snprintf(text, MO_OPTION_TEXT, "%" PRId64, *(const int64_t *)at); break;
    case MO_OPTION_F64: mo_text_double(*(const double *)at, 0, text); break;
    case MO_OPTION_LIST: list_text(options, row, ",", text); break;
    case MO_OPTION_POINTER: snprintf(text, MO_OPTION_TEXT, "NULL"); break;
    default:
        name = name_of(table, row, *(const int32_t *)at);
        if (name != NULL)
            snprintf(text, MO_OPTION_TEXT, "%s", name);
        else
            snprintf(text, MO_OPTION_TEXT, "%" PRId32, *(const int32_t *)at);
    }
}

static void range_of_names(const mo_option_table_t *table, const mo_option_row_t *row, char text[MO_OPTION_TEXT])
{
    const int32_t count = row->type == MO_OPTION_PRESET ? mo_preset_count(table) : (int32_t)row->max + 1;
    for (int32_t i = 0; i < count; i++) {
        const char *name = row->type == MO_OPTION_PRESET ? table->presets[i].name : row->names[i];
        if (name == NULL)
            continue;
        append(text, MO_OPTION_TEXT, text[0] != '\0' ? ", " : "");
        append(text, MO_OPTION_TEXT, name);
    }
}

/* Ends of a range; a double cannot hold the largest int64 but in this way. */
static void end_text(const mo_option_row_t *row, double value, char text[MO_NUMBER_TEXT])
{
    if (row->type == MO_OPTION_I64 && value >= 0x1p63)
        snprintf(text, MO_NUMBER_TEXT, "%" PRId64, INT64_MAX);
    else if (row->type == MO_OPTION_F64 || row->type == MO_OPTION_LIST)
        mo_text_double(value, 0, text);
    else
        snprintf(text, MO_NUMBER_TEXT, "%.0f", value);
}

void mo_option_range(const mo_option_table_t *table, const mo_option_row_t *row, char text[MO_OPTION_TEXT])
{
    char low[MO_NUMBER_TEXT], high[MO_NUMBER_TEXT];
    text[0] = '\0';
    if (has_names(row)) {
        range_of_names(table, row, text);
        return;
    }
    if (row->type == MO_OPTION_U64)
        append(text, MO_OPTION_TEXT, "0 to 18446744073709551615");
    if (row->type == MO_OPTION_U64 || row->type == MO_OPTION_POINTER)
        return;
    end_text(row, row->min, low);
    end_text(row, row->max, high);
    snprintf(text, MO_OPTION_TEXT, "%s%s to %s%s%s%s", row->flags & MO_OPTION_ABOVE_MIN ? "above " : "", low,
             row->flags & MO_OPTION_BELOW_MAX ? "below " : "", high, row->flags & MO_OPTION_OR_ZERO ? ", or 0" : "",
             row->flags & MO_OPTION_OR_MINUS_1 ? ", or -1" : "");
}

/* "0.1,0.3": all of them, and their number. */
static int parse_list(void *options, const mo_option_row_t *row, const char *value)
{
    double *values = (double *)((uint8_t *)options + row->offset);
    int32_t used = 0;
    while (*value != '\0') {
        char item[MO_NUMBER_TEXT];
        const size_t length = strcspn(value, ",");
        if (used == (int32_t)row->items || length >= sizeof item)
            return 0;
        memcpy(item, value, length);
        item[length] = '\0';
        if (!mo_read_double(item, &values[used++]))
            return 0;
        value += length;
        if (*value == ',' && *++value == '\0')
            return 0;
    }
    memcpy((uint8_t *)options + row->used, &used, sizeof used);
    return used > 0;
}

/* "2G", "1.5 GiB": a whole number of bytes. */
static int parse_size(const char *text, int64_t *value)
{
    static const char units[] = "KMGT";
    char number[MO_NUMBER_TEXT];
    double size;
    const size_t length = strspn(text, "0123456789.");
    if (length == 0 || length >= sizeof number)
        return 0;
    memcpy(number, text, length);
    number[length] = '\0';
    text += length + strspn(text + length, " ");
    const char *unit = *text != '\0' ? strchr(units, *text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text) : NULL;
    if (unit != NULL)
        text += text[1] == 'i' ? 2 : 1;
    if (*text == 'B' || *text == 'b')
        text++;
    if (*text != '\0' || !mo_read_double(number, &size))
        return 0;
    size = unit != NULL ? ldexp(size, 10 * (int)(unit - units + 1)) : size;
    *value = size < 0x1p63 ? (int64_t)size : 0;
    return size < 0x1p63 && (double)*value == size;
}

/* 0 and 1 may be written as words. */
static int parse_switch(const mo_option_row_t *row, const char *text, int64_t *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; row->min == 0 && row->max == 1 && i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = (int64_t)(i % 2);
            return 1;
        }
    }
    return 0;
}

static moco_status_t refuse(const mo_option_table_t *table, const mo_option_row_t *row, const char *value)
{
    char wanted[MO_OPTION_TEXT], near[MO_DID_YOU_MEAN];
    mo_option_range(table, row, wanted);
    suggest(row, value, near);
    if (row->type == MO_OPTION_LIST)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is '%.64s', wanted 1 to %u numbers with commas between them, each %s",
                       row->name, value, row->items, wanted);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is '%.64s', wanted %s%s", row->name, value, wanted, near);
}

moco_status_t mo_option_parse(const mo_option_table_t *table, void *options, const mo_option_row_t *row,
                              const char *value)
{
    void *at = (uint8_t *)options + row->offset;
    int64_t whole = 0;
    int good;
    switch (row->type) {
    case MO_OPTION_U64: good = parse_unsigned(value, at); break;
    case MO_OPTION_F64: good = mo_read_double(value, at); break;
    case MO_OPTION_LIST: good = parse_list(options, row, value); break;
    case MO_OPTION_I64:
        good = parse_whole(value, &whole) || (strcmp(row->unit, "bytes") == 0 && parse_size(value, &whole));
        if (good)
            *(int64_t *)at = whole;
        break;
    case MO_OPTION_POINTER: good = 0; break;
    default:
        good = has_names(row) ? parse_name(table, row, value, &whole)
                              : parse_whole(value, &whole) || parse_switch(row, value, &whole);
        good = good && whole >= INT32_MIN && whole <= INT32_MAX;
        if (good)
            *(int32_t *)at = (int32_t)whole;
    }
    return good ? MOCO_OK : refuse(table, row, value);
}

/* ---- JSON ---- */

/* A decimal keeps a point or exponent, so that -0.0 and the kind of number survive; JSON has no
 * NaN. */
static void json_decimal(double value, char text[MO_NUMBER_TEXT + 4])
{
    char number[MO_NUMBER_TEXT];
    mo_text_double(value, 0, number);
    if (!isfinite(value))
        snprintf(text, MO_NUMBER_TEXT + 4, "null");
    else
        snprintf(text, MO_NUMBER_TEXT + 4, "%s%s", number, strpbrk(number, ".e") == NULL ? ".0" : "");
}

#define JSON_TEXT (2 * MO_OPTION_TEXT) /* a name, a value and what is round them */

static void json_value(const mo_option_table_t *table, const void *options, const mo_option_row_t *row,
                       char text[JSON_TEXT])
{
    char value[MO_OPTION_TEXT];
    if (row->type == MO_OPTION_F64) {
        json_decimal(mo_option_get(options, row), text);
        return;
    }
    if (row->type == MO_OPTION_LIST)
        list_text(options, row, ", ", value);
    else
        mo_option_text(table, options, row, value);
    const char *open = row->type == MO_OPTION_LIST ? "[" : has_names(row) || row->type == MO_OPTION_U64 ? "\"" : "";
    snprintf(text, JSON_TEXT, "%s%s%s", open, value, *open == '[' ? "]" : open);
}

moco_status_t mo_option_to_json(const mo_option_table_t *table, const void *options, char **json)
{
    uint64_t capacity = (uint64_t)table->count * JSON_TEXT + 3, used = 0;
    char *text = NULL;
    moco_status_t status = mo_calloc(capacity, 1, &text);
    if (status != MOCO_OK)
        return status;
    for (int32_t i = 0; i < table->count; i++) {
        char value[JSON_TEXT];
        if (table->rows[i].type == MO_OPTION_POINTER)
            continue;
        json_value(table, options, &table->rows[i], value);
        used += (uint64_t)snprintf(text + used, capacity - used, "%s\"%s\": %s", used > 0 ? ", " : "{",
                                   table->rows[i].name, value);
    }
    append(text + used, capacity - used, used > 0 ? "}" : "{}");
    *json = text;
    return MOCO_OK;
}

static int read_list(const mo_option_row_t *row, const json_t *value, void *out)
{
    double *values = (double *)((uint8_t *)out + row->offset);
    const int32_t used = (int32_t)json_array_size(value);
    if (!json_is_array(value) || json_array_size(value) > row->items)
        return 0;
    for (int32_t i = 0; i < used; i++) {
        if (!json_is_number(json_array_get(value, (size_t)i)))
            return 0;
        values[i] = json_number_value(json_array_get(value, (size_t)i));
    }
    memcpy((uint8_t *)out + row->used, &used, sizeof used);
    return 1;
}

/* The kinds of values that mo_option_to_json writes; a decimal may come as a whole number. */
static moco_status_t read_field(const mo_option_table_t *table, const mo_option_row_t *row, const json_t *value,
                                void *out)
{
    void *at = (uint8_t *)out + row->offset;
    const long long whole = json_integer_value(value);
    int good = 0;
    switch (row->type) {
    case MO_OPTION_ENUM:
    case MO_OPTION_PRESET:
    case MO_OPTION_U64:
        if (json_is_string(value))
            return mo_option_parse(table, out, row, json_string_value(value));
        break;
    case MO_OPTION_F64:
        if ((good = json_is_number(value)))
            *(double *)at = json_number_value(value);
        break;
    case MO_OPTION_LIST: good = read_list(row, value, out); break;
    case MO_OPTION_I64:
        if ((good = json_is_integer(value)))
            *(int64_t *)at = whole;
        break;
    case MO_OPTION_POINTER: break;
    case MO_OPTION_I32:
        if ((good = json_is_integer(value) && whole >= INT32_MIN && whole <= INT32_MAX))
            *(int32_t *)at = (int32_t)whole;
        break;
    }
    return good ? MOCO_OK : mo_fail(MOCO_ERR_ARGUMENT, "%s has a value of the wrong kind", row->name);
}

/* Of the table's usual preset, or of the one that the object names. */
static moco_status_t read_preset(const mo_option_table_t *table, const json_t *object, void *out)
{
    int32_t number = table->usual;
    for (int32_t i = 0; i < table->count; i++) {
        const mo_option_row_t *row = &table->rows[i];
        const char *name = json_string_value(json_object_get(object, row->name));
        if (row->type != MO_OPTION_PRESET)
            continue;
        const mo_preset_t *preset = mo_preset_named(table, name != NULL ? name : "");
        if (preset == NULL)
            return mo_fail(MOCO_ERR_ARGUMENT, "%s is '%.64s', which is none", row->name, name != NULL ? name : "");
        number = preset->number;
    }
    return mo_option_defaults(table, number, out);
}

static moco_status_t read_fields(const mo_option_table_t *table, const json_t *object, void *out)
{
    moco_status_t status = MOCO_OK;
    const char *name;
    json_t *value;
    TRY(read_preset(table, object, out));
    json_object_foreach((json_t *)object, name, value)
    {
        const mo_option_row_t *row = mo_option_find(table, name);
        if (row == NULL)
            return mo_fail(MOCO_ERR_VERSION, "option '%.64s' is unknown: a newer libmoco wrote it", name);
        TRY(read_field(table, row, value, out));
    }
    TRY(mo_option_check(table, out));
cleanup:
    return status;
}

moco_status_t mo_option_from_json(const mo_option_table_t *table, const char *json, void *out)
{
    _Alignas(8) uint8_t made[MO_OPTION_STRUCT_SIZE];
    char reason[MO_JSON_REASON] = "another kind of value";
    json_t *object = NULL;
    moco_status_t status = mo_json_load(json, strlen(json), 2, &object, reason);
    if (status == MOCO_OK && !json_is_object(object))
        status = MOCO_ERR_FORMAT;
    if (status != MOCO_OK) {
        json_decref(object);
        return mo_fail(status, "options are not a JSON object: %s", reason);
    }
    status = read_fields(table, object, made);
    json_decref(object);
    if (status == MOCO_ERR_ARGUMENT) { /* not the caller's argument: the file's content */
        char found[MO_MESSAGE_SIZE];
        mo_message_copy(found);
        return mo_fail(MOCO_ERR_FORMAT, "options in a file: %.400s", found);
    }
    if (status == MOCO_OK)
        memcpy(out, made, table->size);
    return status;
}
