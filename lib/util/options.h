/* Options structs as data. A table has one row per field; it drives defaults, named sets of values
 * (presets: recipes, protocols), the struct_size rule, range checks, setting by name, JSON and
 * docs/options.md. Tables stand beside what they configure; the border (lib/api/options.c) lists
 * them all. Assumes structs that begin with uint64_t struct_size, have no padding and only grow at
 * the end. */
#ifndef MO_UTIL_OPTIONS_H
#define MO_UTIL_OPTIONS_H

#include <stdint.h>
#include <moco/status.h>

typedef enum mo_option_type {
    MO_OPTION_U64,
    MO_OPTION_I64,
    MO_OPTION_I32,
    MO_OPTION_ENUM,   /* int32, in text by name                                                          */
    MO_OPTION_PRESET, /* the same; its values are the table's presets, chosen by _init                   */
    MO_OPTION_F64,
    MO_OPTION_LIST,   /* doubles; another field of the struct, an int32, says how many of them are in use */
    MO_OPTION_POINTER /* of the caller's process: NULL by default, no text, not in JSON                  */
} mo_option_type_t;

enum {
    MO_OPTION_ABOVE_MIN = 1,  /* min itself is not allowed                              */
    MO_OPTION_BELOW_MAX = 2,  /* max itself is not allowed                              */
    MO_OPTION_OR_ZERO = 4,    /* 0 is allowed, too                                      */
    MO_OPTION_OR_MINUS_1 = 8, /* -1 is allowed, too                                     */
    MO_OPTION_FREE = 16       /* may differ between a checkpoint and its resumption     */
};

typedef struct mo_option_row {
    const char *name;
    uint32_t offset; /* in the struct */
    mo_option_type_t type;
    double initial;  /* every default is exact in a double */
    double min, max; /* neither for U64, whose values are all good, nor for ENUM and PRESET */
    int flags;
    const char *const *names; /* ENUM: [max + 1] by number; NULL where a number has no meaning here */
    const char *unit;         /* "" without one */
    const char *meaning;
    uint32_t items, used; /* LIST: doubles there is space for; where before them their number in use is */
} mo_option_row_t;

/* One value that a preset changes. */
typedef struct mo_override {
    const char *name;
    double value;
} mo_override_t;

typedef struct mo_preset {
    int32_t number; /* value of the PRESET field */
    const char *name;
    const char *source;           /* where the values come from, for docs/options.md           */
    const struct mo_preset *base; /* what is changed: another one, or NULL for the rows' defaults */
    const mo_override_t *changes; /* up to a NULL name */
} mo_preset_t;

/* An older name of a field, which files and callers may still use. */
typedef struct mo_option_alias {
    const char *old, *name;
} mo_option_alias_t;

typedef struct mo_option_table {
    const char *name; /* of the struct without its _t: "moco_trainer_options" */
    uint64_t size;
    const mo_option_row_t *rows; /* in the order of the struct */
    int32_t count;
    const mo_preset_t *presets;       /* up to a NULL name; NULL without, else the struct has one PRESET field */
    int32_t usual;                    /* number of the preset of callers without options; -1: options must be given */
    const mo_option_alias_t *aliases; /* up to a NULL name; may be NULL */
    /* Fields that must agree, after all ranges were checked; may be NULL. */
    moco_status_t (*agree)(const void *options);
    const char *agreement; /* the same in words for docs/options.md, "" without */
} mo_option_table_t;

/* No options struct is larger. */
#define MO_OPTION_STRUCT_SIZE 4096

/* For tables: #define AT(field) MO_OPTION_AT(moco_run_options_t, field), and {AT(epochs),
 * MO_OPTION_I32, …}. */
#define MO_OPTION_AT(type, field) .name = #field, .offset = offsetof(type, field)
/* min, max, flags and names of an ENUM from its array of names. */
#define MO_OPTION_NAMES(list) 0, sizeof(list) / sizeof(list)[0] - 1, 0, list
#define MO_OPTION_ROWS(list) .rows = list, .count = sizeof(list) / sizeof(list)[0]

/* ---- rows ---- */

/* By its name or an older one; NULL if unknown. */
const mo_option_row_t *mo_option_find(const mo_option_table_t *table, const char *name);
/* A field as a number; integers up to 2^53 and enumerations are exact. Of a list its first item, of
 * pointers 0. */
double mo_option_get(const void *options, const mo_option_row_t *row);
void mo_option_put(void *options, const mo_option_row_t *row, double value);
int32_t mo_preset_count(const mo_option_table_t *table);
const mo_preset_t *mo_preset_find(const mo_option_table_t *table, int32_t number);
const mo_preset_t *mo_preset_named(const mo_option_table_t *table, const char *name);

/* ---- whole structs (options.c) ---- */

/* `preset` is not looked at where the table has none. */
moco_status_t mo_option_defaults(const mo_option_table_t *table, int32_t preset, void *out);
/* What every _init does: as many bytes of the defaults as the caller's struct has. */
moco_status_t mo_option_init(const mo_option_table_t *table, int32_t preset, void *options, uint64_t struct_size);
/* The struct_size rule: the caller's bytes over the defaults of the preset they name. caller NULL =
 * the usual ones. */
moco_status_t mo_option_overlay(const mo_option_table_t *table, const void *caller, void *full);
/* Ranges, then fields that must agree. Messages: "epochs is 0, wanted 1 to 1000000". */
moco_status_t mo_option_check(const mo_option_table_t *table, const void *options);
moco_status_t mo_option_check_ranges(const mo_option_table_t *table, const void *options);
/* Overlay and check: what every call that takes options does first. */
moco_status_t mo_option_resolve(const mo_option_table_t *table, const void *caller, void *full);
/* One field from text, range checked; a failed call changes nothing. Near names are suggested for
 * unknown ones. */
moco_status_t mo_option_set(const mo_option_table_t *table, void *options, const char *name, const char *value);
/* MOCO_ERR_MISMATCH names the first differing field and both values; fields marked FREE may
 * differ. */
moco_status_t mo_option_compare(const mo_option_table_t *table, const void *saved, const void *now);
/* For agree: MOCO_ERR_ARGUMENT "crop_max_area is 0.1, wanted at least crop_min_area 0.2". */
moco_status_t mo_option_at_least(const char *name, double value, const char *low_name, double low);

/* ---- as text (options_text.c) ---- */

/* Space for any value as text: 16 decimals. */
#define MO_OPTION_TEXT 448
/* Decimals are the shortest that read back to the same bits, whatever the host's locale. */
void mo_option_text(const mo_option_table_t *table, const void *options, const mo_option_row_t *row,
                    char text[MO_OPTION_TEXT]);
/* "0.001 to 1000", "linear, mlp", "16 to 1024, or 0". */
void mo_option_range(const mo_option_table_t *table, const mo_option_row_t *row, char text[MO_OPTION_TEXT]);
/* Read `value` into the field; what cannot be read is refused, ranges are not checked. */
moco_status_t mo_option_parse(const mo_option_table_t *table, void *options, const mo_option_row_t *row,
                              const char *value);
/* One JSON object in a new string (mo_free): names for enumerations, lists as arrays, uint64 as a
 * decimal string, for readers whose numbers are doubles. */
moco_status_t mo_option_to_json(const mo_option_table_t *table, const void *options, char **json);
/* Back to the same bits. Fields that an older library did not write keep their preset's value;
 * unknown ones are MOCO_ERR_VERSION; anything else wrong is MOCO_ERR_FORMAT. */
moco_status_t mo_option_from_json(const mo_option_table_t *table, const char *json, void *out);

#endif
