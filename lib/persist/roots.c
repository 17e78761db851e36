/* Finding encoders in a file: every name that ends in a naming's marker shows one, if the rest of
 * an encoder lies beside it. Which of several is meant is told by the words that programs use for
 * an encoder and its average. See roots.h. */
#include "persist/roots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/status.h"

enum { MAX_FOUND = 32, LISTED = 6 };

typedef struct found {
    mo_root_t list[MAX_FOUND];
    int32_t count; /* beyond MAX_FOUND of them a file has no encoder that is meant anyway */
} found_t;

/* ---- which there are ---- */

static int begins_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

/* Whether any tensor's name begins so. Names are sorted. */
static int any_begins_with(const mo_tensor_file_t *file, const char *start)
{
    int64_t low = 0, high = file->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (strcmp(file->tensors[middle].name, start) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < file->count && begins_with(file->tensors[low].name, start);
}

const mo_scheme_t *mo_scheme_at(const mo_tensor_file_t *file, const char *prefix)
{
    int32_t count;
    const mo_scheme_t *schemes = mo_schemes(&count);
    for (int32_t i = 0; i < count; i++)
        for (int k = 0; k < 3 && schemes[i].markers[k] != NULL; k++) {
            char name[MO_PREFIX + MO_LAYOUT_NAME];
            snprintf(name, sizeof name, "%s%s", prefix, schemes[i].markers[k]);
            if (mo_tensor_file_find(file, name) != NULL)
                return &schemes[i];
        }
    return NULL;
}

/* The bytes in front of `marker` where a name ends in it after a whole part, else -1. */
static int64_t before_marker(const char *name, const char *marker)
{
    const size_t length = strlen(name), end = strlen(marker);
    if (length < end || strcmp(name + length - end, marker) != 0)
        return -1;
    return length == end || name[length - end - 1] == '.' ? (int64_t)(length - end) : -1;
}

static void add(const mo_tensor_file_t *file, const char *name, int64_t length, const mo_scheme_t *scheme, found_t *f)
{
    mo_root_t root = {.scheme = scheme};
    char inner[MO_PREFIX + 32];
    if (length < 0 || length >= MO_PREFIX)
        return;
    snprintf(root.prefix, sizeof root.prefix, "%.*s", (int)length, name);
    snprintf(inner, sizeof inner, "%s%s", root.prefix, scheme->inside);
    for (int32_t i = 0; i < f->count && i < MAX_FOUND; i++)
        if (strcmp(f->list[i].prefix, root.prefix) == 0)
            return;
    if (!any_begins_with(file, inner))
        return;
    if (f->count < MAX_FOUND)
        f->list[f->count] = root;
    f->count++;
}

static void find_all(const mo_tensor_file_t *file, found_t *f)
{
    int32_t schemes;
    const mo_scheme_t *scheme = mo_schemes(&schemes);
    for (; schemes > 0; scheme++, schemes--)
        for (int k = 0; k < 3 && scheme->markers[k] != NULL; k++)
            for (int64_t i = 0; i < file->count && f->count <= MAX_FOUND; i++)
                add(file, file->tensors[i].name, before_marker(file->tensors[i].name, scheme->markers[k]), scheme, f);
}

/* ---- which is meant ---- */

/* Words that say of an encoder that it is the average of another one: the key encoder here. */
static const struct average {
    const char *word;
    int evaluated; /* 1: its programs evaluate the average, and so it is the encoder that is meant */
} averages[] = {{"k", 0},   {"key", 0}, {"momentum", 0}, {"target", 0},
                {"ema", 0}, {"swa", 0}, {"averaged", 0}, {"teacher", 1}};

/* The row of a word that stands between dots or underscores in a prefix; NULL if none does. */
static const struct average *average_of(const char *prefix)
{
    for (size_t i = 0; i < sizeof averages / sizeof averages[0]; i++) {
        const size_t length = strlen(averages[i].word);
        for (const char *at = prefix; (at = strstr(at, averages[i].word)) != NULL; at++)
            if ((at == prefix || strchr("._", at[-1]) != NULL) && at[length] != '\0' &&
                strchr("._", at[length]) != NULL)
                return &averages[i];
    }
    return NULL;
}

static const mo_file_tensor_t *marker_of(const mo_tensor_file_t *file, const mo_root_t *root)
{
    const mo_file_tensor_t *t = NULL;
    for (int k = 0; k < 3 && t == NULL && root->scheme->markers[k] != NULL; k++) {
        char name[MO_PREFIX + MO_LAYOUT_NAME];
        snprintf(name, sizeof name, "%s%s", root->prefix, root->scheme->markers[k]);
        t = mo_tensor_file_find(file, name);
    }
    return t;
}

/* Whether two tensors are one that the file tells of twice. What cannot be read has no place. */
static int same_numbers(const mo_file_tensor_t *a, const mo_file_tensor_t *b)
{
    return a->dtype != MO_DTYPE_OTHER && a->dtype == b->dtype && a->bytes > 0 && a->bytes == b->bytes &&
           a->source == b->source && a->at == b->at;
}

/* The first one that is an average, or that is none; *count = how many there are, one whose numbers
 * are saved under several names counted once. */
static const mo_root_t *first_of(const mo_tensor_file_t *file, const found_t *f, int average, int32_t *count)
{
    const mo_root_t *first = NULL;
    *count = 0;
    for (int32_t i = 0; i < f->count && i < MAX_FOUND; i++) {
        if ((average_of(f->list[i].prefix) != NULL) != average)
            continue;
        if (first == NULL)
            first = &f->list[i];
        *count += *count == 0 || !same_numbers(marker_of(file, &f->list[i]), marker_of(file, first));
    }
    return first;
}

/* Whether the parts of `wanted`, which ends in a dot, stand one after the other in a prefix. */
static int has_parts(const char *prefix, const char *wanted)
{
    for (const char *at = prefix; (at = strstr(at, wanted)) != NULL; at++)
        if (at == prefix || at[-1] == '.')
            return 1;
    return 0;
}

/* "'a.', 'b.' and 3 more" */
static void list_found(const found_t *f, char *text, size_t size)
{
    const int32_t shown = f->count < LISTED ? f->count : LISTED;
    size_t at = 0;
    text[0] = '\0';
    for (int32_t i = 0; i < shown && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s'%.60s'", i > 0 ? ", " : "", f->list[i].prefix);
    if (f->count > shown && at < size)
        snprintf(text + at, size - at, " and more");
}

static moco_status_t none_meant(const found_t *f, const char *wanted, mo_roots_t *r)
{
    char list[400];
    list_found(f, list, sizeof list);
    if (f->count == 0)
        return wanted == NULL ? MOCO_OK
                              : mo_strprintf(&r->choice,
                                             "has no encoder of a known name, and none under the prefix "
                                             "'%.100s'",
                                             wanted);
    if (wanted == NULL)
        return mo_strprintf(&r->choice, "has several encoders, under %s: name one by the prefix (--prefix)", list);
    return mo_strprintf(&r->choice, "the prefix '%.100s' does not say which encoder: there are some under %s", wanted,
                        list);
}

static moco_status_t choose_wanted(const mo_tensor_file_t *file, const found_t *f, const char *wanted, mo_roots_t *r)
{
    const mo_root_t *one = NULL;
    const size_t length = strlen(wanted);
    char prefix[MO_PREFIX];
    int32_t fitting = 0;
    if (length >= MO_PREFIX - 1)
        return none_meant(f, wanted, r);
    snprintf(prefix, sizeof prefix, "%s%s", wanted, length > 0 && wanted[length - 1] != '.' ? "." : "");
    r->query.scheme = mo_scheme_at(file, prefix);
    snprintf(r->query.prefix, sizeof r->query.prefix, "%s", prefix);
    if (r->query.scheme != NULL)
        return MOCO_OK;
    for (int32_t i = 0; i < f->count && i < MAX_FOUND; i++)
        if (length > 0 && has_parts(f->list[i].prefix, prefix)) {
            one = &f->list[i];
            fitting++;
        }
    r->query = (mo_root_t){{0}, NULL};
    if (fitting != 1)
        return none_meant(f, wanted, r);
    r->query = *one;
    return MOCO_OK;
}

/* The one that is no average, and with it the one that is; or the only one. */
static moco_status_t choose(const mo_tensor_file_t *file, const found_t *f, mo_roots_t *r)
{
    int32_t learned_count, average_count;
    if (f->count > MAX_FOUND)
        return none_meant(f, NULL, r);
    const mo_root_t *learned = first_of(file, f, 0, &learned_count), *average = first_of(file, f, 1, &average_count);
    if (learned_count > 1 || learned_count + average_count == 0 || (learned_count == 0 && average_count > 1))
        return none_meant(f, NULL, r);
    r->query = learned_count == 1 ? *learned : *average;
    if (learned_count != 1 || average_count != 1)
        return MOCO_OK;
    r->key = *average;
    r->from_average = average_of(average->prefix)->evaluated;
    if (r->from_average)
        r->query = *average;
    return mo_strdup(r->from_average ? learned->prefix : average->prefix, &r->other);
}

/* ---- what its program calls it ---- */

/* The bytes in front of the whole part `end` of the first `length` bytes of a prefix, else -1. */
static int64_t before_part(const char *prefix, int64_t length, const char *end)
{
    const int64_t left = length - (int64_t)strlen(end);
    if (left < 0 || memcmp(prefix + left, end, strlen(end)) != 0)
        return -1;
    return left == 0 || prefix[left - 1] == '.' ? left : -1;
}

/* The role by the prefix's last part; a wrapper behind it is no part of it
 * ("encoder_q.module."). */
static void name_role(const mo_tensor_file_t *file, mo_roots_t *r)
{
    static const char wrapper[] = "module.";
    const int64_t length = (int64_t)strlen(r->query.prefix), bare = before_part(r->query.prefix, length, wrapper);
    int64_t left = -1;
    int32_t count;
    const mo_role_t *role = mo_roles(&count);
    for (; count > 0 && left < 0; role++, count--) {
        left = before_part(r->query.prefix, length, role->query);
        if (left < 0 && bare > 0)
            left = before_part(r->query.prefix, bare, role->query);
        r->role = role;
    }
    snprintf(r->base, sizeof r->base, "%.*s", (int)left, r->query.prefix);
    if (r->role->key == NULL)
        return;
    snprintf(r->key.prefix, sizeof r->key.prefix, "%.*s%s%s", MO_PREFIX / 2, r->base, r->role->key,
             r->query.prefix + left + strlen(r->role->query));
    r->key.scheme = mo_scheme_at(file, r->key.prefix);
    if (r->key.scheme == NULL)
        r->key.prefix[0] = '\0';
}

moco_status_t mo_roots_find(const mo_tensor_file_t *file, const char *wanted, mo_roots_t *roots)
{
    moco_status_t status = MOCO_OK;
    found_t *found = NULL;
    *roots = (mo_roots_t){0};
    TRY(mo_calloc(1, sizeof *found, &found));
    find_all(file, found);
    TRY(wanted != NULL ? choose_wanted(file, found, wanted, roots) : choose(file, found, roots));
    if (roots->query.scheme != NULL)
        name_role(file, roots);
cleanup:
    mo_free(found);
    if (status != MOCO_OK)
        mo_roots_free(roots);
    return status;
}

void mo_roots_free(mo_roots_t *r)
{
    mo_free(r->other);
    mo_free(r->choice);
    *r = (mo_roots_t){0};
}
