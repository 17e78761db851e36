/* List files: one path a line, and how lines are written that are meant otherwise. Called by
 * listing.c with listing->fd open. */
#include "data/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/retry.h"
#include "util/size.h"
#include "util/status.h"

#define MAX_LIST_BYTES ((uint64_t)1 << 30)
#define MAX_PATH 4096
#define MAX_TRIES 4 /* places where a path may end */

/* ---- lines ---- */

typedef struct piece {
    const char *at;
    size_t length;
} piece_t;

/* Without the spaces at both ends, which editors and spreadsheets leave there. */
static piece_t trimmed(const char *at, size_t length)
{
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\r'))
        length--;
    while (length > 0 && *at == ' ') {
        at++;
        length--;
    }
    return (piece_t){at, length};
}

static moco_status_t list_line(mo_listing_t *listing, const char *line, size_t length)
{
    moco_status_t status = MOCO_OK;
    mo_entry_t entry = {.class_name = MO_NO_CLASS};
    const piece_t all = trimmed(line, length);
    if (all.length == 0 || all.at[0] == '#')
        return MOCO_OK;
    const char *tab = memchr(all.at, '\t', all.length);
    const piece_t name = tab == NULL ? all : trimmed(all.at, (size_t)(tab - all.at));
    if (name.length == 0)
        return mo_fail(MOCO_ERR_FORMAT, "'%s': entry %lld has a class but no path", listing->path,
                       (long long)listing->count);
    TRY(mo_listing_text(listing, name.at, name.length, &entry.name));
    if (tab != NULL) {
        const piece_t class_name = trimmed(tab + 1, (size_t)(all.at + all.length - tab - 1));
        if (class_name.length > 0)
            TRY(mo_listing_text(listing, class_name.at, class_name.length, &entry.class_name));
    }
    TRY(mo_listing_add(listing, &entry));
cleanup:
    return status;
}

static moco_status_t parse_list(mo_listing_t *listing, const char *text, size_t size)
{
    moco_status_t status = MOCO_OK;
    const mo_file_kind_t *kind = mo_file_kind_of_text((const uint8_t *)text, size);
    if (kind != NULL && kind->group != MO_FILE_TEXT)
        return mo_listing_refuse_kind(listing, kind);
    if (memchr(text, '\0', size) != NULL)
        return mo_fail(MOCO_ERR_FORMAT,
                       "'%s' is neither a folder nor a .tar, and no list of paths: it holds a zero byte",
                       listing->path);
    const char *line = text, *end = text + size;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* the mark that Windows begins UTF-8 with */
        line += 3;
    const int line_end = memchr(text, '\n', size) != NULL ? '\n' : '\r';
    while (status == MOCO_OK && line < end) {
        const char *stop = memchr(line, line_end, (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        status = list_line(listing, line, (size_t)(stop - line));
        line = stop + 1;
    }
    return status;
}

/* From here on listing->fd is the folder that paths are relative to. */
static moco_status_t enter_folder_of_list(mo_listing_t *listing)
{
    moco_status_t status = MOCO_OK;
    char *folder = NULL;
    TRY(mo_strdup(listing->path, &folder));
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder] = '\0';
    const int fd = mo_open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        status = mo_fail(MOCO_ERR_IO, "cannot open the folder of '%s': %s", listing->path, strerror(errno));
        goto cleanup;
    }
    close(listing->fd);
    listing->fd = fd;
cleanup:
    mo_free(folder);
    return status;
}

moco_status_t mo_list_list(mo_listing_t *listing, uint64_t size)
{
    moco_status_t status = MOCO_OK;
    char *text = NULL;
    if (size > MAX_LIST_BYTES)
        return mo_fail(MOCO_ERR_FORMAT, "'%s' has %s; a list of paths may have %s", listing->path, mo_size(size).text,
                       mo_size(MAX_LIST_BYTES).text);
    TRY(mo_calloc(size, 1, &text));
    const int64_t got = mo_read_at(listing->fd, text, size, 0);
    if (got < 0) {
        status = mo_fail(MOCO_ERR_IO, "cannot read '%s': %s", listing->path, strerror(errno));
        goto cleanup;
    }
    TRY(parse_list(listing, text, (size_t)got));
    TRY(enter_folder_of_list(listing));
cleanup:
    mo_free(text);
    return status;
}

/* ---- lines that lead nowhere ---- */

static int leads_to_file(const mo_listing_t *listing, const char *path)
{
    struct stat info;
    return path[0] != '\0' && mo_fstatat(listing->fd, path, &info, 0) == 0 && S_ISREG(info.st_mode);
}

static int is_separator(char letter)
{
    return letter == ' ' || letter == ',' || letter == ';';
}

/* "a b.jpg 0": the path up to one of its last separators. Cuts `path` there. */
static int before_separator(const mo_listing_t *listing, char *path, char *separator)
{
    int tries = 0;
    for (size_t i = strlen(path); i > 0 && tries < MAX_TRIES; i--) {
        *separator = path[i - 1];
        if (!is_separator(*separator))
            continue;
        tries++;
        path[i - 1] = '\0';
        if (leads_to_file(listing, path))
            return 1;
        path[i - 1] = *separator;
    }
    return 0;
}

/* "0 a.jpg": the path behind its first separator; NULL where that is none. */
static const char *behind_separator(const mo_listing_t *listing, const char *path)
{
    for (; *path != '\0'; path++)
        if (is_separator(*path))
            return leads_to_file(listing, path + 1) ? path + 1 : NULL;
    return NULL;
}

/* With the slashes of other systems turned, and without quotes around. Returns whether that changed
 * the path. */
static int rewrite(const char *name, char path[MAX_PATH])
{
    const size_t length = strlen(name);
    const int quoted = length >= 2 && (name[0] == '"' || name[0] == '\'') && name[length - 1] == name[0];
    snprintf(path, MAX_PATH, "%.*s", (int)(quoted ? length - 2 : length), name + quoted);
    for (char *at = path; (at = strchr(at, '\\')) != NULL;)
        *at = '/';
    return strcmp(path, name) != 0;
}

void mo_list_hint(const mo_listing_t *listing, const char *name, char hint[MO_LIST_HINT])
{
    char path[MAX_PATH], separator = '\0';
    struct stat info;
    hint[0] = '\0';
    if (strstr(name, "://") != NULL) {
        snprintf(hint, MO_LIST_HINT, "; wanted the path of a file, not an address");
        return;
    }
    if (strlen(name) >= sizeof path)
        return;
    const int changed = rewrite(name, path);
    const char *behind = behind_separator(listing, path);
    if (changed && leads_to_file(listing, path))
        snprintf(hint, MO_LIST_HINT, "; '%.100s' is there: write paths with '/' and without quotes", path);
    else if (behind != NULL)
        snprintf(hint, MO_LIST_HINT, "; '%.100s' is there: the path stands first in a line, then a tab and the class",
                 behind);
    else if (before_separator(listing, path, &separator))
        snprintf(hint, MO_LIST_HINT, "; '%.100s' is there: a tab stands before the class, not '%c'", path, separator);
    else if (mo_stat(name, &info) == 0)
        snprintf(hint, MO_LIST_HINT, "; paths are relative to the folder of the list");
}
