"""safetensors across languages: files written here by a few lines of NumPy are read by the library, and a file written by
the library is read here. Usage: test_safetensors.py PATH-OF-test_safetensors"""
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

NAMES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def write(path, tensors, metadata, pad=0):
    header, data = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        dtype = next(k for k, v in NAMES.items() if np.dtype(v) == array.dtype)
        begin = len(data)
        data += array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode() + b" " * pad
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as stream:
        blob = stream.read()
    length, = struct.unpack("<Q", blob[:8])
    assert length % 8 == 0
    header = json.loads(blob[8:8 + length])
    metadata, tensors, end = header.pop("__metadata__"), {}, 0
    for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = info["data_offsets"]
        assert begin == end
        end = stop
        flat = np.frombuffer(blob[8 + length + begin:8 + length + end], NAMES[info["dtype"]])
        tensors[name] = flat.reshape(info["shape"])
    assert 8 + length + end == len(blob)
    return tensors, metadata


def dump(program, path):
    lines = subprocess.run([program, "dump", path], check=True, capture_output=True, text=True).stdout.splitlines()
    tensors = {}
    if lines[0].startswith("refused"):
        return None
    for line in (line for line in lines if not line.startswith("meta ")):
        head, _, values = line.partition(" :")
        name, dtype, *shape = head.split()
        tensors[name] = (dtype, [int(n) for n in shape], np.array(values.split(), np.float32))
    return tensors, [line[5:] for line in lines if line.startswith("meta ")]


def main(program):
    rng = np.random.default_rng(1)
    made = {"layer.weight": rng.standard_normal((3, 4, 2)).astype("<f4"), "byte": np.array([7], "u1"),
            "half": rng.standard_normal(9).astype("<f2"), "wide": rng.standard_normal((2, 1)), "scalar": np.array(2.5, "<f4"),
            "none": np.zeros((0, 4), "<f4"), "count": np.array([2**53 + 1, -1], "<i8")}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "made.safetensors")
        for pad in (0, 1, 2, 3):  # unaligned numbers
            write(path, made, {"format": "pt"}, pad)
            got, meta = dump(program, path)
            assert sorted(got) == sorted(made) and meta == ["format=pt"]
            for name, array in made.items():
                dtype, shape, values = got[name]
                assert NAMES[dtype] == array.dtype.str.replace("|", "") and shape == list(array.shape), name
                if array.dtype.kind == "f":
                    assert np.array_equal(values, array.astype(np.float32).ravel()), name
        with open(path, "r+b") as stream:
            stream.truncate(os.path.getsize(path) - 1)
        assert dump(program, path) is None

        path = os.path.join(folder, "library.safetensors")
        subprocess.run([program, "write", path], check=True)
        tensors, metadata = read(path)
        assert list(tensors) == ["a.wide", "step", "b.weight", "none", "octets"], list(tensors)
        assert np.array_equal(tensors["b.weight"],
                              np.array([[0, -1.5, 1e-40], [3.25, np.finfo(np.float32).max, 5]], np.float32))
        assert tensors["step"].shape == () and tensors["step"] == 1234567890123
        assert tensors["none"].shape == (0, 5) and list(tensors["octets"]) == [1, 2, 255]
        assert list(tensors["a.wide"]) == [0.1, -2e300]
        sums = [metadata.pop(key) for key in ("header_xxh3", "data_xxh3")]
        assert all(len(text) == 16 and int(text, 16) for text in sums), sums
        assert metadata == {"seed": "18446744073709551615", "note": "quote \" backslash \\ newline \n \u00e9"}
    print("safetensors parity: ok")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ["MOCO_BINARY_DIR"], "tests", "test_safetensors"))
