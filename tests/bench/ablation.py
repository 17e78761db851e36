#!/usr/bin/env python3
"""The family side by side on CIFAR-10: what each ingredient of MoCo v2 adds, MoCo v3, SimCLR, BYOL, and the key momentum.

    python3 tests/bench/ablation.py MOCO TRAIN TEST OUT                        run what is missing, then print the tables
    python3 tests/bench/ablation.py MOCO TRAIN TEST OUT --jobs 2 --threads 1   two runs at a time, of one lane each
    python3 tests/bench/ablation.py MOCO TRAIN TEST OUT --only v3              only the rows of that name
    python3 tests/bench/ablation.py MOCO TRAIN TEST OUT --table                print the tables of what is there

MOCO is the program, TRAIN and TEST are labelled JPEG collections (folder, .tar or list). Each run has a folder in OUT and
ends with result.json; a run that was stopped goes on from its last epoch, so that the script can be killed at any time.
A run has the same bits for any number of lanes; networks as small as these get more done in runs side by side.
Every network is a ResNet-18 of 16-32-64-128 channels with the CIFAR stem, batch 256. Measured are weighted kNN (k 200,
T 0.1) on backbone features and on the projection, and the linear probe on cached backbone features (best of nine rates),
with the images that the run learnt from as bank and TEST for the answers.
"""
import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys

CIFAR_PIXELS = dict(image_size=32, stem="cifar", arch="resnet18", width=0.25, mean_r=0.4914, mean_g=0.4822, mean_b=0.4465,
                    std_r=0.2023, std_g=0.1994, std_b=0.201)
BLUR = dict(blur_sigma_min=0.1 * 32 / 224, blur_sigma_max=2.0 * 32 / 224)  # as much of the image as at 224 pixels
# Published for ImageNet; what a smaller set of smaller images needs instead is the CIFAR-10 demonstration's.
QUEUE = dict(batch_size=256, queue_length=4096, key_momentum=0.99, weight_decay=5e-4, **CIFAR_PIXELS, **BLUR)
MLP = dict(head="mlp", temperature=0.2)  # the temperature that is best with this head, as 0.07 is without
AUGMENTATION = dict(views="v2", jitter_hue=0.1, jitter_probability=0.8, blur_probability=0.5)
COSINE = dict(schedule="cosine")
# Hidden layers twice as wide as the features, as published.
V3 = dict(batch_size=256, head_width=256, dimension=128, **CIFAR_PIXELS, **BLUR)
# Heads as v3's here; rate and target decay of the published runs with the fewest epochs, 40.
BYOL = dict(batch_size=256, head_width=256, dimension=128, base_lr=0.45, key_momentum=0.97, resize_filter="bilinear",
            blur_form="pillow", **CIFAR_PIXELS, **BLUR)
SIMCLR = {**CIFAR_PIXELS, **dict(batch_size=256, temperature=0.5, base_lr=0.5, weight_decay=1e-4, blur_probability=0,
                                 jitter_brightness=0.4, jitter_contrast=0.4, jitter_saturation=0.4, jitter_hue=0.1,
                                 mean_r=0, mean_g=0, mean_b=0, std_r=1, std_g=1, std_b=1)}


def steps(epochs):
    """v1's milestones, after 60 % and 80 %."""
    return dict(milestone_1=round(0.6 * epochs), milestone_2=round(0.8 * epochs))


def warm(epochs):
    """v3, SimCLR and BYOL warm up for 10 of 100 epochs."""
    return dict(warmup_epochs=max(1, round(0.1 * epochs)))


SHORT, LONG = 8, 32
ABLATION = {  # name: (recipe, epochs, values over the recipe)
    "untrained": ("moco-v1", 1, {**QUEUE, "base_lr": 0, "weight_decay": 0}),  # batch norm's statistics alone are learnt
    "v1": ("moco-v1", SHORT, {**QUEUE, **steps(SHORT)}),
    "v1 + MLP": ("moco-v1", SHORT, {**QUEUE, **steps(SHORT), **MLP}),
    "v1 + aug": ("moco-v1", SHORT, {**QUEUE, **steps(SHORT), **AUGMENTATION}),
    "v1 + MLP + aug + cos": ("moco-v1", SHORT, {**QUEUE, **MLP, **AUGMENTATION, **COSINE}),
    "v3": ("moco-v3", SHORT, {**V3, **warm(SHORT)}),
    "SimCLR": ("simclr", SHORT, {**SIMCLR, **warm(SHORT)}),
    "BYOL": ("byol", SHORT, {**BYOL, **warm(SHORT)}),
    "the fourth, 4 x longer": ("moco-v1", LONG, {**QUEUE, **MLP, **AUGMENTATION, **COSINE}),
}
MOMENTA = (0.999, 0.99, 0.9, 0)


def cells():
    """(table, title, recipe, epochs, images, seed, values); 0 images are all of them."""
    for name in list(ABLATION)[:-1]:
        recipe, epochs, values = ABLATION[name]
        for seed in range(3):
            yield "ablation", name, recipe, epochs, 10000, seed, values
    for m in MOMENTA:
        yield "momentum", f"m = {m}", "moco-cifar", SHORT, 0, 0, dict(key_momentum=m, arch="resnet18", width=0.25)
    name = list(ABLATION)[-1]
    recipe, epochs, values = ABLATION[name]
    for seed in range(3):
        yield "ablation", name, recipe, epochs, 10000, seed, values


def folder_of(out, table, title, seed):
    return os.path.join(out, table + "-" + "".join(c if c.isalnum() or c == "." else "_" for c in title) + f"-{seed}")


def program(args, log):
    """stdout of the program; it writes its progress to `log`."""
    with open(log, "a") as err:
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=err, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(args)}: exit {done.returncode}, see {log}")
    return done.stdout


def last_line(text):
    return json.loads(text.strip().splitlines()[-1])


def lanes(a):
    return ["--threads", str(a.threads)] if a.threads else []


def measure(a, folder, images, log):
    model, bare = (os.path.join(folder, n) for n in ("model.safetensors", "backbone.safetensors"))
    program([a.moco, "convert", model, bare, "--head", "drop", "--json"], log)
    rest = [a.train, a.test, "--json", *lanes(a)] + (["--limit", str(images)] if images else [])
    knn = last_line(program([a.moco, "knn", bare, *rest], log))
    projected = last_line(program([a.moco, "knn", model, *rest], log))
    probe = last_line(program([a.moco, "probe", bare, *rest], log))
    return dict(knn=knn, projected=projected, probe=probe)


def losses(folder):
    by_epoch = {}
    with open(os.path.join(folder, "log.jsonl")) as lines:
        for line in map(json.loads, lines):
            if line["step"] > 0:
                by_epoch.setdefault(line["epoch"], {})[line["step"]] = line["loss"]
    return [round(statistics.mean(e.values()), 4) for _, e in sorted(by_epoch.items())]


def work(cell):
    """Images that a run learns from, all epochs together: the longest go first, so that the last end together."""
    _, _, recipe, epochs, images, _, _ = cell
    return epochs * (images or 50000) * (2 if recipe in ("moco-v3", "simclr", "byol") else 1)


def run(a, cell):
    table, title, recipe, epochs, images, seed, values = cell
    folder = folder_of(a.out, table, title, seed)
    done = os.path.join(folder, "result.json")
    if os.path.exists(done):
        return
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, "progress.txt")
    args = [a.moco, "train", a.train, "-o", folder, "--json", *lanes(a)]
    if os.path.exists(os.path.join(folder, "checkpoint.safetensors")):
        args += ["--resume"]
    else:
        args += ["--recipe", recipe, "--epochs", str(epochs), "--seed", str(seed)]
        args += [w for name, v in values.items() for w in ("--set", f"{name}={v}")]
    args += ["--limit", str(images)] if images else []
    print(f"{table}: {title}, seed {seed}", flush=True)
    program(args, log)
    result = dict(table=table, title=title, recipe=recipe, epochs=epochs, images=images, seed=seed, values=values,
                  losses=losses(folder), **measure(a, folder, images, log))
    with open(done + ".part", "w") as out:
        json.dump(result, out, indent=1)
    os.replace(done + ".part", done)


def spread(numbers):
    if len(numbers) < 2:
        return " / ".join(f"{n:.1f}" for n in numbers)
    return f"{statistics.mean(numbers):.1f} ± {statistics.stdev(numbers):.1f} ({', '.join(f'{n:.1f}' for n in numbers)})"


def print_tables(a):
    rows = {}
    for cell in cells():
        table, title, _, epochs, images, seed, _ = cell
        path = os.path.join(folder_of(a.out, table, title, seed), "result.json")
        if os.path.exists(path):
            with open(path) as f:
                rows.setdefault((table, title, epochs, images), []).append(json.load(f))
    for table in ("ablation", "momentum"):
        print(f"\n| {table} | epochs | seeds | kNN, backbone % | kNN, projection % | linear probe, top-1 % | loss, last epoch |")
        print("|---|---|---|---|---|---|---|")
        for (of, title, epochs, _), results in rows.items():
            if of == table:
                columns = [spread([r["knn"]["top1"] for r in results]), spread([r["projected"]["top1"] for r in results]),
                           spread([r["probe"]["top1"] for r in results]),
                           " / ".join(f"{r['losses'][-1]:.2f}" for r in results)]
                print(f"| {title} | {epochs} | {len(results)} | {' | '.join(columns)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("moco", "train", "test", "out"):
        parser.add_argument(name)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (1)")
    parser.add_argument("--threads", type=int, help="lanes of each (the program's default)")
    parser.add_argument("--only", metavar="NAME", help="only this row, such as v3")
    parser.add_argument("--table", action="store_true", help="print, run nothing")
    a = parser.parse_args()
    wanted = [c for c in cells() if not a.table and a.only in (None, c[1])]
    wanted.sort(key=work, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, a, cell) for cell in wanted]):
            if done.exception():
                pool.shutdown(wait=False, cancel_futures=True)
                sys.exit(str(done.exception()))
    print_tables(a)


if __name__ == "__main__":
    main()
