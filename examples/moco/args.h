/* Command-line options by table: every command lists its options once, and parsing, range checks,
 * messages and --help all come from that list. */
#ifndef PROGRAM_ARGS_H
#define PROGRAM_ARGS_H

#include <stdint.h>

/* A value of an option that was not given: commands set their integers to this before parsing. */
#define ARG_ABSENT INT64_MIN

typedef enum {
    ARG_FLAG,    /* int *: becomes 1                                                            */
    ARG_TEXT,    /* const char **                                                               */
    ARG_INTEGER, /* int64_t *: within min..max                                                  */
    ARG_NUMBER,  /* double *                                                                    */
    ARG_BYTES,   /* int64_t *: a number with an optional K, M, G or T (powers of 1024)          */
    ARG_CHOICE,  /* int *: position of the word in `value`, such as "cpu|gpu"                   */
    ARG_FIELD,   /* arg_settings_t *: the text becomes the value of trainer option `field`      */
    ARG_SETTING  /* arg_settings_t *: "name=value"                                              */
} arg_kind_t;

typedef struct arg_option {
    const char *name; /* long name without dashes; NULL ends the table */
    char letter;      /* short name, 0 = none                          */
    arg_kind_t kind;
    void *target;
    const char *value; /* how --help shows the value */
    const char *help;
    int64_t min, max;  /* of ARG_INTEGER             */
    const char *field; /* of ARG_FIELD               */
} arg_option_t;

/* Trainer options in the order of the command line, so that the last one wins. */
#define ARG_SETTINGS_MAX 128
typedef struct arg_settings {
    const char *option[ARG_SETTINGS_MAX]; /* as the user wrote it, for messages */
    char name[ARG_SETTINGS_MAX][48];
    const char *value[ARG_SETTINGS_MAX];
    int count;
} arg_settings_t;

typedef struct arg_command {
    const char *name;        /* "train"                                 */
    const char *summary;     /* one line                                */
    const char *positionals; /* "MODEL DATA", as --help shows them      */
    int positional_min, positional_max;
    const arg_option_t *options;
    const char *notes; /* more lines for --help, or NULL                */
} arg_command_t;

#define ARG_GO_ON (-1)

/* Fills the targets and positionals. Returns ARG_GO_ON, or the exit code to end with: 0 after
 * --help, 2 after an error that has been written to stderr. */
int args_parse(const arg_command_t *command, int argc, char **argv, const char **positionals);

/* The candidate (NULL-terminated list) that differs from `word` by a slip of the fingers, or
 * NULL. */
const char *args_nearest(const char *word, const char *const *candidates);

/* "512M" -> 536870912. Returns 0, or -1 if it is not a size. */
int args_bytes(const char *text, int64_t *bytes);

#endif
