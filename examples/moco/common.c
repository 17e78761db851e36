/* Shared by the commands: messages, exit codes, signals, opening what options name. */
#include "common.h"

#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

/* A line that begins with `before`, of a path and what is said of it. */
static void tell(const char *before, const char *format, va_list arguments)
{
    char text[PATH_SIZE + 1024];

    vsnprintf(text, sizeof text, format, arguments);
    fputs(before, stderr);
    output_plain(text, stderr);
    fputc('\n', stderr);
}

int fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    tell("moco: ", format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

void warn(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    tell("moco: warning: ", format, arguments);
    va_end(arguments);
}

int finish(moco_status_t status, const char *what)
{
    if (status == MOCO_OK)
        return EXIT_DONE;
    if (status == MOCO_ERR_CANCELLED && signals_pending()) {
        fail("interrupted");
        return EXIT_INTERRUPTED;
    }
    return fail("%s%s%s", what != NULL ? what : "", what != NULL ? ": " : "", moco_last_message());
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

moco_status_t place_open(const run_place_t *place, moco_device_t **out)
{
    moco_device_options_t options;
    moco_status_t status = MOCO_OK;

    TRY(moco_device_options_init(&options, sizeof options));
    options.kind = place->kind;
    options.number = place->number;
    options.lanes = (int32_t)place->threads;
    TRY(moco_device_create(&options, out));
cleanup:
    return status;
}

moco_status_t model_file_options(const model_file_t *file, moco_model_options_t *options)
{
    const moco_status_t status = moco_model_options_init(options, sizeof *options);

    if (status == MOCO_OK) {
        options->prefix = file->prefix;
        options->vit_heads = (int32_t)file->vit_heads;
        options->precision = file->precision;
    }
    return status;
}

moco_status_t model_open(const char *path, const model_file_t *file, moco_device_t *device, moco_model_t **out)
{
    moco_model_options_t options;
    moco_status_t status = MOCO_OK;

    TRY(model_file_options(file, &options));
    TRY(moco_model_load(path, &options, device, out));
cleanup:
    return status;
}

moco_status_t dataset_open(const char *path, int64_t limit, moco_dataset_t **out)
{
    moco_dataset_options_t options;
    moco_status_t status = MOCO_OK;

    TRY(moco_dataset_options_init(&options, sizeof options));
    options.limit = limit;
    TRY(moco_dataset_open(path, &options, out));
    TRY(signals_check());
cleanup:
    return status;
}

static void log_line(void *user, int32_t level, const char *line)
{
    (void)user;
    if (level == MOCO_LOG_WARNING)
        warn("%s", line);
    else
        fail("%s", line);
}

void log_to_stderr(void)
{
    moco_set_log(log_line, NULL, MOCO_LOG_WARNING);
}

int path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

int path_writable(const char *path)
{
    struct stat info;
    char copy[PATH_SIZE];

    if (path == NULL)
        return 1;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        fail("'%s' cannot be written: it exists and is no file", path);
        return 0;
    }
    errno = ENAMETOOLONG;
    if (snprintf(copy, sizeof copy, "%s", path) < (int)sizeof copy && access(dirname(copy), W_OK) == 0)
        return 1;
    fail("'%s' cannot be written: %s", path, strerror(errno));
    return 0;
}

int path_join(char *path, const char *folder, const char *name)
{
    const size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";

    if (snprintf(path, PATH_SIZE, "%s%s%s", folder, slash, name) < PATH_SIZE)
        return 0;
    fail("a path of more than %d bytes: '%.80s…'", PATH_SIZE - 1, folder);
    return -1;
}

int folder_make(const char *path)
{
    struct stat info;

    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno == EEXIST && stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return 0;
        errno = ENOTDIR;
    }
    fail("'%s' cannot be made a folder: %s", path, strerror(errno));
    return -1;
}
