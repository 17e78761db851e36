/* The globals that a pickle may name, and what becomes of them: dictionaries, tensors, arrays,
 * storages, or opaque values. A row of the table is data; nothing is looked up or called by
 * name. */
#include <stdio.h>
#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

static const mo_pickle_global_row_t globals[] = {
    {"collections", "OrderedDict", MO_AS_DICT, 0, 0},
    {"collections", "defaultdict", MO_AS_DICT, 0, 0},
    {"torch._utils", "_rebuild_tensor", MO_AS_TENSOR, 0, 0},
    {"torch._utils", "_rebuild_tensor_v2", MO_AS_TENSOR, 0, 0},
    {"torch._utils", "_rebuild_tensor_v3", MO_AS_TENSOR, 0, 0},
    {"torch._utils", "_rebuild_parameter", MO_AS_FIRST, 0, 0}, /* (tensor, …): the tensor */
    {"torch._utils", "_rebuild_parameter_with_state", MO_AS_FIRST, 0, 0},
    {"torch._tensor", "_rebuild_from_type", MO_AS_SUBTYPE, 0, 0},
    {"torch._tensor", "_rebuild_from_type_v2", MO_AS_SUBTYPE, 0, 0},
    {"torch", "Size", MO_AS_FIRST, 0, 0}, /* (tuple,): the tuple     */
    {"torch", "FloatStorage", MO_AS_STORAGE, MO_F32, 0},
    {"torch", "DoubleStorage", MO_AS_STORAGE, MO_F64, 0},
    {"torch", "HalfStorage", MO_AS_STORAGE, MO_F16, 0},
    {"torch", "BFloat16Storage", MO_AS_STORAGE, MO_BF16, 0},
    {"torch", "LongStorage", MO_AS_STORAGE, MO_I64, 0},
    {"torch", "IntStorage", MO_AS_STORAGE, MO_I32, 0},
    {"torch", "ShortStorage", MO_AS_STORAGE, MO_I16, 0},
    {"torch", "CharStorage", MO_AS_STORAGE, MO_I8, 0},
    {"torch", "ByteStorage", MO_AS_STORAGE, MO_U8, 0},
    {"torch", "BoolStorage", MO_AS_STORAGE, MO_BOOL, 0},
    {"torch", "ComplexFloatStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 8},
    {"torch", "ComplexDoubleStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 16},
    {"torch", "QInt8Storage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1},
    {"torch", "QUInt8Storage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1},
    {"torch", "QInt32Storage", MO_AS_STORAGE, MO_DTYPE_OTHER, 4},
    {"torch.storage", "UntypedStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1},
    {"torch", "UntypedStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1},
    /* NumPy 1 and 2 */
    {"numpy.core.multiarray", "_reconstruct", MO_AS_ARRAY, 0, 0},
    {"numpy._core.multiarray", "_reconstruct", MO_AS_ARRAY, 0, 0},
    {"numpy.core.numeric", "_frombuffer", MO_AS_BUFFER_ARRAY, 0, 0},
    {"numpy._core.numeric", "_frombuffer", MO_AS_BUFFER_ARRAY, 0, 0},
    {"numpy.core.multiarray", "scalar", MO_AS_NUMBER, 0, 0},
    {"numpy._core.multiarray", "scalar", MO_AS_NUMBER, 0, 0},
    {"numpy", "dtype", MO_AS_DTYPE, 0, 0},
    {"_codecs", "encode", MO_AS_BYTES, 0, 0}, /* bytes in protocol 2 */
    /* What stands beside the tensors and is made of the built-in types. */
    {"__builtin__", "dict", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "list", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "tuple", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "set", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "frozenset", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "int", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "long", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "float", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "complex", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "bool", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "str", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "unicode", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "bytes", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "bytearray", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "slice", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "xrange", MO_AS_NOTHING, 0, 0},
    {"__builtin__", "object", MO_AS_NOTHING, 0, 0},
    {"builtins", "dict", MO_AS_NOTHING, 0, 0},
    {"builtins", "list", MO_AS_NOTHING, 0, 0},
    {"builtins", "tuple", MO_AS_NOTHING, 0, 0},
    {"builtins", "set", MO_AS_NOTHING, 0, 0},
    {"builtins", "frozenset", MO_AS_NOTHING, 0, 0},
    {"builtins", "int", MO_AS_NOTHING, 0, 0},
    {"builtins", "float", MO_AS_NOTHING, 0, 0},
    {"builtins", "complex", MO_AS_NOTHING, 0, 0},
    {"builtins", "bool", MO_AS_NOTHING, 0, 0},
    {"builtins", "str", MO_AS_NOTHING, 0, 0},
    {"builtins", "bytes", MO_AS_NOTHING, 0, 0},
    {"builtins", "bytearray", MO_AS_NOTHING, 0, 0},
    {"builtins", "slice", MO_AS_NOTHING, 0, 0},
    {"builtins", "range", MO_AS_NOTHING, 0, 0},
    {"builtins", "object", MO_AS_NOTHING, 0, 0},
    {"argparse", "Namespace", MO_AS_NOTHING, 0, 0},
    {"types", "SimpleNamespace", MO_AS_NOTHING, 0, 0},
    {"torch", "device", MO_AS_NOTHING, 0, 0},
};
#define GLOBALS ((int32_t)(sizeof globals / sizeof globals[0]))

/* Packages whose functions run programs, read and write files or reach the net, or that make code:
 * no checkpoint needs them, and a pickle that names one means harm to whoever loads it in Python.
 * Of the built-in functions only the rows above are allowed. */
static const char *const harmful[] = {"__builtin__",  "builtins", "os",         "posix",     "nt",         "sys",
                                      "subprocess",   "commands", "popen2",     "pty",       "shutil",     "socket",
                                      "socketserver", "ssl",      "http",       "httplib",   "urllib",     "urllib2",
                                      "requests",     "ftplib",   "smtplib",    "telnetlib", "webbrowser", "asyncio",
                                      "runpy",        "code",     "codeop",     "pdb",       "bdb",        "timeit",
                                      "cProfile",     "profile",  "trace",      "importlib", "imp",        "pkgutil",
                                      "zipimport",    "marshal",  "types",      "ctypes",    "_ctypes",    "operator",
                                      "_operator",    "pip",      "setuptools", "distutils", "pydoc",      "doctest"};

int mo_pickle_same(const char *wanted, const uint8_t *bytes, int64_t size)
{
    return (int64_t)strlen(wanted) == size && memcmp(wanted, bytes, (size_t)size) == 0;
}

static int is_harmful(const uint8_t *module, int64_t size)
{
    const uint8_t *dot = size > 0 ? memchr(module, '.', (size_t)size) : NULL;
    const int64_t package = dot != NULL ? dot - module : size;
    for (size_t i = 0; i < sizeof harmful / sizeof harmful[0]; i++)
        if (mo_pickle_same(harmful[i], module, package))
            return 1;
    return 0;
}

/* "module.name", each as far as a message shows it. */
static mo_shown_t shown(const mo_pickle_class_t *c)
{
    char text[MO_SHOWN + 2];
    const int32_t half = MO_SHOWN / 2;
    snprintf(text, sizeof text, "%.*s.%.*s", (int)(c->module_size < half ? c->module_size : half),
             (const char *)c->module, (int)(c->name_size < half ? c->name_size : half), (const char *)c->name);
    return mo_show(text);
}

mo_shown_t mo_pickle_class_name(const mo_pickle_t *p, const mo_pickle_value_t *value)
{
    if (value->number >= 0)
        return shown(&p->classes[value->number]);
    return mo_show("one of Python's own");
}

const mo_pickle_global_row_t *mo_pickle_row(const mo_pickle_value_t *value)
{
    return value->kind == MO_PICKLE_GLOBAL ? &globals[value->number] : NULL;
}

moco_status_t mo_pickle_push_opaque(mo_pickle_t *p, int32_t number)
{
    return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_OPAQUE, .number = number});
}

moco_status_t mo_pickle_global(mo_pickle_t *p, const uint8_t *module, int64_t module_size, const uint8_t *name,
                               int64_t name_size)
{
    const mo_pickle_class_t class = {module, name, (int32_t)module_size, (int32_t)name_size};
    for (int32_t i = 0; i < GLOBALS; i++)
        if (mo_pickle_same(globals[i].module, module, module_size) && mo_pickle_same(globals[i].name, name, name_size))
            return mo_pickle_push_new(p, (mo_pickle_value_t){.kind = MO_PICKLE_GLOBAL, .number = i});
    if (is_harmful(module, module_size))
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s: holds '%s', which is neither tensor, number nor text and does harm where Python loads the "
                       "file: refused, and nothing of it was run; wanted a file of state dictionaries",
                       p->path, shown(&class).text);
    const moco_status_t status = mo_pickle_room(p, &p->classes, p->class_count, &p->class_capacity, sizeof class,
                                                MO_PICKLE_MAX_VALUES, "classes");
    if (status != MOCO_OK)
        return status;
    p->classes[p->class_count++] = class;
    return mo_pickle_push_opaque(p, (int32_t)p->class_count - 1);
}
