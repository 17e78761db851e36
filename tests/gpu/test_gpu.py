"""The program on a GPU: what it says without one, and three steps and embeddings on a presented one (presented.c) beside
the CPU's. usage: test_gpu.py MOCO DRAW_FOLDER PRESENTED_LIBRARY VENDORS_FOLDER"""
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
RECIPE = ["--recipe", "moco-v2", "--arch", "resnet18", "--width", "0.25", "--size", "32", "--set", "stem=cifar", "--batch",
          "16", "--bn-groups", "2", "--queue", "64", "--epochs", "10", "--threads", "1", "--seed", "3"]
LOSS, NORM, ROWS = 1e-5, 1e-4, 1e-5  # relative; float32 sums in another order: 1e-7 to 1e-6 seen


def run(arguments, vendors=VENDORS, presented=True, code=0):
    environment = dict(os.environ, OCL_ICD_VENDORS=vendors)
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


def training(folder):
    images, runs = os.path.join(folder, "images"), {}
    subprocess.run([DRAW, images, "64", "4", "48"], check=True, stdout=subprocess.DEVNULL)
    for device in "cpu", "gpu":
        runs[device] = os.path.join(folder, device)
        run(["train", images, "-o", runs[device], "--device", device, "--steps", "3", *RECIPE])
    for theirs, ours in zip(steps(runs["cpu"]), steps(runs["gpu"]), strict=True):
        near("step %d, loss" % ours["step"], ours["loss"], theirs["loss"], LOSS)
        near("step %d, gradient" % ours["step"], ours["gradient_norm"], theirs["gradient_norm"], NORM)
        check("ranks", ours["contrast_top1"] == theirs["contrast_top1"])
    return images, runs


def moved(images, runs):
    """The GPU's checkpoint goes on on the CPU, beside the CPU's own."""
    for device in runs:
        run(["train", images, "-o", runs[device], "--resume", "--steps", "4"], presented=False)
    near("step 4 on the CPU, loss", steps(runs["gpu"])[3]["loss"], steps(runs["cpu"])[3]["loss"], 10 * LOSS)


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
        images, runs = training(folder)
        moved(images, runs)
        embeddings(folder, images, runs)


main()
