/* What the process and the machine allow; see headroom.h. Nothing here is a request that may fail a
 * call, so no fault points are passed: a file that cannot be read limits nothing. */
#define _GNU_SOURCE
#include "util/headroom.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/headroom_groups.h"
#include "util/size.h"
#include "util/status.h"

#define LARGE ((uint64_t)16 << 20)   /* bytes of an allocation that is asked about */
#define RESERVE ((uint64_t)32 << 20) /* kept of what is left, at the most …         */
#define RESERVE_SHARE 16             /* … and at the most one part in so many       */
#define PATH 512
#define VARIABLE "MOCO_MEMORY_LIMIT"

static _Thread_local int planned;

void mo_headroom_offer(mo_headroom_t *m, uint64_t left, uint64_t limit, const char *source)
{
    if (left >= m->left)
        return;
    m->left = left;
    m->limit = limit;
    snprintf(m->source, sizeof m->source, "%s", source);
}

/* The file's first bytes on the stack, since memory may be short. */
int mo_headroom_number(const char *path, const char *word, uint64_t *number)
{
    char text[4096], *at = text, *end;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    const size_t length = strlen(word);
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    while (strncmp(at, word, length) != 0) {
        if ((at = strchr(at, '\n')) == NULL)
            return 0;
        at++;
    }
    at += length;
    at += strspn(at, " \t");
    if (*at < '0' || *at > '9')
        return 0;
    *number = strtoull(at, &end, 10);
    return 1;
}

/* ---- the machine ---- */

/* A number of /proc/meminfo in bytes; 0 where it is not there. */
static int meminfo(const char *root, const char *word, uint64_t *bytes)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    const int found = mo_headroom_number(path, word, bytes);
    *bytes = found && *bytes <= UINT64_MAX / 1024 ? *bytes * 1024 : 0;
    return found;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Returns the bytes that are free for swapping. */
static uint64_t ask_machine(const char *root, mo_headroom_t *m)
{
    char path[PATH];
    uint64_t available, total, swap, swap_total, promised, mode;
    meminfo(root, "MemTotal:", &total);
    meminfo(root, "SwapTotal:", &swap_total);
    meminfo(root, "SwapFree:", &swap);
    if (meminfo(root, "MemAvailable:", &available))
        mo_headroom_offer(m, available + swap, total + swap_total, "MemAvailable and SwapFree of /proc/meminfo");
    snprintf(path, sizeof path, "%s/proc/sys/vm/overcommit_memory", root);
    if (mo_headroom_number(path, "", &mode) && mode == 2 && meminfo(root, "CommitLimit:", &total) &&
        meminfo(root, "Committed_AS:", &promised))
        mo_headroom_offer(m, minus(total, promised), total, "CommitLimit of /proc/meminfo");
    return swap;
}

void mo_headroom_read_under(const char *root, mo_headroom_t *m)
{
    *m = (mo_headroom_t){.left = UINT64_MAX, .limit = UINT64_MAX};
    mo_headroom_groups(root, ask_machine(root, m), m);
}

/* ---- the process ---- */

/* glibc counts the limits with a type of its own, other C libraries with int. */
#ifdef __GLIBC__
typedef __rlimit_resource_t resource_t;
#else
typedef int resource_t;
#endif

static void ask_limit(resource_t resource, uint64_t used, const char *source, mo_headroom_t *m)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        mo_headroom_offer(m, minus(limit.rlim_cur, used), limit.rlim_cur, source);
}

static void ask_process(mo_headroom_t *m)
{
    unsigned long long pages[6] = {0};
    char text[256];
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    sscanf(text, "%llu %llu %llu %llu %llu %llu", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5]);
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    ask_limit(RLIMIT_AS, pages[0] * page, "RLIMIT_AS (ulimit -v)", m);
    ask_limit(RLIMIT_DATA, pages[5] * page, "RLIMIT_DATA (ulimit -d)", m);
}

/* "6G", "512M", "1000000", "none"; returns 0 where it is none of them. */
static int parse(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    if (strcmp(text, "none") == 0) {
        *bytes = UINT64_MAX;
        return 1;
    }
    if (*text < '0' || *text > '9')
        return 0;
    *bytes = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (*end != '\0' && (unit == NULL || end[1] != '\0'))
        return 0;
    for (const char *u = units; unit != NULL && u <= unit; u++)
        *bytes = *bytes > UINT64_MAX / 1024 ? UINT64_MAX : *bytes * 1024;
    return 1;
}

/* Bytes that the process has in memory: what a limit of its own is compared with. */
static uint64_t resident(void)
{
    uint64_t kilobytes = 0;
    return mo_headroom_number("/proc/self/status", "VmRSS:", &kilobytes) ? kilobytes * 1024 : 0;
}

void mo_headroom_read(mo_headroom_t *m)
{
    const char *text = secure_getenv(VARIABLE);
    uint64_t bytes;
    if (text == NULL || !parse(text, &bytes)) {
        mo_headroom_read_under("", m);
        ask_process(m);
        return;
    }
    *m = (mo_headroom_t){.left = UINT64_MAX, .limit = UINT64_MAX};
    if (bytes != UINT64_MAX)
        mo_headroom_offer(m, minus(bytes, resident()), bytes, VARIABLE " of the environment");
}

/* ---- asking ---- */

uint64_t mo_headroom_spare(const mo_headroom_t *m)
{
    const uint64_t share = m->limit / RESERVE_SHARE;
    return m->left == UINT64_MAX ? UINT64_MAX : minus(m->left, share < RESERVE ? share : RESERVE);
}

moco_status_t mo_headroom_check_in(const mo_headroom_t *m, moco_status_t refused, const char *what, uint64_t bytes,
                                   const char *advice)
{
    if (bytes <= mo_headroom_spare(m))
        return MOCO_OK;
    return mo_fail(refused, "%s %s, this process may still take %s of %s by %s%s", what, mo_size(bytes).text,
                   mo_size(mo_headroom_spare(m)).text, mo_size(m->limit).text, m->source, advice);
}

moco_status_t mo_headroom_check(moco_status_t refused, const char *what, uint64_t bytes, const char *advice)
{
    mo_headroom_t m;
    mo_headroom_read(&m);
    return mo_headroom_check_in(&m, refused, what, bytes, advice);
}

int mo_headroom_probe(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return 0;
    munmap(map, bytes);
    return 1;
}

moco_status_t mo_headroom_admit(uint64_t bytes)
{
    return bytes < LARGE || planned > 0 ? MOCO_OK : mo_headroom_check(MOCO_ERR_MEMORY, "no memory for", bytes, "");
}

void mo_headroom_planned_begin(void)
{
    planned++;
}

void mo_headroom_planned_end(void)
{
    planned--;
}
