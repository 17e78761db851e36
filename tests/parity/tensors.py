"""A small safetensors reader of the scripts' own, so that files are judged by something other than the library."""
import json
import re
import struct

import numpy as np

TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8"),
         "I32": np.dtype("<i4"), "U8": np.dtype("u1")}


def read(path):
    """(name -> array, metadata). Arrays keep the file's type."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<Q", data, 0)
    header = json.loads(data[8:8 + length].decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    body, end, arrays = 8 + length, 0, {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        kind = TYPES[entry["dtype"]]
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if first != end or last - first != count * kind.itemsize:
            raise ValueError(f"{path}: {name} parameters {first}..{last}, wanted {count * kind.itemsize} bytes from {end}")
        arrays[name] = np.frombuffer(data, kind, count, body + first).reshape(entry["shape"]).copy()
        end = last
    if body + end != len(data):
        raise ValueError(f"{path}: {len(data)} bytes, the header describes {body + end}")
    return arrays, metadata


def overwrite(path, changes):
    """Replace the numbers of tensors in a file, in place; names, types and shapes stay as they are. Checksums of the
    older numbers become spaces."""
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        text = file.read(length)
        header = json.loads(text.decode("utf-8"))
        file.seek(8)
        file.write(re.sub(rb',"(header|data)_xxh3":"[0-9a-f]{16}"', lambda found: b" " * len(found[0]), text))
        for name, array in changes.items():
            entry = header[name]
            if list(array.shape) != entry["shape"]:
                raise ValueError(f"{name}: shape {array.shape}, the file has {entry['shape']}")
            file.seek(8 + length + entry["data_offsets"][0])
            file.write(np.ascontiguousarray(array, dtype=TYPES[entry["dtype"]]).tobytes())
