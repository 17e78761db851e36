/* The globals that a pickle may name, and what becomes of them: dictionaries, tensors, arrays,
 * storages, or opaque values. A row of the table is data; nothing is looked up or called by
 * name. */
#include <stdio.h>
#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

static const mo_pickle_global_row_t globals[] = {
    {"collections", "OrderedDict", MO_AS_DICT, 0, 0, NULL},
    {"collections", "defaultdict", MO_AS_DICT, 0, 0, NULL},
    {"torch._utils", "_rebuild_tensor", MO_AS_TENSOR, 0, 0, NULL},
    {"torch._utils", "_rebuild_tensor_v2", MO_AS_TENSOR, 0, 0, NULL},
    {"torch._utils", "_rebuild_tensor_v3", MO_AS_TENSOR, 0, 0, NULL},
    {"torch._utils", "_rebuild_sparse_tensor", MO_AS_ODD_TENSOR, 0, 0, "sparse"},
    {"torch._utils", "_rebuild_sparse_csr_tensor", MO_AS_ODD_TENSOR, 0, 0, "sparse"},
    {"torch._utils", "_rebuild_nested_tensor", MO_AS_ODD_TENSOR, 0, 0, "nested"},
    {"torch._utils", "_rebuild_qtensor", MO_AS_ODD_TENSOR, 0, 0, "quantized"},
    {"torch._utils", "_rebuild_meta_tensor_no_storage", MO_AS_ODD_TENSOR, 0, 0, "without numbers"},
    {"torch._utils", "_rebuild_wrapper_subclass", MO_AS_ODD_TENSOR, 0, 0, "without numbers"},
    {"torch._utils", "_rebuild_device_tensor_from_numpy", MO_AS_FIRST, 0, 0, NULL}, /* (array, type, device, …) */
    {"torch._utils", "_rebuild_xla_tensor", MO_AS_FIRST, 0, 0, NULL},               /* the same, older          */
    {"torch._utils", "_rebuild_parameter", MO_AS_FIRST, 0, 0, NULL},                /* (tensor, …): the tensor */
    {"torch._utils", "_rebuild_parameter_with_state", MO_AS_FIRST, 0, 0, NULL},
    {"torch._tensor", "_rebuild_from_type", MO_AS_SUBTYPE, 0, 0, NULL},
    {"torch._tensor", "_rebuild_from_type_v2", MO_AS_SUBTYPE, 0, 0, NULL},
    {"torch", "Size", MO_AS_FIRST, 0, 0, NULL}, /* (tuple,): the tuple     */
    {"torch", "FloatStorage", MO_AS_STORAGE, MO_F32, 0, NULL},
    {"torch", "DoubleStorage", MO_AS_STORAGE, MO_F64, 0, NULL},
    {"torch", "HalfStorage", MO_AS_STORAGE, MO_F16, 0, NULL},
    {"torch", "BFloat16Storage", MO_AS_STORAGE, MO_BF16, 0, NULL},
    {"torch", "LongStorage", MO_AS_STORAGE, MO_I64, 0, NULL},
    {"torch", "IntStorage", MO_AS_STORAGE, MO_I32, 0, NULL},
    {"torch", "ShortStorage", MO_AS_STORAGE, MO_I16, 0, NULL},
    {"torch", "CharStorage", MO_AS_STORAGE, MO_I8, 0, NULL},
    {"torch", "ByteStorage", MO_AS_STORAGE, MO_U8, 0, NULL},
    {"torch", "BoolStorage", MO_AS_STORAGE, MO_BOOL, 0, NULL},
    {"torch", "ComplexFloatStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 8, "complex64"},
    {"torch", "ComplexDoubleStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 16, "complex128"},
    {"torch", "QInt8Storage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1, "qint8"},
    {"torch", "QUInt8Storage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1, "quint8"},
    {"torch", "QInt32Storage", MO_AS_STORAGE, MO_DTYPE_OTHER, 4, "qint32"},
    {"torch.storage", "UntypedStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1, NULL},
    {"torch", "UntypedStorage", MO_AS_STORAGE, MO_DTYPE_OTHER, 1, NULL},
    /* NumPy 1 and 2 */
    {"numpy.core.multiarray", "_reconstruct", MO_AS_ARRAY, 0, 0, NULL},
    {"numpy._core.multiarray", "_reconstruct", MO_AS_ARRAY, 0, 0, NULL},
    {"numpy.core.numeric", "_frombuffer", MO_AS_BUFFER_ARRAY, 0, 0, NULL},
    {"numpy._core.numeric", "_frombuffer", MO_AS_BUFFER_ARRAY, 0, 0, NULL},
    {"numpy.core.multiarray", "scalar", MO_AS_NUMBER, 0, 0, NULL},
    {"numpy._core.multiarray", "scalar", MO_AS_NUMBER, 0, 0, NULL},
    {"numpy", "dtype", MO_AS_DTYPE, 0, 0, NULL},
    {"_codecs", "encode", MO_AS_BYTES, 0, 0, NULL}, /* bytes in protocol 2 */
    /* What stands beside the tensors and is made of the built-in types. */
    {"__builtin__", "dict", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "list", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "tuple", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "set", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "frozenset", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "int", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "long", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "float", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "complex", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "bool", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "str", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "unicode", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "bytes", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "bytearray", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "slice", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "xrange", MO_AS_NOTHING, 0, 0, NULL},
    {"__builtin__", "object", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "dict", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "list", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "tuple", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "set", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "frozenset", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "int", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "float", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "complex", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "bool", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "str", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "bytes", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "bytearray", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "slice", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "range", MO_AS_NOTHING, 0, 0, NULL},
    {"builtins", "object", MO_AS_NOTHING, 0, 0, NULL},
    {"argparse", "Namespace", MO_AS_NOTHING, 0, 0, NULL},
    {"types", "SimpleNamespace", MO_AS_NOTHING, 0, 0, NULL},
    {"torch", "device", MO_AS_NOTHING, 0, 0, NULL},
    {"os", "stat_result", MO_AS_NOTHING, 0, 0, NULL},
    {"os", "terminal_size", MO_AS_NOTHING, 0, 0, NULL},
};
#define GLOBALS ((int32_t)(sizeof globals / sizeof globals[0]))

/* What a pickle names in order to run programs or code, to change files or to reach the net when
 * Python loads it: no checkpoint needs it, and the user should learn what the file is. Nothing is
 * run here in any case, so whatever else a file names is carried as an opaque value: also where
 * modules share a name with a user's own (code, profile, operator, types), and the built-in
 * functions that only look at things. A module stands for all modules inside it. */
static const struct {
    const char *module, *names; /* NULL = all; else each with a space behind it */
} harmful[] = {
    {"__builtin__", "eval exec execfile compile __import__ reload open file input raw_input apply "},
    {"builtins", "eval exec compile __import__ open input breakpoint "},
    {"io", "open open_code FileIO "},
    {"_io", "open open_code FileIO "},
    {"code", "interact InteractiveInterpreter InteractiveConsole compile_command "},
    {"profile", "run runctx Profile "},
    {"trace", "Trace "},
    {"commands", "getoutput getstatusoutput getstatus "},
    {"requests", "get post put patch delete head options request Session session "},
    {"urllib", "urlopen urlretrieve URLopener FancyURLopener "},
    {"os", NULL},
    {"posix", NULL},
    {"nt", NULL},
    {"subprocess", NULL},
    {"_posixsubprocess", NULL},
    {"popen2", NULL},
    {"pty", NULL},
    {"shutil", NULL},
    {"socket", NULL},
    {"_socket", NULL},
    {"socketserver", NULL},
    {"asyncio", NULL},
    {"http.client", NULL},
    {"http.server", NULL},
    {"httplib", NULL},
    {"urllib.request", NULL},
    {"urllib2", NULL},
    {"requests.api", NULL},
    {"ftplib", NULL},
    {"smtplib", NULL},
    {"telnetlib", NULL},
    {"webbrowser", NULL},
    {"runpy", NULL},
    {"codeop", NULL},
    {"pdb", NULL},
    {"bdb", NULL},
    {"timeit", NULL},
    {"cProfile", NULL},
    {"importlib", NULL},
    {"imp", NULL},
    {"pkgutil", NULL},
    {"zipimport", NULL},
    {"marshal", NULL},
    {"ctypes", NULL},
    {"_ctypes", NULL},
    {"pip", NULL},
    {"setuptools.sandbox", NULL},
    {"distutils.spawn", NULL},
    {"pydoc", NULL},
    {"doctest", NULL},
};

int mo_pickle_same(const char *wanted, const uint8_t *bytes, int64_t size)
{
    return (int64_t)strlen(wanted) == size && memcmp(wanted, bytes, (size_t)size) == 0;
}

static int is_inside(const uint8_t *module, int64_t size, const char *package)
{
    const int64_t length = (int64_t)strlen(package);
    return size >= length && memcmp(module, package, (size_t)length) == 0 && (size == length || module[length] == '.');
}

/* One of the words of `names`. */
static int is_among(const uint8_t *name, int64_t size, const char *names)
{
    for (const char *end; (end = strchr(names, ' ')) != NULL; names = end + 1)
        if (end - names == size && memcmp(names, name, (size_t)size) == 0)
            return 1;
    return 0;
}

static int is_harmful(const mo_pickle_class_t *c)
{
    for (size_t i = 0; i < sizeof harmful / sizeof harmful[0]; i++) {
        if (harmful[i].names == NULL ? is_inside(c->module, c->module_size, harmful[i].module)
                                     : mo_pickle_same(harmful[i].module, c->module, c->module_size) &&
                                           is_among(c->name, c->name_size, harmful[i].names))
            return 1;
    }
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
    if (is_harmful(&class))
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
