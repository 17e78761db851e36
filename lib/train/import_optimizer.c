/* What the optimizer of a reference checkpoint keeps of each parameter. It knows parameters by
 * their number over all of the module's; only those that were trained have anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/check.h"
#include "train/import_internal.h"
#include "util/alloc.h"
#include "util/status.h"

/* The words of the published programs; LARS is v3's own class. */
static const char *state_name(int32_t optimizer, int32_t block)
{
    return optimizer == MOCO_OPTIMIZER_LARS ? "mu" : mo_optim_block_name((mo_optimizer_t)optimizer, block);
}

void mo_import_optimizer_kind(mo_import_t *m)
{
    static const int32_t kinds[] = {MOCO_OPTIMIZER_LARS, MOCO_OPTIMIZER_ADAMW};
    for (int64_t i = 0; i < m->file.count; i++)
        for (int k = 0; k < 2; k++) {
            const char *name = m->file.tensors[i].name, *last = strrchr(name, '.');
            if (strncmp(name, "optimizer.state.", 16) == 0 && strcmp(last + 1, state_name(kinds[k], 0)) == 0) {
                m->options.optimizer = kinds[k];
                return;
            }
        }
}

static int ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* Buffers of the module: everything else in a state dictionary is a parameter. */
static int is_buffer(const char *name)
{
    static const char *const ends[] = {".running_mean", ".running_var", ".num_batches_tracked"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (ends_with(name, ends[i]))
            return 1;
    return strcmp(name, "queue") == 0 || strcmp(name, "queue_ptr") == 0;
}

static int by_order(const void *left, const void *right)
{
    const mo_file_tensor_t *a = *(const mo_file_tensor_t *const *)left, *b = *(const mo_file_tensor_t *const *)right;
    return (a->order > b->order) - (a->order < b->order);
}

/* The module's parameters in the order in which they were registered, which is that of its state
 * dictionary. */
static moco_status_t list_parameters(const mo_import_t *m, const mo_file_tensor_t ***list, int64_t *count)
{
    const size_t base = strlen(m->inventory.roots.base);
    moco_status_t status = mo_calloc((size_t)m->file.count, sizeof **list, list);
    *count = 0;
    for (int64_t i = 0; status == MOCO_OK && i < m->file.count; i++) {
        const mo_file_tensor_t *t = &m->file.tensors[i];
        if (strncmp(t->name, m->inventory.roots.base, base) == 0 && !is_buffer(t->name + base))
            (*list)[(*count)++] = t;
    }
    if (status == MOCO_OK)
        qsort(*list, (size_t)*count, sizeof **list, by_order);
    return status;
}

/* The optimizer knows parameters by number, or before PyTorch 1.6 by an address that its own list
 * tells. */
static const char *state_key(const mo_import_t *m, int64_t number)
{
    char key[64];
    snprintf(key, sizeof key, "optimizer.param_groups.0.params.%lld", (long long)number);
    return mo_tensor_file_text(&m->file, key);
}

/* "optimizer.state.17.": the beginning of the names of what is kept of a parameter; empty if it is
 * not listed. */
static void state_prefix(const mo_import_t *m, const mo_file_tensor_t *const *list, int64_t count,
                         const mo_file_tensor_t *parameter, char prefix[128])
{
    prefix[0] = '\0';
    for (int64_t i = 0; i < count && prefix[0] == '\0'; i++)
        if (list[i] == parameter)
            snprintf(prefix, 128, "optimizer.state.%.64s.", state_key(m, i));
}

/* AdamW's number of updates; PyTorch before 1.12 kept it as an integer. */
static moco_status_t read_updates(mo_import_t *m, const char *prefix)
{
    moco_status_t status = MOCO_OK;
    char name[160];
    float value = 0;
    snprintf(name, sizeof name, "%sstep", prefix);
    const mo_file_tensor_t *step = mo_tensor_file_find(&m->file, name);
    const char *text = mo_tensor_file_text(&m->file, name);
    mo_inventory_take(&m->inventory, step);
    if (step != NULL)
        status = mo_file_floats(step, &value, 1);
    if (step != NULL && status == MOCO_OK && value >= 1 && value < 1e9f)
        m->updates = (int64_t)value;
    else if (text != NULL)
        m->updates = strtoll(text, NULL, 10);
    return status == MOCO_ERR_IO ? status : MOCO_OK;
}

/* Every block of one parameter, or none: *found. */
static moco_status_t read_parameter(mo_import_t *m, const mo_parameter_t *parameter, const char *prefix, int *found)
{
    moco_status_t status = MOCO_OK;
    const int32_t kind = m->options.optimizer, blocks = mo_optim_blocks((mo_optimizer_t)kind);
    const mo_file_tensor_t *state[MO_OPTIM_BLOCKS];
    char name[160];
    float *values = NULL;
    *found = 0;
    for (int32_t k = 0; k < blocks; k++) {
        snprintf(name, sizeof name, "%s%s", prefix, state_name(kind, k));
        if (prefix[0] == '\0' || (state[k] = mo_tensor_file_find(&m->file, name)) == NULL)
            return MOCO_OK;
        TRY(mo_shape_check(state[k], parameter->rank, parameter->dims));
    }
    for (int32_t k = 0; k < blocks; k++) {
        const mo_buffer_t to = mo_buffer_floats(m->state.optimizer[k], parameter->offset, parameter->count);
        TRY(mo_buffer_map(to, MO_WRITE, &values));
        status = mo_file_floats(state[k], values, parameter->count);
        if (status == MOCO_OK && mo_optim_block_is_squares((mo_optimizer_t)kind, k))
            status = mo_check_variance(state[k]->name, values, parameter->count);
        mo_buffer_unmap(to, values);
        TRY(status);
        mo_inventory_take(&m->inventory, state[k]);
    }
    if (kind == MOCO_OPTIMIZER_ADAMW)
        TRY(read_updates(m, prefix));
    *found = 1;
cleanup:
    return status;
}

static moco_status_t read_state(mo_import_t *m, const mo_file_tensor_t *const *list, int64_t count)
{
    moco_status_t status = MOCO_OK;
    const mo_net_t *net = &m->state.query.net;
    int32_t trained = 0, present = 0;
    for (int32_t i = 0; i < net->parameter_count; i++) {
        const mo_parameter_t *parameter = &net->parameters[i];
        char prefix[128];
        int found;
        if (parameter->hidden || parameter->frozen)
            continue;
        state_prefix(m, list, count, mo_inventory_find(&m->inventory, &m->inventory.roots.query, parameter->name),
                     prefix);
        TRY(read_parameter(m, parameter, prefix, &found));
        trained++;
        present += found;
    }
    m->has_state = present > 0;
    if (present < trained)
        TRY(mo_inventory_missing(&m->inventory, "%s of %d of the query encoder's %d parameters: 0",
                                 m->options.optimizer == MOCO_OPTIMIZER_ADAMW ? "exp_avg and exp_avg_sq" : "momentum",
                                 trained - present, trained));
cleanup:
    return status;
}

moco_status_t mo_import_optimizer(mo_import_t *m)
{
    moco_status_t status = MOCO_OK;
    const mo_file_tensor_t **list = NULL;
    int64_t count = 0, listed = 0;
    TRY(list_parameters(m, &list, &count));
    while (state_key(m, listed) != NULL)
        listed++;
    if (listed == 0)
        TRY(mo_inventory_missing(&m->inventory, "the optimizer's state: it begins at 0"));
    else if (listed != count || mo_tensor_file_text(&m->file, "optimizer.param_groups.1.lr") != NULL)
        TRY(mo_inventory_missing(&m->inventory,
                                 "the optimizer's state: its first group lists %lld parameters, the file has %lld",
                                 (long long)listed, (long long)count));
    else
        TRY(read_state(m, list, count));
cleanup:
    mo_free(list);
    return status;
}
