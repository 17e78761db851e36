/* What the library has warned of, for tests: give keep_line to moco_set_log and ask logged. */
#ifndef TESTS_LOG_LINES_H
#define TESTS_LOG_LINES_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <moco/status.h>

static char log_lines[60][600];
static int log_line_count; /* a test may set it to 0 */

static inline void keep_line(void *user, int32_t level, const char *line)
{
    (void)user;
    if (level <= MOCO_LOG_WARNING && log_line_count < 60)
        snprintf(log_lines[log_line_count++], sizeof log_lines[0], "%s", line);
}

/* How many of the lines have this part. */
static inline int logged(const char *part)
{
    int count = 0;
    for (int i = 0; i < log_line_count; i++)
        count += strstr(log_lines[i], part) != NULL;
    return count;
}

#endif
