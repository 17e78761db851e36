"""Python's view of the public headers: every struct, callback, constant and prototype of examples/python/moco.py
against include/moco. The headers are read after the preprocessor; offsets, sizes and values come from a C program that
is generated from them, so that neither side is written by hand. A plain script: exit code 0 when all of it agrees, 77
where NumPy is missing.

    MOCO_LIBRARY=build/libmoco.so /usr/bin/python3 tests/python/test_layout.py
"""
import ctypes
import os
import re
import subprocess
import sys
import tempfile

try:
    import numpy  # noqa: F401: what moco.py needs
except ImportError:
    print("skipped: no NumPy")
    sys.exit(77)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "examples", "python"))
sys.dont_write_bytecode = True
import moco  # noqa: E402

INCLUDE = os.path.join(ROOT, "include")
CC = os.environ.get("CC", "cc")

# Functions that Python has no use for.
WITHOUT = set()
# Tables of names in moco.py: the prefix of their constants. A table may leave constants out, but has no others.
CONSTANTS = {"_TAPS": "MOCO_TAP_", "_LAYOUTS": "MOCO_LAYOUT_", "_FINETUNE_OPTIMIZERS": "MOCO_OPTIMIZER_",
             "_PROTOCOLS": "MOCO_PROBE_"}
NUMBERS = {"int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64,
           "uint8_t": ctypes.c_uint8, "double": ctypes.c_double, "float": ctypes.c_float, "int": ctypes.c_int}


# ---- the headers ----

def _clean(text):
    return re.sub(r"\s+", " ", re.sub(r'__attribute__ *\(\(visibility\("default"\)\)\)', "", text)).strip()


def _own_text():
    """What the compiler sees of include/moco, without what that includes."""
    source = "#include <moco/moco.h>\n"
    seen = subprocess.run([CC, "-E", "-I", INCLUDE, "-xc", "-"], input=source, check=True, stdout=subprocess.PIPE,
                          universal_newlines=True).stdout
    kept, own = [], False
    for line in seen.splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        if marker:
            own = os.path.realpath(marker.group(1)).startswith(os.path.realpath(INCLUDE))
        elif own:
            kept.append(line)
    return "\n".join(kept)


def _statements(text):
    depth, start = 0, 0
    for at, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if c == ";" and depth == 0:
            yield _clean(text[start:at])
            start = at + 1


def _variable(text):
    """"const double lr[16]" -> ("double", "lr", 16); stars belong to the type."""
    text = re.sub(r"\b(const|struct)\b ?", "", text).strip()
    match = re.match(r"^(.*?)(\w+)(?: ?\[(\w+)\])?$", text)
    return match.group(1).replace(" ", ""), match.group(2), match.group(3)


def _fields(body):
    fields = []
    for statement in body.split(";"):
        if not statement.strip():
            continue
        first, *more = statement.split(",")
        kind, name, items = _variable(first)
        fields.append((name, kind, items))
        fields.extend((_variable("x " + other)[1], kind, _variable("x " + other)[2]) for other in more)
    return fields


def _arguments(text):
    """Types alone; a name may be missing."""
    if text.strip() in ("", "void"):
        return []
    out = []
    for argument in text.split(","):
        plain = re.sub(r"\b(const|struct)\b ?", "", argument).strip()
        kind = re.match(r"^(\w+)((?: ?\*)*)", plain)
        stars = plain.count("*") + (1 if "[" in plain else 0)
        out.append(kind.group(1) + "*" * stars)
    return out


class Headers:
    def __init__(self):
        self.structs, self.constants, self.callbacks, self.functions, self.aliases = {}, [], {}, {}, {}
        for statement in _statements(_own_text()):
            self._read(re.sub(r'^extern "C" \{ ?', "", statement))

    def _read(self, s):
        enum = re.match(r"^(?:typedef )?enum ?\w* ?\{(.*)\} ?(\w*)$", s)
        struct = re.match(r"^typedef struct \w+ ?\{(.*)\} ?(\w+)$", s)
        callback = re.match(r"^typedef (.*?)\( ?\* ?(\w+) ?\) ?\((.*)\)$", s)
        function = re.match(r"^(.*?)\b(moco_\w+) ?\((.*)\)$", s)
        alias = re.match(r"^typedef (\w+) (\w+)$", s)
        if enum:
            self.constants += re.findall(r"(\w+) ?(?:=|,|$)", re.sub(r"= ?[^,]*", "=", enum.group(1)))
            if enum.group(2):
                self.aliases[enum.group(2)] = "int"
        elif struct:
            self.structs[struct.group(2)] = _fields(struct.group(1))
        elif callback:
            self.callbacks[callback.group(2)] = (callback.group(1), _arguments(callback.group(3)))
        elif alias:
            self.aliases[alias.group(2)] = alias.group(1)
        elif function and not s.startswith("typedef"):
            self.functions[function.group(2)] = (function.group(1), _arguments(function.group(3)))


def measure(headers):
    """Sizes, offsets and values as the compiler has them."""
    lines = ["#include <moco/moco.h>", "#include <stddef.h>", "#include <stdio.h>", "int main(void)", "{"]
    for struct, fields in headers.structs.items():
        lines.append('printf("%s . 0 %%zu\\n", sizeof(%s));' % (struct, struct))
        for name, _, _ in fields:
            lines.append('printf("%s %s %%zu %%zu\\n", offsetof(%s, %s), sizeof(((%s *)0)->%s));'
                         % (struct, name, struct, name, struct, name))
    lines += ['printf("= %s %%lld 0\\n", (long long)%s);' % (name, name) for name in headers.constants]
    lines += ["return 0;", "}"]
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
        with open(source, "w") as out:
            out.write("\n".join(lines) + "\n")
        subprocess.run([CC, "-I", INCLUDE, source, "-o", program], check=True)
        text = subprocess.run([program], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    places, values = {}, {}
    for line in text.splitlines():
        group, name, first, second = line.split()
        if group == "=":
            values[name] = int(first)
        else:
            places[group, name] = (int(first), int(second))
    return places, values


# ---- the comparison ----

def python_name(struct):
    """moco_trainer_options_t -> TrainerOptions"""
    return "".join(part.capitalize() for part in struct[len("moco_"):-len("_t")].split("_"))


def is_callback(kind):
    return isinstance(kind, type) and issubclass(kind, ctypes._CFuncPtr)


def is_pointer(kind):
    return isinstance(kind, type) and issubclass(kind, ctypes._Pointer)


def struct_faults(struct, fields, places, seen):
    """What is wrong with `seen`, a ctypes.Structure, as the mirror of a C struct: a list of sentences."""
    faults = []
    names, wanted = [field[0] for field in seen._fields_], [name for name, _, _ in fields]
    if names != wanted:
        missing, foreign = [n for n in wanted if n not in names], [n for n in names if n not in wanted]
        faults.append("%s: fields differ from the header's: missing %s, foreign %s%s"
                      % (struct, missing, foreign, "" if missing or foreign else ", another order"))
    for name, kind, items in fields:
        mirror = dict(field[:2] for field in seen._fields_).get(name)
        if mirror is None:
            continue
        place = getattr(seen, name)
        if (place.offset, place.size) != places[struct, name]:
            faults.append("%s.%s is %d bytes at %d, in C %d at %d"
                          % ((struct, name, place.size, place.offset) + places[struct, name][::-1]))
        base = mirror._type_ if items is not None and hasattr(mirror, "_length_") else mirror
        if kind.endswith("*") or kind not in NUMBERS and kind not in HEADERS.aliases:
            if not (base is ctypes.c_void_p or base is ctypes.c_char_p or is_pointer(base) or is_callback(base)):
                faults.append("%s.%s is %s, in C %s" % (struct, name, base.__name__, kind))
        elif base is not NUMBERS[HEADERS.aliases.get(kind, kind)]:
            faults.append("%s.%s is %s, in C %s" % (struct, name, base.__name__, kind))
    if ctypes.sizeof(seen) != places[struct, "."][1]:
        faults.append("%s has %d bytes, in C %d" % (struct, ctypes.sizeof(seen), places[struct, "."][1]))
    return faults


def type_fault(wanted, seen, result=False):
    """None, or what is wrong with the ctypes type `seen` for the C type `wanted`."""
    wanted = HEADERS.aliases.get(wanted, wanted)
    if wanted == "void":
        good = seen is None
    elif wanted in HEADERS.callbacks:
        if not is_callback(seen):
            return "%s for the callback %s" % (getattr(seen, "__name__", seen), wanted)
        kind, arguments = HEADERS.callbacks[wanted]
        return signature_fault(kind, arguments, seen._restype_, seen._argtypes_)
    elif wanted.endswith("*"):
        text = wanted == "char*"
        good = seen is ctypes.c_void_p or (text and seen is ctypes.c_char_p) or (
            wanted == "uint8_t*" and seen is ctypes.c_char_p) or is_pointer(seen)
        good = good and not (result and text and seen is ctypes.c_void_p)
        if is_pointer(seen) and wanted.count("*") == 1 and wanted[:-1] in HEADERS.structs:
            good = seen._type_.__name__ == python_name(wanted[:-1])
        elif is_pointer(seen) and wanted[:-1] in NUMBERS:
            good = seen._type_ is NUMBERS[wanted[:-1]]
    else:
        good = seen is NUMBERS.get(wanted, "a type that is not known")
    return None if good else "%s for %s" % (getattr(seen, "__name__", seen), wanted)


def signature_fault(kind, arguments, seen_kind, seen_arguments):
    if seen_arguments is None or len(arguments) != len(seen_arguments):
        return "%s arguments, in C %d" % (None if seen_arguments is None else len(seen_arguments), len(arguments))
    faults = [type_fault(re.sub(r"\b(const|struct)\b ?", "", kind).replace(" ", ""), seen_kind, True)]
    faults += [type_fault(*pair) for pair in zip(arguments, seen_arguments)]
    faults = ["%s: %s" % ("result" if i == 0 else "argument %d" % i, f) for i, f in enumerate(faults) if f is not None]
    return "; ".join(faults) or None


def function_faults():
    declared = {name: f for name, f in vars(moco._lib).items() if name.startswith("moco_")}
    faults = ["%s is in moco.py alone" % name for name in declared if name not in HEADERS.functions]
    for name, (kind, arguments) in HEADERS.functions.items():
        if name not in declared:
            if name not in WITHOUT:
                faults.append("%s is missing in moco.py" % name)
            continue
        fault = signature_fault(kind, arguments, declared[name].restype, declared[name].argtypes)
        if fault is not None:
            faults.append("%s: %s" % (name, fault))
    return faults


def constant_faults(values):
    faults = []
    for table, prefix in CONSTANTS.items():
        for name, number in getattr(moco, table).items():
            constant = prefix + name.upper().replace("-", "_")
            if values.get(constant) != number:
                faults.append("%s[%r] is %d, %s is %s" % (table, name, number, constant, values.get(constant)))
    for name, constant in (("_CANCELLED", "MOCO_ERR_CANCELLED"),):
        if getattr(moco, name, values[constant]) != values[constant]:
            faults.append("%s is not %s" % (name, constant))
    return faults


# ---- the check itself is checked ----

def spoilt(structure, change):
    fields = list(structure._fields_)
    change(fields)
    return type(structure.__name__, (ctypes.Structure,), {"_fields_": fields})


def swap_last(fields):
    fields[-1], fields[-2] = fields[-2], fields[-1]


def narrow_last(fields):
    fields[-1] = (fields[-1][0], ctypes.c_uint32 if fields[-1][1] is ctypes.c_int32 else ctypes.c_float)


def check_the_check(places):
    """Each of these must be found in each struct."""
    changes = {"a missing field": lambda f: f.pop(1), "a missing last field": lambda f: f.pop(),
               "two fields swapped": swap_last, "another type": narrow_last,
               "a field too many": lambda f: f.append(("more", ctypes.c_int64)),
               "another name": lambda f: f.__setitem__(1, ("other", f[1][1]))}
    for struct, fields in HEADERS.structs.items():
        seen = getattr(moco, python_name(struct))
        for what, change in changes.items():
            if len(fields) > 2:
                found = struct_faults(struct, fields, places, spoilt(seen, change))
                assert found, "%s: %s is not found" % (struct, what)
    good = (ctypes.c_int32, [ctypes.c_void_p, ctypes.c_uint64])
    assert signature_fault("int32_t", ["void*", "uint64_t"], *good) is None
    for kind, arguments in (("int32_t", ["void*"]), ("int32_t", ["void*", "int64_t"]),
                            ("double", ["void*", "uint64_t"]), ("int32_t", ["uint64_t", "void*"])):
        assert signature_fault(kind, arguments, *good) is not None


HEADERS = Headers()


def main():
    places, values = measure(HEADERS)
    faults = []
    assert len(HEADERS.structs) > 10 and len(HEADERS.functions) > 90 and len(HEADERS.constants) > 60
    for struct, fields in HEADERS.structs.items():
        seen = getattr(moco, python_name(struct), None)
        if seen is None:
            faults.append("%s has no mirror in moco.py" % struct)
        else:
            faults += struct_faults(struct, fields, places, seen)
    faults += function_faults() + constant_faults(values)
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    check_the_check(places)
    print("%d structs with %d fields, %d functions, %d callbacks, %d constants agree"
          % (len(HEADERS.structs), sum(map(len, HEADERS.structs.values())), len(HEADERS.functions),
             len(HEADERS.callbacks), len(values)))


main()
