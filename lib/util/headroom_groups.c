/* Control groups: which ones this process is in, where their files are mounted, and what they
 * leave. A group's limit binds with those of all groups around it, and a process sees only the part
 * of the tree that is mounted. Called by headroom.c. */
#define _GNU_SOURCE
#include "util/headroom_groups.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_LIMIT ((uint64_t)1 << 62) /* version 1 writes a number near 2^63 */

/* A hierarchy that may limit memory. It lies on the heap: threads of hosts may have small
 * stacks. */
typedef struct tree {
    const char *root; /* of the file system */
    uint64_t swap;
    int version;
    char path[PATH_MAX];    /* of this process's group */
    mo_headroom_t own;      /* through mounts that hold the group       */
    mo_headroom_t other;    /* through mounts that hold another part    */
    int found;              /* a mount that holds the group             */
    char at[PATH_MAX + 64]; /* the folder that is looked at, with place for a file's name */
} tree_t;

/* ---- one group ---- */

/* The folder's file of that name as a path, until cut_back. */
static size_t enter(tree_t *t, const char *file)
{
    const size_t end = strlen(t->at);
    snprintf(t->at + end, sizeof t->at - end, "/%s", file);
    return end;
}

static void cut_back(tree_t *t, size_t end)
{
    t->at[end] = '\0';
}

static int number_in(tree_t *t, const char *file, const char *word, uint64_t *number)
{
    const size_t end = enter(t, file);
    const int found = mo_headroom_number(t->at, word, number) && *number < NO_LIMIT;
    cut_back(t, end);
    return found;
}

static uint64_t value_of(tree_t *t, const char *file, const char *word)
{
    uint64_t number;
    return number_in(t, file, word, &number) ? number : 0;
}

/* A limit on `used` bytes, of which the kernel takes `cache` back and moves `swap` elsewhere before
 * it ends a process. */
static void offer_limit(tree_t *t, const char *file, uint64_t used, uint64_t cache, uint64_t swap, mo_headroom_t *m)
{
    uint64_t limit;
    if (!number_in(t, file, "", &limit))
        return;
    used = used > cache ? used - cache : 0;
    const uint64_t room = limit + swap;
    const size_t end = enter(t, file);
    mo_headroom_offer(m, room > used ? room - used : 0, limit, t->at + strlen(t->root));
    cut_back(t, end);
}

static void read_group2(tree_t *t, mo_headroom_t *m)
{
    const uint64_t used = value_of(t, "memory.current", ""),
                   cache = value_of(t, "memory.stat", "inactive_file ") + value_of(t, "memory.stat", "active_file ");
    uint64_t swap_limit, swap = t->swap;
    if (number_in(t, "memory.swap.max", "", &swap_limit)) {
        const uint64_t swapped = value_of(t, "memory.swap.current", ""),
                       room = swap_limit > swapped ? swap_limit - swapped : 0;
        swap = room < swap ? room : swap;
    }
    offer_limit(t, "memory.max", used, cache, swap, m);
    offer_limit(t, "memory.high", used, cache, swap, m); /* beyond it a process is all but stopped */
}

static void read_group1(tree_t *t, mo_headroom_t *m)
{
    const uint64_t cache = value_of(t, "memory.stat", "total_inactive_file ") +
                           value_of(t, "memory.stat", "total_active_file ");
    offer_limit(t, "memory.limit_in_bytes", value_of(t, "memory.usage_in_bytes", ""), cache, t->swap, m);
    offer_limit(t, "memory.memsw.limit_in_bytes", value_of(t, "memory.memsw.usage_in_bytes", ""), cache, 0, m);
}

/* ---- from a mount to the group and the groups around it ---- */

/* `path` below `prefix`, component by component; NULL if it is not there. */
static const char *below(const char *path, const char *prefix)
{
    const size_t length = strcmp(prefix, "/") == 0 ? 0 : strlen(prefix);
    if (strncmp(path, prefix, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
    return path + length;
}

static void walk(tree_t *t, const char *mount, const char *rest, mo_headroom_t *m)
{
    const int length = snprintf(t->at, PATH_MAX, "%s%s%s", t->root, mount, rest);
    const size_t top = strlen(t->root) + strlen(mount);
    uint64_t around;
    if (length < 0 || length >= PATH_MAX)
        return;
    for (int inner = 1;; inner = 0) {
        size_t end = strlen(t->at);
        while (end > top && t->at[end - 1] == '/')
            t->at[--end] = '\0';
        /* Version 1 can say that a group does not count what the groups in it take. */
        if (!inner && t->version == 1 && number_in(t, "memory.use_hierarchy", "", &around) && around == 0)
            return;
        if (t->version == 2)
            read_group2(t, m);
        else
            read_group1(t, m);
        if (end <= top)
            return;
        while (end > top && t->at[end - 1] != '/')
            end--;
        t->at[end] = '\0';
    }
}

static void read_mount(tree_t *t, const char *mount_root, const char *mount)
{
    const char *rest = below(t->path, mount_root);
    t->found |= rest != NULL;
    walk(t, mount, rest != NULL ? rest : "", rest != NULL ? &t->own : &t->other);
}

/* ---- the files that tell ---- */

/* The next line of a file without its end; NULL behind the last. */
static char *next_line(FILE *file, char **line, size_t *capacity)
{
    const ssize_t length = getline(line, capacity, file);
    if (length < 0)
        return NULL;
    (*line)[strcspn(*line, "\n")] = '\0';
    return *line;
}

static FILE *open_under(const char *root, const char *path)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    return fopen(full, "re");
}

/* Whether `word` is one of a list with commas. */
static int listed(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return 1;
    }
    return 0;
}

/* "0::/path" is the group in version 2, "4:cpu,memory:/path" one in version 1. */
static void find_paths(const char *root, tree_t trees[2])
{
    FILE *file = open_under(root, "/proc/self/cgroup");
    char *line = NULL;
    size_t capacity = 0;
    if (file == NULL)
        return;
    while (next_line(file, &line, &capacity) != NULL) {
        char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        const int two = strcmp(line, "0:") == 0;
        if (two || listed(controllers + 1, "memory"))
            snprintf(trees[two].path, sizeof trees[two].path, "%s", path);
    }
    free(line);
    fclose(file);
}

/* In place: "\040" is a space in mountinfo. */
static char *unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' &&
            from[3] <= '7') {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
    return text;
}

/* "id parent device ROOT MOUNT options … - TYPE source SUPEROPTIONS" */
static void read_mountinfo_line(char *line, tree_t trees[2])
{
    char *dash = strstr(line, " - "), *left = NULL, *right = NULL, *field[5];
    if (dash == NULL)
        return;
    *dash = '\0';
    field[0] = strtok_r(line, " ", &left);
    for (int i = 1; i < 5; i++)
        field[i] = field[i - 1] != NULL ? strtok_r(NULL, " ", &left) : NULL;
    const char *type = strtok_r(dash + 3, " ", &right), *source = type != NULL ? strtok_r(NULL, " ", &right) : NULL,
               *options = source != NULL ? strtok_r(NULL, " ", &right) : NULL;
    if (field[4] == NULL || type == NULL)
        return;
    const int two = strcmp(type, "cgroup2") == 0;
    if (two || (strcmp(type, "cgroup") == 0 && options != NULL && listed(options, "memory")))
        read_mount(&trees[two], unescape(field[3]), unescape(field[4]));
}

static void read_mounts(const char *root, tree_t trees[2])
{
    FILE *file = open_under(root, "/proc/self/mountinfo");
    char *line = NULL;
    size_t capacity = 0;
    if (file == NULL) { /* where they usually are */
        read_mount(&trees[0], "/", "/sys/fs/cgroup/memory");
        read_mount(&trees[1], "/", "/sys/fs/cgroup");
        return;
    }
    while (next_line(file, &line, &capacity) != NULL)
        read_mountinfo_line(line, trees);
    free(line);
    fclose(file);
}

void mo_headroom_groups(const char *root, uint64_t swap, mo_headroom_t *m)
{
    tree_t *trees = calloc(2, sizeof *trees);
    if (trees == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        trees[i].root = root;
        trees[i].swap = swap;
        trees[i].version = i + 1;
        trees[i].path[0] = '/';
        trees[i].own.left = trees[i].other.left = UINT64_MAX;
    }
    find_paths(root, trees);
    read_mounts(root, trees);
    for (int i = 0; i < 2; i++) {
        const mo_headroom_t *found = trees[i].found ? &trees[i].own : &trees[i].other;
        mo_headroom_offer(m, found->left, found->limit, found->source);
    }
    free(trees);
}
