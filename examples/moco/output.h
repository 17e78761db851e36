/* Results on stdout: JSON objects, one per line, or the same as aligned text. */
#ifndef PROGRAM_OUTPUT_H
#define PROGRAM_OUTPUT_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <moco/moco.h>

/* Writes the object on one line, flushes and drops it. Without memory (NULL, too) it says so, and
 * output_close fails. */
void output_json(json_t *object);

/* The object with one member more, the list with one item more; both are taken over. NULL where
 * there is no memory for it or was none before: a line comes whole or not at all. */
json_t *output_with(json_t *object, const char *key, json_t *value);
json_t *output_item(json_t *list, json_t *value);

/* One "name  value" line per member, indented; nested objects deeper. Whole numbers called "bytes",
 * or in an object of that name, are shown as sizes. Does not drop it. NULL as with output_json. */
void output_table(const json_t *object, int indent);

/* "1.5 GiB" in a buffer of 32 bytes; returns it. */
char *output_bytes(double bytes, char text[32]);

/* A real number rounded to `digits` after the point, so that lines stay readable. */
json_t *output_real(double value, int digits);
/* The same of a percentage; null where it is below 0, which stands for "not measured". */
json_t *output_measured(double percent, int digits);

/* A file name as JSON text. One that is not UTF-8 is written as in X.names.txt: what cannot be
 * shown, and a backslash, as \xNN, so that no two names become equal. */
json_t *output_text(const char *text);

/* Text for a terminal: control characters, and bytes that are not UTF-8, as \xNN, so that no name
 * in an archive can move the cursor or set colours and titles. */
void output_plain(const char *text, FILE *stream);

/* Whether stdout or stderr is a pipe that nobody reads any more. */
int output_unread(void);

/* Flushes stdout; returns the exit code, EXIT_FAILED with a message if something could not be
 * written. */
int output_close(int code);

/* A library text call, run twice: for the size, then for the text. `json` receives the parsed
 * object. Usage: FETCH_JSON(status, json, moco_model_info, model). */
#define FETCH_JSON(status, json, function, ...)                                   \
    do {                                                                          \
        uint64_t needed_ = 0;                                                     \
        char *text_ = NULL;                                                       \
        (json) = NULL;                                                            \
        (status) = function(__VA_ARGS__, NULL, 0, &needed_);                      \
        if ((status) == MOCO_OK && (text_ = malloc(needed_)) == NULL)             \
            (status) = MOCO_ERR_MEMORY;                                           \
        if ((status) == MOCO_OK)                                                  \
            (status) = function(__VA_ARGS__, text_, needed_, NULL);               \
        if ((status) == MOCO_OK && ((json) = json_loads(text_, 0, NULL)) == NULL) \
            (status) = MOCO_ERR_MEMORY;                                           \
        free(text_);                                                              \
    } while (0)

#endif
