/* The momentum that the optimiser of a reference checkpoint keeps of each parameter. It knows parameters by their number
 * over all of the module's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/import_internal.h"
#include "util/alloc.h"
#include "util/status.h"

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

/* The module's parameters in the order in which they were registered, which is that of its state dictionary. */
static moco_status_t list_parameters(const mo_import_t *m, const mo_file_tensor_t ***list, int64_t *count)
{
    const size_t base = strlen(m->foreign.base);
    moco_status_t status = mo_calloc((size_t)m->file.count, sizeof **list, list);
    *count = 0;
    for (int64_t i = 0; status == MOCO_OK && i < m->file.count; i++) {
        const mo_file_tensor_t *t = &m->file.tensors[i];
        if (strncmp(t->name, m->foreign.base, base) == 0 && !is_buffer(t->name + base))
            (*list)[(*count)++] = t;
    }
    if (status == MOCO_OK && *count > 0)
        qsort(*list, (size_t)*count, sizeof **list, by_order);
    return status;
}

/* The optimiser knows parameters by number, or before PyTorch 1.6 by an address that its own list tells. */
static const char *state_key(const mo_import_t *m, int64_t number)
{
    char key[64];
    snprintf(key, sizeof key, "optimizer.param_groups.0.params.%lld", (long long)number);
    return mo_tensor_file_text(&m->file, key);
}

/* The momentum buffer of a parameter; NULL if it has none. */
static const mo_file_tensor_t *buffer_of(const mo_import_t *m, const mo_file_tensor_t *const *list, int64_t count,
                                         const mo_file_tensor_t *parameter)
{
    char name[MO_LAYOUT_NAME];
    for (int64_t i = 0; i < count; i++)
        if (list[i] == parameter) {
            snprintf(name, sizeof name, "optimizer.state.%.64s.momentum_buffer", state_key(m, i));
            return mo_tensor_file_find(&m->file, name);
        }
    return NULL;
}

static moco_status_t read_buffers(mo_import_t *m, const mo_file_tensor_t *const *list, int64_t count)
{
    moco_status_t status = MOCO_OK;
    const mo_net_t *net = &m->trainer->query.net;
    int32_t absent = 0;
    for (int32_t i = 0; i < net->span_count; i++) {
        const mo_span_t *span = &net->spans[i];
        const mo_file_tensor_t *parameter = mo_foreign_find(&m->foreign, &m->foreign.query, span->name);
        const mo_file_tensor_t *buffer = buffer_of(m, list, count, parameter);
        if (buffer == NULL) {
            absent++;
            continue;
        }
        TRY(mo_shape_check(buffer, span->rank, span->dims));
        TRY(mo_file_floats(buffer, m->trainer->optim.state[0] + span->offset, span->count));
        mo_foreign_take(&m->foreign, buffer);
    }
    m->has_momentum = absent < net->span_count;
    if (absent > 0)
        TRY(mo_foreign_missing(&m->foreign, "momentum of %d of the query encoder's %d parameters: 0", absent,
                               net->span_count));
cleanup:
    return status;
}

moco_status_t mo_import_momentum(mo_import_t *m)
{
    moco_status_t status = MOCO_OK;
    const mo_file_tensor_t **list = NULL;
    int64_t count = 0, listed = 0;
    TRY(list_parameters(m, &list, &count));
    while (state_key(m, listed) != NULL)
        listed++;
    if (listed == 0)
        TRY(mo_foreign_missing(&m->foreign, "the optimizer's state: momentum begins at 0"));
    else if (listed != count || mo_tensor_file_text(&m->file, "optimizer.param_groups.1.lr") != NULL)
        TRY(mo_foreign_missing(&m->foreign,
                               "momentum: the optimizer's first group lists %lld parameters, the file has %lld",
                               (long long)listed, (long long)count));
    else
        TRY(read_buffers(m, list, count));
cleanup:
    mo_free(list);
    return status;
}
