/* What was taken from a file, what not, and what it did not have. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "persist/inventory.h"
#include "util/json.h"
#include "util/printable.h"
#include "util/status.h"

enum { LISTED = 64, LINE = 300 }; /* single names in a report; bytes of a line of it */

static moco_status_t add_line(json_t *list, const char *format, va_list args)
{
    char line[LINE];
    mo_vformat(line, sizeof line, format, args);
    return json_array_append_new(list, mo_json_bytes(line)) == 0 ? MOCO_OK
                                                                 : mo_fail(MOCO_ERR_MEMORY, "no memory for a report");
}

moco_status_t mo_inventory_missing(mo_inventory_t *inv, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    moco_status_t status = add_line(inv->missing, format, args);
    va_end(args);
    return status;
}

moco_status_t mo_inventory_note(mo_inventory_t *inv, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    moco_status_t status = add_line(inv->notes, format, args);
    va_end(args);
    return status;
}

/* Tensors that are left out by the hundred are told of by what they begin with. */
static void group_of(const mo_inventory_t *inv, const char *name, char group[LINE])
{
    char predictor[MO_PREFIX] = "";
    if (inv->roots.role != NULL && inv->roots.role->predictor != NULL)
        snprintf(predictor, sizeof predictor, "%.*s%s", MO_PREFIX / 2, inv->roots.base, inv->roots.role->predictor);
    const char *const groups[] = {inv->roots.role != NULL && inv->roots.role->key != NULL ? inv->roots.query.prefix
                                                                                          : "",
                                  inv->roots.key.prefix, predictor, "optimizer.", "scaler."};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (groups[i][0] != '\0' && strncmp(name, groups[i], strlen(groups[i])) == 0) {
            snprintf(group, LINE, "%s*", groups[i]);
            return;
        }
    snprintf(group, LINE, "%s", mo_show(name).text);
}

/* Groups in the order of their first tensor by name, each with its count; past LISTED of them the
 * rest is one group. */
static json_t *ignored(const mo_inventory_t *inv)
{
    json_t *counts = json_object();
    for (int64_t i = 0; i < inv->file->count && counts != NULL; i++) {
        char group[LINE];
        if (inv->taken[i])
            continue;
        group_of(inv, inv->file->tensors[i].name, group);
        json_t *known = json_object_get(counts, group);
        if (known == NULL && json_object_size(counts) >= LISTED) {
            snprintf(group, sizeof group, "(others)");
            known = json_object_get(counts, group);
        }
        if (json_object_set_new(counts, group, json_integer(json_integer_value(known) + 1)) != 0) {
            json_decref(counts);
            counts = NULL;
        }
    }
    return counts;
}

static json_t *shown_or_null(const char *text)
{
    return text != NULL ? json_string(mo_show(text).text) : json_null();
}

static void log_report(const mo_inventory_t *inv, const json_t *taken, const json_t *ignored_names)
{
    const char *group;
    const json_t *count;
    size_t i;
    mo_log(MOCO_LOG_INFO, "%s: %s, layout %s, names %s: %lld tensors taken from '%s'", inv->path,
           mo_container_name(inv->file->container), inv->roots.role != NULL ? inv->roots.role->layout : "unknown",
           inv->roots.query.scheme != NULL ? inv->roots.query.scheme->name : "unknown",
           (long long)json_integer_value(taken), inv->roots.query.prefix);
    json_object_foreach((json_t *)ignored_names, group, count)
        mo_log(MOCO_LOG_INFO, "%s: ignored: %s (%lld)", inv->path, group, (long long)json_integer_value(count));
    json_array_foreach(inv->missing, i, count)
        mo_log(MOCO_LOG_INFO, "%s: missing: %s", inv->path, json_string_value(count));
    if (inv->guessed_heads > 0)
        mo_log(MOCO_LOG_WARNING,
               "%s: no tensor tells how many attention heads this ViT has: %d taken, as is usual; the embeddings are "
               "wrong if it is another number, which vit_heads (--vit-heads) sets",
               inv->path, inv->guessed_heads);
    json_array_foreach(inv->notes, i, count) mo_log(MOCO_LOG_INFO, "%s: %s", inv->path, json_string_value(count));
}

moco_status_t mo_inventory_report(const mo_inventory_t *inv, json_t **report)
{
    int64_t taken = 0;
    const char *epoch = mo_tensor_file_text(inv->file, "epoch");
    for (int64_t i = 0; i < inv->file->count; i++)
        taken += inv->taken[i];
    *report = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:O, s:O}", "container",
                        mo_container_name(inv->file->container), "layout",
                        inv->roots.role != NULL ? inv->roots.role->layout : "unknown", "names",
                        inv->roots.query.scheme != NULL ? inv->roots.query.scheme->name : "unknown", "encoder",
                        inv->roots.query.prefix, "epoch", shown_or_null(epoch), "arch",
                        shown_or_null(mo_tensor_file_text(inv->file, "arch")), "taken", (json_int_t)taken, "ignored",
                        ignored(inv), "missing", inv->missing, "notes", inv->notes);
    if (*report == NULL)
        return mo_fail(MOCO_ERR_MEMORY, "no memory for a report");
    log_report(inv, json_object_get(*report, "taken"), json_object_get(*report, "ignored"));
    return MOCO_OK;
}
