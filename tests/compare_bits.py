#!/usr/bin/env python3
"""Do two builds of the program learn the same bits?

    /usr/bin/python3 tests/compare_bits.py OLD/build/moco build/moco build/tests/draw_folder

Both train every recipe for ten steps on drawn images, with one lane and with two, in one pass and in two, with one shard
a group and with several; then they probe, fine-tune and embed. All tensors of all files must have equal bytes. Then NEW
goes on from OLD's checkpoints and embeds with OLD's models. Takes about two minutes; exit status 0 = all equal.
A change of structure must pass this against the commit before it. No test of the suite can ask it, since the bits differ
between instruction sets and releases of oneDNN.
"""
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

RESNET = ["image_size=32", "stem=cifar", "width=0.25", "arch=resnet18"]
VIT = ["arch=vit_small", "image_size=32", "patch_size=8", "vit_depth=2", "width=0.25"]
QUEUE = ["queue_length=64"]
RUNS = {  # name: (recipe, batch-norm groups or None for the recipe's, settings)
    "v1": ("moco-v1", 2, RESNET + QUEUE),
    "v2": ("moco-v2", 2, RESNET + QUEUE),
    "v2, four shards a group": ("moco-v2", 1, RESNET + QUEUE + ["shard=4"]),
    "v2, symmetric": ("moco-v2", 2, RESNET + QUEUE + ["symmetric=1"]),
    "v3": ("moco-v3", None, RESNET),
    "v3, two passes": ("moco-v3", 4, RESNET),
    "simclr": ("simclr", None, RESNET + ["head_layers=3"]),  # what older builds took for the recipe's
    "simclr, two passes": ("simclr", 2, RESNET + ["head_layers=3"]),
    "cifar": ("moco-cifar", 2, QUEUE + ["width=0.25"]),
    "vit": ("moco-v3-vit", None, VIT),
    "vit, batch norm": ("moco-v3-vit", None, VIT + ["vit_norm=batch"]),
    "byol": ("byol", None, RESNET),
}
ON = "v1", "v2", "v3", "simclr", "cifar", "vit"  # whose files of OLD are used by NEW


class Failed(Exception):
    pass


def call(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{program} {' '.join(map(str, arguments))}\n{done.stderr[-500:]}")
    return done.stdout + done.stderr


def settings(values):
    return [word for value in values for word in ("--set", value)]


def make(program, images, out, known):
    """The files of one build. Recipes that it does not know are left out."""
    groups = "bn_groups" if "--bn-groups" in call(program, "train", "--help") else "virtual_devices"
    for name, (recipe, count, values) in RUNS.items():
        if recipe not in known:
            continue
        values = ["batch_size=16"] + values + ([f"{groups}={count}"] if count else [])
        for lanes in 1, 2:
            call(program, "train", images, "-o", out / f"{name}, {lanes} lanes", "--recipe", recipe, "--steps", 10, "--seed", 5,
                 "--threads", lanes, *settings(values))
    model, vit = (out / f"{name}, 1 lanes" / "model.safetensors" for name in ("v2", "vit"))
    call(program, "probe", model, images, images, "-o", out / "probe.safetensors", "--epochs", 3, "--batch", 16)
    for name, of, epochs in ("tuned", model, 2), ("tuned ViT", vit, 1):
        call(program, "finetune", of, images, images, "-o", out / f"{name}.safetensors", "--epochs", epochs, "--batch", 8)
    call(program, "embed", model, images, "-o", out / "rows.npy")


def knows(program):
    """Names of the recipes that the program has."""
    return {recipe for recipe, _, _ in RUNS.values() if recipe in call(program, "train", "--help")}


def sums(path):
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return {"": hashlib.sha256(data).hexdigest()}
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, tensor in header.items():
        begin, end = (8 + size + offset for offset in tensor["data_offsets"])
        found[name] = tensor["dtype"], tuple(tensor["shape"]), hashlib.sha256(data[begin:end]).hexdigest()
    return found


def differences(old, new):
    files = sorted(path.relative_to(old) for path in old.rglob("*") if path.suffix in (".safetensors", ".npy"))
    tensors = different = 0
    for file in files:
        a, b = sums(old / file), sums(new / file)
        tensors += len(a)
        names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
        if names:
            different += 1
            print(f"{file}: {len(names)} of {len(a)} tensors differ: {', '.join(names[:3])}")
    print(f"{len(files)} files, {tensors} tensors, {different} files differ")
    return different


def go_on(program, images, old, work):
    """OLD's files must load in NEW."""
    for name in ON:
        folder = old / f"{name}, 1 lanes"
        call(program, "embed", folder / "model.safetensors", images, "-o", work / "rows.npy")
        call(program, "train", images, "-o", folder, "--resume", "--steps", 12, "--threads", 2)
    print(f"{len(ON)} checkpoints and models of the old build load in the new one")


def main(old, new, draw):
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        call(draw, work / "images", 40, 4, 48)
        known = knows(old) & knows(new)
        for program, name in (old, "old"), (new, "new"):
            (work / name).mkdir()
            make(program, work / "images", work / name, known)
        different = differences(work / "old", work / "new")
        go_on(new, work / "images", work / "old", work)
        return different > 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except Failed as failure:
        sys.exit(f"failed: {failure}")
