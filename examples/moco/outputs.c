/* Files that a command is asked to write; see outputs.h. */
#define _GNU_SOURCE /* memmem */
#include "outputs.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common.h"

enum { FIRST_BYTES = 256 };

static int is_rows(const uint8_t *first, size_t size)
{
    return size >= 6 && memcmp(first, "\x93NUMPY", 6) == 0;
}

static int is_tensors(const uint8_t *first, size_t size)
{
    return size > 8 && first[8] == '{' && first[7] == 0 && first[4] == 0;
}

static int is_sheet(const uint8_t *first, size_t size)
{
    return memmem(first, size, OUTPUT_SHEET_MARK, strlen(OUTPUT_SHEET_MARK)) != NULL;
}

static int is_table(const uint8_t *first, size_t size)
{
    return size > 0 && first[0] == '\t'; /* the corner of rows and columns */
}

static const struct {
    const char *what, *endings[2];
    int exact; /* the ending's letters: other commands know the file by them */
    int (*is)(const uint8_t *first, size_t size);
} kinds[] = {
    [OUTPUT_ROWS] = {"rows of `moco embed`", {".npy", ".npy"}, 1, is_rows},
    [OUTPUT_TENSORS] = {"safetensors", {".safetensors", ".safetensors"}, 1, is_tensors},
    [OUTPUT_SHEET] = {"a sheet of moco", {".jpg", ".jpeg"}, 0, is_sheet},
    [OUTPUT_TABLE] = {"a table of moco", {".tsv", ".txt"}, 0, is_table},
};

/* A name without any ending is as good as one with its own. */
static int ends_in_another(const char *path, const char *const endings[2], int exact)
{
    int (*const differ)(const char *, const char *) = exact ? strcmp : strcasecmp;
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash != NULL ? slash : path, '.');
    return dot != NULL && differ(dot, endings[0]) != 0 && differ(dot, endings[1]) != 0;
}

static int check_name(const char *path, output_kind_t kind)
{
    const char *const *endings = kinds[kind].endings;

    if (strcmp(path, "-") == 0)
        fail("'-' is no file, and this is not written to stdout: wanted a name that ends in %s", endings[0]);
    else if (ends_in_another(path, endings, kinds[kind].exact))
        fail("'%s' does not end in %s, as the file to write should", path, endings[0]);
    else
        return EXIT_DONE;
    return EXIT_USAGE;
}

static int same_file(const struct stat *output, const char *input)
{
    struct stat info;
    return input != NULL && stat(input, &info) == 0 && info.st_dev == output->st_dev && info.st_ino == output->st_ino;
}

static int check_content(const char *path, output_kind_t kind)
{
    uint8_t first[FIRST_BYTES];
    FILE *file = fopen(path, "rbe");
    size_t size;

    if (file == NULL)
        return fail("'%s' is there and cannot be looked at, so it is not replaced", path);
    size = fread(first, 1, sizeof first, file);
    fclose(file);
    if (size == 0 || kinds[kind].is(first, size))
        return EXIT_DONE;
    return fail("'%s' is there and is not %s, so it is not replaced: wanted another name", path, kinds[kind].what);
}

int output_check(const char *path, output_kind_t kind, const char *const *inputs)
{
    struct stat info;
    int code;

    if (path == NULL)
        return EXIT_DONE;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return fail("'%s' cannot be written: it exists and is no file", path);
    if ((code = check_name(path, kind)) != EXIT_DONE || stat(path, &info) != 0)
        return code;
    for (int i = 0; inputs[i] != NULL; i++)
        if (same_file(&info, inputs[i]))
            return fail("'%s' would be replaced, and is '%s', which this command reads", path, inputs[i]);
    return check_content(path, kind);
}
