"""Pickles, and files around them, that a library seldom writes or nobody should: each reaches one decision of a reader.

For make_seeds.py.
"""

import io
import pickle
import struct
import zipfile

import numpy as np

PROTOCOL = b"\x80\x02"


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(value):
    return b"J" + struct.pack("<i", value)


def sequence(*parts, kind=b"t"):
    return b"(" + b"".join(parts) + kind


def name(module, attribute):
    return b"c%s\n%s\n" % (module.encode(), attribute.encode())


def call(function, *arguments):
    return function + sequence(*arguments) + b"R"


def storage(kind="FloatStorage", key=text("0"), count=whole(12), *more, word=text("storage")):
    return sequence(word, name("torch", kind), key, text("cpu"), count, *more) + b"Q"


def tensor(*arguments, function="_rebuild_tensor_v2"):
    return call(name("torch._utils", function), *arguments)


def sound(from_storage=None, sizes=(3, 4), strides=(4, 1), offset=0):
    return tensor(from_storage or storage(), whole(offset), sequence(*map(whole, sizes)), sequence(*map(whole, strides)),
                  b"\x89", b"}")  # fmt: skip


def state(*pairs):
    """A dictionary of names and values."""
    return PROTOCOL + sequence(*[part for key, value in pairs for part in (text(key), value)], kind=b"d") + b"."


def opcodes():
    """Parts of a pickle's language, each in a dictionary with a sound tensor behind it."""
    some = whole(1)
    yield "long_negative", b"\x8a\2\xff\xff"
    yield "long_wide", b"\x8b\2\0\0\0\1\2"
    yield "long_none", b"\x8a\0"
    yield "long_big", b"\x8a\x10" + bytes(16)
    yield "drop", some + some + b"0"
    yield "drop_mark", some + b"(0"
    yield "drop_marked", some + b"(" + some + b"1"
    yield "repeat", some + b"2\x86"
    yield "texts", b"(U\1aT\1\0\0\0b\x8c\1c\x8d\1\0\0\0\0\0\0\0d" + b"t"
    yield "bytes", b"(C\1aB\1\0\0\0b\x8e\1\0\0\0\0\0\0\0c\x96\1\0\0\0\0\0\0\0d" + b"t"
    yield "list_marked", sequence(some, some, kind=b"l")
    yield "frozen", sequence(some, some, kind=b"\x91")
    yield "set", b"\x8f(" + some + b"\x90"
    yield "memo_long", some + b"r\0\1\0\0j\0\1\0\0\x86"
    yield "memo_next", some + b"\x94h\0\x86"
    yield "frame", b"\x95\1\0\0\0\0\0\0\0N"
    yield "by_name", name("argparse", "Namespace") + b")}\x92"
    yield "stack_global", text("collections") + text("OrderedDict") + b"\x93)R"
    yield "pairs", call(name("collections", "OrderedDict"), sequence(sequence(text("k"), some), kind=b"l"))
    yield "no_pairs", call(name("collections", "OrderedDict"), sequence(some, kind=b"l"))
    yield "attributes", name("argparse", "Namespace") + b")\x81}" + text("x") + some + b"sb"
    yield "list_attributes", b"]}b"
    yield "calls_text", text("x") + b")R"
    yield "builds_whole", some + b"}b"
    yield "harmful", call(name("os.path", "system"), text("ls"))
    yield "unknown", call(name("my.module", "Thing"), some)
    yield "unknown_built_in", name("builtins", "eval")
    yield "odd_name", name("my\x01.module", "Thing\x7f")
    yield "real", b"G\x3f\xf0\0\0\0\0\0\0"
    yield "key_alone", b"}(" + some + b"u"
    yield "key_alone_marked", sequence(some, kind=b"d")
    yield "adds_to_whole", some + some + b"a"
    yield "adds_to_tuple", b")" + some + b"a"
    yield "adds_to_nothing", b"(" + some + b"e"
    yield "many_keys", b"}" + b"".join(text("n%d" % i) + some + b"s" for i in range(40))


def endings():
    """Pickles that end, or go wrong, at once."""
    for key, data in {
        "protocol": b"\x80\x09N.",
        "frame_long": PROTOCOL + b"\x95\xff\0\0\0\0\0\0\0N.",
        "text_long": PROTOCOL + b"X\xff\xff\xff\x7fa.",
        "name_open": PROTOCOL + b"ctorch\nFloatSt",
        "name_long": PROTOCOL + b"c" + b"a" * 300 + b"\nb\n.",
        "name_whole": PROTOCOL + whole(1) + whole(2) + b"\x93.",
        "stack_empty": PROTOCOL + b".",
        "drop_empty": PROTOCOL + b"0.",
        "repeat_empty": PROTOCOL + b"2.",
        "mark_missing": PROTOCOL + whole(1) + b"t.",
        "memo_empty": PROTOCOL + b"q\0.",
        "memo_large": PROTOCOL + b"Nr\xff\xff\xff\x7f.",
        "memo_unknown": PROTOCOL + b"h\7.",
        "set_item_empty": PROTOCOL + b"}s.",
        "opcode": PROTOCOL + b"\xfe.",
        "persistent_whole": PROTOCOL + whole(1) + b"Q.",
        "deep": PROTOCOL + b"(" * 300 + b"t" * 300 + b".",
        "list": PROTOCOL + sequence(sound(), sound(), kind=b"l") + b".",
        "alone": PROTOCOL + sound() + b".",
    }.items():
        yield key, data


def tensors():
    """Tensors and storages, sound and not."""
    view = sequence(text("v"), whole(2), whole(4))
    rows = {
        "view": sound(storage("FloatStorage", text("0"), whole(12), view), (4,), (1,)),
        "view_none": sound(storage("FloatStorage", text("0"), whole(12), b"N")),
        "view_long": sound(storage("FloatStorage", text("0"), whole(12), sequence(text("v"), whole(2), whole(40)))),
        "view_whole": sound(storage("FloatStorage", text("0"), whole(12), whole(3))),
        "count_minus": sound(storage("FloatStorage", text("0"), whole(-1))),
        "count_other": sound(storage("FloatStorage", text("0"), whole(13))),
        "key_unknown": sound(storage("FloatStorage", text("9"))),
        "key_whole": sound(storage("FloatStorage", whole(0))),
        "word": sound(storage(word=text("module"))),
        "kind_other": sound(storage("ComplexFloatStorage", text("0"), whole(6)), (6,), (1,)),
        "kind_unknown": sound(storage("StrangeStorage")),
        "two_kinds": sequence(sound(), sound(storage("LongStorage", text("0"), whole(6)), (6,), (1,))),
        "storage_alone": storage(),
        "no_storage": tensor(whole(0), whole(0), b")", b")", b"\x89", b"}"),
        "offset_minus": sound(offset=-1),
        "offset_large": sound(offset=8),
        "sizes_minus": sound(sizes=(-3, 4)),
        "sizes_other": sound(sizes=(3, 4, 1)),
        "sizes_huge": sound(sizes=(2**31 - 1, 2**31 - 1)),
        "nine": sound(sizes=(1,) * 9, strides=(1,) * 9),
        "transposed": sound(sizes=(4, 3), strides=(1, 4)),
        "expanded": sound(sizes=(5, 12), strides=(0, 1)),
        "scalar": sound(sizes=(), strides=()),
        "few": tensor(storage(), whole(0)),
        "nested": tensor(call(name("torch.storage", "_load_from_bytes"), b"C\1a"), whole(0), b")", b")", b"\x89", b"}"),
        "parameter": tensor(sound(), b"\x88", b"}", function="_rebuild_parameter"),
        "parameter_none": tensor(function="_rebuild_parameter"),
        "subtype": call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_tensor_v2"),
                        name("torch", "Size"), sequence(storage(), whole(0), sequence(whole(12)), sequence(whole(1)), b"\x89",
                        b"}"), b"}"),
        "subtype_other": call(name("torch._tensor", "_rebuild_from_type"), name("torch", "Size"), whole(1), whole(2)),
        "makes_storage": call(name("torch", "FloatStorage"), whole(3)),
        "size": call(name("torch", "Size"), sequence(whole(2), whole(3))),
    }  # fmt: skip
    for key, value in rows.items():
        yield "tensor_" + key, state((key, value), ("w", sound()))


def blob(data):
    return b"B" + struct.pack("<I", len(data)) + data


def shape_of(*sizes):
    return sequence(*map(whole, sizes))


def array(kind="f4", shape=shape_of(2, 3), order=b"\x89", data=blob(bytes(24)), dtype_state=None, code=None):
    """Each argument but the first is a pickle's part."""
    made = call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), sequence(whole(0)), b"C\1b")
    dtype = call(name("numpy", "dtype"), code or text(kind), b"\x89", b"\x88")
    if dtype_state is None:
        dtype_state = sequence(whole(3), text("<"), b"N", b"N", b"N", whole(-1), whole(-1), whole(0))
    return made + sequence(whole(1), shape, dtype + dtype_state + b"b", order, data) + b"b"


def arrays():
    """NumPy's arrays in plain pickles."""
    some = {"f4": np.float32, "f8": np.float64, "f2": np.float16, "i8": np.int64, "i4": np.int32, "i2": np.int16,
            "i1": np.int8, "u1": np.uint8, "b1": np.bool_, "c8": np.complex64, "S3": "S3"}  # fmt: skip
    values = {key: np.arange(6).reshape(2, 3).astype(kind) for key, kind in some.items()}
    values["fortran"] = np.asfortranarray(values["f4"])
    values["big"] = values["f4"].astype(">f4")
    values["record"] = np.zeros(2, [("a", "f4"), ("b", "i8")])
    values["object"] = np.array([1, "a", None], object)
    scalars = {key: value.dtype.type(3) for key, value in values.items() if value.dtype.kind in "fiub"}
    scalars["minus"] = np.int16(-2)
    for protocol in (2, 4, 5):
        yield "arrays%d" % protocol, pickle.dumps({"model": values, "__author__": "x"}, protocol)
        yield "scalars%d" % protocol, pickle.dumps({"w": values["f4"], **scalars}, protocol)
        yield "sets%d" % protocol, pickle.dumps({"w": values["f4"], "s": {1, 2}, "f": frozenset("a"), "b": b"\xff\x80",
                                                 "c": 1j, "r": range(3), "l": 2**70, "n": -(2**40)}, protocol)  # fmt: skip
    latin = call(name("_codecs", "encode"), text("\u00ff" * 24), text("latin1"))
    short = sequence(whole(3), text("<"))
    record = sequence(whole(3), text("|"), b"N", sequence(text("a")), b"N", whole(8), whole(0), whole(0))
    order = sequence(whole(3), text(">"), b"N", b"N", b"N", whole(-1), whole(-1), whole(0))
    rows = {
        "plain": array(),
        "latin": array(data=latin),
        "not_latin": array(data=call(name("_codecs", "encode"), text("\u20ac" * 8), text("latin1"))),
        "encoded_utf": array(data=call(name("_codecs", "encode"), text("a" * 24), text("utf-8"))),
        "fortran": array(order=b"\x88"),
        "few_bytes": array(data=blob(bytes(23))),
        "no_bytes": array(data=whole(1)),
        "shape_minus": array(shape=shape_of(-2, 3)),
        "shape_whole": array(shape=whole(6)),
        "shape_huge": array(shape=shape_of(*[2**31 - 1] * 3)),
        "shape_nine": array(shape=shape_of(*[1] * 9)),
        "shape_none": array(shape=shape_of(0, 3), data=blob(b"")),
        "type_other": array("c8"),
        "type_whole": array(code=whole(4)),
        "type_short": array(dtype_state=short),
        "type_record": array(dtype_state=record),
        "type_order": array(dtype_state=order),
        "buffer": call(name("numpy.core.numeric", "_frombuffer"), blob(bytes(24)), call(name("numpy", "dtype"),
                       text("f4")), sequence(whole(2), whole(3)), text("F")),
        "buffer_few": call(name("numpy._core.numeric", "_frombuffer"), b"C\4abcd"),
        "state_short": call(name("numpy._core.multiarray", "_reconstruct")) + sequence(whole(1)) + b"b",
        "scalar_few": call(name("numpy.core.multiarray", "scalar"), whole(1)),
        "scalar_half": call(name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), text("f2")), b"C\2ab"),
    }  # fmt: skip
    for key, value in rows.items():
        yield "array_" + key, state((key, value), ("w", array()))
        yield "array_" + key + "_alone", state((key, value))


def every():
    """(name, pickle)"""
    for key, part in opcodes():
        yield "op_" + key, state(("x", part), ("w", sound()))
        yield "op_" + key + "_array", state(("x", part), ("w", array()))
    yield from endings()
    yield from tensors()
    yield from arrays()


# ---- around them ----


def odd_archives(inside):
    """Archives around a sound pickle that torch.save did not write so."""

    def archive(*members, kind=zipfile.ZIP_STORED, comment=b""):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", kind) as made:
            for name, data in members:
                made.writestr(name, data)
            made.comment = comment
        return out.getvalue()

    def with_bytes(data, signature, offset, value, which=-1):
        """The record of that signature (the last one, or the first with 0) with other bytes in it."""
        at = data.index(signature) if which == 0 else data.rindex(signature)
        return data[: at + offset] + value + data[at + offset + len(value) :]

    sound = [("x/data.pkl", inside), ("x/data/0", bytes(48)), ("x/data/1", bytes(8))]
    whole = archive(*sound)
    end, entry, local = b"PK\5\6", b"PK\1\2", b"PK\3\4"
    far = whole[:-22] + b"PK\6\7" + struct.pack("<IQI", 0, 3, 1) + whole[-22:]
    first = whole.index(entry)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, len(whole) - 22 - first, first)
    wide = whole[:-22] + wide + b"PK\6\7" + struct.pack("<IQI", 0, len(whole) - 22, 1) + whole[-22:]
    yield "two_pickles", archive(*sound, ("y/data.pkl", inside))
    yield "no_pickle", archive(("x/other", b"1"))
    yield "script", archive(*sound, ("x/constants.pkl", inside), ("x/code/a.py", b"def f(): pass"))
    yield "order_big", archive(*sound, ("x/byteorder", b"bigger"))
    yield "order_little", archive(*sound, ("x/byteorder", b"little"))
    yield "order_odd", archive(*sound, ("x/byteorder", b"?"))
    yield "short", archive(sound[0], ("x/data/0", bytes(40)), sound[2])
    yield "missing", archive(sound[0])
    yield "twice", with_bytes(archive(*sound, ("x/data/2", b"1")), entry, 46, b"x/data/1")
    yield "comment", archive(*sound, comment=b"PK\5\6 is no end")
    yield "no_end", whole[:-22]
    yield "end_cut", whole[:-1]
    yield "directory_large", with_bytes(whole, end, 12, struct.pack("<I", 1 << 20))
    yield "directory_far", with_bytes(whole, end, 16, struct.pack("<I", 1 << 20))
    yield "count", with_bytes(whole, end, 10, b"\4\0")
    yield "count_many", with_bytes(whole, end, 10, b"\xfe\xff")
    yield "entry", with_bytes(whole, entry, 0, b"PK\1\7")
    yield "entry_long", with_bytes(whole, entry, 28, b"\xff\x7f")
    yield "extra_long", with_bytes(with_bytes(whole, entry, 28, b"\4\0"), entry, 30, b"\4\0")
    yield "local_far", with_bytes(whole, entry, 42, struct.pack("<I", 1 << 20))
    yield "local_other", with_bytes(whole, entry, 42, b"\1\0\0\0")
    yield "local_long", with_bytes(whole, local, 28, b"\xff\x7f")
    yield "local_name", with_bytes(whole, local, 30, b"y", 0)
    yield "local_name_short", with_bytes(whole, local, 26, b"\3\0", 0)
    yield "size", with_bytes(with_bytes(whole, entry, 20, struct.pack("<I", 9999)), entry, 24, struct.pack("<I", 9999))
    yield "wide", with_bytes(wide, end, 10, b"\xff\xff")
    yield "wide_other", with_bytes(with_bytes(wide, end, 10, b"\xff\xff"), b"PK\6\6", 0, b"PK\6\1")
    yield "wide_far", with_bytes(with_bytes(wide, end, 10, b"\xff\xff"), b"PK\6\7", 8, struct.pack("<Q", 1 << 40))
    yield "wide_missing", with_bytes(whole, end, 10, b"\xff\xff")
    yield "wide_early", with_bytes(whole[-22:], end, 10, b"\xff\xff")
    yield "wide_inside", with_bytes(far, end, 10, b"\xff\xff")
    for left in (7, 8, 24):  # sizes in an extra field that has not room for them
        extra = struct.pack("<HH", 1, left) + bytes(left)
        at = whole.rindex(entry) + 46 + len("x/data/1")
        data = with_bytes(whole, entry, 20, b"\xff" * 8)
        data = with_bytes(data, entry, 30, struct.pack("<H", len(extra)))
        data = data[:at] + extra + data[at:]
        yield "extra%d" % left, with_bytes(data, end, 12, struct.pack("<I", len(data) - 22 - data.index(entry)))


def odd_sequences():
    """The older form of torch.save, with something odd in its first, second or last pickles."""
    magic, state = pickle.dumps(0x1950A86A20F9469CFC6C, 2), dict(tensors())["tensor_view"]
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}

    def numbers(count, size):
        return struct.pack("<q", count) + bytes(count * size)

    def older(version=1001, system=system, object=state, keys=("0",), data=numbers(12, 4)):
        head = magic + pickle.dumps(version, 2) + pickle.dumps(system, 2)
        return head + object + pickle.dumps(keys, 2) + data

    yield "sound", older(keys=["0"])
    yield "keys", older()
    yield "version", older(version=1000)
    yield "big", older(system=dict(system, little_endian=False))
    yield "no_system", older(system=3)
    yield "unknown", older(keys=["9"])
    yield "again", older(keys=["0", "0"], data=numbers(12, 4) * 2)
    yield "none", older(keys=[])
    yield "cut", older(keys=["0"], data=numbers(12, 4)[:-1])
    yield "count", older(keys=["0"], data=numbers(13, 4))
    yield "no_count", older(keys=["0"], data=b"1234")
    yield "magic", magic
    for key, data in tensors():
        yield key, older(object=data, keys=["0"])
