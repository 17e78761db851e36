/* Defaults, the struct_size rule, checks and comparisons of options structs, by walking their
 * tables. */
#include "util/options.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "util/number.h"
#include "util/status.h"
#include "util/structsize.h"
#include "util/suggest.h"

/* Space for any options struct: tests compare it with all of them. */
typedef struct any_options {
    _Alignas(8) uint8_t bytes[MO_OPTION_STRUCT_SIZE];
} any_options_t;

/* ---- rows ---- */

const mo_option_row_t *mo_option_find(const mo_option_table_t *table, const char *name)
{
    for (const mo_option_alias_t *a = table->aliases; a != NULL && a->name != NULL; a++)
        name = strcmp(a->old, name) == 0 ? a->name : name;
    for (int32_t i = 0; i < table->count; i++) {
        if (strcmp(table->rows[i].name, name) == 0)
            return &table->rows[i];
    }
    return NULL;
}

static const mo_option_row_t *preset_row(const mo_option_table_t *table)
{
    for (int32_t i = 0; i < table->count; i++) {
        if (table->rows[i].type == MO_OPTION_PRESET)
            return &table->rows[i];
    }
    return NULL;
}

static void *field(void *options, const mo_option_row_t *row)
{
    return (uint8_t *)options + row->offset;
}

/* A number that is out of range is for the row of that field to refuse. */
static int32_t used_items(const void *options, const mo_option_row_t *row)
{
    int32_t used;
    memcpy(&used, (const uint8_t *)options + row->used, sizeof used);
    return used < 0 || used > (int32_t)row->items ? 0 : used;
}

static uint64_t field_size(const mo_option_row_t *row)
{
    switch (row->type) {
    case MO_OPTION_I32:
    case MO_OPTION_ENUM:
    case MO_OPTION_PRESET: return sizeof(int32_t);
    case MO_OPTION_LIST: return row->items * sizeof(double);
    case MO_OPTION_POINTER: return sizeof(void *);
    default: return sizeof(double);
    }
}

double mo_option_get(const void *options, const mo_option_row_t *row)
{
    const void *at = (const uint8_t *)options + row->offset;
    switch (row->type) {
    case MO_OPTION_U64: return (double)*(const uint64_t *)at;
    case MO_OPTION_I64: return (double)*(const int64_t *)at;
    case MO_OPTION_F64:
    case MO_OPTION_LIST: return *(const double *)at;
    case MO_OPTION_POINTER: return 0;
    default: return *(const int32_t *)at;
    }
}

void mo_option_put(void *options, const mo_option_row_t *row, double value)
{
    switch (row->type) {
    case MO_OPTION_U64: *(uint64_t *)field(options, row) = (uint64_t)value; break;
    case MO_OPTION_I64: *(int64_t *)field(options, row) = (int64_t)value; break;
    case MO_OPTION_F64:
    case MO_OPTION_LIST: *(double *)field(options, row) = value; break;
    case MO_OPTION_POINTER: break;
    default: *(int32_t *)field(options, row) = (int32_t)value;
    }
}

int32_t mo_preset_count(const mo_option_table_t *table)
{
    int32_t count = 0;
    while (table->presets != NULL && table->presets[count].name != NULL)
        count++;
    return count;
}

const mo_preset_t *mo_preset_find(const mo_option_table_t *table, int32_t number)
{
    for (int32_t i = 0; i < mo_preset_count(table); i++) {
        if (table->presets[i].number == number)
            return &table->presets[i];
    }
    return NULL;
}

const mo_preset_t *mo_preset_named(const mo_option_table_t *table, const char *name)
{
    for (int32_t i = 0; i < mo_preset_count(table); i++) {
        if (strcmp(table->presets[i].name, name) == 0)
            return &table->presets[i];
    }
    return NULL;
}

/* ---- defaults ---- */

/* "recipe is 9, wanted moco-v1 (0), moco-v2 (1) or moco-cifar (2)" */
static moco_status_t no_preset(const mo_option_table_t *table, int32_t number)
{
    char known[MO_MESSAGE_SIZE] = "";
    const int32_t count = mo_preset_count(table);
    size_t length = 0;
    for (int32_t i = 0; i < count && length < sizeof known; i++) {
        const char *join = i == 0 ? "" : i == count - 1 ? " or " : ", ";
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s (%d)", join, table->presets[i].name,
                                   (int)table->presets[i].number);
    }
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %d, wanted %s", preset_row(table)->name, (int)number, known);
}

static void apply(const mo_option_table_t *table, const mo_preset_t *preset, void *options)
{
    if (preset->base != NULL)
        apply(table, preset->base, options);
    for (const mo_override_t *change = preset->changes; change->name != NULL; change++)
        mo_option_put(options, mo_option_find(table, change->name), change->value);
}

moco_status_t mo_option_defaults(const mo_option_table_t *table, int32_t number, void *out)
{
    const mo_preset_t *preset = mo_preset_find(table, number);
    if (table->presets != NULL && preset == NULL)
        return no_preset(table, number);
    memset(out, 0, table->size);
    memcpy(out, &table->size, sizeof table->size);
    for (int32_t i = 0; i < table->count; i++)
        mo_option_put(out, &table->rows[i], table->rows[i].initial);
    if (preset != NULL) {
        apply(table, preset, out);
        mo_option_put(out, preset_row(table), number);
    }
    return MOCO_OK;
}

moco_status_t mo_option_init(const mo_option_table_t *table, int32_t number, void *options, uint64_t struct_size)
{
    any_options_t defaults;
    moco_status_t status = mo_option_defaults(table, number, &defaults);
    return status == MOCO_OK ? mo_struct_init(options, struct_size, &defaults, table->size) : status;
}

/* Which preset the caller's bytes name: its other fields have that one's defaults. */
static moco_status_t preset_of(const mo_option_table_t *table, const void *caller, int32_t *number)
{
    const mo_option_row_t *row = preset_row(table);
    uint64_t struct_size = 0;
    *number = table->usual;
    if (caller == NULL && row != NULL && table->usual < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "options is NULL");
    if (caller == NULL || row == NULL)
        return MOCO_OK;
    memcpy(&struct_size, caller, sizeof struct_size);
    if (struct_size >= row->offset + field_size(row))
        *number = (int32_t)mo_option_get(caller, row);
    else if (table->usual < 0)
        return mo_fail(MOCO_ERR_ARGUMENT, "struct_size is %llu: fill options with %s_init first",
                       (unsigned long long)struct_size, table->name);
    return MOCO_OK;
}

moco_status_t mo_option_overlay(const mo_option_table_t *table, const void *caller, void *full)
{
    any_options_t defaults;
    moco_status_t status = MOCO_OK;
    int32_t number;
    TRY(preset_of(table, caller, &number));
    TRY(mo_option_defaults(table, number, &defaults));
    TRY(mo_struct_overlay(caller, full, &defaults, table->size));
cleanup:
    return status;
}

/* ---- checks ---- */

static int in_range(const mo_option_row_t *row, double value)
{
    if ((row->flags & MO_OPTION_OR_ZERO && value == 0) || (row->flags & MO_OPTION_OR_MINUS_1 && value == -1))
        return 1;
    const int low = row->flags & MO_OPTION_ABOVE_MIN ? value > row->min : value >= row->min;
    const int high = row->flags & MO_OPTION_BELOW_MAX ? value < row->max : value <= row->max;
    return low && high && isfinite(value);
}

static moco_status_t out_of_range(const mo_option_table_t *table, const mo_option_row_t *row, const char *name,
                                  const char *found)
{
    char wanted[MO_OPTION_TEXT];
    mo_option_range(table, row, wanted);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %s, wanted %s", name, found, wanted);
}

static moco_status_t check_list(const mo_option_table_t *table, const void *options, const mo_option_row_t *row)
{
    const double *values = (const double *)((const uint8_t *)options + row->offset);
    for (int32_t i = 0; i < used_items(options, row); i++) {
        char name[80], found[MO_NUMBER_TEXT];
        if (in_range(row, values[i]))
            continue;
        snprintf(name, sizeof name, "%s[%d]", row->name, (int)i);
        mo_text_double(values[i], 0, found);
        return out_of_range(table, row, name, found);
    }
    return MOCO_OK;
}

static moco_status_t check_row(const mo_option_table_t *table, const void *options, const mo_option_row_t *row)
{
    const double value = mo_option_get(options, row);
    char found[MO_OPTION_TEXT];
    int good = 1;
    switch (row->type) {
    case MO_OPTION_U64:
    case MO_OPTION_POINTER: break;
    case MO_OPTION_PRESET:
        return mo_preset_find(table, (int32_t)value) != NULL ? MOCO_OK : no_preset(table, (int32_t)value);
    case MO_OPTION_LIST: return check_list(table, options, row);
    case MO_OPTION_ENUM: good = value >= 0 && value <= row->max && row->names[(int32_t)value] != NULL; break;
    default: good = in_range(row, value);
    }
    if (good)
        return MOCO_OK;
    mo_option_text(table, options, row, found);
    return out_of_range(table, row, row->name, found);
}

moco_status_t mo_option_check_ranges(const mo_option_table_t *table, const void *options)
{
    moco_status_t status = MOCO_OK;
    for (int32_t i = 0; i < table->count && status == MOCO_OK; i++)
        status = check_row(table, options, &table->rows[i]);
    return status;
}

moco_status_t mo_option_check(const mo_option_table_t *table, const void *options)
{
    const moco_status_t status = mo_option_check_ranges(table, options);
    return status == MOCO_OK && table->agree != NULL ? table->agree(options) : status;
}

moco_status_t mo_option_resolve(const mo_option_table_t *table, const void *caller, void *full)
{
    const moco_status_t status = mo_option_overlay(table, caller, full);
    return status == MOCO_OK ? mo_option_check(table, full) : status;
}

moco_status_t mo_option_at_least(const char *name, double value, const char *low_name, double low)
{
    char found[MO_NUMBER_TEXT], least[MO_NUMBER_TEXT];
    if (value >= low)
        return MOCO_OK;
    mo_text_double(value, 0, found);
    mo_text_double(low, 0, least);
    return mo_fail(MOCO_ERR_ARGUMENT, "%s is %s, wanted at least %s %s", name, found, low_name, least);
}

/* ---- by name ---- */

static moco_status_t unknown(const mo_option_table_t *table, const char *name)
{
    char near[MO_DID_YOU_MEAN];
    mo_did_you_mean(name, &table->rows[0].name, sizeof table->rows[0], (size_t)table->count, near);
    return mo_fail(MOCO_ERR_ARGUMENT, "there is no option '%.64s'%s", name,
                   near[0] != '\0' ? near : "; docs/options.md lists them");
}

moco_status_t mo_option_set(const mo_option_table_t *table, void *options, const char *name, const char *value)
{
    const mo_option_row_t *row = mo_option_find(table, name);
    any_options_t trial = {{0}};
    uint64_t struct_size;
    moco_status_t status = MOCO_OK;
    if (row == NULL)
        return unknown(table, name);
    if (row->type == MO_OPTION_PRESET)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is chosen by %s_init and cannot be set to '%.64s'", row->name,
                       table->name, value);
    if (row->type == MO_OPTION_POINTER)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is a pointer of the calling program and has no text", row->name);
    memcpy(&struct_size, options, sizeof struct_size);
    if (row->offset + field_size(row) > struct_size)
        return mo_fail(MOCO_ERR_VERSION, "option %s is newer than your header, whose struct_size is %llu", row->name,
                       (unsigned long long)struct_size);
    TRY(mo_option_parse(table, &trial, row, value));
    TRY(check_row(table, &trial, row));
    memcpy(field(options, row), field(&trial, row), field_size(row));
    if (row->type == MO_OPTION_LIST)
        memcpy((uint8_t *)options + row->used, trial.bytes + row->used, sizeof(int32_t));
cleanup:
    return status;
}

moco_status_t mo_option_compare(const mo_option_table_t *table, const void *saved, const void *now)
{
    for (int32_t i = 0; i < table->count; i++) {
        const mo_option_row_t *row = &table->rows[i];
        const void *a = (const uint8_t *)saved + row->offset, *b = (const uint8_t *)now + row->offset;
        char was[MO_OPTION_TEXT], is[MO_OPTION_TEXT];
        if (row->flags & MO_OPTION_FREE || memcmp(a, b, field_size(row)) == 0)
            continue;
        mo_option_text(table, saved, row, was);
        mo_option_text(table, now, row, is);
        return mo_fail(MOCO_ERR_MISMATCH, "%s is %.150s in the checkpoint, %.150s now", row->name, was, is);
    }
    return MOCO_OK;
}
