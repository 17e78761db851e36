/* Writing a confusion table. */
#include <stdio.h>

#include "common.h"
#include "confusion.h"
#include "whole_file.h"

/* A name without what would break the table. */
static void put_name(FILE *file, const char *name)
{
    for (; *name != '\0'; name++)
        putc(*name == '\t' || *name == '\n' || *name == '\r' ? ' ' : *name, file);
}

int confusion_write(const char *path, int32_t classes, confusion_name_fn name, const void *owner, const int64_t *table)
{
    whole_file_t whole;

    if (whole_open(&whole, path) != EXIT_DONE)
        return EXIT_FAILED;
    FILE *file = whole.stream;
    for (int32_t c = 0; c < classes; c++) {
        putc('\t', file);
        put_name(file, name(owner, c));
    }
    putc('\n', file);
    for (int32_t row = 0; row < classes; row++) {
        put_name(file, name(owner, row));
        for (int32_t c = 0; c < classes; c++)
            fprintf(file, "\t%lld", (long long)table[(int64_t)row * classes + c]);
        putc('\n', file);
    }
    return whole_close(&whole, 1);
}
