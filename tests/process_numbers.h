/* What the system counts of this process, for tests. */
#ifndef TESTS_PROCESS_NUMBERS_H
#define TESTS_PROCESS_NUMBERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number of /proc/self/status by its name, such as "VmRSS:" (KiB) or "Threads:"; -1 where there
 * is none. */
static inline long of_status(const char *field)
{
    char line[256];
    long value = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtol(line + strlen(field), NULL, 10);
    if (status != NULL)
        fclose(status);
    return value;
}

#endif
