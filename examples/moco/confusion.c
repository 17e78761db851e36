/* Writing a confusion table. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "confusion.h"

/* A name without what would break the table. */
static void put_name(FILE *file, const char *name)
{
    for (; *name != '\0'; name++)
        putc(*name == '\t' || *name == '\n' || *name == '\r' ? ' ' : *name, file);
}

int confusion_write(const char *path, int32_t classes, confusion_name_fn name, const void *owner, const int64_t *table)
{
    FILE *file = fopen(path, "w");
    int bad;

    if (file == NULL)
        return fail("'%s' cannot be written: %s", path, strerror(errno));
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
    bad = ferror(file);
    if (fclose(file) != 0 || bad)
        return fail("'%s' cannot be written: %s", path, strerror(errno));
    return EXIT_DONE;
}
