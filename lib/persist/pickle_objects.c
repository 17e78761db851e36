/* The globals that a pickle may name, and what becomes of them: dictionaries, tensors, storages, or
 * values that are ignored. A row of the table is data; nothing is looked up or called by name. */
#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

typedef enum meaning { AS_DICT, AS_TENSOR, AS_FIRST, AS_STORAGE, AS_IGNORED } meaning_t;

static const struct global {
    const char *module, *name;
    meaning_t meaning;
    mo_dtype_t dtype;
} globals[] = {
    {"collections", "OrderedDict", AS_DICT, 0},
    {"collections", "defaultdict", AS_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", AS_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", AS_FIRST, 0}, /* (tensor, …): the tensor */
    {"torch", "Size", AS_FIRST, 0},                      /* (tuple,): the tuple     */
    {"torch", "FloatStorage", AS_STORAGE, MO_F32},
    {"torch", "DoubleStorage", AS_STORAGE, MO_F64},
    {"torch", "HalfStorage", AS_STORAGE, MO_F16},
    {"torch", "BFloat16Storage", AS_STORAGE, MO_BF16},
    {"torch", "LongStorage", AS_STORAGE, MO_I64},
    {"torch", "IntStorage", AS_STORAGE, MO_I32},
    {"torch", "ShortStorage", AS_STORAGE, MO_I16},
    {"torch", "CharStorage", AS_STORAGE, MO_I8},
    {"torch", "ByteStorage", AS_STORAGE, MO_U8},
    {"torch", "BoolStorage", AS_STORAGE, MO_BOOL},
    /* What training programs put beside the tensors: command lines, best accuracies, devices,
     * types. */
    {"argparse", "Namespace", AS_IGNORED, 0},
    {"numpy.core.multiarray", "scalar", AS_IGNORED, 0},
    {"numpy._core.multiarray", "scalar", AS_IGNORED, 0},
    {"numpy", "dtype", AS_IGNORED, 0},
    {"_codecs", "encode", AS_IGNORED, 0}, /* bytes in protocol 2 */
    {"torch", "device", AS_IGNORED, 0},
    {"torch", "float32", AS_IGNORED, 0},
    {"torch", "float16", AS_IGNORED, 0},
    {"torch", "bfloat16", AS_IGNORED, 0},
    {"torch", "float64", AS_IGNORED, 0},
    {"__builtin__", "dict", AS_IGNORED, 0}, /* factories of defaultdict, sets, bytes */
    {"__builtin__", "list", AS_IGNORED, 0},
    {"__builtin__", "set", AS_IGNORED, 0},
    {"__builtin__", "int", AS_IGNORED, 0},
    {"__builtin__", "float", AS_IGNORED, 0},
    {"__builtin__", "bytes", AS_IGNORED, 0},
    {"__builtin__", "bytearray", AS_IGNORED, 0},
    {"builtins", "dict", AS_IGNORED, 0},
    {"builtins", "list", AS_IGNORED, 0},
    {"builtins", "set", AS_IGNORED, 0},
    {"builtins", "int", AS_IGNORED, 0},
    {"builtins", "float", AS_IGNORED, 0},
    {"builtins", "bytes", AS_IGNORED, 0},
    {"builtins", "bytearray", AS_IGNORED, 0},
};
#define GLOBALS ((int32_t)(sizeof globals / sizeof globals[0]))

static int same(const char *wanted, const uint8_t *bytes, int64_t size)
{
    return (int64_t)strlen(wanted) == size && memcmp(wanted, bytes, (size_t)size) == 0;
}

static mo_shown_t shown(const uint8_t *bytes, int64_t size)
{
    char text[MO_SHOWN + 2];
    size_t length = size < MO_SHOWN + 1 ? (size_t)size : MO_SHOWN + 1;
    memcpy(text, bytes, length);
    text[length] = '\0';
    return mo_show(text);
}

moco_status_t mo_pickle_global(mo_pickle_t *p, const uint8_t *module, int64_t module_size, const uint8_t *name,
                               int64_t name_size)
{
    for (int32_t i = 0; i < GLOBALS; i++)
        if (same(globals[i].module, module, module_size) && same(globals[i].name, name, name_size))
            return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_GLOBAL, .number = i});
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "%s: holds '%s.%s', which is neither tensor, number nor text: refused, and nothing of it was run; "
                   "wanted a file of state dictionaries",
                   p->path, shown(module, module_size).text, shown(name, name_size).text);
}

/* ---- tensors ---- */

static const mo_pickle_value_t *item(const mo_pickle_t *p, const mo_pickle_value_t *tuple, int32_t i)
{
    return mo_pickle_item(p, tuple, i);
}

static int is_sizes(const mo_pickle_t *p, const mo_pickle_value_t *v, int64_t out[MO_FILE_DIMS])
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

/* (storage, offset, sizes, strides, requires_grad, hooks[, metadata]) */
static moco_status_t push_tensor(mo_pickle_t *p, const mo_pickle_value_t *args)
{
    mo_pickle_tensor_t t = {0};
    if (args->count < 6 || args->count > 7 || item(p, args, 0)->kind != MO_PICKLE_STORAGE ||
        item(p, args, 1)->kind != MO_PICKLE_INT || item(p, args, 1)->whole < 0)
        return mo_pickle_damaged(p, "a tensor has no storage or offset");
    if (!is_sizes(p, item(p, args, 2), t.dims) || !is_sizes(p, item(p, args, 3), t.strides) ||
        item(p, args, 2)->count != item(p, args, 3)->count)
        return mo_fail(MOCO_ERR_FORMAT,
                       "%s: damaged pickle: a tensor's sizes and strides are not two lists of at most %d whole numbers "
                       ">= 0",
                       p->path, MO_FILE_DIMS);
    t.storage = item(p, args, 0)->number;
    t.offset = item(p, args, 1)->whole;
    t.rank = item(p, args, 2)->count;
    moco_status_t status = mo_pickle_room(p, &p->tensors, p->tensor_count, &p->tensor_capacity, sizeof t,
                                          MO_PICKLE_MAX_TENSORS, "tensors");
    if (status != MOCO_OK)
        return status;
    p->tensors[p->tensor_count++] = t;
    return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_TENSOR, .number = (int32_t)p->tensor_count - 1});
}

/* ('storage', class, key, location, count[, None or (key of the view, first, size)]) */
static moco_status_t read_storage(const mo_pickle_t *p, const mo_pickle_value_t *id, mo_pickle_storage_t *s)
{
    if (id->kind != MO_PICKLE_TUPLE || id->count < 5 || id->count > 6 || item(p, id, 0)->kind != MO_PICKLE_TEXT ||
        !same("storage", item(p, id, 0)->bytes, item(p, id, 0)->count))
        return mo_pickle_damaged(p, "a persistent value is no storage");
    const mo_pickle_value_t *class = item(p, id, 1), *key = item(p, id, 2), *count = item(p, id, 4);
    if (class->kind != MO_PICKLE_GLOBAL || globals[class->number].meaning != AS_STORAGE ||
        key->kind != MO_PICKLE_TEXT || count->kind != MO_PICKLE_INT || count->whole < 0)
        return mo_pickle_damaged(p, "a storage has no class, key or count");
    *s = (mo_pickle_storage_t){.dtype = globals[class->number].dtype,
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

moco_status_t mo_pickle_persistent(mo_pickle_t *p)
{
    moco_status_t status = MOCO_OK;
    const int32_t *id = NULL;
    mo_pickle_storage_t storage;
    TRY(mo_pickle_pop(p, 1, &id));
    TRY(read_storage(p, &p->values[*id], &storage));
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

moco_status_t mo_pickle_reduce(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, 2, &numbers);
    if (status != MOCO_OK)
        return status;
    const mo_pickle_value_t *callable = &p->values[numbers[0]], *args = &p->values[numbers[1]];
    if (args->kind != MO_PICKLE_TUPLE || (callable->kind != MO_PICKLE_GLOBAL && callable->kind != MO_PICKLE_IGNORED))
        return mo_pickle_damaged(p, "something is made by what makes nothing");
    if (callable->kind == MO_PICKLE_IGNORED)
        return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_IGNORED});
    switch (globals[callable->number].meaning) {
    case AS_DICT: return push_dict(p, args);
    case AS_TENSOR: return push_tensor(p, args);
    case AS_FIRST:
        if (args->count < 1)
            return mo_pickle_damaged(p, "a parameter has no tensor");
        return mo_pickle_push_number(p, p->pool[args->items.first]);
    case AS_IGNORED: return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_IGNORED});
    default: return mo_pickle_damaged(p, "a storage is made without its numbers");
    }
}

/* A dictionary's own attributes (an OrderedDict of modules has _metadata) and ignored objects'
 * contents: left out. */
moco_status_t mo_pickle_build(mo_pickle_t *p)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, 2, &numbers);
    if (status != MOCO_OK)
        return status;
    const mo_pickle_value_t *value = &p->values[numbers[0]];
    if (value->kind != MO_PICKLE_DICT && value->kind != MO_PICKLE_IGNORED)
        return mo_pickle_damaged(p, "attributes are given to what has none");
    return mo_pickle_push_number(p, numbers[0]);
}
