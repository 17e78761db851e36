/* Thread-local messages and log sinks. */
#include "util/status.h"

#include <string.h>

#include "util/printable.h"

#define LINE_SIZE 1024

static _Thread_local char last_message[MO_MESSAGE_SIZE];
static _Thread_local struct {
    moco_log_fn fn;
    void *user;
    int32_t level;
} sink;

/* clang-format off */
static const char *const names[MOCO_STATUS_COUNT] = {
    "MOCO_OK",           "MOCO_ERR_ARGUMENT",    "MOCO_ERR_MEMORY",     "MOCO_ERR_IO",      "MOCO_ERR_FORMAT",
    "MOCO_ERR_IMAGE",    "MOCO_ERR_SHAPE",       "MOCO_ERR_NO_DATA",    "MOCO_ERR_FULL",    "MOCO_ERR_NONFINITE",
    "MOCO_ERR_EXISTS",   "MOCO_ERR_FORKED",      "MOCO_ERR_UNSUPPORTED", "MOCO_ERR_ENGINE", "MOCO_ERR_CANCELLED",
    "MOCO_ERR_MEMORY_CAP", "MOCO_ERR_MISMATCH",  "MOCO_ERR_STATE",      "MOCO_ERR_VERSION", "MOCO_ERR_BROKEN_DATA",
    "MOCO_ERR_THREAD",
};
/* clang-format on */

const char *moco_status_name(moco_status_t status)
{
    return status >= 0 && status < MOCO_STATUS_COUNT ? names[status] : "unknown status";
}

const char *moco_last_message(void)
{
    return last_message;
}

moco_status_t mo_fail(moco_status_t status, const char *format, ...)
{
    char text[MO_MESSAGE_SIZE]; /* arguments may point into last_message */
    va_list args;
    va_start(args, format);
    mo_vformat(text, sizeof text, format, args);
    va_end(args);
    mo_printable(text, last_message, sizeof last_message); /* names of files may hold any byte */
    return status;
}

void mo_message_copy(char text[MO_MESSAGE_SIZE])
{
    memcpy(text, last_message, MO_MESSAGE_SIZE);
}

/* Whether the message names the file: at its begin or in quotes, and not as a word that happens to
 * be the same. */
static int names_file(const char *name)
{
    char path[MO_MESSAGE_SIZE];
    const size_t length = mo_printable(name, path, sizeof path); /* as messages have it */
    for (const char *at = strstr(last_message, path); at != NULL; at = strstr(at + 1, path)) {
        const char after = at[length];
        if (at == last_message ? after == ':' || after == ' ' : at[-1] == '\'' && after == '\'')
            return 1;
    }
    return 0;
}

void mo_message_of_file(const char *path)
{
    if (!names_file(path))
        mo_fail(MOCO_OK, "%s: %s", path, last_message);
}

moco_status_t mo_message_set(moco_status_t status, const char *text)
{
    return mo_fail(status, "%s", text);
}

void moco_set_log(moco_log_fn fn, void *user, int32_t level)
{
    sink.fn = fn;
    sink.user = user;
    sink.level = level;
}

void mo_log(int level, const char *format, ...)
{
    if (sink.fn == NULL || level > sink.level)
        return;
    char text[LINE_SIZE], line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    mo_vformat(text, sizeof text, format, args);
    va_end(args);
    mo_printable(text, line, sizeof line);
    sink.fn(sink.user, level, line);
}

/* `what` is the name of the argument that the bytes go to. */
static moco_status_t check_capacity(const char *what, uint64_t size, const void *bytes, uint64_t capacity,
                                    uint64_t *needed)
{
    if (needed != NULL)
        *needed = size;
    if (capacity == 0)
        return needed != NULL ? MOCO_OK : mo_fail(MOCO_ERR_ARGUMENT, "capacity is 0 and 'needed' is NULL");
    if (bytes == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s is NULL but capacity is %llu", what, (unsigned long long)capacity);
    if (capacity < size)
        return mo_fail(MOCO_ERR_ARGUMENT, "%s needs %llu bytes, capacity is %llu", what, (unsigned long long)size,
                       (unsigned long long)capacity);
    return MOCO_OK;
}

moco_status_t mo_capacity_check(uint64_t size, const void *bytes, uint64_t capacity, uint64_t *needed)
{
    return check_capacity("bytes", size, bytes, capacity, needed);
}

moco_status_t mo_text_out(const char *from, char *text, uint64_t capacity, uint64_t *needed)
{
    uint64_t size = strlen(from) + 1;
    moco_status_t status = check_capacity("text", size, text, capacity, needed);
    if (status == MOCO_OK && capacity > 0)
        memcpy(text, from, size);
    else if (status != MOCO_OK && text != NULL && capacity > 0)
        text[0] = '\0';
    return status;
}
