"""Small corpora for the fuzz targets: a folder for each target with a few sound files and some that are nearly so.

usage: make_seeds.py FOLDER          (MOCO_LIBRARY names a libmoco.so, which writes checkpoints and models)
Also FOLDER/NAME.dict, words for libFuzzer to put in. Without PyTorch the seeds of its files are left out.
"""

import io
import json
import os
import random
import struct
import sys
import tarfile
import zipfile

import numpy as np
from PIL import Image

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "examples", "python"))
import moco  # noqa: E402

import odd_pickles  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

rng = random.Random(1)
OUT = sys.argv[1]


def put(target, name, data):
    os.makedirs(os.path.join(OUT, target), exist_ok=True)
    with open(os.path.join(OUT, target, name), "wb") as file:
        file.write(data)


def words(target, *texts):
    with open(os.path.join(OUT, target + ".dict"), "w") as file:
        for text in texts:
            file.write('"%s"\n' % "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else "\\x%02x" % b for b in text))


# ---- images ----


def picture(mode="RGB", size=(24, 17), **options):
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8) // 2 + 64
    out = io.BytesIO()
    Image.fromarray(pixels, mode).save(out, "JPEG", **options)
    return out.getvalue()


def turned(value=6, change=lambda exif: exif):
    exif = Image.Exif()
    exif[0x112] = value
    return picture(exif=change(exif.tobytes()))


JPEGS = {
    "rgb": picture(quality=80),
    "gray": picture("L"),
    "cmyk": picture("CMYK"),
    "progressive": picture(progressive=True),
    "sampling": picture(size=(37, 41), subsampling=0),
    "sampling422": picture(size=(37, 41), subsampling=1),
    "wide": picture(size=(150, 2)),
    "dot": picture(size=(1, 1)),
    "exif": turned(),
    "exif_1": turned(1),
    "exif_9": turned(9),
    "exif_cut": turned(8, lambda exif: exif[:-6]),
    "exif_big": turned(3, lambda exif: b"Exif\0\0MM\0\x2a\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0"),
    "exif_far": turned(3, lambda exif: exif[:10] + b"\xff\xff\0\0" + exif[14:]),
    "exif_order": turned(3, lambda exif: exif[:6] + b"XX" + exif[8:]),
    "cut": picture(size=(60, 60))[:-300],
}
JPEGS["no_end"] = JPEGS["rgb"][:-2]
JPEGS["two_scans"] = JPEGS["rgb"] + JPEGS["gray"]


def form(width=8, height=8, format=1, odd=0, rest=b"", gap=0):
    """An image as the target of host images reads it."""
    return bytes((width, height, format, odd)) + rest + bytes((gap,))


def odd_pixels():
    wide = struct.pack("<HH", 0x7FFF, 0xFFFF)
    yield "format", form(format=0)
    yield "format_large", form(format=5)
    yield "width", form(width=0)
    yield "height", form(height=0)
    yield "wide", form(odd=8 | 16, rest=wide + wide)
    yield "channels", form(odd=1, rest=b"\5")
    yield "channels_right", form(odd=1, rest=b"\3")
    yield "planes", form(odd=2, rest=b"\3")
    yield "one_plane", form(odd=2, rest=b"\1")
    yield "depth", form(odd=4, rest=b"\x10")
    yield "depth_right", form(odd=4, rest=b"\x08")
    for size in (0, 8, 47, 56, 64, 88, 96, 104, 112, 120):
        yield "struct%d" % size, form(odd=32, rest=struct.pack("<H", size))
    for gap in range(8):
        yield "gap%d" % gap, form(gap=gap)
    for kind in range(1, 5):
        yield "kind%d" % kind, form(60, 41, kind)


def images():
    others = {
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "gif": b"GIF89a\1\0\1\0",
        "webp": b"RIFF\x1a\0\0\0WEBPVP8 ",
        "bmp": b"BM\x3a\0\0\0",
        "tiff": b"II*\0\x08\0\0\0",
        "html": b"<!DOCTYPE html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\n",
        "empty": b"",
    }
    for name, data in {**JPEGS, **others}.items():
        for turn in range(3):
            put("jpeg", "%s%d" % (name, turn), rng.randbytes(12) + data)
        put("pixels", "file_" + name, bytes((2 + rng.randrange(2),)) + struct.pack("<H", 65535) + data)
    for kind in range(40):
        odd = 0 if kind % 2 else 1 << rng.randrange(6)
        image = bytes((1 + rng.randrange(69), 1 + rng.randrange(69), 1 + kind % 4, odd, rng.randrange(8)))
        put("pixels", "pixels%d" % kind, bytes((kind % 4 // 2,)) + image + image + rng.randbytes(30))
    for name, image in odd_pixels():
        for kind in (0, 1, 8, 24):
            put("pixels", "odd_%s%d" % (name, kind), bytes((kind,)) + form() + image + rng.randbytes(30))
            put("pixels", "first_%s%d" % (name, kind), bytes((kind,)) + image + form() + rng.randbytes(30))
    for name in ("rgb", "cut", "gray"):
        for kind in (2, 3, 8, 24, 64):
            put("pixels", "file_%s%d" % (name, kind), bytes((2 | kind,)) + struct.pack("<H", 65535) + JPEGS[name])
            put("pixels", "half_%s%d" % (name, kind), bytes((2 | kind,)) + struct.pack("<H", 40) + JPEGS[name])
    for kind in range(12):
        put("pixels", "numbers%d" % kind, bytes((4 + kind % 2, kind % 6, 1 + kind // 2 % 2, 1 + kind // 3 % 2)) + bytes(30))
        put("pixels", "any%d" % kind, bytes((4 + kind % 2, 4, kind % 4, kind // 2 % 4)) + rng.randbytes(20))
    for layout in range(4):
        for tap in range(4):
            put("pixels", "tap%d%d" % (layout, tap), bytes((4, 4, layout, tap)) + bytes(30))
    for kind in (4, 5, 5 + 32):
        put("pixels", "nan%d" % kind, bytes((kind, 4, 1, 1)) + b"\xff" * 30)
        put("pixels", "step%d" % kind, bytes((kind, 4, 1, 1)) + b"\x3e\x3f\xbe" * 10)
        put("pixels", "none%d" % kind, bytes((kind, 0, 1, 1)))
    put("pixels", "few", bytes((1 + 32,)) + form() + form() + bytes(30))
    markers = [bytes((0xFF, m)) for m in (0xC0, 0xC1, 0xC2, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xD0, 0xE0, 0xE1, 0xEE)]
    words("jpeg", *markers, b"Adobe\0", b"Exif\0\0", b"JFIF\0")


# ---- listings ----


def tar(form, entries, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, **options) as archive:
        for name, data, change in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in change.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def archives():
    dot = JPEGS["dot"]
    entries = [("a/1.jpg", dot, {}), ("a/2.jpg", dot[:-4], {}), ("b/3.JPEG", b"", {}), ("readme.txt", b"hello", {}),
               ("a/l.jpg", b"", {"type": tarfile.SYMTYPE, "linkname": "1.jpg"}),
               ("b/h.jpg", b"", {"type": tarfile.LNKTYPE, "linkname": "a/1.jpg"}),
               ("c", b"", {"type": tarfile.DIRTYPE}), ("dev", b"", {"type": tarfile.CHRTYPE}),
               ("c/.hidden.jpg", dot, {}), ("./a/1.jpg", dot, {}), ("loop.jpg", b"", {"type": tarfile.SYMTYPE,
               "linkname": "loop.jpg"}), ("up.jpg", b"", {"type": tarfile.SYMTYPE, "linkname": "../../x.jpg"}),
               ("b/up.jpg", b"", {"type": tarfile.SYMTYPE, "linkname": "../a/./1.jpg"})]  # fmt: skip
    long = [("d" * 90 + "/" + "e" * 90 + "/1.jpg", dot, {}), ("\u00fc/1.jpg", dot, {}),
            ("x.jpg", b"", {"type": tarfile.SYMTYPE, "linkname": "f" * 150 + ".jpg"})]  # fmt: skip
    for form, name in ((tarfile.USTAR_FORMAT, "ustar"), (tarfile.GNU_FORMAT, "gnu"), (tarfile.PAX_FORMAT, "pax")):
        for kind in range(2):
            put("tar", "%s%d" % (name, kind), b"\1" + tar(form, entries + (long if kind and name != "ustar" else [])))
        put("tar", name + "_limit", b"\3" + tar(form, entries))
    headers = {"path": "z/9.jpg", "size": "10", "linkpath": "a/1.jpg", "GNU.sparse.major": "1", "hdrcharset": "BINARY"}
    put("tar", "pax_keys", b"\1" + tar(tarfile.PAX_FORMAT, [("q.jpg", dot, {"pax_headers": headers})]))
    put("tar", "pax_global", b"\1" + tar(tarfile.PAX_FORMAT, entries, pax_headers={"comment": "all"}))
    whole = tar(tarfile.GNU_FORMAT, entries)
    huge = bytearray(tar(tarfile.GNU_FORMAT, entries[:1]))
    huge[124:136] = b"\x80" + b"\0" * 10 + b"\x09"
    sparse = bytearray(whole)
    sparse[156:157] = b"S"
    for name, data in (("no_end", whole.rstrip(b"\0")), ("twice", whole + whole), ("cut", whole[:700]),
                       ("base256", bytes(huge)), ("sparse", bytes(sparse)), ("gzip", b"\x1f\x8b\x08\0"), ("empty", b""),
                       ("xz", b"\xfd7zXZ\0"), ("zip", b"PK\3\4"), ("zeros", b"\0" * 2048)):  # fmt: skip
        put("tar", name, b"\1" + data)
    words("tar", b"ustar\x0000", b"ustar  \0", b"path=", b"size=", b"linkpath=", b"././@LongLink", b"GNU.sparse.", b"../")
    lists = {
        "plain": "1.jpg\n2.JPEG\na/3.jpg\n",
        "classes": "1.jpg 0\na/3.jpg 1\nlink.jpg 1\n",
        "tabs": "1.jpg\tcat\r\na/b c.jpg\tdog\r\n",
        "bom": "\ufeff1.jpg\n\n# no comment\n 2.JPEG \n",
        "odd": "../1.jpg\n/etc/passwd\n./1.jpg\nnothing.jpg\na\n1.jpg\n1.jpg",
        "long": "x" * 5000 + ".jpg\n",
        "empty": "",
        "lines": "\n\n\r\r\n",
        "nul": "1.jpg\0x\n",
    }
    for name, text in lists.items():
        for choice in (0, 2, 4):
            put("list", "%s%d" % (name, choice), bytes((choice,)) + text.encode())
    words("list", b"1.jpg", b"a/b c.jpg", b"link.jpg", b"\t", b"\r\n", b"\xef\xbb\xbf", b"../")


# ---- tensors ----


def safetensors(tensors, meta=None, data=None):
    header, blob = {}, b""
    if meta is not None:
        header["__metadata__"] = meta
    for name, dtype, shape, values in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(values)]}
        blob += values
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + (blob if data is None else data)


def tensor_files():
    some = [("a.weight", "F32", [2, 3], bytes(24)), ("b", "I64", [], bytes(8)), ("c", "F16", [4], bytes(8)),
            ("d", "BF16", [1, 2, 2], bytes(8)), ("e", "F64", [2], bytes(16)), ("f", "U8", [3], b"abc"),
            ("g", "BOOL", [1], b"\1"), ("h", "I32", [1], bytes(4)), ("i", "I16", [2], bytes(4)), ("j", "I8", [2], b"ab"),
            ("k", "F8_E4M3", [2], b"ab"), ("none", "F32", [0], b"")]  # fmt: skip
    wrapped = [("_orig_mod.a", "F32", [2], bytes(8)), ("b._fsdp_wrapped_module._orig_mod.c", "I32", [1], bytes(4)),
               ("not_orig_mod.d", "F32", [1], bytes(4)), ("_checkpoint_wrapped_module.e", "F64", [1], bytes(8))]  # fmt: skip
    put("safetensors", "wrapped", safetensors(wrapped))
    put("safetensors", "wrapped_twice", safetensors(wrapped + [("a", "F32", [2], bytes(8))]))
    put("safetensors", "wrapped_alone", safetensors([("_orig_mod.", "F32", [2], bytes(8))]))
    for kind, data in (("html", b"<!DOCTYPE html><p>"), ("lfs", b"version https://git-lfs.github.com/spec/v1\n"), ("zip", b"PK\3\4x"),
                       ("pickle", b"\x80\2}."), ("gzip", b"\x1f\x8b\x08\0"), ("text", b"no tensors")):  # fmt: skip
        put("safetensors", "kind_" + kind, data)
    put("safetensors", "all", safetensors(some, {"format": "pt", "step": "12", "format_version": "1"}))
    put("safetensors", "newer", safetensors(some[:2], {"format_version": "99"}))
    put("safetensors", "none", safetensors([], {}))
    put("safetensors", "cut", safetensors(some)[:-1])
    put("safetensors", "spaces", struct.pack("<Q", 10) + b"{}        ")
    put("safetensors", "deep", struct.pack("<Q", 40) + b'{"a":' + b"[" * 35)
    put("safetensors", "not_text", safetensors(some[:1], {"format": 3}))
    put("safetensors", "gap", safetensors(some[:2], data=bytes(40)))
    put("safetensors", "twice", struct.pack("<Q", 13) + b'{"a":1,"a":2}')
    put("safetensors", "long_name", safetensors([("n" * 300, "F32", [1], bytes(4))]))
    put("safetensors", "dims", safetensors([("a", "F32", [1] * 9, bytes(4)), ("b", "F32", [1 << 40, 1 << 40], b"")]))
    words("safetensors", b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"F32"', b'"F16"', b'"BF16"',
          b'"F64"', b'"I64"', b'"U8"', b"9223372036854775807", b"18446744073709551616", b"-1", b"1e9", b"null")


def torch_objects():
    grid = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    whole = torch.tensor(7)
    import argparse
    import collections

    # Two storages, "0" and "1", so that the pickle alone fits the sound file around it.
    yield "dictionary", {"a": grid, "b": grid.t(), "c": grid[1:, 1:3], "d": whole}
    yield "nested", {"epoch": 3, "lr": 0.05, "name": "x", "state_dict": collections.OrderedDict(a=grid, d=whole),
                     "args": argparse.Namespace(lr=0.1, schedule=[120, 160]), "flag": True, "none": None,
                     "big": 1 << 70, "list": [1, (2, 3), {4}], "bytes": b"abc"}  # fmt: skip
    yield "parameter", {"a": torch.nn.Parameter(grid), "d": whole}
    yield "expanded", {"a": grid[:1].expand(3, 4), "d": whole}
    yield "numpy", {"a": grid, "n": np.arange(3), "s": np.float64(2)}
    yield "other", {"a": grid.to(torch.complex64), "z": torch.zeros(2, 0)}
    yield "types", {str(t): torch.zeros(2, dtype=t) for t in (torch.float16, torch.bfloat16, torch.float64, torch.int32,
                    torch.int16, torch.int8, torch.uint8, torch.bool)}  # fmt: skip


def odd_torch_files():
    for name, data in odd_pickles.every():
        for kind in (0, 2, 3):
            put("torch", "odd_%s%d" % (name, kind), bytes((kind,)) + data)
    for name, data in odd_pickles.odd_archives(dict(odd_pickles.every())["op_real"]):
        put("torch", "zip_" + name, b"\3" + data)
    for name, data in odd_pickles.odd_sequences():
        put("torch", "older_" + name, b"\3" + data)


def torch_files():
    for name, value in torch_objects():
        for protocol in (2, 4):
            out = io.BytesIO()
            torch.save(value, out, pickle_protocol=protocol)
            put("torch", "%s_zip%d" % (name, protocol), b"\3" + out.getvalue())
            put("torch", "%s_file%d" % (name, protocol), b"\7" + out.getvalue())
            with zipfile.ZipFile(out) as archive:
                inside = archive.read([n for n in archive.namelist() if n.endswith("data.pkl")][0])
            for kind in (0, 1, 2):
                put("torch", "%s_pickle%d_%d" % (name, protocol, kind), bytes((kind,)) + inside)
            out = io.BytesIO()
            torch.save(value, out, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
            put("torch", "%s_older%d" % (name, protocol), b"\3" + out.getvalue())
    for kind in range(3):
        put("torch", "stops%d" % kind, bytes((kind,)) + b"\x80\x02}q\0.")
        put("torch", "calls%d" % kind, bytes((kind,)) + b"\x80\x02cos\nsystem\nX\2\0\0\0lsR.")
        put("torch", "text%d" % kind, bytes((kind,)) + b"(dp0\nS'a'\nI1\nsVb\nF2.5\nsL3L\n.")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}." * 30)
        archive.comment = b"comment"
    put("torch", "deflated", b"\3" + out.getvalue())
    words("torch", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n",
          b"ctorch\nLongStorage\n", b"cargparse\nNamespace\n", b"X\7\0\0\0storage", b"PK\1\2", b"PK\3\4", b"PK\5\6",
          b"PK\6\6", b"\x80\x02", b"\x8a\x08", b"data.pkl", b"ctorch._utils\n_rebuild_parameter\n", b"tR", b"(t", b"Q")


def arrays():
    def npy(array, version=None):
        out = io.BytesIO()
        np.lib.format.write_array(out, array, version)
        return out.getvalue()

    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    for name, array in {"grid": grid, "fortran": np.asfortranarray(grid), "double": grid.astype(np.float64),
                        "big": grid.astype(">f4"), "line": grid[0], "cube": grid.reshape(3, 2, 2), "none": grid[:0],
                        "thin": grid[:, :0], "int": grid.astype(np.int32), "nan": grid * np.nan}.items():  # fmt: skip
        put("npy", name, npy(array))
    for version in ((2, 0), (3, 0)):
        put("npy", "version%d" % version[0], npy(grid, version))
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"
    for name, shape in (("huge", b"9223372036854775807, 4"), ("minus", b"-3, 4"), ("long", b"3L, 4L"), ("wraps",
                        b"4611686018427387904, 4"), ("hex", b"0x3, 4"), ("one", b"3,")):  # fmt: skip
        header = text % shape
        put("npy", name, b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(48))
    put("npy", "cut", npy(grid)[:-3])
    words("npy", b"'descr'", b"'fortran_order'", b"'shape'", b"'<f4'", b"'|f4'", b"True", b"False", b"(3, 4)",
          b"\x93NUMPY", b"9223372036854775807")


# ---- what this library writes ----

RESNET = dict(arch="resnet18", width=0.0625, image_size=16, batch_size=4, bn_groups=2, queue_length=16, dimension=16)
SMALL = dict(arch="vit_small", width=0.0625, patch_size=8, vit_depth=1, vit_heads=1, image_size=16, batch_size=4,
             bn_groups=1, shard=2, shuffle=0, dimension=8, head_width=8, warmup_epochs=0)  # fmt: skip


def without_hash(data):
    """The same file without the hash of its data, where a library writes one: damage is then seen by what reads it."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    meta = header.get("__metadata__", {})
    header["__metadata__"] = {key: value for key, value in meta.items() if not key.endswith("_xxh3")}
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def names_of(data):
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            kind = {"F32": np.float32, "I64": np.int64}[entry["dtype"]]
            yield name, np.frombuffer(data[8 + length :][begin:end], kind).reshape(entry["shape"])


def foreign(name, model, prefixes=("module.encoder_q.", "", "backbone.", "module.base_encoder.", "_orig_mod.")):
    """The model's tensors as other programs have them."""
    tensors = {key: torch.from_numpy(value.copy()) for key, value in names_of(model)}
    for prefix in prefixes:
        wrap = None if prefix == "" else "model" if prefix == "_orig_mod." else "state_dict"
        value = {prefix + key: tensor for key, tensor in tensors.items()}
        out = io.BytesIO()
        torch.save({wrap: value, "epoch": 3, "arch": "resnet18"} if wrap else value, out)
        for kind in (0, 4 + 8):
            put("model", "%s_%s%d" % (name, prefix.strip("._"), kind), bytes((kind,)) + out.getvalue())


def own_files():
    work = os.path.join(OUT, "work")
    os.makedirs(work, exist_ok=True)
    path = os.path.join(work, "x.safetensors")
    device = moco.Device(lanes=1)
    pixels = [np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8) for i in range(4)]
    with open(os.path.join(work, "small.jpg"), "wb") as file:
        file.write(JPEGS["rgb"])
    list_path = os.path.join(work, "list.txt")
    with open(list_path, "w") as file:
        file.write("small.jpg\n")
    log = b'{"step":1,"epoch":0,"loss":2.5}\n{"step":2,"epoch":0,"loss":2.25}\n'
    queue = dict(SMALL, queue_length=16, shuffle=1, head="mlp")
    for recipe, options in (("moco-v2", queue), ("moco-cifar", RESNET), ("moco-v3", SMALL), ("byol", SMALL)):
        try:
            trainer = moco.Trainer(recipe, device=device, **options)
        except moco.MocoError as error:
            sys.exit("make_seeds: %s: %s" % (recipe, error))
        trainer.push_pixels(pixels)
        trainer.step()
        trainer.save(path)
        with open(path, "rb") as file:
            checkpoint = file.read()
        model = bytes(trainer.snapshot().to_bytes())
        put("options", "json_" + recipe, bytes((1, 0)) + json.dumps(moco.options_json(trainer.options)).encode())
        if recipe == "moco-cifar":  # large: one of each
            put("model", recipe, b"\0" + without_hash(model))
            put("model", recipe + "_again", b"\x0c" + without_hash(checkpoint))
            if torch is not None:
                foreign(recipe, model, ("module.encoder_q.",))
            continue
        for name, change in (("", bytes), ("_plain", without_hash)):
            put("checkpoint", recipe + name, change(checkpoint))
            for kind in (0, 1, 4, 12, 20):
                put("model", "%s%s%d" % (recipe, name, kind), bytes((kind,)) + change(model))
            put("model", recipe + name + "_checkpoint", b"\0" + change(checkpoint))
            put("model", recipe + name + "_again", b"\x0c" + change(checkpoint))
            for kind in (0, 2, 4, 10, 18, 34, 36, 66, 74, 68):
                head = bytes((kind,)) + struct.pack("<H", len(log)) + log
                put("run", "%s%s%d" % (recipe, name, kind), head + (change(checkpoint) if kind & 2 else b""))
        if torch is not None:
            foreign(recipe, model)
    for kind, text in enumerate((b"", b"{", b"[]\n", b'{"step":1}', b'{"step":"x"}\n', log[:-5], log + b"\0", b"\n\n")):
        put("run", "log%d" % kind, bytes((4,)) + struct.pack("<H", len(text)) + text)
    words("checkpoint", b'"step"', b'"options"', b'"queue_ptr"', b'"shard"', b'"position"', b"4294967296", b"-1", b'"0"')
    words("run", b'{"step":1}\n', b'"step":', b"9223372036854775807", b"\n", b"null")


def classifiers():
    """A saved classifier: a probe of two classes."""
    work = os.path.join(OUT, "work")
    with open(os.path.join(work, "classes.txt"), "w") as file:
        for i in range(8):
            with open(os.path.join(work, "%d.jpg" % i), "wb") as image:
                image.write(picture(size=(20 + i, 20)))
            file.write("%d.jpg\t%s\n" % (i, "ab"[i % 2]))
    images = moco.Dataset(os.path.join(work, "classes.txt"))
    device = moco.Device(lanes=1)
    model = moco.Trainer("moco-v3", device=device, **SMALL).snapshot()
    path = os.path.join(work, "classifier.safetensors")
    moco.Probe(model, images, images, epochs=1, batch_size=4).save(path)
    with open(path, "rb") as file:
        data = file.read()
    for name, change in (("", bytes), ("_plain", without_hash)):
        put("model", "classifier" + name, b"\2" + change(data))
        put("model", "classifier_as_model" + name, b"\0" + change(data))


def options():
    lines = (b"epochs=3\nbatch_size=64\nbase_lr=0.03\nmilestones=120,160\nschedule=cosine\narch=resnet50\nviews=v2\n"
             b"seed=18446744073709551615\nmemory_cap=1073741824\nsymmetric=1\n")  # fmt: skip
    odd = b"epochs=\nepochs=1e400\nepochz=3\nbase_lr=nan\nbase_lr=0x1p-3\nmilestones=1,,2\n=\nseed=-1\nseed= 3\n"
    for table in range(16):
        put("options", "lines%d" % table, bytes((2 * table, table)) + lines)
        put("options", "odd%d" % table, bytes((2 * table, 1)) + odd)
        put("options", "json%d" % table, bytes((2 * table + 1, 0)) + b'{"epochs":3,"lanes":2,"k":5,"x":[1,2]}')
    names = [b"lanes", b"limit", b"k", b"temperature", b"image_size", b"capacity", b"length", b"dimension", b"save_every"]
    words("options", b"=", b"\n", b"inf", b"-0", b"1e308", b"9223372036854775808", b"null", *[n + b"=1\n" for n in names])


def main():
    os.makedirs(OUT, exist_ok=True)
    images()
    archives()
    tensor_files()
    arrays()
    odd_torch_files()
    if torch is not None:
        torch_files()
    else:
        print("skipped: no PyTorch, so no seeds of its files")
    own_files()
    classifiers()
    options()


main()
