#!/usr/bin/env python3
"""Do builds with different releases of oneDNN learn the same? Losses and gradient norms of 20 steps of every recipe,
side by side.

    /usr/bin/python3 tests/compare_losses.py build/tests/draw_folder 2.6.3=build/moco \\
        3.7.2=build-trees/trixie:/build/gcc/moco 3.12.1=build-trees/sid:/build/gcc/moco

TREE:PROGRAM is run within a tree of tests/distros.sh, which needs root. Prints a table for documents: for each recipe
and for steps 1, 2, 5 and 20, the first build's numbers and how far the others are from them, relatively. Exit status 1
where step 1 of a build is further away than 1e-5 in loss or 1e-4 in gradient norm. Takes some minutes.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from compare_bits import RUNS, settings

STEPS, SHOWN = 20, (1, 2, 5, 20)
BOUNDS = {"loss": 1e-5, "gradient_norm": 1e-4}


def run(build, images, name):
    """{step: (loss, norm)} of a recipe."""
    recipe, groups, values = RUNS[name]
    tree, _, program = build.rpartition(":")
    base = pathlib.Path(tree or "/") / "tmp"
    with tempfile.TemporaryDirectory(dir=base) as folder:
        shutil.copytree(images, pathlib.Path(folder) / "images")
        inside = pathlib.Path("/tmp") / pathlib.Path(folder).name if tree else pathlib.Path(folder)
        values = ["batch_size=16"] + values + ([f"bn_groups={groups}"] if groups else [])
        command = (["chroot", tree] if tree else []) + [
            program, "train", str(inside / "images"), "-o", str(inside / "run"), "--recipe", recipe, "--steps", str(STEPS),
            "--epochs", "10", "--seed", "5", "--threads", "1", *settings(values)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr[-500:]}")
        lines = map(json.loads, open(pathlib.Path(folder) / "run" / "log.jsonl"))
        return {line["step"]: line for line in lines if "gradient_norm" in line}


def main(draw, *builds):
    builds = [build.split("=", 1) for build in builds]
    failed = []
    print("| recipe | step | loss, norm of", builds[0][0], "|", " | ".join(f"{name}: loss, norm" for name, _ in builds[1:]), "|")
    print("|---" * (len(builds) + 2) + "|")
    with tempfile.TemporaryDirectory() as folder:
        images = pathlib.Path(folder) / "images"
        subprocess.run([draw, images, "40", "4", "48"], check=True, stdout=subprocess.DEVNULL)
        for name in RUNS:
            first, *others = (run(build, images, name) for _, build in builds)
            for step in SHOWN:
                apart = [{key: abs(other[step][key] / first[step][key] - 1) for key in BOUNDS} for other in others]
                print(f"| {name} | {step} | {first[step]['loss']:.7g}, {first[step]['gradient_norm']:.6g} |",
                      " | ".join(f"{a['loss']:.1e}, {a['gradient_norm']:.1e}" for a in apart), "|", flush=True)
                failed += [f"{name}, {builds[i + 1][0]}" for i, a in enumerate(apart)
                           if step == 1 and any(a[key] > BOUNDS[key] for key in BOUNDS)]
    if failed:
        sys.exit("step 1 is apart: " + "; ".join(failed))


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
