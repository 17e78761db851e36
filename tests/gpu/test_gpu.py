"""The program on a GPU: what it says without one, and steps and embeddings on a presented one (presented.c) beside the
CPU's. usage: test_gpu.py MOCO DRAW_FOLDER PRESENTED_LIBRARY VENDORS_FOLDER [STEPS]
Without STEPS three steps of a ResNet and of a ViT; with it so many of every recipe."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: no NumPy")
    sys.exit(77)

MOCO, DRAW, PRESENTED, VENDORS = (os.path.abspath(path) for path in sys.argv[1:5])
STEPS = int(sys.argv[5]) if len(sys.argv) > 5 else 0
COMMON = ["--size", "32", "--batch", "16", "--bn-groups", "2", "--epochs", "10", "--threads", "1", "--seed", "3"]
RESNET = ["--arch", "resnet18", "--width", "0.25", "--set", "stem=cifar"]
VIT = ["--arch", "vit_small", "--width", "0.5", "--set", "patch_size=8", "--set", "vit_depth=2", "--set", "vit_heads=3"]
QUEUE = ["--queue", "64"]
RECIPES = [("moco-v2", RESNET + QUEUE), ("moco-v3-vit", VIT)]
if STEPS:
    RECIPES += [("moco-v1", RESNET + QUEUE), ("moco-cifar", RESNET + QUEUE), ("moco-v3", RESNET), ("simclr", RESNET),
                ("simclr-code", RESNET), ("byol", RESNET)]
# Relative; float32 sums in another order: 1e-7 to 1e-6 seen. A ReLU whose input is rounded to the other side of 0 hands
# on another number, and the last one has 16 x 4 x 4 x 128 of them: one of these is worth 1 / sqrt(32768) = 0.0055 of the
# gradient, which the norm changes by at most (4e-4 seen). The gradient of a new ViT is a small difference of large
# numbers: AVX2 and SSE4.1 of one processor are 2e-3 apart, while their losses are 2e-8 apart.
LOSS, NORM, VIT_NORM, ROWS = 1e-5, 6e-3, 2e-2, 1e-5
# In bf16 a product is off by 0.0023 of itself, root mean square: 0.01 of an embedding behind 17 layers, 0.05 of a logit
# (temperature 0.2), a quarter of that in the mean of 16 rows. A ReLU that rounding turns over is worth 0.045 of a
# gradient (test_layers.c), 17 of them 0.19. Seen: 4e-4 and 0.04. Embeddings round what lies between the layers too, and
# three steps have not made the running statistics: a CPU's bf16 is 0.07 from its float32, and from the GPU's bf16 0.02.
LOW_LOSS, LOW_NORM, LOW_ROWS = 0.02, 0.2, 0.2
# Training amplifies what rounding begins: mostly by less than two a step, seldom by ten. How much is seen by runs of the
# CPU with the kernels of other instruction sets: the GPU may be so many times as far from the CPU as these have been up
# to that step. Where that allows LAST, the runs are no longer the same, and single steps (norms are 10 % about their
# mean) say little: then the means over these steps have to agree, if there are ALIKE of them.
OTHERS, FARTHER, GROWTH, LAST, ALIKE = ("SSE41", "AVX2"), 10, 2, {"loss": 0.1, "gradient_norm": 0.5}, 5


def run(arguments, vendors=VENDORS, presented=True, code=0, **more):
    environment = dict(os.environ, OCL_ICD_VENDORS=vendors, **more)
    if presented:
        environment["LD_PRELOAD"] = PRESENTED
    done = subprocess.run([MOCO, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != code:
        raise SystemExit("%s: exit code %d, wanted %d\n%s" % (" ".join(arguments), done.returncode, code, done.stderr))
    return done.stdout + done.stderr


def check(what, holds):
    print("%s: %s" % ("ok" if holds else "FAILED", what))
    if not holds:
        sys.exit(1)


def steps(folder):
    with open(os.path.join(folder, "log.jsonl")) as file:
        return [line for line in map(json.loads, file) if "loss" in line and "gradient_norm" in line]


def near(what, ours, theirs, bound):
    away = abs(ours - theirs) / abs(theirs)
    check("%s: %.9g on the GPU, %.9g on the CPU, %.1e apart, at most %.0e" % (what, ours, theirs, away, bound),
          away <= bound)


def refusals(folder):
    empty = os.path.join(folder, "empty")
    os.mkdir(empty)
    said = run(["info", "--system", "--device", "gpu"], vendors=empty, presented=False, code=1)
    check("no driver: " + said.strip(), "finds none" in said and "0 OpenCL platforms" in said)
    said = run(["info", "--system", "--device", "gpu"], presented=False, code=1)
    check("no device: " + said.strip(), "finds none" in said and "1 OpenCL platform (" in said)
    said = run(["info", "--system", "--device", "gpu", "--device-number", "1"], code=1)
    check("no second one: " + said.strip(), "GPU number 1" in said and "there are 1" in said)


def description():
    info = json.loads(run(["info", "--system", "--device", "gpu", "--json"]))
    gpu = info["device"]["gpu"]
    check("described: %s" % gpu, info["device"]["kind"] == "gpu" and gpu == info["gpus"][0] and gpu["number"] == 0
          and gpu["memory_bytes"] > 0 and gpu["name"] != "")


def draw(folder):
    images = os.path.join(folder, "images")
    subprocess.run([DRAW, images, "64", "4", "48"], check=True, stdout=subprocess.DEVNULL)
    return images


def training(folder, images, recipe, options):
    runs, logs = {}, {}
    bounds = {"loss": LOSS, "gradient_norm": VIT_NORM if recipe == "moco-v3-vit" else NORM}
    for name in ("cpu", "gpu") + OTHERS:
        device, isa = ("cpu", {"ONEDNN_MAX_CPU_ISA": name}) if name in OTHERS else (name, {})
        runs[name] = os.path.join(folder, recipe + "-" + name)
        run(["train", images, "-o", runs[name], "--device", device, "--steps", str(STEPS or 3), "--recipe", recipe,
             *options, *COMMON], **isa)
        logs[name] = steps(runs[name])
    spread, apart, loss = dict.fromkeys(bounds, 0), {what: [] for what in bounds}, LOSS
    for i, (theirs, ours) in enumerate(zip(logs["cpu"], logs["gpu"], strict=True)):
        for what, first in bounds.items():
            for other in OTHERS:
                spread[what] = max(spread[what], abs(logs[other][i][what] - theirs[what]) / abs(theirs[what]))
            bound = min(max(first * GROWTH ** i, FARTHER * spread[what]), LAST[what])
            loss = bound if what == "loss" else loss
            if bound < LAST[what]:
                near("%s, step %d, %s" % (recipe, i + 1, what), ours[what], theirs[what], bound)
            else:
                apart[what].append((ours[what], theirs[what]))
                print("%s, step %d, %s: %.9g on the GPU, %.9g on the CPU" % (recipe, i + 1, what, *apart[what][-1]))
        if i < 3:
            check("ranks", ours["contrast_top1"] == theirs["contrast_top1"])
    for what, pairs in apart.items():
        if len(pairs) >= ALIKE:
            near("%s, mean of %d steps, %s" % (recipe, len(pairs), what), *np.mean(pairs, axis=0), LAST[what])
    return {device: runs[device] for device in ("cpu", "gpu")}, min(GROWTH * loss, LAST["loss"])


def low(folder, images):
    """In bf16, beside the CPU's float32; a CPU may have no bf16."""
    logs, rows = {}, {}
    for device, precision in (("cpu", "float32"), ("gpu", "bf16")):
        name = os.path.join(folder, "low-" + device)
        run(["train", images, "-o", name, "--device", device, "--precision", precision, "--steps", "3", "--recipe",
             "moco-v2", *RESNET, *QUEUE, *COMMON])
        logs[device] = steps(name)
        model = os.path.join(folder, "low-cpu", "model.safetensors")
        run(["embed", model, images, "-o", name + ".npy", "--device", device, "--precision", precision])
        rows[device] = np.load(name + ".npy")
    for i, (theirs, ours) in enumerate(zip(logs["cpu"], logs["gpu"], strict=True)):
        near("bf16, step %d, loss" % (i + 1), ours["loss"], theirs["loss"], LOW_LOSS)
        near("bf16, step %d, gradient_norm" % (i + 1), ours["gradient_norm"], theirs["gradient_norm"], LOW_NORM)
        check("bf16 was taken", ours["gradient_norm"] != theirs["gradient_norm"])
    away = np.linalg.norm(rows["gpu"] - rows["cpu"], axis=1).max()
    check("bf16, unit rows %.1e apart, at most %.0e, and not equal" % (away, LOW_ROWS), 0 < away <= LOW_ROWS)


def votes(images, runs):
    model = os.path.join(runs["cpu"], "model.safetensors")
    found = [run(["knn", model, images, images, "--device", device, "--k", "20", "--json"]) for device in runs]
    top = [json.loads(text.splitlines()[0]) for text in found]
    check("kNN: %s on the CPU, %s on the GPU" % tuple(t["top1"] for t in top), top[0] == top[1])


def moved(images, runs, bound):
    """The GPU's checkpoint goes on on the CPU, beside the CPU's own."""
    last = STEPS or 3
    for device in runs:
        run(["train", images, "-o", runs[device], "--resume", "--steps", str(last + 1)], presented=False)
    near("one more on the CPU, loss", steps(runs["gpu"])[last]["loss"], steps(runs["cpu"])[last]["loss"], bound)


def embeddings(folder, images, runs):
    model, rows = os.path.join(runs["cpu"], "model.safetensors"), {}
    for device in runs:
        out = os.path.join(folder, device + ".npy")
        run(["embed", model, images, "-o", out, "--device", device, "--threads", "1"])
        rows[device] = np.load(out)
    away = np.abs(rows["gpu"] - rows["cpu"]).max() / np.abs(rows["cpu"]).max()
    check("embeddings %s, %.1e apart, at most %.0e" % (rows["gpu"].shape, away, ROWS), away <= ROWS)


def main():
    with tempfile.TemporaryDirectory() as folder:
        refusals(folder)
        description()
        images = draw(folder)
        for recipe, options in RECIPES:
            runs, bound = training(folder, images, recipe, options)
            moved(images, runs, bound)
            if not STEPS:  # after many steps the models are not the same
                embeddings(folder, images, runs)
                votes(images, runs)
        if not STEPS:
            low(folder, images)


main()
