/* Finding encoders in a file by the tables of layout.c, and reading them. See inventory.h. */
#include "persist/inventory.h"

#include <stdio.h>
#include <string.h>

#include "persist/check.h"
#include "util/alloc.h"
#include "util/status.h"

enum { FULL_NAME = MO_PREFIX + MO_LAYOUT_NAME };

/* ---- where ---- */

static moco_status_t open_empty(mo_inventory_t *inv, const mo_tensor_file_t *file, const char *path)
{
    moco_status_t status = MOCO_OK;
    *inv = (mo_inventory_t){.file = file, .path = path, .missing = json_array(), .notes = json_array()};
    if (inv->missing == NULL || inv->notes == NULL)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a report"));
    TRY(mo_calloc((size_t)file->count, 1, &inv->taken));
cleanup:
    if (status != MOCO_OK)
        mo_inventory_close(inv);
    return status;
}

moco_status_t mo_inventory_open(mo_inventory_t *inv, const mo_tensor_file_t *file, const char *path, const char *prefix)
{
    moco_status_t status = MOCO_OK;
    TRY(open_empty(inv, file, path));
    TRY(mo_roots_find(file, prefix, &inv->roots));
    if (inv->roots.other != NULL && inv->roots.role->key == NULL) /* else the layout says it */
        TRY(mo_inventory_note(inv, "of a pair of encoders '%s' is taken, '%s' is the other", inv->roots.query.prefix,
                              inv->roots.other));
cleanup:
    if (status != MOCO_OK)
        mo_inventory_close(inv);
    return status;
}

static void put_root(const mo_tensor_file_t *file, const char *prefix, mo_root_t *root)
{
    if (prefix == NULL)
        return;
    snprintf(root->prefix, sizeof root->prefix, "%s", prefix);
    root->scheme = mo_scheme_at(file, prefix);
}

moco_status_t mo_inventory_open_at(mo_inventory_t *inv, const mo_tensor_file_t *file, const char *path,
                                   const mo_role_t *role)
{
    moco_status_t status = open_empty(inv, file, path);
    if (status != MOCO_OK)
        return status;
    inv->roots.role = role;
    put_root(file, role->query, &inv->roots.query);
    put_root(file, role->key, &inv->roots.key);
    return MOCO_OK;
}

void mo_inventory_close(mo_inventory_t *inv)
{
    mo_free(inv->taken);
    mo_roots_free(&inv->roots);
    json_decref(inv->missing);
    json_decref(inv->notes);
    *inv = (mo_inventory_t){0};
}

/* A predictor stands beside its encoder, not in it. */
static void full_name(const mo_inventory_t *inv, const mo_root_t *root, const char *ours, char name[FULL_NAME])
{
    char theirs[MO_LAYOUT_NAME];
    const int apart = inv->roots.role != NULL && inv->roots.role->predictor != NULL && mo_stands_apart(ours);
    mo_scheme_theirs(root->scheme, ours, theirs);
    snprintf(name, FULL_NAME, "%s%s", apart ? inv->roots.base : root->prefix, theirs);
}

const mo_file_tensor_t *mo_inventory_find(const mo_inventory_t *inv, const mo_root_t *root, const char *ours)
{
    char name[FULL_NAME];
    full_name(inv, root, ours, name);
    return mo_tensor_file_find(inv->file, name);
}

void mo_inventory_take(mo_inventory_t *inv, const mo_file_tensor_t *tensor)
{
    if (tensor != NULL)
        inv->taken[tensor - inv->file->tensors] = 1;
}

/* ---- numbers ---- */

/* One tensor of a net by its place in this order: parameters, then mean and variance of each batch
 * norm. Constants of the arithmetic are in no file. */
typedef struct wanted {
    char name[MO_LAYOUT_NAME];
    int32_t rank;
    int hidden;
    const int64_t *dims;
    int64_t channels[1];
} wanted_t;

static int32_t wanted_count(const mo_net_t *net)
{
    return net->parameter_count + 2 * net->bn_count;
}

static void wanted_at(const mo_net_t *net, int32_t i, wanted_t *w)
{
    if (i < net->parameter_count) {
        snprintf(w->name, sizeof w->name, "%s", net->parameters[i].name);
        w->rank = net->parameters[i].rank;
        w->dims = net->parameters[i].dims;
        w->hidden = net->parameters[i].hidden;
        return;
    }
    const mo_bn_t *bn = &net->bns[(i - net->parameter_count) / 2];
    snprintf(w->name, sizeof w->name, "%s.%s", bn->name,
             (i - net->parameter_count) % 2 ? "running_var" : "running_mean");
    w->hidden = 0;
    w->rank = 1;
    w->channels[0] = bn->channels;
    w->dims = w->channels;
}

moco_status_t mo_inventory_check(const mo_inventory_t *inv, const mo_root_t *root, const mo_net_t *net)
{
    wanted_t w, first = {0};
    int32_t absent = 0;
    uint64_t bytes = 0;
    for (int32_t i = 0; i < wanted_count(net); i++) {
        wanted_at(net, i, &w);
        if (w.hidden)
            continue;
        const mo_file_tensor_t *t = mo_inventory_find(inv, root, w.name);
        if (t == NULL && absent++ == 0)
            first = w;
        if (t != NULL) {
            moco_status_t status = mo_shape_check(t, w.rank, w.dims);
            if (status == MOCO_OK)
                status = mo_file_repeats(t, &bytes);
            if (status != MOCO_OK)
                return status;
        }
    }
    if (absent == 0)
        return mo_inventory_strange(inv, root, net);
    char name[FULL_NAME];
    full_name(inv, root, first.name, name);
    return mo_fail(MOCO_ERR_SHAPE, "%s: tensor '%.300s' is missing (%d of the encoder's %d are)", inv->path, name,
                   absent, wanted_count(net));
}

/* What of the net is there, counters left out, is known; what else lies inside the encoder is
 * not. */
moco_status_t mo_inventory_strange(const mo_inventory_t *inv, const mo_root_t *root, const mo_net_t *net)
{
    const mo_tensor_file_t *file = inv->file;
    const size_t prefix = strlen(root->prefix);
    const mo_file_tensor_t *first = NULL;
    int64_t strange = 0;
    uint8_t *known = NULL;
    moco_status_t status = mo_calloc((size_t)file->count, 1, &known);
    if (status != MOCO_OK)
        return status;
    for (int32_t i = 0; i < wanted_count(net); i++) {
        wanted_t w;
        wanted_at(net, i, &w);
        const mo_file_tensor_t *t = w.hidden ? NULL : mo_inventory_find(inv, root, w.name);
        if (t != NULL)
            known[t - file->tensors] = 1;
    }
    for (int64_t i = 0; i < file->count; i++) {
        const mo_file_tensor_t *t = &file->tensors[i];
        if (known[i] || strncmp(t->name, root->prefix, prefix) != 0 ||
            !mo_scheme_is_inside(root->scheme, t->name + prefix))
            continue;
        if (strange++ == 0)
            first = t;
    }
    mo_free(known);
    if (strange == 0)
        return MOCO_OK;
    char more[48] = "";
    if (strange > 1)
        snprintf(more, sizeof more, " (%lld more like it)", (long long)strange - 1);
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "%s: tensor '%s' lies inside the encoder, and the networks of this version have no such layer%s: "
                   "without it the embeddings would be wrong",
                   inv->path, mo_show(first->name).text, more);
}

static moco_status_t take_floats(mo_inventory_t *inv, const mo_root_t *root, const char *ours, float *out,
                                 int64_t count)
{
    const mo_file_tensor_t *t = mo_inventory_find(inv, root, ours);
    mo_inventory_take(inv, t);
    return mo_file_floats(t, out, count);
}

/* Counters are for report and step numbers alone; files of old programs have none. */
static moco_status_t take_counters(mo_inventory_t *inv, const mo_root_t *root, const mo_net_t *net, int64_t *batches)
{
    int32_t absent = 0;
    *batches = 0;
    for (int32_t i = 0; i < net->bn_count; i++) {
        char name[MO_LAYOUT_NAME];
        int64_t counted = 0;
        snprintf(name, sizeof name, "%s.num_batches_tracked", net->bns[i].name);
        const mo_file_tensor_t *t = mo_inventory_find(inv, root, name);
        mo_inventory_take(inv, t);
        absent += t == NULL;
        if (i > 0 || t == NULL)
            continue;
        const moco_status_t status = mo_file_ints(t, &counted, 1);
        if (status == MOCO_ERR_IO)
            return status;
        if (status == MOCO_OK && counted > 0)
            *batches = counted;
    }
    return absent > 0 ? mo_inventory_missing(inv, "%snum_batches_tracked of %d batch norms", root->prefix, absent)
                      : MOCO_OK;
}

moco_status_t mo_inventory_mark(mo_inventory_t *inv, const mo_root_t *root, const mo_net_t *net, int64_t *batches)
{
    wanted_t w;
    if (root->scheme == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "%s: has no encoder at '%s'", inv->path, mo_show(root->prefix).text);
    for (int32_t i = 0; i < wanted_count(net); i++) {
        wanted_at(net, i, &w);
        if (!w.hidden)
            mo_inventory_take(inv, mo_inventory_find(inv, root, w.name));
    }
    return take_counters(inv, root, net, batches);
}

moco_status_t mo_inventory_encoder(mo_inventory_t *inv, const mo_root_t *root, const mo_net_t *net, float *params,
                                   float *running, int64_t *batches)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_inventory_check(inv, root, net));
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        if (parameter->hidden)
            mo_parameter_constant(parameter, params);
        else
            TRY(take_floats(inv, root, parameter->name, params + parameter->offset, parameter->count));
    }
    for (int32_t i = 0; i < net->bn_count; i++) {
        const mo_bn_t *bn = &net->bns[i];
        char name[MO_LAYOUT_NAME];
        snprintf(name, sizeof name, "%s.running_mean", bn->name);
        TRY(take_floats(inv, root, name, running + bn->offset, bn->channels));
        snprintf(name, sizeof name, "%s.running_var", bn->name);
        TRY(take_floats(inv, root, name, running + bn->offset + bn->channels, bn->channels));
        TRY(mo_check_variance(name, running + bn->offset + bn->channels, bn->channels));
    }
    TRY(take_counters(inv, root, net, batches));
cleanup:
    return status;
}
