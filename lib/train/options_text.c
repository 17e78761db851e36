/* Options as text: values and ranges for messages, parsing by name, JSON for logs and checkpoints. Numbers are always
 * written and read in the C locale: a host may have set another. */
#include "train/options.h"

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

/* ---- numbers ---- */

static int parse_whole(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

static int parse_unsigned(const char *text, uint64_t *value)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') /* strtoull takes "-1" for the largest number */
        return 0;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* ---- one field ---- */

static int32_t name_count(const mo_option_row_t *row)
{
    return (int32_t)row->max + 1;
}

void mo_option_text(const moco_trainer_options_t *options, const mo_option_row_t *row, char text[MO_OPTION_TEXT])
{
    const void *at = (const uint8_t *)options + row->offset;
    if (row->type == MO_OPTION_U64)
        snprintf(text, MO_OPTION_TEXT, "%" PRIu64, *(const uint64_t *)at);
    else if (row->type == MO_OPTION_I64)
        snprintf(text, MO_OPTION_TEXT, "%" PRId64, *(const int64_t *)at);
    else if (row->type == MO_OPTION_F64)
        mo_text_double(*(const double *)at, 0, text);
    else if (row->names != NULL && *(const int32_t *)at >= 0 && *(const int32_t *)at < name_count(row))
        snprintf(text, MO_OPTION_TEXT, "%s", row->names[*(const int32_t *)at]);
    else
        snprintf(text, MO_OPTION_TEXT, "%" PRId32, *(const int32_t *)at);
}

static void append(char *text, uint64_t capacity, const char *more)
{
    uint64_t used = strlen(text);
    snprintf(text + used, capacity - used, "%s", more);
}

void mo_option_range(const mo_option_row_t *row, char *text, uint64_t capacity)
{
    char number[MO_OPTION_TEXT];
    text[0] = '\0';
    for (int32_t i = 0; row->names != NULL && i < name_count(row); i++) {
        append(text, capacity, i > 0 ? ", " : "");
        append(text, capacity, row->names[i]);
    }
    if (row->names != NULL)
        return;
    if (row->type == MO_OPTION_U64) {
        append(text, capacity, "0 to 18446744073709551615");
        return;
    }
    append(text, capacity, row->flags & MO_OPTION_ABOVE_MIN ? "above " : "");
    mo_text_double(row->min, 0, number);
    append(text, capacity, number);
    append(text, capacity, row->flags & MO_OPTION_BELOW_MAX ? " to below " : " to ");
    if (row->type == MO_OPTION_F64)
        mo_text_double(row->max, 0, number);
    else
        snprintf(number, sizeof number, "%.0f", row->max);
    append(text, capacity, number);
}

static int parse_name(const mo_option_row_t *row, const char *value, int64_t *number)
{
    for (*number = 0; *number < name_count(row); (*number)++) {
        if (strcmp(row->names[*number], value) == 0)
            return 1;
    }
    return 0;
}

moco_status_t mo_option_parse(moco_trainer_options_t *options, const mo_option_row_t *row, const char *value)
{
    void *at = (uint8_t *)options + row->offset;
    int64_t whole = 0;
    double decimal = 0;
    int good;
    if (row->type == MO_OPTION_U64)
        good = parse_unsigned(value, at);
    else if (row->type == MO_OPTION_F64)
        good = mo_read_double(value, &decimal);
    else
        good = row->names != NULL ? parse_name(row, value, &whole) : parse_whole(value, &whole);
    if (row->type == MO_OPTION_I32 && (whole < INT32_MIN || whole > INT32_MAX))
        good = 0;
    if (!good) {
        char wanted[160];
        mo_option_range(row, wanted, sizeof wanted);
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is '%.64s', wanted %s", row->name, value, wanted);
    }
    if (row->type == MO_OPTION_F64)
        *(double *)at = decimal;
    else if (row->type == MO_OPTION_I64)
        *(int64_t *)at = whole;
    else if (row->type != MO_OPTION_U64)
        *(int32_t *)at = (int32_t)whole;
    return MOCO_OK;
}

/* ---- JSON ---- */

/* A value as JSON: decimals keep a point or exponent, so that -0.0 and the kind of number survive; JSON has no NaN. */
static void json_text(const moco_trainer_options_t *options, const mo_option_row_t *row, char text[MO_OPTION_TEXT + 4])
{
    char value[MO_OPTION_TEXT];
    mo_option_text(options, row, value);
    if (row->type == MO_OPTION_ENUM || row->type == MO_OPTION_U64)
        snprintf(text, MO_OPTION_TEXT + 4, "\"%s\"", value);
    else if (row->type == MO_OPTION_F64 && !isfinite(mo_option_get(options, row)))
        snprintf(text, MO_OPTION_TEXT + 4, "null");
    else
        snprintf(text, MO_OPTION_TEXT + 4, "%s%s", value,
                 row->type == MO_OPTION_F64 && strpbrk(value, ".e") == NULL ? ".0" : "");
}

moco_status_t mo_options_to_json(const moco_trainer_options_t *options, char **json)
{
    int32_t count;
    const mo_option_row_t *rows = mo_option_rows(&count);
    const uint64_t line = 2 * MO_OPTION_TEXT;
    uint64_t capacity = (uint64_t)count * line + 3;
    char *text = NULL;
    moco_status_t status = mo_calloc(capacity, 1, &text);
    if (status != MOCO_OK)
        return status;
    for (int32_t i = 0; i < count; i++) {
        char value[MO_OPTION_TEXT + 4], item[2 * MO_OPTION_TEXT];
        json_text(options, &rows[i], value);
        snprintf(item, sizeof item, "%s\"%s\": %s", i > 0 ? ", " : "{", rows[i].name, value);
        append(text, capacity, item);
    }
    append(text, capacity, "}");
    *json = text;
    return MOCO_OK;
}

/* The kinds of values that mo_options_to_json writes; a decimal may come as a whole number. */
static moco_status_t read_field(const mo_option_row_t *row, const json_t *value, moco_trainer_options_t *out)
{
    void *at = (uint8_t *)out + row->offset;
    if (json_is_string(value) && (row->type == MO_OPTION_ENUM || row->type == MO_OPTION_U64))
        return mo_option_parse(out, row, json_string_value(value));
    if (json_is_number(value) && row->type == MO_OPTION_F64) {
        *(double *)at = json_number_value(value);
        return MOCO_OK;
    }
    if (json_is_integer(value) && row->type == MO_OPTION_I64) {
        *(int64_t *)at = json_integer_value(value);
        return MOCO_OK;
    }
    long long whole = json_integer_value(value);
    if (json_is_integer(value) && row->type == MO_OPTION_I32 && whole >= INT32_MIN && whole <= INT32_MAX) {
        *(int32_t *)at = (int32_t)whole;
        return MOCO_OK;
    }
    return mo_fail(MOCO_ERR_ARGUMENT, "%s has a value of the wrong kind", row->name);
}

static moco_status_t read_fields(const json_t *object, moco_trainer_options_t *out)
{
    moco_status_t status = MOCO_OK;
    const char *name;
    json_t *value;
    const char *recipe = json_string_value(json_object_get(object, "recipe"));
    int32_t number = recipe != NULL ? mo_recipe_number(recipe) : -1;
    if (number < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "recipe is '%.64s', which is none", recipe != NULL ? recipe : "");
    TRY(mo_options_defaults(number, out));
    json_object_foreach((json_t *)object, name, value)
    {
        const mo_option_row_t *row = mo_option_find(name);
        if (row == NULL)
            return mo_fail(MOCO_ERR_VERSION, "option '%.64s' is unknown: a newer libmoco wrote it", name);
        TRY(read_field(row, value, out));
    }
    TRY(mo_options_check(out));
cleanup:
    return status;
}

moco_status_t mo_options_from_json(const char *json, moco_trainer_options_t *out)
{
    char reason[MO_JSON_REASON] = "another kind of value";
    moco_trainer_options_t made;
    json_t *object = NULL;
    moco_status_t status = mo_json_load(json, strlen(json), 1, &object, reason);
    if (status == MOCO_OK && !json_is_object(object))
        status = MOCO_ERR_FORMAT;
    if (status != MOCO_OK) {
        json_decref(object);
        return mo_fail(status, "options are not a JSON object: %s", reason);
    }
    status = read_fields(object, &made);
    json_decref(object);
    if (status == MOCO_ERR_ARGUMENT) { /* not the caller's argument: the file's content */
        char found[MO_MESSAGE_SIZE];
        mo_message_copy(found);
        return mo_fail(MOCO_ERR_FORMAT, "options in a file: %.400s", found);
    }
    if (status == MOCO_OK)
        *out = made;
    return status;
}
