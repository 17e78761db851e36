/* What a pickle makes of the globals it names: dictionaries, tensors and their storages. The rest
 * stays opaque. */
#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

/* ---- tensors ---- */

static const mo_pickle_value_t *item(const mo_pickle_t *p, const mo_pickle_value_t *tuple, int32_t i)
{
    return mo_pickle_item(p, tuple, i);
}

int mo_pickle_sizes(const mo_pickle_t *p, const mo_pickle_value_t *v, int64_t out[MO_FILE_DIMS])
{
    if ((v->kind != MO_PICKLE_TUPLE && v->kind != MO_PICKLE_LIST) || v->count > MO_FILE_DIMS)
        return 0;
    for (int32_t i = 0; i < v->count; i++) {
        const mo_pickle_value_t *size = item(p, v, i);
        if (size->kind != MO_PICKLE_INT || size->whole < 0)
            return 0;
        out[i] = size->whole;
    }
    return 1;
}

moco_status_t mo_pickle_push_tensor(mo_pickle_t *p, const mo_pickle_tensor_t *tensor)
{
    moco_status_t status = mo_pickle_room(p, &p->tensors, p->tensor_count, &p->tensor_capacity, sizeof *tensor,
                                          MO_PICKLE_MAX_TENSORS, "tensors");
    if (status != MOCO_OK)
        return status;
    p->tensors[p->tensor_count++] = *tensor;
    return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_TENSOR, .number = (int32_t)p->tensor_count - 1});
}

static int is_list(const mo_pickle_value_t *v)
{
    return v->kind == MO_PICKLE_TUPLE || v->kind == MO_PICKLE_LIST;
}

/* (storage, offset, sizes, strides[, requires_grad, hooks[, …]]). One that is sound and cannot be
 * read is no error until somebody wants it. */
static moco_status_t push_tensor(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    mo_pickle_tensor_t t = {.storage = -1};
    if (args->kind != MO_PICKLE_TUPLE || args->count < 4 || args->count > 8 ||
        (item(p, args, 0)->kind != MO_PICKLE_STORAGE && item(p, args, 0)->kind != MO_PICKLE_OPAQUE) ||
        item(p, args, 1)->kind != MO_PICKLE_INT || item(p, args, 1)->whole < 0)
        return mo_pickle_damaged(p, "a tensor has no storage or offset");
    const mo_pickle_value_t *storage = item(p, args, 0), *dims = item(p, args, 2), *strides = item(p, args, 3);
    if (is_list(dims) && is_list(strides) && dims->count == strides->count && dims->count > MO_FILE_DIMS)
        t.odd = "9 dims or more";
    else if (!mo_pickle_sizes(p, dims, t.dims) || !mo_pickle_sizes(p, strides, t.strides) ||
             dims->count != strides->count)
        return mo_fail(MOCO_ERR_FORMAT,
                       "%s: damaged pickle: a tensor's sizes and strides are not two lists of at most %d whole numbers "
                       ">= 0",
                       p->path, MO_FILE_DIMS);
    else
        t.rank = dims->count;
    if (storage->kind == MO_PICKLE_OPAQUE)
        t.odd = "nested"; /* pickle.dump of tensors: their numbers are a file of torch.save inside the pickle */
    else if (p->storages[storage->number].dtype == MO_DTYPE_OTHER)
        t.odd = p->storages[storage->number].odd != NULL ? p->storages[storage->number].odd : "another type";
    else
        t.storage = storage->number;
    t.offset = item(p, args, 1)->whole;
    return mo_pickle_push_tensor(p, &t);
}

/* ('storage', class, key, location, count[, None or (key of the view, first, size)]) */
static moco_status_t read_storage(const mo_pickle_t *p, const mo_pickle_value_t *id, mo_pickle_storage_t *s)
{
    if (id->count < 5 || id->count > 6 || !mo_pickle_same("storage", item(p, id, 0)->bytes, item(p, id, 0)->count))
        return mo_pickle_damaged(p, "a persistent value is no storage");
    const mo_pickle_value_t *class = item(p, id, 1), *key = item(p, id, 2), *count = item(p, id, 4);
    const mo_pickle_global_row_t *row = mo_pickle_row(class);
    const int known = row != NULL && row->meaning == MO_AS_STORAGE;
    if ((!known && class->kind != MO_PICKLE_OPAQUE) || key->kind != MO_PICKLE_TEXT || count->kind != MO_PICKLE_INT ||
        count->whole < 0)
        return mo_pickle_damaged(p, "a storage has no class, key or count");
    const mo_dtype_t dtype = known ? row->dtype : MO_DTYPE_OTHER;
    *s = (mo_pickle_storage_t){.dtype = dtype,
                               .odd = known ? row->odd : NULL,
                               .item = known && row->item > 0 ? row->item : (uint32_t)mo_dtype_bytes(dtype),
                               .key = key->bytes,
                               .key_size = key->count,
                               .count = count->whole,
                               .size = count->whole};
    if (id->count < 6 || item(p, id, 5)->kind == MO_PICKLE_NONE)
        return MOCO_OK;
    const mo_pickle_value_t *view = item(p, id, 5);
    int64_t end;
    if (view->kind != MO_PICKLE_TUPLE || view->count != 3 || item(p, view, 1)->kind != MO_PICKLE_INT ||
        item(p, view, 2)->kind != MO_PICKLE_INT)
        return mo_pickle_damaged(p, "a storage's view is not (key, first, size)");
    s->first = item(p, view, 1)->whole;
    s->size = item(p, view, 2)->whole;
    if (s->first < 0 || s->size < 0 || __builtin_add_overflow(s->first, s->size, &end) || end > s->count)
        return mo_pickle_damaged(p, "a storage's view is not inside it");
    return MOCO_OK;
}

/* In older files a module's class comes with its source: ('module', class, file, source). */
moco_status_t mo_pickle_persistent(mo_pickle_t *p)
{
    moco_status_t status = MOCO_OK;
    const int32_t *number = NULL;
    mo_pickle_storage_t storage;
    TRY(mo_pickle_pop(p, 1, &number));
    const mo_pickle_value_t *id = &p->values[*number];
    if (id->kind != MO_PICKLE_TUPLE || id->count < 2 || item(p, id, 0)->kind != MO_PICKLE_TEXT)
        TRY(mo_pickle_damaged(p, "a persistent value is no storage"));
    if (mo_pickle_same("module", item(p, id, 0)->bytes, item(p, id, 0)->count))
        return mo_pickle_push_number(p, p->pool[id->items.first + 1]);
    TRY(read_storage(p, id, &storage));
    TRY(mo_pickle_room(p, &p->storages, p->storage_count, &p->storage_capacity, sizeof storage, MO_PICKLE_MAX_VALUES,
                       "storages"));
    p->storages[p->storage_count++] = storage;
    TRY(mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_STORAGE, .number = (int32_t)p->storage_count - 1}));
cleanup:
    return status;
}

/* ---- objects ---- */

/* An OrderedDict may be made from a list of pairs (Python 2); a defaultdict's factory is of no
 * interest. */
static moco_status_t push_dict(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    moco_status_t status = MOCO_OK;
    int32_t made;
    const int32_t pairs = args->count == 1 ? p->pool[args->items.first] : -1;
    TRY(mo_pickle_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_DICT}, &made)); /* `args` may have moved */
    for (int32_t i = 0; pairs >= 0 && p->values[pairs].kind == MO_PICKLE_LIST && i < p->values[pairs].count; i++) {
        const mo_pickle_value_t *pair = mo_pickle_item(p, &p->values[pairs], i);
        if ((pair->kind != MO_PICKLE_LIST && pair->kind != MO_PICKLE_TUPLE) || pair->count != 2)
            TRY(mo_pickle_damaged(p, "a dictionary is made from what are no pairs"));
        const int32_t both[2] = {p->pool[pair->items.first], p->pool[pair->items.first + 1]};
        TRY(mo_pickle_append(p, made, both, 2));
    }
    TRY(mo_pickle_push_number(p, made));
cleanup:
    return status;
}

static moco_status_t push_odd(mo_pickle_t *p, const mo_pickle_global_row_t *row)
{
    const mo_pickle_tensor_t t = {.storage = -1, .odd = row->odd};
    return mo_pickle_push_tensor(p, &t);
}

/* A tensor of a class of its own is read as what its function makes. */
static moco_status_t push_subtype(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    const mo_pickle_global_row_t *row = args->count >= 3 ? mo_pickle_row(item(p, args, 0)) : NULL;
    if (row != NULL && row->meaning == MO_AS_ODD_TENSOR)
        return push_odd(p, row);
    return row != NULL && row->meaning == MO_AS_TENSOR ? push_tensor(p, item(p, args, 2))
                                                       : mo_pickle_push_opaque(p, -1);
}

moco_status_t mo_pickle_reduce(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, 2, &numbers);
    if (status != MOCO_OK)
        return status;
    const mo_pickle_value_t *callable = &p->values[numbers[0]], *args = &p->values[numbers[1]];
    if (args->kind != MO_PICKLE_TUPLE || (callable->kind != MO_PICKLE_GLOBAL && callable->kind != MO_PICKLE_OPAQUE))
        return mo_pickle_damaged(p, "something is made by what makes nothing");
    if (callable->kind == MO_PICKLE_OPAQUE)
        return mo_pickle_push_opaque(p, callable->number);
    switch (mo_pickle_row(callable)->meaning) {
    case MO_AS_DICT: return push_dict(p, args);
    case MO_AS_TENSOR: return push_tensor(p, args);
    case MO_AS_ODD_TENSOR: return push_odd(p, mo_pickle_row(callable));
    case MO_AS_FIRST:
        if (args->count < 1)
            return mo_pickle_damaged(p, "a parameter has no tensor");
        return mo_pickle_push_number(p, p->pool[args->items.first]);
    case MO_AS_SUBTYPE: return push_subtype(p, args);
    case MO_AS_ARRAY: return mo_pickle_push_array(p);
    case MO_AS_BUFFER_ARRAY: return mo_pickle_push_buffer_array(p, args);
    case MO_AS_NUMBER: return mo_pickle_push_scalar(p, args);
    case MO_AS_DTYPE: return mo_pickle_push_dtype(p, args);
    case MO_AS_BYTES: return mo_pickle_push_encoded(p, args);
    case MO_AS_NOTHING: return mo_pickle_push_opaque(p, -1);
    default: return mo_pickle_damaged(p, "a storage is made without its numbers");
    }
}

/* The state of an array is its numbers. A dictionary's own attributes (an OrderedDict of modules
 * has _metadata), a parameter's and the contents of opaque objects are left out. */
moco_status_t mo_pickle_build(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, 2, &numbers);
    if (status != MOCO_OK)
        return status;
    mo_pickle_value_t *value = &p->values[numbers[0]];
    const mo_pickle_value_t *state = &p->values[numbers[1]];
    switch (value->kind) {
    case MO_PICKLE_TENSOR: status = mo_pickle_build_array(p, value->number, state); break;
    case MO_PICKLE_DTYPE: status = mo_pickle_build_dtype(p, value, state); break;
    case MO_PICKLE_DICT:
    case MO_PICKLE_LIST:
    case MO_PICKLE_OPAQUE: break;
    default: return mo_pickle_damaged(p, "attributes are given to what has none");
    }
    return status == MOCO_OK ? mo_pickle_push_number(p, numbers[0]) : status;
}
